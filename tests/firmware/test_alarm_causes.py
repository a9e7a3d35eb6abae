"""What else raises than a hold, and what does not look on the wrist like what it is: drill, strap, check-in, duress."""

import pytest
from tocsin.alarm import ALERT, CANCEL, CANCEL_MS, DRILL_MS, OVER_MS, PROGRESS_MS, UPDATE, Alarm
from tocsin.delivery import Delivery, Message

DRILL, CANCELLED, UNDER_DURESS = 1, 2, 4


def raised(what="hold", at=0, counter=7):
    alarm = Alarm()
    do(alarm, what, at, counter)
    return alarm


def do(alarm, what, now, counter):
    """Decide and seal; (kind, flags, cause)."""
    kind = alarm.decide(what, now)
    flags, cause = alarm.flags(kind, what), alarm.cause_of(kind, what)
    alarm.sealed(kind, counter, 0, now, counter, True, what)
    return kind, flags, cause


@pytest.mark.parametrize(("what", "cause"), [("hold", 0), ("drill", 0), ("strap", 1), ("check_in", 2), ("trial", 3)])
def test_each_cause_raises_and_is_told_in_every_message(what, cause):
    alarm = Alarm()
    drill = DRILL if what in ("drill", "trial") else 0
    assert do(alarm, what, 0, 7) == (ALERT, drill, cause)
    assert alarm.cause_of(UPDATE, None) == cause
    assert do(alarm, "cancel", 1000, 8) == (CANCEL, CANCELLED | drill, cause)


@pytest.mark.parametrize("what", ["strap", "check_in"])
def test_in_an_alarm_a_cut_strap_is_an_update_and_no_second_alarm(what):
    alarm = raised()
    assert alarm.decide(what, PROGRESS_MS) == UPDATE
    assert alarm.decide(what, PROGRESS_MS + 1) == ALERT
    assert raised("drill").decide(what, 1000) == ALERT


def test_a_hold_in_a_drill_is_real():
    alarm = raised("drill")
    assert do(alarm, "hold", 5000, 8) == (ALERT, 0, 0)
    assert not alarm.drill


def test_a_drill_never_ends_a_real_alarm():
    alarm = raised()
    for now in (5000, CANCEL_MS + 1, 10**8):
        assert alarm.decide("drill", now) == UPDATE
        assert alarm.flags(UPDATE, "drill") == 0


def test_a_drill_ends_by_itself():
    alarm = raised("drill")
    now, updates = 0, 0
    while alarm.deadline(now, True) is not None:
        now = alarm.deadline(now, True)
        alarm.sealed(UPDATE, 8, 0, now, now - 1, True)
        updates += 1
    assert now <= DRILL_MS
    assert updates == 12


def test_forced_and_ordinary_call_back_differ_in_one_flag_of_one_message():
    for what, flag in (("cancel", 0), ("duress", UNDER_DURESS)):
        alarm = raised()
        assert do(alarm, what, 5000, 8) == (CANCEL, CANCELLED | flag, 0)
        assert alarm.active
        assert alarm.deadline(99, True) == 20_000
        assert alarm.flags(UPDATE, None) == 0
        assert alarm.decide("strap", 6000) == ALERT
        assert alarm.flags(ALERT, "strap") == 0


@pytest.mark.parametrize("what", ["hold", "cancel", "duress", "drill", "strap", "check_in", "close", "accept", "wait"])
@pytest.mark.parametrize("first", ["hold", "drill", "strap", "check_in"])
def test_whatever_follows_nothing_but_that_flag_differs(first, what):
    """All that the alarm knows and answers, also over resets in between."""
    for now in (6000, 10**6, 10**7):
        lives = []
        for back in ("cancel", "duress"):
            alarm = raised(first)
            assert not alarm.receipt(9, 7)
            seen = [alarm.felt(do(alarm, back, 5000, 8)[0], back)]
            seen += [alarm.state(now), alarm.receipt(7, 7), alarm.receipt(7, 8), alarm.settle(now, False)]
            if what in ("close", "accept"):
                seen.append(getattr(alarm, what)(7))
            elif what != "wait":
                kind, flags, cause = do(alarm, what, now, 9)
                seen += [kind, flags, cause, alarm.felt(kind, what), alarm.receipt(9, 9)]
            seen += [alarm.state(now), alarm.state_behind(now), alarm.deadline(99, True), alarm.age(now)]
            again = Alarm()
            again.restore(alarm.state(now), 100, 0, alarm.state_behind(now))
            seen += [again.deadline(99, True), again.ends_at(), again.active, vars(again)]
            lives.append(seen)
        assert lives[0] == lives[1]


def test_nothing_more_is_felt_of_it():
    for back in ("cancel", "duress"):
        alarm = raised()
        do(alarm, back, 5000, 8)
        assert alarm.receipt(7, 7)
        again = raised()
        do(again, back, 5000, 8)
        assert not again.receipt(7, 9)  # an Update's
        assert not again.receipt(7, 7)
        assert not again.accept(7)
        assert not again.accept(3)
        assert not again.close(7)
        assert again.active  # the relay knows whether she was forced, so what it says must not show
        assert not again.accepted


@pytest.mark.parametrize("newer", ["hold", "drill", "strap"])
@pytest.mark.parametrize("over", [False, True])
def test_nor_when_a_newer_alarm_is_open(newer, over):
    """The relay accepts what was forced and closes what was not: the order is about the older one, and secret still."""
    alarm = raised()
    do(alarm, "cancel", 5000, 8)
    if over:
        assert alarm.settle(OVER_MS, False)
    do(alarm, newer, OVER_MS + 1 if over else 60_000, 9)
    again = Alarm()
    again.restore(alarm.state(OVER_MS + 2), 0, 0, alarm.state_behind(OVER_MS + 2))
    for each in (alarm, again):
        assert each.secret(7)
        assert not each.accept(7)
        assert not each.close(7)
        assert not each.secret(9)
        assert each.accept(9)


def test_of_an_older_alarm_that_is_open_the_acceptance_is_felt_after_a_reset_too():
    alarm = raised()
    do(alarm, "hold", 60_000, 9)
    again = Alarm()
    again.restore(alarm.state(61_000), 0, 0)
    for each in (alarm, again):
        assert not each.secret(7)
        assert each.accept(7)


def test_a_drill_that_was_called_back_is_over():
    for back in ("cancel", "duress"):
        alarm = raised("drill")
        do(alarm, back, 5000, 8)
        assert not alarm.active
        assert not alarm.settle(6000, True)
        assert alarm.settle(6000, False)


@pytest.mark.parametrize("end", ["cancel", "duress", "close", "wait"])
def test_behind_a_drill_the_quiet_updates_of_a_real_alarm_go_on(end):
    alarm = raised()
    do(alarm, "duress", 5000, 8)
    assert do(alarm, "drill", 60_000, 9)[:2] == (ALERT, DRILL)
    if end == "close":
        assert alarm.close(9)
    elif end != "wait":
        do(alarm, end, 70_000, 10)
    again = Alarm()
    again.restore(alarm.state(80_000), 80_000, 0, alarm.state_behind(80_000))
    for each in (alarm, again):
        over = 80_000 if end != "wait" else 120_000 + DRILL_MS  # the journal knows minutes
        assert each.settle(over, False)
        assert (each.counter, each.drill, each.called_back) == (7, False, 8)
        assert each.deadline(99, True) is not None
        assert each.settle(OVER_MS + 60_000, False)
        assert each.counter is None


def test_a_real_alarm_ends_those_behind_a_drill():
    alarm = raised()
    do(alarm, "cancel", 5000, 8)
    do(alarm, "drill", 60_000, 9)
    do(alarm, "drill", 100_000, 10)
    assert alarm.behind[0] == 7
    do(alarm, "hold", 110_000, 11)
    assert alarm.behind == []


def test_duress_with_nothing_to_call_back_raises_and_says_so():
    assert do(Alarm(), "duress", 0, 7) == (ALERT, UNDER_DURESS, 0)


@pytest.mark.parametrize("what", ["hold", "drill", "strap", "check_in"])
def test_all_of_it_survives_a_reset(what):
    alarm = raised(what)
    do(alarm, "duress", 5000, 8)
    again = Alarm()
    again.restore(alarm.state(5000), 100, 0)
    assert again.state(100) == alarm.state(5000)
    assert (again.drill, again.cause, again.called_back) == (alarm.drill, alarm.cause, 8)


def test_what_an_older_program_called_back_is_over():
    alarm = Alarm()
    alarm.restore([7, 1000, 1, 1, 0, 0, 0], 500, 1100)
    assert not alarm.active
    assert alarm.settle(500, False)


def test_a_state_of_the_first_version_is_read():
    alarm = Alarm()
    alarm.restore([7, 1000, 0, 1], 500, 1100)
    assert alarm.state(500) == [7, 1000, 0, 1 | 1 << 3, 0, 0, 0]


def test_to_make_room_an_alert_goes_that_was_called_back_and_never_another():
    """Its cancel says where and when, too, and whether she was forced."""
    queue = Delivery(lambda: 0, limit=4)
    for counter, alarm, kind in ((7, 7, ALERT), (8, 7, CANCEL), (9, 7, UPDATE), (10, 10, ALERT)):
        queue.add(Message(counter, alarm, kind, b""), 0)
    assert [queue.add(Message(n, n, ALERT, b""), 0).counter for n in (11, 12, 13)] == [9, 7, 8]
    assert [message.counter for message in queue.queue] == [10, 11, 12, 13]
