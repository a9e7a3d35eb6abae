"""A start and a drill, as the console tells of them."""

from __future__ import annotations

import pytest

from hwsim.workshop.transcript import Life, event
from hwsim.workshop.trouble import Trouble


def heard(*lines: str) -> Life:
    life = Life()
    for line in lines:
        life.hear(line)
    return life


DRILL = (
    "@boot cause=power_on",
    "@armed",
    "@link path=net up=1",
    "@link path=mqtt up=1",
    "@drill armed=1",
    "@raised by=drill counter=3 octets=126",
)


def test_a_line_and_what_is_none():
    assert event("@raised by=drill counter=3") == ("raised", {"by": "drill", "counter": "3"})
    assert event("@armed") == ("armed", {})
    assert event("Traceback (most recent call last):") is None
    assert event("") is None


def test_a_drill_to_its_end():
    life = heard(*DRILL)
    assert (life.armed, life.armed_drill, life.raised, life.delivered) == (True, True, 3, False)
    for line in ("@receipt counter=3 path=mqtt", "@delivered counter=3"):
        life.hear(line)
    assert (life.delivered, life.path, life.accepted) == (True, "mqtt", False)
    life.hear("@accept counter=3 path=mqtt")
    life.hear("@close counter=3 path=mqtt")
    assert (life.accepted, life.closed) == (True, True)


def test_what_belongs_to_another_alarm_does_not_count():
    life = heard(*DRILL, "@receipt counter=2 path=mqtt", "@delivered counter=2", "@accept counter=2 path=mqtt")
    assert (life.delivered, life.path, life.accepted) == (False, "", False)
    assert not heard("@armed", "@delivered counter=3").delivered


def test_a_drill_from_before_goes_on():
    life = Life(3)
    for line in ("@armed", "@update by=time counter=9", "@delivered counter=9"):
        life.hear(line)
    assert not life.delivered
    life.hear("@delivered counter=3")
    assert life.delivered
    life = Life(3)  # its receipt came while nobody listened: the gesture sends an Update of it
    for line in ("@update by=drill counter=20", "@receipt counter=20 path=sms", "@delivered counter=20"):
        life.hear(line)
    assert (life.sent, life.raised, life.delivered, life.path) == (20, 3, True, "sms")
    life.hear("@accept counter=3 path=sms")
    assert life.accepted
    with pytest.raises(Trouble, match="a drill from before is still open"):
        heard("@update by=drill counter=20")
    life = heard("@armed", "@update by=drill counter=20 alarm=3 octets=126", "@delivered counter=20")
    assert (life.sent, life.raised, life.delivered) == (20, 3, True)  # raised as flash.sh was interrupted


def test_a_real_alarm_is_no_drill():
    with pytest.raises(Trouble, match=r"REAL alarm \(counter 7\)"):
        heard("@armed", "@raised by=hold counter=7 octets=126")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("@refused what=partition reason=lost", "no partition for its journal"),
        ("@refused what=journal reason=lost", "can't use its journal"),
        ("@refused what=offer reason=ValueError", "refuses the relay's offer"),
        ("@crashed reason=ImportError", "could not start"),
        ("@missing part=battery reason=KeyError", r"does without its battery \(KeyError\)"),
        ("@missing part=wake reason=pin", "does without sleep, because a pin"),
    ],
)
def test_a_bracelet_that_cannot_go_on(line, why):
    with pytest.raises(Trouble, match=why):
        heard(line)
    heard("@refused what=down reason=tag")  # of others it lives on


def test_hints():
    life = heard("@sim state=missing", "@failed path=mqtt reason=OSError:111", "@link path=net up=1")
    assert life.hints() == "the SIM is missing; the last thing that failed was mqtt: OSError:111; up are net"
    assert heard("@link path=net up=1", "@link path=net up=0").hints() == "no path was up"
    assert heard("@sim state=failed", "@link path=sms up=1").hints() == "up are sms"  # it was only starting
