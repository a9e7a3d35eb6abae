"""A bracelet on a serial port, its world in a thread, and stock programs at the other end of it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from hwsim.serial import image
from hwsim.serial.usb import UsbBracelet
from hwsim.world import World

PATIENCE = 90  # seconds until a test gives a stock program up, on a machine that has much else to do

os.environ["ESPTOOL_CFGFILE"] = str(Path(__file__).with_name("esptool.cfg"))  # every esptool of these tests reads it

OURS = {partition.name.decode(): partition for partition in image.PARTITIONS}

Program = Callable[..., str]


@pytest.fixture
def firmware(tmp_path: Path) -> Path | None:
    """What is on its flash; a test module may have its own. None: ours."""
    return None


@pytest.fixture
def board() -> str:
    return "reference"


@pytest.fixture
def usb(tmp_path: Path, board: str, firmware: Path | None) -> Iterator[UsbBracelet]:
    """Switched on, and past the start of its firmware."""
    with World(realtime=True) as world:
        more = {"firmware": firmware} if firmware else {}
        usb = UsbBracelet(world, tmp_path / "bracelet.flash", board=board, link=tmp_path / "ttyUSB0", **more)
        world.start_thread()
        world.call(usb.boot)
        world.expect("firmware", "up" if firmware else "blank", within=PATIENCE)
        yield usb
        world.stop()


def run(module: str, *arguments: str, status: int = 0, **more: object) -> str:
    """A Python program of another project, to its end; what it said."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == status, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture
def mpremote(usb: UsbBracelet) -> Program:
    return lambda *arguments, **more: run("mpremote", "connect", usb.port.path, *arguments, **more)


@pytest.fixture
def esptool(usb: UsbBracelet) -> Program:
    return lambda *arguments, **more: run("esptool", "--port", usb.port.path, *arguments, **more)


@pytest.fixture
def pulled(usb: UsbBracelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What esptool is told to write; in the middle of it the cable is pulled, once."""
    program = usb.chip.program

    def programmed(address: int, data: bytes) -> None:
        program(address, data)
        if address == 0x14000:
            usb.world.after(0, usb.unplug)

    monkeypatch.setattr(usb.chip, "program", programmed)
    file = tmp_path / "application.bin"
    file.write_bytes(image.make_image(0x3FFB0000, os.urandom(0x180000)))
    return ["--no-stub", "write-flash", "--no-compress", "0x10000", str(file)]


def offer(world: World) -> dict[str, object]:
    """What a relay would hand to a new bracelet."""
    return {
        "tocsin": 1,
        "kid": "c0ffee01",
        "relay_id": "00" * 8,
        "relay_x25519": "09" + "00" * 31,
        "time": world.unix_time,
        "ca": base64.b64encode(world.authority.der).decode(),
        "mqtt": {"host": "relay.test", "port": 8883, "user": "c0ffee01", "password": "secret"},
        "sms": "+10000000002",
        "wifi": [],
    }


class Line:
    """The port, octet by octet."""

    def __init__(self, path: str) -> None:
        self._port = serial.Serial(path, 115200, timeout=PATIENCE)

    def send(self, data: bytes) -> None:
        self._port.write(data)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with these octets."""
        answer = self._port.read_until(end)
        assert answer.endswith(end), answer
        return answer

    def read(self, count: int) -> bytes:
        answer = self._port.read(count)
        assert len(answer) == count, answer
        return answer

    def close(self) -> None:
        self._port.close()


@pytest.fixture
def line(usb: UsbBracelet) -> Iterator[Line]:
    line = Line(usb.port.path)
    assert usb.world.run_until(lambda: usb.port.open, PATIENCE)
    yield line
    line.close()
