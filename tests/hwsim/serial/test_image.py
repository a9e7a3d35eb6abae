"""What a chip starts, and where its partitions lie."""

from __future__ import annotations

import itertools

import pytest

from hwsim.serial import image
from hwsim.serial.spiflash import OutOfRange, SpiFlash
from hwsim.world.bracelet import FIRMWARE

from .conftest import run

MB = 1 << 20


@pytest.fixture
def paths(tmp_path):
    files = tmp_path / "bracelet.flash"
    files.write_bytes(b"\xff" * (2 * MB))
    return files, tmp_path / "bracelet.flash.nvs"


@pytest.fixture
def chip(paths):
    return SpiFlash(*paths, 4)


def test_a_new_one_starts_and_esptool_takes_its_images_for_good(chip, tmp_path):
    assert chip.why_not_bootable() is None
    for address in (image.BOOTLOADER, image.APPLICATION):
        (tmp_path / "image.bin").write_bytes(image.stand_in()[address])
        said = run("esptool", "--chip", "esp32", "image-info", str(tmp_path / "image.bin"))
        assert "(valid)" in said
        assert "invalid" not in said


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (image.BOOTLOADER, "invalid header: 0xffffffff"),
        (image.TABLE, "load partition table error"),
        (image.APPLICATION, "image at 0x10000 has invalid magic byte"),
    ],
)
def test_without_one_of_its_three_parts_it_does_not(chip, address, why):
    chip.erase(address, 1)
    assert why in chip.why_not_bootable()


def test_nor_with_a_cell_that_lost_its_charge(chip):
    at = image.APPLICATION + 24 + 8 + 3
    octet = chip.read(at, 1)[0]
    chip.program(at, bytes([octet & octet - 1]))  # its lowest set bit cleared
    assert "Checksum failed" in chip.why_not_bootable()


def test_a_hash_finds_what_a_checksum_does_not(chip):
    content = bytearray(image.stand_in()[image.APPLICATION])
    content[24 + 8] ^= 1
    content[24 + 9] ^= 1
    chip.erase(image.APPLICATION, len(content))
    chip.program(image.APPLICATION, bytes(content))
    assert "Image hash failed" in chip.why_not_bootable()


def test_partitions_are_the_bracelets_own_files(chip, paths):
    files, nvs = paths
    chip.program(image.NVS - 2, b"abcd")
    chip.program(image.NVS + image.NVS_SIZE - 2, b"efgh")
    chip.program(image.FILES - 2, b"ijkl")
    chip.program(chip.size - 2, b"mn")
    content = nvs.read_bytes()
    assert (content[:2], content[-2:], len(content)) == (b"cd", b"ef", image.NVS_SIZE)
    content = files.read_bytes()
    assert (content[:2], content[-2:], len(content)) == (b"kl", b"mn", 2 * MB)
    assert chip.read(image.NVS - 2, image.NVS_SIZE + 4) == b"abcd" + b"\xff" * (image.NVS_SIZE - 4) + b"efgh"
    files.write_bytes(b"\0" * (2 * MB))
    assert chip.read(image.FILES - 2, 4) == b"ij\0\0"
    with pytest.raises(OutOfRange):
        chip.read(chip.size - 1, 2)
    assert SpiFlash(*paths, 4).read(image.NVS - 2, 4) == b"abcd"  # kept


def test_an_erase_takes_whole_sectors_and_no_more(chip):
    chip.program(0x100000, b"\0" * 0x4000)
    chip.erase(0x101FFF, 2)
    assert chip.read(0x100000, 0x4000) == b"\0" * 0x1000 + b"\xff" * 0x2000 + b"\0" * 0x1000


def test_larger_chips_and_too_small_ones(paths):
    assert SpiFlash(*paths, 16).jedec_id == 0x1840EF
    paths[0].with_name(paths[0].name + ".chip").unlink()
    with pytest.raises(ValueError, match="no room for the file system"):
        SpiFlash(*paths, 2)


def test_the_partitions_are_those_of_the_image_that_is_built():
    names = {"data": 0x01, "app": 0x00, "nvs": 0x02, "phy": 0x01, "factory": 0x00, "fat": 0x81}
    rows = []
    for line in (FIRMWARE / "image/TOCSIN_ESP32/partitions.csv").read_text().splitlines():
        if not line.startswith("#"):
            name, *rest = (word.strip() for word in line.split(","))
            rows.append((name.encode(), *(names[word] if word in names else int(word, 0) for word in rest)))
    assert tuple(rows) == image.PARTITIONS
    ends = [(offset, offset + size) for *_, offset, size in rows]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
