"""Run the self-test from the workshop: start selftest.py on the board, part by part, ask the engineer, and judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwsim.board import Board
from hwsim.workshop.build import FIND, SELFTEST
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.transcript import event
from hwsim.workshop.trouble import Trouble

_COPY_S, _PART_S, _RADIO_S = 60, 200, 300
_FULL = 99  # %: so much a charger shows without any cell, too
# The words for a result that is not good: what is wrong, and what to do.
WRONG = {
    ("button", "stuck"): "the button is pressed all the time: is it wired as button.pin and button.active_low say?",
    ("button", "silent"): "no press of the button was seen: is it wired as button.pin and button.active_low say?",
    ("button", "swapped"): "the press was seen at strap.pin: button and strap are wired to each other's pins",
    ("button", "bounces"): "more than one press was seen: press it once, briefly; if you did, its contact is "
    "bad, or a joint",
    ("strap", "stuck"): "the strap was closed and not opened again, or its contact is bad; do both, and look at it",
    ("strap", "open"): "the strap was open all the time: is its conductor wired to strap.pin?",
    ("strap", "closed"): "the strap reads closed when it is open: is strap.closed_low right, is there a short, is its "
    "resistor there?",
    ("strap", "swapped"): "the strap was seen at button.pin: button and strap are wired to each other's pins",
    ("led", "not seen"): "the light was not seen as asked: look at led.pin and led.active_low; if the motor ran "
    "instead, their pins are swapped",
    ("haptic", "not felt"): "the motor was not felt as asked: look at haptic.pin, its transistor and its supply; if "
    "the light blinked instead, their pins are swapped",
    ("battery", "low"): "the cell's voltage is below what any cell has: is it connected, is the divider right, does "
    "this board cut it off while USB is in (power.usb_replaces_cell)?",
    ("battery", "high"): "the cell's voltage is above what any cell has: is the divider in the board file right?",
    ("battery", "uncalibrated"): "the chip's converter can't be read: its fuses hold no calibration, so "
    "the bracelet would never know its charge; take another board",
    ("gnss", "silent"): "nothing came from the GNSS receiver: look at its supply, and at gnss.rx: its TX goes there",
    ("gnss", "garbled"): "what comes from the GNSS receiver is no sentence: look at gnss.baud, and whether another "
    "part's line is on gnss.rx",
    ("modem", "silent"): "the modem does not answer: look at its supply (bursts take 2 A), power_key, and tx and rx, "
    "which may be swapped",
    ("modem", "lost"): "the modem answers, and is gone again and again: its supply is too weak (bursts take 2 A)",
    ("sim", "missing"): "no SIM: the modem finds no card in its holder; put one in, and run this again",
    ("sim", "locked"): "the SIM asks for a PIN or PUK: switch that off in a telephone, and run this again",
    ("sim", "failed"): "the SIM does not work: clean it, or try another, and run this again",
    ("network", "deaf"): "the modem hears no network at all: look at its antenna and its plug, and whether there is a "
    "network that this model can use (2G, LTE, LTE-M)",
    ("network", "denied"): "the network refuses this SIM: is it activated and paid for, may it be used here (roaming), "
    "does the operator admit this model?",
    ("network", "none"): "the modem hears a network, and was not taken by one in 3 minutes: is the SIM's contract for "
    "it (roaming, LTE-M)? If there is little signal, look at its antenna",
}
WANTED = {
    ("button", "press"): "Press the button once, briefly",
    ("strap", "open"): "Open the strap. If it is open, leave it so: then it is wired the wrong way round",
    ("strap", "close"): "Close the strap, then open it",
}
_SEARCH = {
    "deaf": "no signal yet",
    "denied": "refused by a network",
    "none": "there is signal, not registered yet",
    "ok": "registered; waits for the receiver",
}


class Heard:
    """The results that the board tells of a part under test: pure. `do(what, text)` and `tell(text)` reach the
    engineer."""

    def __init__(self, do: Callable[[str, str], None], tell: Callable[[str], None]) -> None:
        self.results: dict[str, str] = {}
        self.percent: int | None = None  # of the battery
        self._do, self._tell = do, tell
        self._lost = 0  # the modem, when it had answered

    def hear(self, line: str) -> None:
        found = event(line)
        if found is None:
            return
        name, values = found
        part = values.get("part", "")
        if name == "modem":
            self._modem(values)
        elif name == "test" and (part, values.get("wanted")) in WANTED:
            self._do(f"{part}_{values['wanted']}", WANTED[part, values["wanted"]])
        elif name == "test" and "state" in values:
            answers = "the modem answers" if "modem" in self.results else "no answer of the modem yet"
            sentences = "sentences come" if self.results.get("gnss") == "ok" else "none from the receiver yet"
            self._tell(f"  {values.get('seconds')} s: {answers}; {_SEARCH.get(values['state'], '?')}; {sentences}")
        elif name == "test" and "percent" in values:
            self.percent = int(values["percent"])
        elif name == "test" and "result" in values:
            self.results[part] = values["result"]

    def _modem(self, values: dict[str, str]) -> None:
        if values.get("ready") == "1":
            self.results["modem"] = "ok"
        elif "modem" in self.results and ("lost" in values or "restarted" in values):
            self._lost += 1

    def radio(self) -> list[tuple[str, str]]:
        """List parts and results in the order of judgement: a fault of one part may be the cause of the next one's."""
        modem = self.results.get("modem", "silent")
        if self._lost and self.results.get("network") != "ok":
            modem = "lost"
        later = [(part, self.results.get(part, "silent")) for part in ("sim", "network", "gnss")]
        return [("modem", modem), *later]


def judge(part: str, result: str, port: str) -> None:
    """Raise Trouble unless the result is good."""
    if result != "ok":
        raise Trouble(f"self-test of the board at {port}: {WRONG.get((part, result), f'{part}: {result}')}")


def run(cable: Cable, made: Path, board: Board, person: Person) -> dict[str, dict[str, Any]]:
    """Test every part; return each with its result and who said so. Raises Trouble at the first that is not good."""
    module = f"{SELFTEST}.mpy"
    cable.mpremote("fs", "cp", str(made / module), f":{module}", within=_COPY_S)
    results: dict[str, dict[str, Any]] = {}

    def measured(part: str, result: str) -> None:
        judge(part, result, cable.port)
        results[part] = {"result": "good", "by": "measured"}

    def asked(part: str, before: str, question: str, text: str, wrong: str) -> None:
        person.tell(before)
        _part(cable, part, person)
        answer = person.ask(question, text)
        if not answer.yes:
            person.tell("once more")  # an engineer who looked away for a moment need not begin anew
            _part(cable, part, person)
            answer = person.ask(question, text)
        if not answer.yes:
            judge(part, wrong, cable.port)
        results[part] = {"result": "good" if answer.by != "not asked" else "not asked", "by": answer.by}

    for part in ("button", "strap"):
        if part == "strap" and "strap" not in board.sections:
            results[part] = {"result": "not fitted", "by": "board file"}
            continue
        measured(part, _part(cable, part, person).results.get(part, "silent"))
    if board.sections.get("power", {}).get("usb_replaces_cell"):
        results["battery"] = {"result": "not measured", "by": "board file"}
        person.tell("the cell can't be measured while USB is in: see at the relay that its heartbeats tell a good one")
    else:
        heard = _part(cable, "battery", person)
        measured("battery", heard.results.get("battery", "silent"))
        if heard.percent is not None and heard.percent >= _FULL:
            person.tell("the cell reads full; a charger without a cell reads so, too: is one in?")
    blinked = "Did the light blink three times, slowly, and is it dark now?"
    asked("led", "watch the light", "seen", blinked, "not seen")
    pulsed = "Did the motor give three short pulses, and is it still now?"
    asked("haptic", "take the motor between two fingers", "felt", pulsed, "not felt")
    person.tell("modem, SIM, network and GNSS receiver: up to three minutes")
    heard = _part(cable, "radio", person)
    for part, result in heard.radio():
        measured(part, result)
    sky = heard.results.get("sky") == "ok"
    results["gnss"]["sky"] = sky
    if not sky:
        person.tell("the GNSS receiver hears no satellite here: under a roof that may be so; else look at its antenna")
    cable.mpremote("fs", "rm", f":{module}", within=_COPY_S)
    return results


def _part(cable: Cable, part: str, person: Person) -> Heard:
    heard = Heard(person.do, person.tell)
    within = _RADIO_S if part == "radio" else _PART_S
    cable.mpremote("exec", f"{FIND}; import {SELFTEST}; {SELFTEST}.main('{part}')", within=within, line=heard.hear)
    return heard
