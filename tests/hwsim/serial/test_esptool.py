"""Stock esptool works on a simulated bracelet, with its stub and without."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from hwsim.serial import image

from .conftest import PATIENCE

FREE = 0x100000  # in the application's partition, behind the application


def test_it_finds_an_esp32_with_its_flash(esptool, mpremote, usb):
    mac = ":".join(usb.unique_id[at : at + 2] for at in range(0, 12, 2))
    for stub in ((), ("--no-stub",)):
        said = esptool(*stub, "flash-id")
        assert "ESP32-D0WD-V3 (revision v3.0)" in said
        assert "Crystal frequency:  40MHz" in said
        assert mac in said
        assert "Manufacturer: ef\nDevice: 4016\nDetected flash size: 4MB" in said
        assert ("Stub flasher running" in said) == (not stub)
    assert mpremote("eval", "6 * 7") == "42\n"  # it is at its prompt again


@pytest.mark.parametrize("stub", [(), ("--no-stub",)], ids=["stub", "rom"])
@pytest.mark.parametrize("packed", ["--compress", "--no-compress"])
def test_what_it_writes_is_there(esptool, usb, tmp_path, stub, packed):
    content = os.urandom(9000) + bytes(5000) + b"\xc0\xdb" * 500 + b"end"
    file, back = tmp_path / "content.bin", tmp_path / "back.bin"
    file.write_bytes(content)
    for _ in range(2):  # the second time over what is there: it must erase
        assert "Hash of data verified" in esptool(*stub, "write-flash", packed, hex(FREE), str(file))
        assert usb.chip.read(FREE, len(content)) == content
        content = content[::-1]
        file.write_bytes(content)
    content = content[::-1]
    file.write_bytes(content)
    assert "Verification successful" in esptool(*stub, "verify-flash", hex(FREE), str(file))
    esptool(*stub, "read-flash", hex(FREE), str(len(content)), str(back))
    assert back.read_bytes() == content
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "Verification failed" in esptool(*stub, "verify-flash", hex(FREE), str(file), status=2)


def test_an_erased_chip_is_an_empty_bracelet_that_does_not_boot(esptool, mpremote, usb, tmp_path):
    assert "main.py" in usb.files.names()
    esptool("--baud", "921600", "erase-flash")
    usb.world.expect("usb", "does not boot", within=PATIENCE)
    assert usb.chip.read(0, usb.chip.size) == b"\xff" * usb.chip.size
    assert set(usb.flash_path.read_bytes()) == {0xFF}
    assert usb.console[-1] == "invalid header: 0xffffffff"
    parts = []
    for address, content in image.stand_in().items():
        (tmp_path / f"{address:x}.bin").write_bytes(content)
        parts += [hex(address), str(tmp_path / f"{address:x}.bin")]
    esptool("write-flash", *parts)
    assert mpremote("eval", "__import__('os').listdir('/')") == "['boot.py']\n"  # it starts, and has a new file system


def test_a_region_is_erased(esptool, usb, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x" * 0x3000)
    esptool("write-flash", hex(FREE), str(tmp_path / "x.bin"))
    esptool("erase-region", hex(FREE + 0x1000), "0x1000")
    assert usb.chip.read(FREE, 0x3000) == b"x" * 0x1000 + b"\xff" * 0x1000 + b"x" * 0x1000


def test_gone_in_the_middle_of_a_write(esptool, usb, tmp_path):
    application = tmp_path / "application.bin"
    application.write_bytes(image.make_image(0x3FFB0000, os.urandom(0x180000)))
    command = [sys.executable, "-m", "esptool", "--no-stub", "--port", usb.port.path, "write-flash", "--no-compress"]
    writer = subprocess.Popen([*command, "0x10000", str(application)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while usb.chip.read(0x14000, 1) == b"\xff":  # the stand-in is shorter, so this means that some is written
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.kill()
    writer.wait()
    usb.world.expect("usb", "closed", within=PATIENCE)
    usb.world.expect("usb", "written", within=PATIENCE, octets=lambda n: n < application.stat().st_size)
    usb.world.expect("usb", "does not boot", within=PATIENCE)
    application.write_bytes(image.stand_in()[image.APPLICATION])
    esptool("write-flash", "0x10000", str(application))
    usb.world.expect("firmware", "blank", within=PATIENCE)


def test_held_in_the_loader_the_stub_stays(usb, esptool):
    usb.world.call(usb.hold_strap)
    usb.world.call(usb.reset)
    usb.world.expect("usb", "loader", within=PATIENCE)
    options = ("--before", "no-reset", "--after", "no-reset-stub")
    assert "Running stub flasher" in esptool(*options, "flash-id")
    assert "already running" in esptool(*options, "flash-id")
