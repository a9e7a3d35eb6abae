"""Driver calls that fail: one in which the processor hangs, one at which the supply gives way, and one that refuses.

Seen on MicroPython's own image for the ESP32, emulated: `WLAN.active(True)` never returned. It waits without a time
limit for an event of the radio's driver (micropython issue 11910: "hangs", with the loop it hangs in;
ports/esp32/network_wlan.c), and MicroPython arms no watchdog for a program: a program that wants one makes a
machine.WDT (ports/esp32/machine_wdt.c). The radio's start draws more current than anything before, and on a weak cell
or a thin wire the chip resets right there: loboris/MicroPython_ESP32_psRAM_LoBo issue 299 at `active(True)`,
micropython-esp32 issue 145 at the making of WLAN, lemariva/micropython-camera-driver issue 25 at `connect()`. A
brownout keeps the RTC's memory; or the supply is lost, and comes back after a while.

A call of Wi-Fi's driver that refuses raises RuntimeError where the port has no name for the driver's error
(ports/esp32/network_common.c, esp_exceptions_helper: "Wifi Unknown Error 0x%04x"), and OSError where it has one.

The shims name each such call when the firmware reaches it, and ask only about those with a fault. Not modelled: a call
that comes back late, and what the radio's own task does while the interpreter hangs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.world.peripheral import Halted

if TYPE_CHECKING:
    from hwsim.board import Board
    from hwsim.world.device import Device

DEVICE = "driver"


def calls_of(board: Board) -> dict[str, str]:
    """Return the calls that start the parts of this board, by name, each in the shims' words."""
    found = {
        "wifi": "WLAN",
        "wifi_on": "WLAN.active",
        "wifi_join": "WLAN.connect",
        "socket": "socket",
        "tls": "tls",
        "ppp": "PPP",
        "ppp_dial": "PPP.connect",
        "haptic": f"pwm{board['haptic']['pin']}",
        "led": f"pin{board['led']['pin']}",
        "battery": f"adc{board['battery']['pin']}",
    }
    if "strap" in board.sections:
        found["strap"] = f"pin{board['strap']['pin']}"
    for part, key, name in (("modem", "power_key", "modem_key"), ("gnss", "power", "gnss_on")):
        wiring = board[part]
        if "uart" in wiring:
            found[part] = f"uart{wiring['uart']}"
        if key in wiring:
            found[name] = f"pin{wiring[key]}={int(not wiring.get(f'{key}_active_low', False))}"
    return found


@dataclass
class _Fault:
    ends: str  # "blocks", "kills" or "refuses"
    off_s: float | None  # None: a brownout, after which the chip starts at once
    starts: int | None  # in so many starts from now on; None: in each


class DriverCalls:
    """The faults of a device's driver calls. `names`: see calls_of(). A fault lasts until heal(), or for so many
    starts."""

    def __init__(self, device: Device, names: Mapping[str, str]) -> None:
        self._device = device
        self.names = names
        self._faults: dict[str, _Fault] = {}
        device.wire(DEVICE, self)

    def block(self, name: str, starts: int | None = None) -> None:
        """Make the processor hang in this call."""
        self._set(name, _Fault("blocks", None, starts))

    def kill(self, name: str, off_s: float | None = None, starts: int | None = None) -> None:
        """Make the supply give way at this call: for `off_s` seconds, or without `off_s` in a brownout only."""
        self._set(name, _Fault("kills", off_s, starts))

    def refuse(self, name: str, starts: int | None = None) -> None:
        """Make a call of Wi-Fi's driver raise an error that the port has no name for. Raises ValueError for others."""
        if not self.names[name].startswith("WLAN"):
            raise ValueError(f"{name} is no call of Wi-Fi's driver")
        self._set(name, _Fault("refuses", None, starts))

    def heal(self, name: str | None = None) -> None:
        """End the fault of this call, or without a name those of all calls."""
        for each in list(self._faults) if name is None else [self.names[name]]:
            self._faults.pop(each, None)
        self._tell()

    def watched(self) -> list[str]:
        """List the calls that the shims must ask about."""
        return list(self._faults)

    def _set(self, name: str, fault: _Fault) -> None:
        self._faults[self.names[name]] = fault
        self._tell()

    def _tell(self) -> None:
        self._device.deliver(DEVICE, self.watched())

    def reset(self) -> None:
        pass

    def output(self, device: str, args: list[Any]) -> None:
        pass

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        fault = self._faults.get(function)
        if fault is None:
            return 0
        if fault.starts is not None:
            fault.starts -= 1
            if not fault.starts:
                del self._faults[function]
        name = next(name for name, call in self.names.items() if call == function)
        self._device.note("driver call", call=name, ends=fault.ends)
        if fault.ends == "refuses":
            return 1
        if fault.ends == "blocks":
            self._device.hang()
        elif fault.off_s is None:
            self._device.reset(by="brownout")
        else:
            self._device.power_cut(fault.off_s)
        raise Halted
