"""Conclude what a bracelet on a board can do and can't, from the board's file, its chip and its modem's model.

Nothing is written by hand for one board, so a change of a file shows here. Abilities that nobody has tried are marked.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.board import Board
from hwsim.currents import current
from hwsim.modems import MODELS


@dataclass(frozen=True)
class Ability:
    """An ability of a board. `able`: does the board have it? `how`: by which part, or why not."""

    name: str
    able: bool
    how: str


def of(board: Board) -> list[Ability]:
    """List all abilities of one board."""
    modem, gnss = board["modem"], board["gnss"]
    model = MODELS[modem["model"]]
    untried = "; untried" if "modem.model" in board.unverified else ""
    memories = [name for name in model.habits.memories if name != "SR"]  # SR holds status reports alone
    data = "CGATT" in model.habits.registration
    return [
        Ability("SMS", bool(memories), f"kept in {', '.join(memories)}{untried}" if memories else "the modem has none"),
        Ability("data", data, "PPP on the modem's line" if data else "the modem attaches to none"),
        Ability("Wi-Fi", True, "in the chip"),
        _receiver(board),
        Ability("strap", "strap" in board.sections, "cut or torn off raises" if "strap" in board.sections else "none"),
        Ability("sleep", True, f"deep sleep; {_wakes(board)}"),
        _modem_asleep(board),
        Ability("receiver off", bool(gnss.get("modem") or "power" in gnss), _receiver_asleep(board)),
        _modem_restart(board),
        _memory(board),
        _battery(board),
    ]


def _receiver(board: Board) -> Ability:
    gnss, model = board["gnss"], board["modem"]["model"]
    if gnss.get("modem"):
        ready = MODELS[model].ready_s
        return Ability("place", True, f"a receiver in the modem, {ready} s after it" if ready else "one in the modem")
    return Ability("place", True, "a receiver of its own")


def _wakes(board: Board) -> str:
    """Say what ends deep sleep. Button and strap of every file are on pins that reach the RTC (board.py checks it)."""
    pin, family = board["button"]["pin"], board.family
    pull = "a resistor" if pin in family.input_only else "the chip's pull, held" if family.own_rtc_pulls else "its pull"
    strap = ", strap (its own resistor)" if "strap" in board.sections else ""
    return f"button ({pull}){strap} and the timer end it"


def _modem_asleep(board: Board) -> Ability:
    modem = board["modem"]
    if "power_key" in modem:
        return Ability("modem off", True, "by its key")
    ma = current(board.currents, "modem", "registered") / 1000
    return Ability("modem off", False, f"it has no key: it takes some {ma:.1f} mA, also while the chip sleeps")


def _receiver_asleep(board: Board) -> str:
    gnss = board["gnss"]
    if gnss.get("modem"):
        return "by the modem's command" + (", and with the modem" if "power_key" in board["modem"] else "")
    if "power" in gnss:
        return "by a load switch" + ("; its memory lives on" if gnss.get("backup") else "")
    ma = current(board.currents, "gnss", "tracking") / 1000
    return f"it has no switch: it takes some {ma:.1f} mA, also while the chip sleeps"


def _modem_restart(board: Board) -> Ability:
    modem = board["modem"]
    ways = [key for key in ("reset", "power_key") if key in modem]
    return Ability("modem restart", bool(ways), f"by {ways[0].replace('_', ' ')}" if ways else "only with the supply")


def _memory(board: Board) -> Ability:
    psram, image = board["chip"].get("psram_mb", 0), board.sections.get("image", {})
    if psram:
        return Ability("stock image", True, f"{psram} MB of PSRAM")
    where = f": {image['recipe']}" if "recipe" in image else ""
    return Ability("stock image", False, f"no PSRAM; it needs an image of its own{where}")


def _battery(board: Board) -> Ability:
    cut_off = board.sections.get("power", {}).get("usb_replaces_cell")
    return Ability("charge", True, "measured" + (", but not while USB is in" if cut_off else ""))
