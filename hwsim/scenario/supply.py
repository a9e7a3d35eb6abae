"""Actions on the bracelet itself: its supply, its processor, the files on its flash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hwsim.scenario.vocabulary import ActionError, Parameter, action, seconds

if TYPE_CHECKING:
    from hwsim.rig import Rig

DAY_S = 86400

_BACK = seconds("until the supply is back", 5.0, 7 * DAY_S, 0.1)

# -- supply and processor


@action("power", "battery", percent=Parameter(int, "charge of the cell", 80, 0, 100, "%"))
def battery(rig: Rig, percent: int) -> None:
    """the battery's charge, as far as its voltage shows it"""
    rig.bracelet.battery.percent = percent


@action("power", for_s=seconds("until the voltage is back", 0.5, DAY_S, 0.01))
def brownout(rig: Rig, for_s: float) -> None:
    """the supply sags under load: everything stops, and starts as from power-on"""
    rig.world.note("battery", "sags")
    rig.bracelet.power_cut(for_s)


@action("power", restart_s=_BACK)
def power_cut(rig: Rig, restart_s: float) -> None:
    """the supply is gone, and comes back"""
    rig.bracelet.power_cut(restart_s)


@action("power", operation=Parameter(int, "which one after the boot, from 0", 0, 0, 100_000), restart_s=_BACK)
def flash_cut(rig: Rig, operation: int, restart_s: float) -> None:
    """a reset, and after it the supply is lost at the n-th operation of the flash, and comes back"""
    bracelet = rig.bracelet
    bracelet.power_cut_at_flash_operation = operation
    bracelet.restart_after_cut = restart_s
    reset(rig)


@action("power")
def reset(rig: Rig) -> None:
    """the chip's reset pin is pulled (nothing while the supply is off)"""
    if rig.bracelet.state != "off":
        rig.bracelet.reset()


@action("power")
def hang(rig: Rig) -> None:
    """the processor stops where it is; the watchdog must notice"""
    rig.bracelet.hang()


# -- what is on flash


def while_off(rig: Rig) -> None:
    """Cut the supply for a moment, if it is on: files change only while nobody uses them."""
    if rig.bracelet.state != "off":
        rig.bracelet.power_cut(1.0)


@action("flash")
def settings_damaged(rig: Rig) -> None:
    """the settings' file becomes garbage while the supply is lost for a moment; there is a copy of it"""
    while_off(rig)
    rig.bracelet.files.put("/settings.json", rig.garbage(200))


@action("flash")
def board_damaged(rig: Rig) -> None:
    """the wiring's file becomes garbage while the supply is lost for a moment; there is a copy of it in NVS"""
    while_off(rig)
    rig.bracelet.files.put("/board.json", rig.garbage(200))


@action("flash", "receiver_right")
def receiver_wrong(rig: Rig) -> None:
    """somebody flashes a board file that names a serial port for the receiver which the chip doesn't have"""
    _wire_receiver(rig, 7)


@action("flash")
def receiver_right(rig: Rig) -> None:
    """somebody flashes the right board file again"""
    _wire_receiver(rig, None)


def _wire_receiver(rig: Rig, uart: int | None) -> None:
    """Put a board file with this port for the receiver, or with the right one, onto the flash."""
    sections = dict(rig.bracelet.board.sections)
    if "uart" not in sections["gnss"]:
        raise ActionError("this board has its receiver in the modem")
    while_off(rig)
    if uart is not None:
        sections["gnss"] = {**sections["gnss"], "uart": uart}
    rig.bracelet.files.put("/board.json", json.dumps(sections).encode())
