"""What `relay watch` says of an alarm: a drill never looks like an alarm, and duress never like a false one."""

from __future__ import annotations

from typing import Any

import pytest

from relay.commands.watch import Cancels, describe
from relay.rebroadcast import describe as document
from relay.verify.payload import Alarm, Fix

DRILL, CANCEL, DURESS, OPEN, LAST, DOUBTFUL = 1, 2, 4, 2 << 5, 128, 256
RED = "\x1b[31m"


SENT = 1767225600


def said(flags: int, cause: int = 0, seq: int = 0, delay_s: int = 1) -> dict[str, Any]:
    alarm = Alarm(flags, cause, seq, SENT, 80, Fix(520000000, 130000000, 12, 3))
    return {**document(alarm, 0xC0FFEE01, 9 + seq, (SENT + delay_s) * 1000), "path": "mqtt"}


def shown(flags: int, cause: int = 0, seq: int = 0, delay_s: int = 1) -> str:
    return describe(said(flags, cause, seq, delay_s), now=SENT + delay_s)


@pytest.mark.parametrize(("cause", "name"), [(0, "button"), (1, "strap"), (2, "check-in")])
def test_an_alarm_is_red_and_says_why(cause: int, name: str) -> None:
    text = shown(0, cause)
    assert RED in text
    assert f"ALERT   c0ffee01-9  {name}" in text


@pytest.mark.parametrize("flags", [DRILL, DRILL | OPEN, DRILL | CANCEL, DRILL | CANCEL | DURESS])
@pytest.mark.parametrize("cause", [0, 1, 2])
def test_a_drill_says_so_first_and_is_never_red(flags: int, cause: int) -> None:
    text = shown(flags, cause)
    assert RED not in text
    assert "Z  DRILL " in text
    assert "Exercise: nobody is in danger" in text


def test_duress_is_said_in_words() -> None:
    assert "called off UNDER DURESS: treat as an alarm" in shown(CANCEL | DURESS, seq=1)
    assert "UNDER DURESS" in shown(DURESS, seq=2)
    assert "called off" not in shown(DURESS, seq=2)
    assert "DURESS" not in shown(CANCEL, seq=1)


def test_strap_doubt_and_the_last_message_are_said() -> None:
    assert "strap open" in shown(OPEN, seq=1)
    assert "strap open" not in shown(OPEN, cause=1)
    assert "spoofed" in shown(DOUBTFUL)
    assert "LAST message" in shown(LAST, seq=3)


def test_times_have_dates_and_the_code_name_is_said() -> None:
    text = describe(said(0), "sparrow", SENT + 1)
    assert "2026-01-01T00:00:01Z  ALERT   c0ffee01-9  button  sparrow" in text


def test_what_is_late_says_when_it_was_raised_and_has_another_colour() -> None:
    late = shown(0, delay_s=21 * 86400)
    assert "LATE: raised 21 days ago" in late
    assert "sent 2026-01-01T00:00:00Z" in late
    assert RED not in late
    assert late[:5] not in {shown(0)[:5], shown(0, seq=1)[:5], shown(CANCEL, seq=1)[:5], shown(DRILL)[:5]}
    assert "LATE: raised 2 h ago" in describe(said(0, delay_s=600), now=SENT + 7200), "as old as it is when it is shown"
    assert "LATE: sent 10 min ago" in shown(0, seq=3, delay_s=600)
    assert "LATE" not in shown(0, delay_s=119)
    assert "LATE: raised" in shown(DRILL, delay_s=600)
    assert shown(DRILL, delay_s=600)[:5] == shown(DRILL)[:5]


@pytest.mark.parametrize(("ahead", "said_of_it"), [(6, "6 s"), (3600, "60 min"), (86400 * 21, "21 days")])
def test_what_was_sent_ahead_of_its_arrival_took_no_time(ahead: int, said_of_it: str) -> None:
    text = shown(0, delay_s=-ahead)
    assert f"by mqtt, sent {said_of_it} ahead of the relay's clock, so one of the two clocks is wrong" in text
    assert "after" not in text
    assert "LATE: received 60 min ago" in describe(said(0, delay_s=-ahead), now=SENT - ahead + 3600)
    assert said(0, delay_s=-ahead)["delay_s"] == 0, "for scripts it stays as it is"


def test_clocks_that_are_set_may_be_a_little_apart() -> None:
    assert "by mqtt after 0 s" in shown(0, delay_s=-5)


def test_what_waited_while_nobody_read_is_late_too() -> None:
    waited = describe(said(0), now=SENT + 3 * 86400)
    assert "LATE: raised 3 days ago" in waited
    assert RED not in waited
    assert "LATE" not in describe(said(0), now=SENT + 300), "two machines' clocks may be apart"
    unknown = {**said(0), "sent": None, "sent_unix": None, "delay_s": None}
    assert "LATE: received 2 days ago" in describe(unknown, now=SENT + 2 * 86400 + 60)


def test_an_update_after_a_cancel_is_marked_as_such() -> None:
    cancels = Cancels()
    assert cancels.mark(said(0)) == ""
    assert cancels.mark(said(CANCEL, seq=2)) == ""
    assert cancels.mark(said(0, seq=3)) == "after a cancel: it stays cancelled"
    assert cancels.mark(said(0, seq=1)) == "from before its cancel, which came earlier"
    assert cancels.mark(said(CANCEL, seq=4)) == ""
    marked = describe(said(0, seq=3), mark=cancels.mark(said(0, seq=5)))
    assert "after a cancel: it stays cancelled" in marked
    assert marked[:5] == shown(CANCEL, seq=2)[:5], "the colour of a cancel"


def test_after_a_cancel_under_duress_no_update_is_taken_for_an_end() -> None:
    for order in ((CANCEL | DURESS, 1), (CANCEL, 2)), ((CANCEL, 2), (CANCEL | DURESS, 1)), ((CANCEL, 1), (DURESS, 2)):
        cancels = Cancels()
        for flags, seq in order:
            cancels.mark(said(flags, seq=seq))
        assert cancels.mark(said(0, seq=3)) == "it was called off UNDER DURESS: treat as an alarm"


def test_duress_alone_calls_nothing_off() -> None:
    cancels = Cancels()
    cancels.mark(said(DURESS, seq=1))
    assert cancels.mark(said(0, seq=2)) == ""
