"""Run the drill by SMS from the workshop: start smsdrill.py on the board, hear what it says, and judge.

The drill of an interrupted run ends before another is raised: smsdrill.py ends it on the bracelet; at the relay it is
closed together with the other.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwsim.workshop.build import FIND, SMSDRILL
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.transcript import Life, event
from hwsim.workshop.trouble import Trouble

NOT_CONFIGURED = {"result": "not configured"}
_NETWORK_S, _START_S, _BACK_S = 180, 60, 90  # the first as NETWORK_MS in smsdrill.py
_NO_NUMBER = "the bracelet has no number of the relay's modem"


class Text(Life):
    """The bracelet's words during the drill by SMS."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = self.refused = 0  # messages, by the network
        self.result = ""

    def hear(self, line: str) -> None:
        found = event(line)
        if found is None:
            return
        name, values = found
        if name == "raised" and values.get("by") == "trial" and values.get("counter", "").isdigit():
            self.raised = self.sent = int(values["counter"])
        elif name == "sms":
            self.taken += values.get("ok") == "1"
            self.refused += values.get("ok") == "0"
        elif name == "test" and values.get("part") == "sms":
            self.result = values.get("result", "")
        elif name in ("receipt", "delivered") and values.get("counter", "").isdigit():
            # The receipt of an Update counts too: it may overtake that of the Alert.
            if self.raised is not None and int(values["counter"]) >= self.raised:
                self.path = values.get("path", self.path)
                self.delivered = self.delivered or name == "delivered"
        else:
            super().hear(line)

    def judge(self, seconds: float) -> None:
        """Raise Trouble unless a receipt has come by SMS. `seconds`: how long the bracelet waited for it."""
        if self.result == "ok" and self.delivered and self.path == "sms":
            return
        if self.result == "late":
            raise Trouble(f"drill by SMS: {self._late(seconds)}")
        if self.result == "ok":
            raise Trouble(f"drill by SMS: it was answered, but not by SMS: run this again ({self.hints()})")
        why = _WRONG[self.result if self.result in _WRONG else "failed"]
        raise Trouble(f"drill by SMS: {why} ({self.hints()})")

    def _late(self, seconds: float) -> str:
        if self.taken:
            return (
                f"the network took the message (AT+CMGS), and within {seconds:g} s no receipt came by SMS: is the "
                "number that the bracelet was given (--sms, or sms.number of the relay's settings) that of the relay's "
                "modem, does `relay run` have that modem (sms.port) and a network, may its SIM send? If it only takes "
                "long: --patience"
            )
        if self.refused:
            return (
                "the network refused the message (AT+CMGS): may this SIM send SMS, has it credit, is the number of the "
                "relay's modem one that can be reached from there, does the SIM know its service centre (AT+CSCA?)?"
            )
        return f"the modem could not hand over the message within {seconds:g} s: look at its antenna and supply"


_WRONG = {
    "network": "the modem found no network within 3 minutes, which it had in the self-test: look at its antenna",
    "denied": "the network refuses this SIM: is it activated, and may it be used here (roaming)?",
    "busy": "the bracelet still has an alarm that is no drill: close it at the relay, and run this again when the "
    "bracelet has heard that",
    "pressed": "the button was pressed meanwhile, and that goes first; leave it alone, and run this again",
    "abandoned": "an error ended a part of the firmware, and the drill with it; flash.sh's log names it. Run it again",
    "blank": "the bracelet has lost its identity: run this with --from-start",
    "failed": "it ended without a word; flash.sh's log says more. Run this again",
}


class Back(Life):
    """The bracelet's start afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.restless = False  # something of the drill is still being sent

    def hear(self, line: str) -> None:
        found = event(line)
        self.restless = self.restless or (found is not None and found[0] in ("published", "update"))
        super().hear(line)


def run(
    cable: Cable, made: Path, person: Person, patience: float, way: str, note: Callable[[int], None]
) -> dict[str, Any]:
    """Run the drill, and return its entry in the record. `way`: by which the first drill went; `note` gets the counter
    of this one."""
    person.tell("a second drill, by SMS alone: it needs no hand, and may take minutes; leave button and strap alone")
    life, begin, took = Text(), 0.0, None

    def hear(line: str) -> None:
        nonlocal begin, took
        known, sent = life.raised, life.taken
        life.hear(line)
        if known is None and life.raised is not None:
            begin = time.monotonic()
            note(life.raised)
            person.tell("raised; goes out by SMS", raised=life.raised)
        if life.taken > sent:
            person.tell("the network has taken the message; waits for the relay's receipt")
        if life.delivered and took is None:
            took = round(time.monotonic() - begin, 1)

    module = f"{SMSDRILL}.mpy"
    start = f"{FIND}; import os, {SMSDRILL}; os.remove('{module}'); {SMSDRILL}.main({int(patience)})"
    within = _NETWORK_S + patience + _START_S
    try:
        cable.mpremote("fs", "cp", str(made / module), f":{module}", "+", "exec", start, within=within, line=hear)
        if life.result == "number":
            person.tell(f"{_NO_NUMBER}: passed over")
            return NOT_CONFIGURED
        life.judge(patience)
    except Trouble:
        with contextlib.suppress(Trouble), cable.console() as console:
            console.reset()  # the bracelet is back at its work at once, and not by its watchdog
        raise
    _comes_back(cable, way)
    return {"result": "good", "counter": life.raised, "receipt_s": took}


def _comes_back(cable: Cable, way: str) -> None:
    """Reset the bracelet, and wait until it is armed, on the way of before, and calm. Raises Trouble when it isn't."""
    life = Back()
    with cable.console() as console:
        console.reset()
        for line in console.lines(_BACK_S):
            life.hear(line)
            if life.armed and way in life.paths:
                break
    if not life.armed or way not in life.paths:
        what = "is armed, but has not found its way by" if life.armed else "was not armed again, to go by"
        raise Trouble(f"after the drill by SMS the bracelet {what} {way} within {_BACK_S} s: {life.hints()}")
    if life.restless:
        raise Trouble("after the drill by SMS the bracelet still sends something of it: run this again")
