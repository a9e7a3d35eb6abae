"""What else raises than a hold, and what does not look on the wrist like what it is: drill, strap, check-in, duress."""

import pytest
from tocsin.alarm import ALERT, CANCEL, CANCEL_MS, DRILL_MS, DURESS, PROGRESS_MS, UPDATE, Alarm
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


def test_under_duress_it_is_called_back_and_goes_on():
    alarm = raised()
    assert do(alarm, "duress", 5000, 8) == (DURESS, CANCELLED | UNDER_DURESS, 0)
    assert alarm.active
    assert alarm.deadline(99, True) == 20_000
    assert alarm.flags(UPDATE, None) == UNDER_DURESS
    assert alarm.decide("strap", 6000) == ALERT
    assert alarm.flags(ALERT, "strap") == UNDER_DURESS


@pytest.mark.parametrize("what", ["hold", "cancel", "duress", "drill", "strap", "check_in"])
def test_after_it_every_pattern_does_what_it_does_after_an_ordinary_call_back(what):
    """On the wrist; what is sent differs: there a new alarm, here perhaps an Update of the one that goes on."""
    for now in (6000, 10**7):
        felt = []
        for back in ("cancel", "duress"):
            alarm = raised()
            kind, *_ = do(alarm, back, 5000, 8)
            felt.append([alarm.felt(kind, back)])
            kind, *_ = do(alarm, what, now, 9)
            felt[-1].append(alarm.felt(kind, what))
        assert felt[0] == felt[1] == ["cancelled", "drill" if what == "drill" else "raised"]


def test_nothing_more_is_felt_of_it():
    alarm = raised()
    do(alarm, "duress", 5000, 8)
    assert alarm.receipt(7, 7)  # as it would be after an ordinary call back
    again = raised()
    do(again, "duress", 5000, 8)
    assert not again.receipt(7, 9)  # an Update's
    assert not again.receipt(7, 7)
    assert not again.accept(7)
    assert not again.close(7)
    assert not again.active


def test_duress_with_nothing_to_call_back_raises_and_says_so():
    assert do(Alarm(), "duress", 0, 7) == (ALERT, UNDER_DURESS, 0)


@pytest.mark.parametrize("what", ["hold", "drill", "strap", "check_in"])
def test_all_of_it_survives_a_reset(what):
    alarm = raised(what)
    do(alarm, "duress", 5000, 8)
    again = Alarm()
    again.restore(alarm.state(), 100, 0)
    assert again.state() == alarm.state()
    assert (again.drill, again.cause, again.hushed) == (alarm.drill, alarm.cause, 8)


def test_a_state_of_the_first_version_is_read():
    alarm = Alarm()
    alarm.restore([7, 1000, 0, 1], 500, 1100)
    assert alarm.state() == [7, 1000, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("back", "gone"), [(CANCEL, 7), (DURESS, 9)])
def test_to_make_room_an_alert_goes_that_was_called_back_but_not_under_duress(back, gone):
    queue = Delivery(lambda: 0, limit=4)
    for counter, alarm, kind in ((7, 7, ALERT), (8, 7, back), (9, 7, UPDATE), (10, 10, ALERT)):
        queue.add(Message(counter, alarm, kind, b""), 0)
    if back == CANCEL:
        queue.receipt(9)
        queue.add(Message(11, 11, ALERT, b""), 0)
    assert queue.add(Message(12, 12, ALERT, b""), 0).counter == gone


def test_under_duress_no_alert_gives_way():
    queue = Delivery(lambda: 0, limit=3)
    for counter, alarm, kind in ((7, 7, ALERT), (8, 7, DURESS), (9, 9, ALERT)):
        queue.add(Message(counter, alarm, kind, b""), 0)
    assert queue.add(Message(10, 10, ALERT, b""), 0).counter == 8
    assert queue.find(7)
