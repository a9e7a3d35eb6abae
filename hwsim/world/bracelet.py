"""A bracelet: a device with the parts that its board file says are wired to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwsim import board as boards
from hwsim.world import flash as flash_image
from hwsim.world.device import Device, part_suffix
from hwsim.world.gnss import Gnss, Track
from hwsim.world.modem_ports import on_uart
from hwsim.world.pins import Battery, Button, Haptic, Led, PowerSwitch, Strap
from hwsim.world.uart import SerialPorts
from hwsim.world.uplink import Uplink
from hwsim.world.wifi import Wifi

if TYPE_CHECKING:
    from hwsim.world.world import World

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"


class Bracelet(Device):
    def __init__(
        self, world: World, name: str, board: str | Path, firmware: str | Path | None, flash: str | Path, phone: str,
        track: Track | None, rtc_start: int | None,
    ) -> None:  # fmt: skip
        super().__init__(world, name, Path(firmware or FIRMWARE).resolve(), Path(flash).resolve(), rtc_start)
        if not (self.firmware / "main.py").exists():
            raise FileNotFoundError(f"{self.firmware} has no main.py")
        flash_image.create(self.flash_path)
        self.board = boards.load(board)
        self.phone = phone
        self.files = flash_image.Files(self)
        self._wire(part_suffix(name), track)
        self.files.put("/board.json", self.board.to_json().encode())  # as the workshop does

    def _wire(self, suffix: str, track: Track | None) -> None:
        board = self.board
        self.button = Button(self, f"button{suffix}", board["button"]["pin"], board["button"]["active_low"])
        self.strap: Strap | None = None
        if "strap" in board.sections:
            self.strap = Strap(self, f"strap{suffix}", board["strap"]["pin"], board["strap"]["closed_low"])
        self.led = Led(self, f"led{suffix}", board["led"]["pin"], board["led"]["active_low"])
        self.haptic = Haptic(self, f"haptic{suffix}", board["haptic"]["pin"])
        self.battery = Battery(self, f"battery{suffix}", board)
        self.wifi = Wifi(self, f"wifi{suffix}")
        ports = SerialPorts(self)
        self.gnss = Gnss(self, f"gnss{suffix}", board["gnss"], track)
        ports.add(self.gnss.line)
        if "power" in board["gnss"]:
            active_low = board["gnss"].get("power_active_low", False)
            PowerSwitch(self, f"gnss{suffix}", board["gnss"]["power"], active_low, self.gnss.power)
        self.modem, line = on_uart(self, f"modem{suffix}", board["modem"], self.phone)
        ports.add(line)
        Uplink(self, self.world.net, self.wifi, self.modem)

    def boot(self) -> None:
        super().boot()
        if "power" not in self.board["gnss"]:  # no switch: it lives with the board's supply
            self.gnss.power(True)
        if "power_key" not in self.board["modem"]:
            self.modem.power(True)

    def _halt(self, state: str) -> None:
        super()._halt(state)
        if state == "off":
            self.gnss.power(False)
            self.gnss.forget()
            self.modem.power(False)
