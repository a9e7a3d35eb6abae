"""What a chip starts, and which partitions it finds."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from hwsim.chips import FAMILIES
from hwsim.serial import image
from hwsim.serial.image import Partition
from hwsim.serial.spiflash import OutOfRange, SpiFlash
from hwsim.world.bracelet import FIRMWARE
from hwsim.world.chip import ORDINARY

from .conftest import OURS, run

MB = 1 << 20
ROMFS = OURS["romfs"]
ESP32, S3 = FAMILIES["esp32"], FAMILIES["esp32s3"]


@pytest.fixture
def chip(tmp_path):
    return SpiFlash(tmp_path / "bracelet.flash", ESP32, 4)


def write(chip, address, content):
    chip.erase(address, len(content))
    chip.program(address, content)


def varuint(value):
    """In three octets, as a ROMFS has it: seven bits each, the highest first."""
    return bytes((value >> 14 | 0x80, value >> 7 & 0x7F | 0x80, value & 0x7F))


def labels(chip):
    return [place.label for place in chip.partitions()]


@pytest.mark.parametrize("name", ["esp32", "esp32s3"])
def test_a_new_one_starts_and_esptool_takes_its_images_for_good(tmp_path, name):
    family = FAMILIES[name]
    chip = SpiFlash(tmp_path / "bracelet.flash", family, 16)
    assert chip.why_not_bootable() is None
    for address in (family.image_offset, image.APPLICATION):
        (tmp_path / "image.bin").write_bytes(image.stand_in(family)[address])
        said = run("esptool", "--chip", name, "image-info", str(tmp_path / "image.bin"))
        assert f"{family.name} Image Header" in said
        assert "(valid)" in said
        assert "invalid" not in said


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (image.BOOTLOADER, "invalid header: 0xffffffff"),
        (image.TABLE, "No bootable app partitions"),
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
    write(chip, image.APPLICATION, bytes(content))
    assert "Image hash failed" in chip.why_not_bootable()


def test_an_image_for_another_chip_is_not_started(chip, tmp_path):
    write(chip, image.APPLICATION, image.stand_in(S3)[image.APPLICATION])
    assert "mismatch chip ID, expected 0, found 9" in chip.why_not_bootable()
    other = SpiFlash(tmp_path / "other.flash", S3, 4)
    write(other, S3.image_offset, image.stand_in()[image.BOOTLOADER])
    assert other.why_not_bootable() == "ets_loader.c 78"
    write(other, 0, b"\xff" * 0x1000)
    write(other, image.BOOTLOADER, image.stand_in()[image.BOOTLOADER])
    assert other.why_not_bootable() == "invalid header: 0xffffffff"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda table: table[:3] + b"\0" + table[4:], "Incorrect MD5 checksum"),
        (lambda table: b"\0" + table[1:], "partition 0 invalid magic number 0x5000"),
        (lambda table: table[: 6 * 32] + b"\0" * 64, "partition 6 invalid magic number 0x0"),
        (lambda _: image.make_table([Partition(b"vfs", 1, 0x81, 4 * MB, 4096)]), "exceeds flash chip size 0x400000"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_the_boot_loaders_words(tmp_path, spoil, why):
    chip = SpiFlash(tmp_path / "bracelet.flash", ESP32, 16)  # the size in its boot loader's header counts
    write(chip, image.TABLE, spoil(image.make_table(image.PARTITIONS)))
    assert why in chip.why_not_bootable()


def test_a_table_without_its_md5_starts_and_nothing_is_found(chip):
    write(chip, image.TABLE, image.make_table(image.PARTITIONS)[: 6 * 32])
    assert chip.why_not_bootable() is None
    assert chip.partitions() == ()


def test_the_stock_table_gets_a_file_system_behind_the_application(tmp_path):
    for megabytes in (4, 16):
        chip = SpiFlash(tmp_path / f"{megabytes}.flash", ESP32, megabytes)
        write(chip, image.TABLE, image.make_table(image.STOCK))
        assert labels(chip) == ["nvs", "phy_init", "factory", "vfs"]
        vfs = chip.partitions()[-1]
        assert (vfs.address, vfs.size) == (2 * MB, (megabytes - 2) * MB)


def test_a_journal_at_the_end_leaves_no_room_for_one(chip):
    write(chip, image.TABLE, image.make_table([*image.STOCK, image.PARTITIONS[-1]]))
    assert labels(chip) == ["nvs", "phy_init", "factory", "journal"]


@pytest.mark.parametrize(
    ("content", "mounted"),
    [
        (b"", False),
        (b"\xd2\xcd\x31\x00", True),
        (b"\xd2\xcd\x31" + varuint(ROMFS.size - 6), True),  # with its head as long as its partition
        (b"\xd2\xcd\x31" + varuint(ROMFS.size - 5), False),
        (b"\xd2\xcd\x32\x00", False),
        (b"\xd2\xcd\x31\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", False),
    ],
)
def test_a_romfs_is_mounted_when_it_is_one(chip, content, mounted):
    chip.program(ROMFS.offset, content)
    assert chip.romfs() == ((ROMFS.offset, ROMFS.size) if mounted else None)


def test_a_stock_image_mounts_none(chip):
    chip.program(ROMFS.offset, b"\xd2\xcd\x31\x00")
    write(chip, image.APPLICATION, image.stand_in(romfs=False)[image.APPLICATION])
    assert chip.romfs() is None


def test_it_has_as_many_octets_as_its_file(tmp_path, chip):
    with pytest.raises(OutOfRange):
        chip.read(chip.size - 1, 2)
    with pytest.raises(OutOfRange):
        chip.program(chip.size - 1, b"ab")
    with pytest.raises(ValueError, match=r"is no flash image: a file of 8388608 octets"):
        SpiFlash(tmp_path / "bracelet.flash", ESP32, 8)
    assert SpiFlash(tmp_path / "x", ESP32, 16).jedec_id == 0x1840EF


def test_an_erase_takes_whole_sectors_and_no_more(chip):
    chip.program(0x100000, b"\0" * 0x4000)
    chip.erase(0x101FFF, 2)
    assert chip.read(0x100000, 0x4000) == b"\0" * 0x1000 + b"\xff" * 0x2000 + b"\0" * 0x1000


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


def test_an_ordinary_device_has_the_end_of_that_chip(chip):
    places = {place.label: place[:5] for place in chip.partitions()}
    assert all(place[:5] == places[place.label] for place in ORDINARY)
    assert {"vfs", "journal"} <= {place.label for place in ORDINARY}


def test_a_made_table_is_as_gen_esp32part_makes_it():
    """ESP-IDF Programming Guide, "Partition Tables": entries of 32 octets, then the MD5 over them."""
    table = image.make_table(image.STOCK)
    assert table[:32] == bytes.fromhex("aa50010200900000006000006e767300") + bytes(16)
    assert table[96:128] == b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table[:96], usedforsecurity=False).digest()
    assert table[128:] == b"\xff" * (0xC00 - 128)
