"""The check-in timer: renewed, reminded, missed, over resets and with a clock that is not sure."""

from hypothesis import given
from hypothesis import strategies as st
from tocsin.checkin import AFTER_RESET_MS, CheckIn

MINUTE = 60000
NOW = 1767225600


def run(timer, start, until):
    """[(ms, event)], asked only when it wants to be."""
    seen, now = [], start
    while timer.deadline() is not None and timer.deadline() <= until:
        now = max(now, timer.deadline())
        event = timer.time(now)
        if event:
            seen.append((now, event))
    return seen


def started(minutes=30, now=0):
    timer = CheckIn()
    timer.start(minutes, now)
    return timer


def test_it_reminds_three_times_and_then_it_is_missed():
    assert run(started(), 0, 10**9) == [
        (27 * MINUTE, "remind"),
        (29 * MINUTE, "remind"),
        (30 * MINUTE - 20000, "remind"),
        (30 * MINUTE, "missed"),
    ]


def test_missed_once():
    timer = started()
    run(timer, 0, 10**9)
    assert timer.deadline() is None
    assert timer.time(10**9) is None
    assert timer.state(10**9, NOW) == [0, 0]


def test_renewed_it_starts_over():
    timer = started()
    assert run(timer, 0, 29 * MINUTE)[-1] == (29 * MINUTE, "remind")
    timer.start(30, 29 * MINUTE)
    assert run(timer, 29 * MINUTE, 10**9)[0] == (56 * MINUTE, "remind")


def test_stopped_it_says_nothing():
    timer = started()
    timer.stop()
    assert run(timer, 0, 10**9) == []


def test_a_short_one_reminds_as_often_as_it_can():
    assert run(started(1), 0, 10**9) == [(0, "remind"), (40000, "remind"), (60000, "missed")]


def test_late_to_look_it_reminds_once_for_all():
    timer = started()
    assert timer.time(29 * MINUTE + 1) == "remind"
    assert timer.deadline() == 30 * MINUTE - 20000


def after_reset(timer, now, seconds, boot_seconds, boot_ms=300):
    again = CheckIn()
    again.restore(timer.state(now, seconds), boot_ms, boot_seconds)
    return again


def test_a_reset_changes_nothing():
    again = after_reset(started(), 10 * MINUTE, NOW + 600, NOW + 602)
    assert run(again, 300, 10**9)[-1] == (300 + 20 * MINUTE - 2000, "missed")


def test_past_its_time_after_a_reset_it_reminds_first():
    again = after_reset(started(), 10 * MINUTE, NOW + 600, NOW + 86400)
    assert run(again, 300, 10**9) == [(300 + AFTER_RESET_MS - 20000, "remind"), (300 + AFTER_RESET_MS, "missed")]


def test_resets_can_not_put_it_off_for_ever():
    timer = started(30)
    state = timer.state(0, NOW)
    for n in range(20):
        again = CheckIn()
        again.restore(state, 300, NOW + 1800 + n)
        assert again.state(500, NOW + 1800 + n) == state
        state = again.state(500, NOW + 1800 + n)


def test_nobody_knows_the_time_a_reset_starts_it_over_and_the_clock_corrects_it():
    timer = started()
    assert timer.state(0, 0) == [0, 30]
    again = after_reset(timer, 0, 0, 0)
    assert run(again, 300, 10**9)[-1] == (300 + 30 * MINUTE, "missed")
    known = after_reset(started(), 0, NOW, 0)
    known.clock(5000, NOW + 1200)
    assert run(known, 5000, 10**9)[-1] == (5000 + 10 * MINUTE, "missed")


def test_a_clock_that_goes_back_can_not_put_it_off_for_longer_than_a_new_start():
    again = after_reset(started(), 0, NOW, NOW)
    again.clock(1000, NOW - 10**6)
    assert run(again, 1000, 10**9)[-1] == (1000 + 30 * MINUTE, "missed")


def test_the_clock_does_not_touch_one_that_was_started_since():
    again = after_reset(started(), 0, NOW, NOW)
    again.start(30, 1000)
    again.clock(2000, NOW + 10**6)
    assert run(again, 2000, 10**9)[-1] == (1000 + 30 * MINUTE, "missed")


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=2), st.integers(0, 2**32), st.integers(0, 10**8))
def test_whatever_was_on_flash_it_reminds_before_it_is_missed(state, seconds, now):
    timer = CheckIn()
    timer.restore(state, now, seconds)
    if timer.minutes:
        seen = run(timer, now, 10**10)
        assert seen[-1][1] == "missed"
        assert seen[-2][1] == "remind"
        assert now + AFTER_RESET_MS <= seen[-1][0] <= now + timer.minutes * MINUTE + 1440 * MINUTE


def test_a_reminder_that_was_due_as_it_woke_is_felt():
    """Its start takes some time, and both the deadline and the time are whole seconds."""
    timer = CheckIn(0)
    timer.restore([1_767_225_778, 30], 400, 1_767_225_600)
    assert timer.time(400) == "remind"
    assert timer.time(400) is None
