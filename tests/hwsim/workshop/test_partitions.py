"""The table that replaces the stock image's: esptool's neighbour in format, and never one that overlaps."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from hwsim.board import CONFIGS, load
from hwsim.serial import image
from hwsim.workshop import partitions
from hwsim.workshop.partitions import APP, DATA, Partition
from hwsim.workshop.trouble import Trouble

MB = 1 << 20
STOCK = partitions.decode(image.make_table(image.STOCK))
WITH_FILES = [*STOCK, Partition("vfs", DATA, 0x81, 0x200000, 0x200000)]  # as older images had it


def test_it_reads_and_writes_what_a_boot_loader_reads():
    table = image.stand_in()[image.TABLE]
    found = partitions.decode(table)
    assert [each.name for each in found] == ["nvs", "phy_init", "factory", "vfs", "romfs", "journal"]
    assert partitions.encode(found) == table
    assert partitions.romfs(found) == found[4]
    assert partitions.romfs(STOCK) is None


def test_the_format_by_hand():
    """ESP-IDF Programming Guide, Partition Tables: magic, type, subtype, offset, size, name, flags; MD5 of all."""
    entry = b"\xaa\x50\x01\x02" + (0x9000).to_bytes(4, "little") + (0x6000).to_bytes(4, "little")
    entry += b"nvs".ljust(16, b"\0") + bytes(4)
    table = partitions.encode([Partition("nvs", DATA, 0x02, 0x9000, 0x6000)])
    assert table[:32] == entry
    assert table[32:48] == b"\xeb\xeb" + b"\xff" * 14
    assert table[48:64] == hashlib.md5(entry, usedforsecurity=False).digest()
    assert table[64:] == b"\xff" * (0xC00 - 64)


def test_the_journal_gets_its_place_and_everything_else_keeps_its_own():
    made = partitions.with_journal(WITH_FILES, 0x200000, 0x3FA000, 4 * MB)
    assert made[:3] == STOCK
    assert made[3:] == [
        Partition("vfs", DATA, 0x81, 0x200000, 0x1FA000),
        Partition("journal", DATA, 0x40, 0x3FA000, 0x6000),
    ]
    assert partitions.with_journal(made, 0x200000, 0x3FA000, 4 * MB) == made  # and a second time
    assert partitions.with_journal(STOCK, 0x200000, 0x3FA000, 4 * MB) == made  # and where the image has no file system
    encrypted = [each._replace(flags=1) for each in made]  # as built for flash encryption
    assert partitions.with_journal(encrypted, 0x200000, 0x3FA000, 4 * MB) == encrypted


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_board_of_ours_fits_the_stock_table(file):
    board = load(file)
    places = board["partitions"]
    flash = board["chip"]["flash_mb"] * MB
    made = partitions.with_journal(STOCK, places["vfs_offset"], places["journal_offset"], flash)
    assert all(one.end <= other.offset for one, other in itertools.pairwise(made))
    assert made[-1].end <= flash


@pytest.mark.parametrize(
    ("table", "vfs", "journal", "flash", "why"),
    [
        ([Partition("factory", APP, 0, 0x10000, 0x200000)], 0x200000, 0x3FA000, 4 * MB, "factory ends at 0x210000"),
        (STOCK, 0x200000, 0x3FB000, 4 * MB, "journal ends at 0x401000"),
        (STOCK, 0x200000, 0x3FA000, 2 * MB, "the flash at 0x200000"),
    ],
)
def test_what_does_not_fit_is_named(table, vfs, journal, flash, why):
    with pytest.raises(Trouble, match=why):
        partitions.with_journal(table, vfs, journal, flash)


def test_a_damaged_table_and_no_image_at_all():
    table = bytearray(partitions.encode(STOCK))
    table[5] ^= 1
    with pytest.raises(Trouble, match="damaged"):
        partitions.decode(bytes(table))
    with pytest.raises(Trouble, match="no partition table"):
        partitions.table_of(b"not an image", 0x1000)


def test_only_the_table_of_an_image_is_replaced():
    content = bytes(range(256)) * 256
    for offset in (0x1000, 0):
        made = partitions.replaced(content, offset, STOCK)
        at = 0x8000 - offset
        assert (made[:at], made[at + 0xC00 :]) == (content[:at], content[at + 0xC00 :])
        assert partitions.table_of(made, offset) == STOCK
