"""Counted taps: what several mean by themselves, and before a hold."""

import pytest
from tocsin.gesture import Gestures

from tests.firmware.test_gesture import kinds, play


def taps(count, start=0, every=450, ms=150):
    edges = []
    for n in range(count):
        edges += [(start + n * every, True), (start + n * every + ms, False)]
    return edges


def hold(start, ms=3500):
    return [(start, True), (start + ms, False)]


def meant(edges, **options):
    return [kind for kind in kinds(play(edges, **options)) if kind != "let_go"]


def half(start=0, ms=1500):
    return [(start, True), (start + ms, False)]


def half_and(count, start=0):
    return [*half(start), *taps(count, start + 1900)]


@pytest.mark.parametrize("count", range(1, 15))
def test_taps_mean_something_only_after_a_half_hold(count):
    assert [event for _, event in play(taps(count)) if event[0] == "taps"] == []
    assert [event for _, event in play(half_and(count)) if event[0] == "taps"] == [("taps", count)]


@pytest.mark.parametrize(("ms", "is_half"), [(1190, False), (1200, True), (2390, True), (2400, False), (2900, False)])
def test_a_half_hold_is_let_go_after_the_second_tick_and_before_the_fourth(ms, is_half):
    seen = play([*half(0, ms), *taps(4, ms + 300)])
    assert (("taps", 4) in [event for _, event in seen]) == is_half


def test_they_count_a_second_after_the_last():
    seen = [(at, event) for at, event in play(half_and(2)) if event[0] == "taps"]
    assert [at for at, _ in seen] == [1900 + 450 + 150 + 1010]


@pytest.mark.parametrize("hold_ms", [1000, 3000, 10000])
def test_half_holds_and_taps_are_told_apart_however_long_a_hold_is(hold_ms):
    edges = [*half(0, hold_ms // 2), *taps(4, hold_ms // 2 + 300)]
    assert ("taps", 4) in [event for _, event in play(edges, hold_ms=hold_ms)]


@pytest.mark.parametrize("count", range(1, 9))
def test_hammering_then_a_hold_is_never_a_drill(count):
    """Whatever the pause: who hits the button in panic and then remembers to hold must not have raised a drill."""
    for pause in (300, 1100, 3000, 10_000):
        assert meant([*taps(count), *hold(count * 450 + pause)]) != ["drill"]


@pytest.mark.parametrize(
    ("count", "what"),
    [(0, "hold"), (1, "hold"), (2, "cancel"), (3, "duress"), (4, "hold"), (5, "hold"), (7, "hold"), (12, "hold")],
)
def test_taps_before_a_hold(count, what):
    assert meant([*taps(count), *hold(count * 450)]) == [what]


def test_duress_and_call_back_have_the_same_ticks():
    """What is felt while it ripens must not tell them apart."""

    def ticks(count):
        seen = play([*taps(count), *hold(count * 450)])
        return [(at - count * 450, event) for at, event in seen if event[0] == "tick"]

    assert ticks(2) == ticks(3)


ARMED = 1900 + 3 * 450 + 150 + 1010  # when half_and(4) is over


def test_after_a_half_hold_four_taps_make_the_next_hold_a_drill_and_only_that():
    assert meant([*half_and(4), *hold(7000), *hold(14000)]) == ["taps", "drill", "hold"]


def test_a_drill_is_armed_for_a_quarter_of_a_minute():
    assert meant([*half_and(4), *hold(ARMED + 14_900)]) == ["taps", "drill"]
    assert meant([*half_and(4), *hold(ARMED + 15_100)]) == ["taps", "hold"]


@pytest.mark.parametrize("count", [2, 3])
def test_another_pattern_disarms_the_drill(count):
    edges = [*half_and(4), *taps(count, 7000), *hold(7000 + count * 450), *hold(17000)]
    assert meant(edges) == ["taps", {2: "cancel", 3: "duress"}[count], "hold"]


@pytest.mark.parametrize("spoilt", [taps(1, 7000), half(7000)])
def test_one_more_press_disarms_the_drill(spoilt):
    assert meant([*half_and(4), *spoilt, *hold(10_500)]) == ["taps", "hold"]


def test_without_a_pause_the_hold_raises():
    assert meant([*half_and(4), *hold(1900 + 4 * 450)]) == ["hold"]


@pytest.mark.parametrize("count", [2, 3])
def test_a_half_hold_before_it_makes_a_call_back_a_hold(count):
    """A hold that slipped, then taps, then a hold: in doubt it calls for help."""
    assert meant([*half_and(count), *hold(1900 + count * 450)]) == ["hold"]


def test_a_slow_press_among_them_spoils_the_count():
    assert meant([*half_and(3), (1900 + 1350, True), (1900 + 2200, False), *taps(2, 4400)]) == []


def test_busy_while_something_is_half_done():
    gestures = Gestures()
    assert not gestures.busy(0)
    for at, down in half_and(4, 100):
        gestures.edge(down, at)
        assert gestures.busy(at)
    gestures.time(6000)
    assert gestures.busy(20_000)  # the drill is armed
    assert not gestures.busy(22_000)
