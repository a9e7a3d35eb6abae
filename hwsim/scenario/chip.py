"""Actions of the chip's own parts on the bracelet: its converter, its Wi-Fi driver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hwsim.scenario.supply import while_off
from hwsim.scenario.vocabulary import Parameter, action, seconds

if TYPE_CHECKING:
    from hwsim.rig import Rig

HOUR_S = 3600
ABSENT = ["not-here", "some-key"]
_ON = Parameter(bool, "true: begins, false: ends", True)


@action("battery", "adc_uncalibrated", on=_ON)
def adc_uncalibrated(rig: Rig, on: bool) -> None:
    """the chip's fuses hold no calibration for its converter: the battery can't be measured"""
    rig.bracelet.battery.calibrated = not on


@action("battery", "divider_broken", percent=Parameter(int, "of the voltage that gets through", 0, 0, 200, "%"))
def divider_broken(rig: Rig, percent: int) -> None:
    """a resistor of the battery's divider comes off"""
    rig.bracelet.battery.divider = percent * 10


@action("data", for_s=seconds("until it takes orders again", 5.0, HOUR_S, 0.1))
def wifi_busy(rig: Rig, for_s: float) -> None:
    """the Wi-Fi driver is busy with something else: connect() fails"""
    rig.bracelet.wifi.busy_until_us = rig.world.now_us + round(for_s * 1e6)


@action("flash", "wifi_absent_first", on=_ON)
def wifi_absent_first(rig: Rig, on: bool) -> None:
    """the first Wi-Fi network that the bracelet knows is nowhere; the supply is lost for a moment"""
    while_off(rig)
    for path in ("/settings.json", "/settings.json.2"):
        try:
            settings = json.loads(rig.bracelet.files.get(path))
        except (OSError, ValueError):  # damaged by another action, or wiped
            continue
        if isinstance(settings, dict) and settings.get("wifi"):
            known = [network for network in settings["wifi"] if network != ABSENT]
            settings["wifi"] = [ABSENT, *known] if on else known
            rig.bracelet.files.put(path, json.dumps(settings).encode())
