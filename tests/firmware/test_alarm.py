"""The life of an alarm: when a hold is an Alert, an Update, a cancel; when Updates are due."""

import pytest
from tocsin.alarm import ALERT, CANCEL, OVER_MS, UPDATE, Alarm, next_update


def due(alarm, now, news, placed):
    at = alarm.deadline(news, placed)
    return at is not None and now >= at


def raised(at=0, news=0, time=1767225600):
    alarm = Alarm()
    assert alarm.decide("hold", at) == ALERT
    alarm.sealed(ALERT, 7, time, at, news, True)
    return alarm


def slots(until):
    alarm = raised()
    seen = []
    for now in range(0, until + 1, 1000):
        if due(alarm, now, now, True):  # news all the time
            alarm.sealed(UPDATE, 8, 0, now, now, True)
            seen.append(now // 1000)
    return seen


def test_updates_with_news_all_the_time():
    minutes = [60 * n for n in range(2, 12)]
    assert slots(3_000_000) == [20, 40, 60, *minutes, 1260, 1860, 2460]


@pytest.mark.parametrize("stretch", [2, 4])
def test_with_a_low_battery_updates_are_as_many_times_fewer(stretch):
    alarm = raised()
    alarm.stretch = stretch
    alarm.sealed(UPDATE, 8, 0, 1000, 1, True)
    seen = []
    for now in range(0, 3_000_001 * stretch, 1000):
        if due(alarm, now, now, True):
            alarm.sealed(UPDATE, 8, 0, now, now, True)
            seen.append(now // 1000)
    assert seen == [stretch * second for second in slots(3_000_000)]


def run(moved, until, fixes=True):
    """Seconds of all Updates, where moved(s) says what the fixes say of the place told last."""
    alarm = raised()
    seen = []
    for now in range(0, until * 1000 + 1, 1000):
        news = now if fixes else 0
        at = alarm.deadline(news, True, moved(now // 1000))
        if at is not None and now >= at:
            alarm.sealed(UPDATE, 8, 0, now, news, True, None, moved(now // 1000) is False)
            seen.append(now // 1000)
    return seen


DENSE = [20, 40, 60, *[60 * n for n in range(2, 12)]]


def test_moving_it_is_every_ten_minutes_and_still_every_half_hour():
    assert run(lambda s: True, 5000) == [*DENSE, 1260, 1860, 2460, 3060, 3660, 4260, 4860]
    assert run(lambda s: False, 8000) == [*DENSE, 2460, 4260, 6060, 7860]


def test_without_fixes_it_counts_as_moving():
    assert run(lambda s: None, 3000) == [*DENSE, 1260, 1860, 2460]  # poor ones only
    assert run(lambda s: None, 3000, fixes=False) == [600, 1200, 1860, 2460]  # "still here, nothing new"


def test_who_was_still_and_is_carried_off_is_told_of_at_once():
    assert run(lambda s: s >= 3000, 5000) == [*DENSE, 2460, 3000, 3660, 4260, 4860]
    assert run(lambda s: s >= 2500, 3000) == [*DENSE, 2460, 2500]  # long before the slot
    assert run(lambda s: None if s >= 3000 else False, 4000) == [*DENSE, 2460, 3060, 3660]  # out of sight: in its slot


def test_who_stops_is_told_of_once_more_in_half_an_hour():
    assert run(lambda s: s < 1300, 5000) == [*DENSE, 1260, 3060, 4860]


def test_in_the_first_minutes_it_makes_no_difference_whether_she_moves():
    assert run(lambda s: s % 7 < 3, 660) == DENSE


def test_low_battery_makes_the_half_hour_longer_too():
    alarm = raised()
    alarm.stretch = 2
    alarm.sealed(UPDATE, 8, 0, 2 * 660_000, 1, True, None, True)
    assert alarm.deadline(2, True, False) == 2 * (660_000 + 1_800_000)


def test_while_she_keeps_still_it_wakes_to_see_whether_she_does():
    alarm = raised()
    alarm.sealed(UPDATE, 8, 0, 660_000, 1, True, None, True)
    assert alarm.next_at(700_000) == 1_260_000
    assert alarm.next_at(1_265_000) == 1_865_000
    assert alarm.next_at(2_000_000) == 2_460_000  # the Update's own time
    assert alarm.next_at(2_500_000) == 2_500_000
    alarm.close(7)
    assert alarm.next_at(700_000) is None


def test_after_a_sleep_it_knows_what_was_told_and_when():
    alarm = Alarm()
    alarm.restore([7, 1767225600, 0, 1], 500, 1767225600 + 1900)
    alarm.woke(640_000, 0, 500, True)  # told 1260 s after the Alert
    assert alarm.deadline(1, True, False) == 500 - 640_000 + 1_800_000
    assert alarm.deadline(1, True, True) < 500  # moved since: at once
    assert alarm.deadline(0, True, None) == 500 + 45_000  # in vain: some time for a fix
    alarm.woke(640_000, 0, 500, False)
    assert alarm.deadline(1, True, True) == 500 - 1_900_000 + 1_860_000
    assert alarm.told_ago(600) == 640_100


def test_a_clock_that_was_some_seconds_early_fills_the_slot():
    assert [next_update(1000 * s) // 1000 for s in (1195, 1205, 1255, 1265)] == [1260, 1860, 1860, 1860]


def test_slots_lie_ahead():
    for elapsed in range(0, 2_000_000, 777):
        assert next_update(elapsed) > elapsed


def test_without_news_an_update_waits_for_it():
    alarm = raised(news=3)
    assert not due(alarm, 33_000, 3, True)
    assert due(alarm, 33_000, 4, True)  # the fix came after its slot: at once
    assert alarm.deadline(4, True) == 20_000
    assert alarm.deadline(3, True) == 600_000
    assert due(alarm, 600_000, 3, True)


def test_news_before_the_slot_waits_for_the_slot():
    alarm = raised()
    assert not due(alarm, 19_999, 1, True)
    assert due(alarm, 20_000, 1, True)


def test_the_first_position_does_not_wait_for_a_slot():
    alarm = Alarm()
    alarm.sealed(ALERT, 7, 0, 0, 0, False)
    assert alarm.deadline(1, False) == 20_000
    assert alarm.deadline(1, True) == 3000
    alarm.sealed(UPDATE, 8, 0, 20_000, 1, False)  # only the cell
    assert due(alarm, 23_000, 2, True)
    alarm.sealed(UPDATE, 9, 0, 33_000, 2, True)
    assert alarm.deadline(3, True) == 40_000


def test_hold_again_soon_is_an_update_later_an_alert():
    alarm = raised(at=1000)
    assert alarm.decide("hold", 31_000) == UPDATE
    assert alarm.decide("hold", 31_001) == ALERT


def test_cancel_only_in_its_window_else_it_raises():
    alarm = raised(at=1000)
    assert alarm.decide("cancel", 31_000) == CANCEL
    assert alarm.decide("cancel", 31_001) == ALERT
    assert Alarm().decide("cancel", 0) == ALERT


def test_after_a_cancel_a_hold_raises_anew_and_updates_follow_for_an_hour():
    alarm = raised()
    alarm.sealed(CANCEL, 8, 0, 5000, 0, True)
    assert alarm.decide("hold", 6000) == ALERT
    assert alarm.decide("cancel", 6000) == ALERT
    updates, news = [], 99
    while (at := alarm.deadline(news, True)) is not None:
        updates.append(at)
        alarm.sealed(UPDATE, 8 + len(updates), 0, at, news, True)
        news += 1
    assert updates[:4] == [20_000, 40_000, 60_000, 120_000]
    assert OVER_MS - 600_000 < updates[-1] <= OVER_MS
    assert alarm.deadline(news, True) is None


def test_what_was_called_back_is_forgotten_when_its_hour_is_over_and_all_is_delivered():
    alarm = raised()
    alarm.sealed(CANCEL, 8, 0, 5000, 0, True)
    assert not alarm.settle(OVER_MS - 1, False)
    assert alarm.active
    assert not alarm.settle(OVER_MS, True)
    assert not alarm.active
    assert alarm.state(OVER_MS) != []
    assert alarm.settle(OVER_MS, False)
    assert alarm.state(OVER_MS) == []
    assert not alarm.settle(OVER_MS + 1, False)
    assert alarm.decide("hold", OVER_MS) == ALERT


def test_what_the_relay_closed_is_forgotten_at_once_and_what_goes_on_never():
    alarm = raised()
    assert not alarm.settle(10**9, False)
    assert alarm.close(7)
    assert not alarm.settle(10**9, True)
    assert alarm.settle(10**9, False)
    assert (alarm.counter, alarm.state(10**9)) == (None, [])


@pytest.mark.parametrize("known", [True, False])
def test_resets_and_sleeps_do_not_lengthen_the_hour(known):
    """Whether the clock is known or not: each time a minute awake, then nine asleep."""
    alarm = raised(time=1000 if known else 0)
    alarm.sealed(CANCEL, 8, 0, 5000, 0, True)
    now, waking = 5000, 0  # ms since the start
    for waking in range(1, 20):
        state, told_ago = alarm.state(now), alarm.told_ago(now)
        alarm, now = Alarm(), 0
        alarm.restore(state, now, 1000 + waking * 600 if known else 0)
        alarm.woke(told_ago + 540_000, 0, now)
        if alarm.settle(now, False):
            break
        now = 60_000
        alarm.sealed(UPDATE, 8 + waking, 0, now, 0, True)
    assert 4 < waking <= 7


def test_receipt_is_felt_once_an_alarm():
    alarm = raised()
    assert alarm.receipt(7, 9)  # an Update's receipt may be the first
    assert not alarm.receipt(7, 7)
    assert not alarm.receipt(3, 4)  # an older alarm's Update
    assert alarm.receipt(3, 3)  # an older alarm's Alert


def test_state_survives_a_reset():
    alarm = raised(time=1000)
    alarm.receipt(7, 7)
    again = Alarm()
    again.restore(alarm.state(0), 500, 1100)
    assert alarm.state(0) == [7, 1000, 0, 1, 0, 0, 0]
    assert again.state(500) == [7, 1000, 0, 1 | 1 << 3, 0, 0, 0]  # a minute old
    assert again.active
    assert again.decide("hold", 500) == ALERT  # 100 s have passed
    assert due(again, 5500, 1, True)
    fresh = Alarm()
    fresh.restore([], 0, 0)
    assert not fresh.active


def test_reset_with_unknown_time_counts_as_just_raised():
    again = Alarm()
    again.restore([7, 0, 0, 0], 500, 1100)
    assert again.decide("hold", 500) == UPDATE
    assert again.deadline(1, True) == 5500
