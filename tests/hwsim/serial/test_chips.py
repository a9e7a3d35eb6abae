"""Stock esptool recognises the chip that the board file names, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hwsim.chips import FAMILIES
from hwsim.serial import image

from .conftest import PATIENCE

S3 = FAMILIES["esp32s3"]


@pytest.mark.parametrize("board", ["lilygo-t-sim7670g-s3"])
def test_an_esp32_s3_from_erased_to_its_prompt(usb, esptool, mpremote, tmp_path):
    for stub in ((), ("--no-stub",)):
        said = esptool(*stub, "flash-id")
        assert "ESP32-S3 (QFN56) (revision v0.2)" in said
        assert "Embedded PSRAM 8MB (AP_3v3)" in said
        assert ":".join(usb.unique_id[at : at + 2] for at in range(0, 12, 2)) in said
        assert "Detected flash size: 16MB" in said
        assert ("Stub flasher running" in said) == (not stub)
    assert "Chip ID: 9" in esptool("get-security-info")
    esptool("erase-flash")
    usb.world.expect("usb", "does not boot", within=PATIENCE)
    parts = []
    for address, content in image.stand_in(S3).items():
        (tmp_path / f"{address:x}.bin").write_bytes(content)
        parts += [hex(address), str(tmp_path / f"{address:x}.bin")]
    assert "Hash of data verified" in esptool("--chip", "esp32s3", "write-flash", *parts)
    assert mpremote("eval", "6 * 7") == "42\n"


@pytest.mark.parametrize("board", ["walter", "devkit"])
def test_what_is_meant_for_another_chip_is_refused(usb, esptool, tmp_path, board):
    own, other = (S3, FAMILIES["esp32"]) if board == "walter" else (FAMILIES["esp32"], S3)
    assert ("Embedded PSRAM 2MB" in esptool("flash-id")) == (board == "walter")
    names = {family.name: name for name, family in FAMILIES.items()}

    def refused(*arguments: str) -> str:
        command = [sys.executable, "-m", "esptool", "--port", usb.port.path, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 2
        return done.stdout + done.stderr

    assert f"This chip is {own.name}, not {other.name}" in refused("--chip", names[other.name], "flash-id")
    parts = image.stand_in(other)
    (tmp_path / "image.bin").write_bytes(parts[other.image_offset])
    said = refused("write-flash", hex(own.image_offset), str(tmp_path / "image.bin"))
    assert f"is not an {own.name} image" in said
    # esptool looks at what lies in the boot loader's place only; the boot loader itself refuses the application.
    (tmp_path / "image.bin").write_bytes(parts[image.APPLICATION])
    esptool("write-flash", hex(image.APPLICATION), str(tmp_path / "image.bin"))
    usb.world.expect("usb", "does not boot", within=PATIENCE)
    assert f"mismatch chip ID, expected {own.image_id}, found {other.image_id}" in "".join(usb.console)
