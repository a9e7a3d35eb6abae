"""What goes wrong at a bench looks to stock programs as it does on a real port."""

from __future__ import annotations

import os
import subprocess
import sys

from hwsim.serial import image

from .conftest import PATIENCE


def begun(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_cable_is_pulled_while_it_is_written_and_put_in_again(usb, esptool, mpremote, pulled, tmp_path):
    # By its link: esptool waits for the port to come back, and a PTY's own name is soon that of another test's.
    writer = begun("esptool", "--port", str(tmp_path / "ttyUSB0"), *pulled)
    said, _ = writer.communicate(timeout=PATIENCE)
    assert (writer.returncode, "Lost connection" in said) == (1, True), said
    usb.world.call(usb.plug)
    usb.world.expect("usb", "does not boot", within=PATIENCE)
    file = tmp_path / "file"
    file.write_bytes(image.stand_in()[image.APPLICATION])
    esptool("write-flash", "0x10000", str(file))
    usb.world.expect("firmware", "blank", within=PATIENCE)
    file.write_bytes(os.urandom(200_000))
    copier = begun("mpremote", "connect", usb.port.path, "fs", "cp", str(file), ":half")
    usb.world.expect("usb", "soft reset", within=PATIENCE)
    usb.world.call(usb.unplug)
    said, _ = copier.communicate(timeout=PATIENCE)
    assert copier.returncode == 1
    assert "Errno 5" in said
    usb.world.call(usb.plug)
    mpremote("reset")
    usb.world.expect("firmware", "blank", within=PATIENCE)  # half a file keeps nothing from working


def test_switched_off_it_does_not_answer(usb):
    usb.world.call(usb.power_cut)
    asked = begun("esptool", "--port", usb.port.path, "--connect-attempts", "1", "flash-id")
    said, _ = asked.communicate(timeout=PATIENCE)
    assert asked.returncode == 2
    assert "No serial data received" in said


def test_a_full_file_system_takes_no_file(usb, tmp_path):
    usb.world.call(usb.power_cut)
    usb.files.fill("/full")
    usb.world.call(usb.boot)
    (tmp_path / "file").write_bytes(os.urandom(60_000))
    copier = begun("mpremote", "connect", usb.port.path, "fs", "cp", str(tmp_path / "file"), ":file")
    said, _ = copier.communicate(timeout=PATIENCE)
    assert copier.returncode == 1
    assert "No space left on device" in said
