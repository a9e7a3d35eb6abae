"""What presses mean, as transcripts of (time, edge)."""

import pytest
from tocsin.gesture import Gestures


def play(edges, until=60000, hold_ms=3000, step=10):
    """Events with the time they were seen at, polling as the button task does."""
    gestures = Gestures(hold_ms)
    edges = list(edges)
    seen = []
    for now in range(0, until, step):
        while edges and edges[0][0] <= now:
            seen += [(now, event) for event in gestures.edge(edges.pop(0)[1], now)]
        seen += [(now, event) for event in gestures.time(now)]
    return seen


def kinds(seen):
    return [event[0] for _, event in seen if event[0] != "tick"]


def test_hold_ripens_with_ticks_and_raises_once():
    seen = play([(1000, True), (9000, False)])
    assert [event for _, event in seen] == [("tick", 1), ("tick", 2), ("tick", 3), ("tick", 4), ("hold",)]
    assert seen[-1][0] == 4000


def test_let_go_in_time_raises_nothing():
    seen = play([(1000, True), (3900, False)])
    assert kinds(seen) == ["let_go"]


def test_tap_tap_hold_is_cancel():
    assert (
        kinds(play([(0, True), (200, False), (700, True), (900, False), (1500, True), (6000, False)]))[-1] == "cancel"
    )


@pytest.mark.parametrize("taps", [0, 1, 4, 7])
def test_any_other_number_of_taps_before_a_hold_raises(taps):
    edges = []
    for n in range(taps):
        edges += [(n * 500, True), (n * 500 + 100, False)]
    edges += [(taps * 500, True), (taps * 500 + 5000, False)]
    assert kinds(play(edges))[-1] == "hold"


def test_taps_long_ago_do_not_count():
    assert kinds(play([(0, True), (200, False), (700, True), (900, False), (3000, True), (9000, False)]))[-1] == "hold"


def test_a_slow_press_is_no_tap():
    assert (
        kinds(play([(0, True), (900, False), (1200, True), (1400, False), (1800, True), (9000, False)]))[-1] == "hold"
    )


def test_held_through_boot_counts():
    gestures = Gestures()
    gestures.edge(True, 40)
    assert gestures.deadline() == 640
    assert ("hold",) in gestures.time(3040)
    assert gestures.deadline() is None


def test_deadline_is_when_something_happens():
    gestures = Gestures(1000)
    gestures.edge(True, 0)
    seen = []
    while gestures.deadline() is not None:
        now = gestures.deadline()
        assert gestures.time(now - 1) == []
        seen += gestures.time(now)
    assert seen == [("tick", 1), ("tick", 2), ("tick", 3), ("tick", 4), ("hold",)]
