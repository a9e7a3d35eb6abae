"""A bracelet on the USB cable of a computer: its console UART, as a PTY for stock programs.

Its firmware lies on its flash, as on the real one, and not in a folder of the host. DTR and RTS, by which programs
reset an ESP32 and choose its loader, can't be seen on a PTY. In their place:
- esptool's SYNC frame, which it sends right after pulling them, resets the chip into its ROM loader.
- When the last program closes the port, a reset ends the loader; esptool meant to reset it by RTS.
- With `bootloader` the chip's strapping pin is held: the chip starts in the loader and stays there.
The chip starts the interpreter only if its flash holds what an ESP32 would start (image.py).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.serial.port import Port
from hwsim.serial.rom import SYNC, Chip, Loader
from hwsim.serial.spiflash import SpiFlash
from hwsim.world.bracelet import FIRMWARE, Bracelet
from hwsim.world.device import SOFT_RESET
from hwsim.world.link import LOADED, Interpreter, as_bundle

if TYPE_CHECKING:
    from hwsim.world.gnss import Track
    from hwsim.world.world import World

SOFT_RESET_US = 10_000
_NVS = (1, 0x02, "nvs")  # the partition that nvs_flash_init takes
_DEAF_US = 500_000  # a firmware that touches no peripheral for so long does not hear of Ctrl-C
_TYPED_MAX = 4096  # octets kept while it starts
_CONSOLE_LINES = 200


class UsbBracelet(Bracelet):
    """The only bracelet of a world in real time. When there is no image at `flash`, it makes one with `firmware`."""

    def __init__(
        self,
        world: World,
        flash: Path,
        *,
        board: str | Path = "reference",
        firmware: Path = FIRMWARE,
        phone: str = "+10000000001",
        bootloader: bool = False,
        track: Track | None = None,
        link: Path | None = None,
    ) -> None:
        if not world.realtime:
            raise RuntimeError("a serial port needs a world in real time: World(realtime=True)")
        super().__init__(world, "bracelet", board, firmware, flash, phone, track, None)
        world.bracelets.append(self)
        self._held = bootloader
        self._loader: Loader | None = None
        self._maybe_sync = b""
        self._typed = b""
        self._raw_prompt = False
        self._after_cr = False
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        world.watch(self._read_fd, self._printed)
        world.at_close(self._close_pipe)
        self.port = Port(world, self, link)
        self._cut_off()

    def _cut_off(self) -> None:
        """With the cable in, cut off the cell on a board whose USB replaces it."""
        self.battery.cut_off = self.board.sections.get("power", {}).get("usb_replaces_cell", False)

    def _make_flash(self) -> None:
        """Take the flash as it is. A new one gets our firmware, as flash.sh puts it onto a stock image."""
        fresh = not self.flash_path.exists()
        self.flash.partitions = ()
        self._rom: tuple[int, int] | None = None
        self.chip = SpiFlash(self.flash_path, self.board.family, self.board["chip"]["flash_mb"])
        if self.chip.why_not_bootable() is None:
            self._read_table()
        if fresh:
            self.install()

    def _read_table(self) -> None:
        """Place the partitions where the table in the flash, which is a good one, says."""
        self.flash.partitions = self.chip.partitions()
        self._rom = self.chip.romfs()
        nvs = next((p for p in self.flash.partitions if (p.kind, p.subtype, p.label) == _NVS), None)
        self.flash.nvs.place(self.flash_path, nvs.first if nvs else 0, nvs.size if nvs else 0)

    def install(self) -> None:
        """Put wiring and firmware on the bracelet's file system, while it is off."""
        self.files.put_all({"/board.json": self.board.to_json().encode(), **as_bundle(self.firmware)})

    def _close_pipe(self) -> None:
        self.world.unwatch(self._read_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _tell(self, what: str, **detail: Any) -> None:
        self.world.note("usb", what, **detail)

    # -- the port

    def opened(self) -> None:
        self._tell("opened")

    def closed(self) -> None:
        self._tell("closed")
        self._maybe_sync = b""
        if self._loader and self.state == "loader":
            self._loader.finish_write()
            if not self._held:
                self._leave_loader()

    def received(self, data: bytes) -> None:
        if self.state == "off":
            return
        if self._loader and self.state == "loader":
            self._loader.feed(data)
            return
        data = self._maybe_sync + data
        at = data.find(SYNC)
        if at >= 0:
            self._maybe_sync = b""
            self._enter_loader().feed(data[at:])
            return
        # No text has the first octet of SYNC, so a wait for the rest of SYNC holds nothing else back.
        kept = next(n for n in range(min(len(SYNC) - 1, len(data)), -1, -1) if data.endswith(SYNC[:n]))
        self._maybe_sync = data[len(data) - kept :]
        self._type(data[: len(data) - kept])

    def _type(self, data: bytes) -> None:
        if not data:
            return
        if self._interpreter is not None:
            self.deliver("console", data.hex())
            if b"\x03" in data:
                life, frames = self._life, self._interpreter.frames.total()
                self.world.after(_DEAF_US, lambda: self._interrupt(life, frames))
        elif self.state == "starting":
            self._typed = (self._typed + data)[:_TYPED_MAX]

    def _interrupt(self, life: int, frames: int) -> None:
        """Send a signal to a firmware that touches no peripheral and so does not hear of Ctrl-C, which on the chip ends
        any loop."""
        interpreter = self._interpreter
        if interpreter is None or (life, "running") != (self._life, self.state):
            return
        if not frames or interpreter.frames.total() != frames:  # before the first frame the firmware does not run yet
            return
        if interpreter.interrupt():
            for event in self._inbox:
                if event[0] == "console":
                    event[1] = bytes.fromhex(event[1]).replace(b"\x03", b"").hex()

    def _printed(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._show(os.read(self._read_fd, 65536))

    def _show(self, data: bytes) -> None:
        """Write to the port as the ESP32's port of MicroPython does: lines end with CR LF."""
        if not data:
            return
        cooked = re.sub(rb"(?<!\r)\n", b"\r\n", data)
        if self._after_cr and data.startswith(b"\n"):
            cooked = cooked[1:]
        self._after_cr = data.endswith(b"\r")
        self.port.write(cooked)
        self._print(data.decode(errors="replace"))

    def _line(self, line: str) -> None:
        if line.startswith("@"):
            super()._line(line)
        else:  # the trace does not hold what a person or program types and reads
            self.console.append(line)
        del self.console[:-_CONSOLE_LINES]

    # -- the loader

    def hold_strap(self, held: bool = True) -> None:
        """Press the boot button, or let it go. While the button is held, a reset leads into the loader."""
        self._held = held

    # -- the cable

    def unplug(self) -> None:
        """Let the port vanish; a program that has it open gets a hang-up. The bracelet goes on with its own cell."""
        if self.port.path:
            self.battery.cut_off = False
            self.port.unplug()
            self._tell("unplugged")

    def plug(self) -> None:
        if not self.port.path:
            self._cut_off()
            self.port.plug()
            self._tell("plugged", port=self.port.path)

    def _enter_loader(self) -> Loader:
        self._halt("loader")
        self._typed = b""
        self._tell("loader")
        mac = bytes.fromhex(self.unique_id)
        chip = Chip(self.board.family, mac, self.board["chip"].get("psram_mb", 0))
        self._loader = Loader(chip, self.chip, self.port.write, self._leave_loader, self._tell)
        return self._loader

    def _leave_loader(self) -> None:
        self._loader = None
        self.reset()

    # -- the chip's life

    def hello(self) -> dict[str, Any]:
        rom = [str(self.flash_path), *self._rom] if self._rom else None
        heap = self.world.heap + (0 if rom else LOADED)
        return super().hello() | {"rom": rom, "heap": heap, "console": True, "raw": self._raw_prompt}

    def _open(self, hello: dict[str, Any]) -> Interpreter:
        return Interpreter(hello, self.world.wall_limit_s, self._write_fd)

    def _start_interpreter(self, cause: int, wake_reason: int) -> None:
        self._printed()  # the last output of the life before
        if cause != SOFT_RESET:
            self._raw_prompt = False
        if self._held:
            self._enter_loader()
            return
        if cause != SOFT_RESET:  # a soft reset only begins MicroPython anew
            if why := self.chip.why_not_bootable():
                self._start = None
                self.state = "stopped"
                self.flash.partitions = ()
                self._tell("does not boot")
                self._show(why.encode() + b"\r\n")
                return
            self._read_table()
            if not self._rom and not self.board["chip"].get("psram_mb", 0):
                self._tell("more heap than it has")
        super()._start_interpreter(cause, wake_reason)
        typed, self._typed = self._typed, b""
        self._type(typed)

    def _leave(self, kind: str, argument: Any) -> None:
        if kind != "softreset":
            super()._leave(kind, argument)
            return
        watchdog = self._watchdog
        deadline = watchdog.at_us if watchdog and watchdog.pending else None
        self._raw_prompt, typed = argument
        self._typed = bytes.fromhex(typed + "".join(event[1] for event in self._inbox if event[0] == "console"))
        self._tell("soft reset")
        self._halt("starting")
        self._start_after(SOFT_RESET_US, SOFT_RESET)
        if deadline is not None:
            self._watchdog = self.world.at(deadline, self._watchdog_bites)
