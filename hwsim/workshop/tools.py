"""Use esptool and mpremote by their command lines, and the console by pyserial. No other module touches a port."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import serial
from serial.tools import list_ports

from hwsim.workshop import child
from hwsim.workshop.trouble import Trouble

BAUD = 115200
FAST = 460800  # for whole images: what MicroPython's pages name for these chips
_PERCENT = re.compile(r"\b(\d{1,3})(?:\.\d+)? ?%")
_PATTERN = re.compile(r"[*?\[]")
MAC = re.compile(r"^(?:BASE )?MAC:\s+([0-9a-f:]{17})", re.MULTILINE)
# Vendors (linux-usb.org/usb.ids) of the bridges between USB and the chip: Silicon Labs CP210x, QinHeng CH340 and
# CH9102, FTDI, and Espressif's own in the ESP32-S3. A modem, which is also a serial port, is none of them.
_BRIDGES = (0x10C4, 0x1A86, 0x0403, 0x303A)
_ANOTHER = "another board than before"
_IS_IT = f"import machine; assert machine.unique_id().hex() == '{{}}', '{_ANOTHER}'"
# The first words of our firmware, and of the ROM of an ESP32 and of an ESP32-S3.
_STARTED = re.compile(r"@boot |rst:0x|ets [A-Z][a-z]{2} |ESP-ROM:|Brownout detector")
_READ_S = 0.2
_RESET_S = 0.1  # as esptool holds it
_BACK_S = 15.0  # until a port that went with a reset (USB in the chip itself) is back


def ports(wanted: str | None) -> list[str]:
    """List the ports where boards may be. `wanted`: a port, or a pattern of names; without it, all usual USB chips."""
    if wanted is None:
        return sorted(port.device for port in list_ports.comports() if port.vid in _BRIDGES)
    if _PATTERN.search(wanted):
        return sorted(name for name in glob.glob(wanted) if os.path.exists(name))
    return [wanted] if os.path.exists(wanted) else []


class Cable:
    """The cable to a board at its port. `log` takes all that the programs say: for the engineer who wants to know more.

    With `mac`, its chip's base address as twelve hex digits, another board at the port raises Trouble.
    """

    def __init__(self, port: str, log: Path, baud: int = FAST) -> None:
        self.port = port
        self.mac: str | None = None
        self._baud = baud
        self._device = os.path.realpath(port)  # mpremote knows a terminal that is no serial port by its name
        self._log = log

    def esptool(self, *arguments: str, within: float, progress: Callable[[int], None] | None = None) -> str:
        """Run esptool. Raises Trouble with its last words when it fails. `progress` hears percents."""

        def line(text: str) -> None:
            found = _PERCENT.search(text)
            if found and progress is not None:
                progress(int(found[1]))
            if "Lost connection" in text:  # esptool would write into any board that it finds there a moment later
                raise Trouble(gone(self.port))

        said = self._run("esptool", ["--port", self._device, "--baud", str(self._baud), *arguments], within, line)
        found = MAC.search(said)
        if self.mac is not None and found and found[1].replace(":", "") != self.mac:
            raise Trouble(_other(self.port))
        return said

    def mpremote(self, *arguments: str, within: float, line: Callable[[str], None] | None = None) -> str:
        """Run mpremote, in the same way. `line` hears the board's words as they come."""
        ask = () if self.mac is None else ("exec", _IS_IT.format(self.mac), "+")

        def hear(text: str) -> None:
            if _STARTED.match(text):  # mpremote would go on waiting for its answer
                raise Trouble(
                    f"the board at {self.port} started anew in the middle of it: is its supply strong enough (a modem "
                    "takes bursts of 2 A), and the hub's? Run this again"
                )
            if line is not None:
                line(text)

        return self._run("mpremote", ["connect", self._device, *ask, *arguments], within, hear)

    def _run(self, module: str, arguments: list[str], within: float, line: Callable[[str], None]) -> str:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        process = subprocess.Popen(
            child.command(module, arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        late = threading.Timer(within, process.kill)
        late.start()
        begin = time.monotonic()
        said: list[str] = []
        try:
            assert process.stdout is not None
            for text in process.stdout:
                said.append(text)
                line(text.strip())
            process.wait()
        finally:
            timed_out = not late.is_alive()
            late.cancel()
            if process.poll() is None:  # we were interrupted: nobody else ends it
                process.kill()
            status = process.wait()
            with self._log.open("a") as log:
                log.write(f"--- {module}: status {status}, {time.monotonic() - begin:.1f} s\n{''.join(said)}\n")
        if status == 0:
            return "".join(said)
        if not os.path.exists(self.port):
            raise Trouble(gone(self.port))
        if timed_out:
            raise Trouble(
                f"the board at {self.port} has not answered {module} for {within:g} s: check the cable (some only "
                "charge), press its reset button, and run this again"
            )
        raise Trouble(_why(module, said, self.port))

    @contextlib.contextmanager
    def console(self) -> Iterator[Console]:
        console = Console(self.port)
        try:
            yield console
        finally:
            console.close()


def gone(port: str) -> str:
    return f"the board is gone from {port}: cable unplugged, or no supply? Plug it in, and run this again"


def _other(port: str) -> str:
    return f"another board is at {port} than when this began: let each stay until it is done, and run this again"


def _why(module: str, said: list[str], port: str) -> str:
    text = "".join(said)
    if _ANOTHER in text:
        return _other(port)
    if "ENOSPC" in text or "Errno 28" in text or "No space left" in text:
        return (
            f"the file system of the board at {port} is full: [partitions] of the board file gives it too little room, "
            "or the chip has less flash than it says"
        )
    if re.search("in use by another program|port is busy|could not open port|Permission denied", text, re.IGNORECASE):
        return (
            f"{port} can't be opened: another program has it open, or you may not (on Debian: "
            "`sudo adduser $USER dialout`, and log in again)"
        )
    if "serial noise or corruption" in text or ("Changing baud rate" in text and _no_answer(text)):
        return f"the line to the board at {port} loses octets: take a shorter cable, or --baud {BAUD}; run this again"
    if "Failed to connect" in text or _no_answer(text):
        return f"no chip answers at {port}: hold its BOOT button, press RESET, let go, and run this again"
    lines = [line.strip() for line in said if line.strip()]
    return f"{module} at {port}: {lines[-1] if lines else 'it ended without a word'}"


def _no_answer(text: str) -> bool:
    return "No serial data received" in text or "Invalid head of packet" in text


class Console:
    """The firmware's words, line by line."""

    def __init__(self, port: str) -> None:
        self._path = port
        self._serial = self._open()
        self._begun = b""
        self._whole: list[bytes] = []  # lines that came and nobody has heard yet: `until` leaves those after its own

    def _open(self) -> serial.Serial:
        # Both lines at the same level: on the usual boards only one of them alone resets the chip.
        line = serial.Serial(None, BAUD, timeout=_READ_S, exclusive=True)
        line.port = self._path
        try:
            line.open()
        except (OSError, serial.SerialException) as error:
            raise Trouble(_why("the console", [str(error)], self._path)) from None
        return line

    def reset(self) -> None:
        """Reset the chip, and lose none of its words. RTS does it, which also wakes a sleeping chip; where the port has
        no RTS, MicroPython is asked."""
        try:
            self._serial.dtr = False
            self._serial.rts = True
            time.sleep(_RESET_S)
            self._serial.rts = False
        except OSError:
            self._serial.write(b"\r\x03\x03\x01import machine\rmachine.reset()\r\x04")

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield lines for so long. Raises Trouble when the board goes."""
        end = time.monotonic() + seconds
        while self._whole:
            yield self._whole.pop(0).decode("utf-8", "replace").strip()
        while time.monotonic() < end:
            try:
                data = self._serial.read(max(1, self._serial.in_waiting))
            except (OSError, serial.SerialException):
                self._serial.close()
                self._await_port()
                self._serial = self._open()
                continue
            if not data and not os.path.exists(self._path):
                self._await_port()
            *whole, self._begun = (self._begun + data).split(b"\n")
            self._whole += whole
            if not self._whole and not data:
                yield ""
            while self._whole:
                yield self._whole.pop(0).decode("utf-8", "replace").strip()

    def until(self, hear: Callable[[str], None], happened: Callable[[], bool], seconds: float) -> bool:
        """Give each line to `hear` until it has happened. Tell whether it has, within so many seconds. Raises Trouble
        when `hear` does, or when the board goes."""
        for line in self.lines(seconds):
            hear(line)
            if happened():
                return True
        return happened()

    def _await_port(self) -> None:
        end = time.monotonic() + _BACK_S
        while not os.path.exists(self._path):
            if time.monotonic() > end:
                raise Trouble(gone(self._path))
            time.sleep(_READ_S)

    def close(self) -> None:
        self._serial.close()
