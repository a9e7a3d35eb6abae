"""Images and partition tables that an ESP32 needs in its flash to start, and the checks that its boot loaders make.

Formats: Espressif's "Firmware Image Format" (esptool's documentation) and "Partition Tables" (ESP-IDF Programming
Guide); checks and their words: ESP-IDF, components/bootloader_support/src (esp_image_format.c, flash_partitions.c,
bootloader_common_loader.c) and components/esp_partition/partition.c. A simulated bracelet runs the desktop's
interpreter, so the images that `stand_in` makes are whole but hold no program.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hwsim.chips import FAMILIES, Family

Read = Callable[[int, int], bytes]

TABLE, APPLICATION = 0x8000, 0x10000
BOOTLOADER = FAMILIES["esp32"].image_offset
APP, DATA = 0x00, 0x01
_IMAGE_MAGIC, _CHECKSUM_SEED = 0xE9, 0xEF
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC, _MD5_MAGIC, _END = 0x50AA, 0xEBEB, (0xFFFF, 0xFF, 0xFF)
_TABLE_SIZE = 0xC00
_FILE_SYSTEMS = (b"vfs", b"ffat")
_ROMFS_KIND = b"\xd2\xcd\x31"  # docs/reference/romfs.rst: the record that is a whole file system
# Every MicroPython that mounts a ROMFS holds this text (extmod/vfs.c: it goes into sys.path), and no other does.
_MOUNTS_ROMFS = b"/rom/lib"
# The ROM's words for a second-stage boot loader that it can't load, and the RAM addresses that images are loaded to.
_UNLOADABLE = {"ESP32": "ets_main.c 371", "ESP32-S3": "ets_loader.c 78"}
_RAM = {"ESP32": (0x3FFF0000, 0x3FFB0000), "ESP32-S3": (0x3FCE3810, 0x3FC90000)}


class Partition(NamedTuple):
    """An entry of a partition table; `offset` is from the chip's beginning."""

    name: bytes
    kind: int  # APP or DATA
    subtype: int
    offset: int  # octets, as is the size
    size: int


# firmware/image/TOCSIN_ESP32/partitions.csv.
PARTITIONS = (
    Partition(b"nvs", DATA, 0x02, 0x9000, 0x6000),
    Partition(b"phy_init", DATA, 0x01, 0xF000, 0x1000),
    Partition(b"factory", APP, 0x00, APPLICATION, 0x1D0000),
    Partition(b"vfs", DATA, 0x81, 0x200000, 0x180000),
    Partition(b"romfs", DATA, 0x8F, 0x380000, 0x78000),
    Partition(b"journal", DATA, 0x40, 0x3FA000, 0x6000),
)
# MicroPython, ports/esp32/partitions-4MiBplus.csv: every stock image for 4 MB and more.
STOCK = (
    *PARTITIONS[:2],
    Partition(b"factory", APP, 0x00, APPLICATION, 0x1F0000),
)


class TableError(ValueError):
    """A partition table that no chip accepts; the text is that of the chip's console."""


def stand_in(
    family: Family = FAMILIES["esp32"], partitions: Iterable[Partition] = PARTITIONS, romfs: bool = True
) -> dict[int, bytes]:
    """Make the content of a chip as a workshop leaves it, by address: boot loader, partition table, application.

    `romfs` tells whether the MicroPython that it stands for mounts a ROMFS, as firmware/image does and stock images
    don't.
    """
    loader, application = _RAM[family.name]
    about = b"stands for MicroPython: hwsim runs the desktop's interpreter\0" + (_MOUNTS_ROMFS if romfs else b"")
    return {
        family.image_offset: make_image(loader, b"stands for ESP-IDF's second-stage boot loader", family.image_id),
        TABLE: make_table(partitions),
        APPLICATION: make_image(application, about, family.image_id),
    }


def make_table(partitions: Iterable[Partition]) -> bytes:
    """Make a partition table with its MD5, as it lies in the flash at TABLE."""
    entries = b"".join(_ENTRY.pack(_ENTRY_MAGIC, p.kind, p.subtype, p.offset, p.size, p.name, 0) for p in partitions)
    digest = hashlib.md5(entries, usedforsecurity=False).digest()
    table = entries + struct.pack("<H", _MD5_MAGIC) + b"\xff" * 14 + digest
    return table.ljust(_TABLE_SIZE, b"\xff")


def make_image(address: int, content: bytes, chip_id: int = 0) -> bytes:
    """Make an image of one segment that is loaded to `address`, with its checksum and hash, for 4 MB of flash and
    more."""
    content += b"\0" * (-len(content) % 4)
    # One segment; DIO, 4 MB, 40 MHz; entry point; no write-protect pin; the chip; any revision; a hash follows.
    header = struct.pack("<BBBBI", _IMAGE_MAGIC, 1, 2, 0x20, address)
    header += struct.pack("<B3sHBHH4sB", 0xEE, b"", chip_id, 0, 0, 0xFFFF, b"", 1)
    body = header + struct.pack("<II", address, len(content)) + content
    body += b"\0" * (-(len(body) + 1) % 16) + bytes([functools.reduce(operator.xor, content, _CHECKSUM_SEED)])
    return body + hashlib.sha256(body).digest()


# -- what the boot loaders check


def why_not_bootable(read: Read, family: Family = FAMILIES["esp32"]) -> str | None:
    """Return the words of the chip's console when it can't start what is in its flash; None when it can.

    The ROM loader reads the header of the second-stage boot loader. The latter reads the table and verifies the
    application.
    """
    boot = family.image_offset
    if read(boot, 1)[0] != _IMAGE_MAGIC:
        return f"invalid header: 0x{int.from_bytes(read(boot, 4), 'little'):08x}"
    if _fault(read, boot, TABLE - boot, family.image_id):
        return _UNLOADABLE[family.name]
    try:
        apps = [partition for partition in _table(read, family)[0] if partition.kind == APP]
    except TableError as error:
        return f"flash_parts: {error}\r\nboot: load partition table error!"
    fault = _fault(read, apps[0].offset, apps[0].size, family.image_id) if apps else None
    if fault or not apps:
        return (f"{fault}\r\n" if fault else "") + "boot: No bootable app partitions in the partition table"
    return None


def _fault(read: Read, address: int, room: int, chip_id: int) -> str | None:
    """Return what is wrong with an image; None when it is good."""
    header = read(address, 24)
    if header[0] != _IMAGE_MAGIC:
        return f"esp_image: image at 0x{address:x} has invalid magic byte"
    segments, hashed, made_for = header[1], header[23], int.from_bytes(header[12:14], "little")
    if made_for != chip_id:
        return f"boot_comm: mismatch chip ID, expected {chip_id}, found {made_for}"
    if not 1 <= segments <= 16:
        return f"esp_image: image at 0x{address:x} has {segments} segments"
    at, checksum = 24, _CHECKSUM_SEED
    for _ in range(segments):
        length = struct.unpack("<II", read(address + at, 8))[1]
        at += 8
        if length % 4 or at + length >= room:
            return f"esp_image: segment length 0x{length:x} is invalid"
        checksum = functools.reduce(operator.xor, read(address + at, length), checksum)
        at += length
    at += 16 - at % 16
    if read(address + at - 1, 1)[0] != checksum:
        return "esp_image: Checksum failed"
    if hashed and hashlib.sha256(read(address, at)).digest() != read(address + at, 32):
        return "esp_image: Image hash failed - image is corrupt"
    return None


def _table(read: Read, family: Family) -> tuple[list[Partition], bool]:
    """Read the entries, and whether an MD5 vouches for them. Raises TableError, also when a partition lies beyond the
    size in the boot loader's own header, however large the chip is."""
    room = 1 << 20 + (read(family.image_offset + 3, 1)[0] >> 4)
    table, vouched = read(TABLE, _TABLE_SIZE), False
    found: list[Partition] = []
    for at in range(0, _TABLE_SIZE, _ENTRY.size):
        magic, kind, subtype, offset, size, name, _ = _ENTRY.unpack_from(table, at)
        if magic == _ENTRY_MAGIC:
            if offset + size > room:
                raise TableError(
                    f"partition {len(found)} invalid - offset 0x{offset:x} size 0x{size:x} exceeds flash chip size "
                    f"0x{room:x}"
                )
            found.append(Partition(name.rstrip(b"\0"), kind, subtype, offset, size))
        elif magic == _MD5_MAGIC:
            if vouched:
                raise TableError("Only one MD5 checksum is allowed")
            if hashlib.md5(table[:at], usedforsecurity=False).digest() != table[at + 16 : at + 32]:
                raise TableError("Incorrect MD5 checksum")
            vouched = True
        elif (magic, kind, subtype) == _END:
            return found, vouched
        else:
            raise TableError(f"partition {len(found)} invalid magic number 0x{magic:x}")
    raise TableError("partition table has no terminating entry, not valid")


# -- what the application finds


def partitions(read: Read, family: Family, size: int) -> list[Partition]:
    """Return the partitions that MicroPython has on a chip of `size` octets that starts.

    The application, unlike the boot loader, finds none at all without an MD5. Where the table has no file system,
    MicroPython makes one of the room behind the last partition (ports/esp32/main.c, boardctrl_startup, 1.26 and later).
    """
    found, vouched = _table(read, family)
    if not vouched:
        return []
    end = max((partition.offset + partition.size for partition in found), default=size)
    if end < size and not any(p.kind == DATA and p.name in _FILE_SYSTEMS for p in found):
        found.append(Partition(b"vfs", DATA, 0x81, end, size - end))
    return found


def romfs(read: Read, found: Iterable[Partition]) -> Partition | None:
    """Return the partition that MicroPython mounts as /rom. None when it was built without that, there is no such
    partition, or its content is no ROMFS (extmod/vfs_rom.c, vfs_rom_make_new)."""
    application = next((p for p in found if p.kind == APP), None)
    partition = next((p for p in found if p.kind == DATA and p.name == b"romfs"), None)
    if application is None or partition is None or _MOUNTS_ROMFS not in read(application.offset, application.size):
        return None
    head = read(partition.offset, min(16, partition.size))
    if not head.startswith(_ROMFS_KIND):
        return None
    length, at = 0, len(_ROMFS_KIND)
    while at < len(head):
        length, at = length << 7 | head[at] & 0x7F, at + 1
        if not head[at - 1] & 0x80:
            return partition if at + length <= partition.size else None
    return None
