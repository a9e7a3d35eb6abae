"""The self-test as the workshop runs it: starts selftest.py on the board, part by part, asks, and judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwsim.board import Board
from hwsim.workshop.build import SELFTEST
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.transcript import event
from hwsim.workshop.trouble import Trouble

_PART_S, _RADIO_S = 120, 300
# What is told when a part's result is not good: what it is, and what to do.
_WRONG = {
    ("button", "stuck"): "the button is pressed all the time: is it wired as button.pin and button.active_low say?",
    ("button", "silent"): "no press of the button was seen: is it wired to button.pin?",
    ("strap", "stuck"): "the strap closed but never opened again, or the other way round: look at its contact",
    ("strap", "open"): "the strap was open all the time: is its conductor wired to strap.pin?",
    ("strap", "closed"): "the strap was closed all the time: is strap.closed_low right, is there a short?",
    ("led", "not seen"): "the light was not seen: look at led.pin and led.active_low",
    ("haptic", "not felt"): "the motor was not felt: look at haptic.pin, its transistor and its supply",
    ("battery", "low"): "the cell's voltage is below what any cell has: is it connected, is the divider right?",
    ("battery", "high"): "the cell's voltage is above what any cell has: is the divider in the board file right?",
    ("gnss", "silent"): "no sentence came from the GNSS receiver: look at its supply, gnss.rx and gnss.baud",
    ("modem", "silent"): "the modem does not answer: look at its supply (bursts take 2 A), tx, rx and power_key",
    ("sim", "missing"): "no SIM: the modem finds no card in its holder; put one in, and run this again",
    ("sim", "locked"): "the SIM asks for a PIN: switch that off in a telephone, and run this again",
    ("sim", "failed"): "the SIM does not work: try another, and run this again",
    ("network", "none"): "the modem found no network that takes it: look at its antenna and the SIM's contract",
}


def run(cable: Cable, made: Path, board: Board, person: Person) -> dict[str, dict[str, Any]]:
    """Every part with its result and who said so. Trouble at the first that is not good."""
    module = f"{SELFTEST}.mpy"
    cable.mpremote("fs", "cp", str(made / module), f":{module}", within=_PART_S)
    results: dict[str, dict[str, Any]] = {}

    def measured(part: str, result: str) -> None:
        if result != "ok":
            text = _WRONG.get((part, result), f"{part}: {result}")
            raise Trouble(f"self-test of the board at {cable.port}: {text}")
        results[part] = {"result": "good", "by": "measured"}

    def asked(part: str, question: str, text: str, wrong: str) -> None:
        _part(cable, part, person)
        answer = person.ask(question, text)
        if not answer.yes:
            measured(part, wrong)
        results[part] = {"result": "good" if answer.by != "not asked" else "not asked", "by": answer.by}

    for part in ("button", "strap", "battery"):
        if part == "strap" and "strap" not in board.sections:
            results[part] = {"result": "not fitted", "by": "board file"}
            continue
        measured(part, _part(cable, part, person).get(part, "silent"))
    asked("led", "seen", "Did the light blink three times, slowly?", "not seen")
    asked("haptic", "felt", "Did the motor give three short pulses?", "not felt")
    radio = _part(cable, "radio", person)
    if "modem" not in radio:
        measured("modem", "silent")
    for part in ("modem", "sim", "network", "gnss"):
        measured(part, radio.get(part, "silent"))
    cable.mpremote("fs", "rm", f":{module}", within=_PART_S)
    return results


def _part(cable: Cable, part: str, person: Person) -> dict[str, str]:
    """Run one; what it says of itself, or of several."""
    results: dict[str, str] = {}

    def hear(line: str) -> None:
        found = event(line)
        if found is None:
            return
        name, values = found
        if name == "modem" and values.get("ready") == "1":
            results["modem"] = "ok"
        elif name == "test" and "wanted" in values:
            texts = {"button": "Press the button shortly, once", "strap": "Close the strap, then open it"}
            person.do(values["part"], texts[values["part"]])
        elif name == "test" and "result" in values:
            results[values["part"]] = values["result"]

    if part == "radio":
        person.tell("modem, SIM, network and GNSS receiver: up to three minutes")
    within = _RADIO_S if part == "radio" else _PART_S
    cable.mpremote("exec", f"import {SELFTEST}; {SELFTEST}.main('{part}')", within=within, line=hear)
    return results
