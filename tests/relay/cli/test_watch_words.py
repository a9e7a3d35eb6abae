"""What `relay watch` says of an alarm: a drill never looks like an alarm, and duress never like a false one."""

from __future__ import annotations

import pytest

from relay.commands.watch import describe
from relay.rebroadcast import describe as document
from relay.verify.payload import Alarm, Fix

DRILL, CANCEL, DURESS, OPEN, LAST, DOUBTFUL = 1, 2, 4, 2 << 5, 128, 256
RED = "\x1b[31m"


def shown(flags: int, cause: int = 0, seq: int = 0) -> str:
    alarm = Alarm(flags, cause, seq, 1767225600, 80, Fix(520000000, 130000000, 12, 3))
    return describe({**document(alarm, 0xC0FFEE01, 9, 1767225601000), "path": "mqtt"})


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
    assert "UTC  DRILL " in text
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
