"""A bracelet: a device with the parts that its board file says are wired to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hwsim import board as boards
from hwsim.chips import mask
from hwsim.world import flash as flash_image
from hwsim.world.chip import ROMFS
from hwsim.world.device import Device
from hwsim.world.driver_calls import DriverCalls, calls_of
from hwsim.world.gnss import Gnss, Track
from hwsim.world.link import LOADED, as_bundle, as_files
from hwsim.world.memory import Memory, image_of
from hwsim.world.modem_gnss import AtLine, Receiver
from hwsim.world.modem_ports import on_uart
from hwsim.world.pins import Battery, Button, Haptic, Led, PowerSwitch, Strap
from hwsim.world.trace import part_suffix
from hwsim.world.uart import SerialLine, SerialPorts
from hwsim.world.uplink import Uplink
from hwsim.world.wifi import Wifi

if TYPE_CHECKING:
    from hwsim.world.world import World

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
FILES: Literal["files"] = "files"
Loaded = bool | Literal["files"]


class Bracelet(Device):
    def __init__(
        self,
        world: World,
        name: str,
        board: str | Path,
        firmware: str | Path | None,
        flash: str | Path,
        phone: str,
        track: Track | None,
        rtc_start: int | None,
        loaded: Loaded = False,
    ) -> None:
        """Wire the parts of a board. `loaded`: its MicroPython is a stock image, which runs nothing from a ROMFS, and
        the firmware is a bundle in its file system; FILES: the firmware is in files there, as flash.sh once left it."""
        super().__init__(world, name, Path(firmware or FIRMWARE).resolve(), Path(flash).resolve(), rtc_start)
        self._loaded = loaded
        if not (self.firmware / "main.py").exists():
            raise FileNotFoundError(f"{self.firmware} has no main.py")
        self.board = boards.load(board)
        self.pads.family = self.board.family
        self.phone = phone
        self.files = flash_image.Files(self)
        self._make_flash()
        self._wire(part_suffix(name), track)

    def _make_flash(self) -> None:
        """Make the bracelet's memory as the workshop leaves it."""
        flash_image.create(self.flash_path)
        files = {"/board.json": self.board.to_json().encode()}
        if self._loaded:
            self.flash.partitions = tuple(each for each in self.flash.partitions if each != ROMFS)
            files |= as_files(self.firmware) if self._loaded == FILES else as_bundle(self.firmware)
        self.files.put_all(files)

    def _wire(self, suffix: str, track: Track | None) -> None:
        board = self.board
        self.memory = Memory(self, image_of(board, bool(self._loaded)))
        self.button = Button(self, f"button{suffix}", board["button"]["pin"], board["button"]["active_low"])
        self.strap: Strap | None = None
        if "strap" in board.sections:
            self.strap = Strap(self, f"strap{suffix}", board["strap"]["pin"], board["strap"]["closed_low"])
        self.led = Led(self, f"led{suffix}", board["led"]["pin"], board["led"]["active_low"])
        self.haptic = Haptic(self, f"haptic{suffix}", board["haptic"]["pin"])
        self.battery = Battery(self, f"battery{suffix}", board)
        self.wifi = Wifi(self, f"wifi{suffix}")
        ports = SerialPorts(self)
        self.modem, self.modem_line = on_uart(self, f"modem{suffix}", board["modem"], self.phone)
        ports.add(self.modem_line)
        self.gnss = self._receiver(f"gnss{suffix}", ports, track)
        Uplink(self, self.world.net, self.wifi, self.modem)
        self.driver_calls = DriverCalls(self, calls_of(board))

    def _receiver(self, who: str, ports: SerialPorts, track: Track | None) -> Gnss:
        wiring = self.board["gnss"]
        if wiring.get("modem"):
            line = AtLine(self.modem)
            gnss = Gnss(self, who, wiring, track, line)
            antenna = [wiring[key] for key in ("antenna_on", "antenna_off") if key in wiring]
            self.modem.receiver = Receiver(self.modem, self.board["modem"]["model"], antenna, line, gnss)
            return gnss
        gnss = Gnss(self, who, wiring, track)
        assert isinstance(gnss.line, SerialLine)
        ports.add(gnss.line)
        if "power" in wiring:
            PowerSwitch(self, wiring["power"], wiring.get("power_active_low", False), gnss.power)
        return gnss

    def hello(self) -> dict[str, Any]:
        family = self.board.family
        usable = [pin for pin in family.pins if family.unusable(pin, self.board["chip"].get("psram_mb", 0)) is None]
        hello = super().hello()
        if self._loaded:
            hello |= {"rom": None, "heap": self.world.heap + LOADED}
        return hello | {
            "pins": mask([*usable, *family.console, *family.usb]),
            "input_only": mask(family.input_only),
            "wake_pins": mask(family.wake),
            "driver_calls": self.driver_calls.watched(),
        }

    def boot(self) -> None:
        super().boot()
        if not self.board["gnss"].keys() & {"power", "modem"}:  # no switch: on with the board's supply
            self.gnss.power(True)
        if "power_key" not in self.board["modem"]:
            self.modem.power(True)

    def _halt(self, state: str) -> None:
        super()._halt(state)
        if state == "off":
            self.gnss.power(False)
            self.gnss.forget()
            self.modem.power(False)
