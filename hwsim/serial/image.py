"""What an ESP32 needs in its flash to start an application, and the check that its boot loaders make.

Layout: the stock MicroPython image for 4 MB chips (ports/esp32/partitions-4MiB.csv), its file system shorter by the
partitions of program and journal (firmware/README.md). Formats: Espressif's "Firmware
Image Format" (esptool's documentation) and "Partition Tables" (ESP-IDF Programming Guide). The interpreter that a
simulated bracelet runs is the desktop's; `stand_in` makes images that only prove to be whole.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import struct
from collections.abc import Callable

from hwsim.world.chip import JOURNAL_SECTORS, ROMFS_FIRST, ROMFS_SECTORS, SIZE
from hwsim.world.nor import SECTOR

Read = Callable[[int, int], bytes]

BOOTLOADER, TABLE, APPLICATION = 0x1000, 0x8000, 0x10000
NVS, NVS_SIZE = 0x9000, 0x6000
FILES = 0x200000
_JOURNAL_SIZE = JOURNAL_SECTORS * SECTOR
_FILES_SIZE = ROMFS_FIRST * SECTOR
_IMAGE_MAGIC, _CHECKSUM_SEED = 0xE9, 0xEF
_ENTRY = struct.Struct("<2sBBII16sI")
_ENTRY_MAGIC, _MD5_MAGIC = b"\xaa\x50", b"\xeb\xeb"
_TABLE_SIZE = 0xC00
_APP = 0x00
# Name, type, subtype, offset, size: firmware/image/TOCSIN_ESP32/partitions.csv.
PARTITIONS = (
    (b"nvs", 0x01, 0x02, NVS, NVS_SIZE),
    (b"phy_init", 0x01, 0x01, 0xF000, 0x1000),
    (b"factory", _APP, 0x00, APPLICATION, 0x1D0000),
    (b"vfs", 0x01, 0x81, FILES, _FILES_SIZE),
    (b"romfs", 0x01, 0x8F, FILES + _FILES_SIZE, ROMFS_SECTORS * SECTOR),
    (b"journal", 0x01, 0x40, FILES + SIZE - _JOURNAL_SIZE, _JOURNAL_SIZE),
)


def stand_in() -> dict[int, bytes]:
    """Content of a chip as a workshop leaves it, by address: boot loader, partition table, application."""
    entries = b"".join(
        _ENTRY.pack(_ENTRY_MAGIC, kind, sub, offset, size, name, 0) for name, kind, sub, offset, size in PARTITIONS
    )
    table = entries + _MD5_MAGIC + b"\xff" * 14 + hashlib.md5(entries, usedforsecurity=False).digest()
    return {
        BOOTLOADER: make_image(0x3FFF0000, b"stands for ESP-IDF's second-stage boot loader"),
        TABLE: table.ljust(_TABLE_SIZE, b"\xff"),
        APPLICATION: make_image(0x3FFB0000, b"stands for MicroPython: hwsim runs the desktop's interpreter"),
    }


def make_image(address: int, content: bytes) -> bytes:
    """An image of one segment that is loaded to `address`, with its checksum and hash."""
    content += b"\0" * (-len(content) % 4)
    # One segment; DIO, 4 MB, 40 MHz; entry point; no write-protect pin; ESP32; any revision; a hash follows.
    header = struct.pack("<BBBBI", _IMAGE_MAGIC, 1, 2, 0x20, address) + struct.pack("<B3sHBHH4sB", 0xEE, b"", 0, 0, 0,
                                                                                    0xFFFF, b"", 1)  # fmt: skip
    body = header + struct.pack("<II", address, len(content)) + content
    body += b"\0" * (-(len(body) + 1) % 16) + bytes([functools.reduce(operator.xor, content, _CHECKSUM_SEED)])
    return body + hashlib.sha256(body).digest()


def why_not_bootable(read: Read) -> str | None:
    """What the chip's console says when it can't start what is in its flash; None when it can.

    The ROM loader reads the second-stage boot loader's header, that one reads the table and verifies the application.
    """
    if read(BOOTLOADER, 1)[0] != _IMAGE_MAGIC:
        return f"invalid header: 0x{int.from_bytes(read(BOOTLOADER, 4), 'little'):08x}"
    if _fault(read, BOOTLOADER, TABLE - BOOTLOADER):
        return "ets_main.c 371"  # the ROM's words for a checksum that doesn't fit
    for at in range(TABLE, TABLE + _TABLE_SIZE, _ENTRY.size):
        magic, kind, _, offset, size, *_ = _ENTRY.unpack(read(at, _ENTRY.size))
        if magic != _ENTRY_MAGIC:
            break
        if kind == _APP:
            fault = _fault(read, offset, size)
            return f"esp_image: {fault}\r\nboot: No bootable app partitions in the partition table" if fault else None
    return "flash_parts: partition 0 invalid magic number\r\nboot: load partition table error!"


def _fault(read: Read, address: int, room: int) -> str | None:
    """What is wrong with an image, as ESP-IDF's esp_image_format.c says it."""
    header = read(address, 24)
    if header[0] != _IMAGE_MAGIC:
        return f"image at 0x{address:x} has invalid magic byte"
    segments, hashed = header[1], header[23]
    if not 1 <= segments <= 16:
        return f"image at 0x{address:x} has {segments} segments"
    at, checksum = 24, _CHECKSUM_SEED
    for _ in range(segments):
        length = struct.unpack("<II", read(address + at, 8))[1]
        at += 8
        if length % 4 or at + length >= room:
            return f"segment length 0x{length:x} is invalid"
        checksum = functools.reduce(operator.xor, read(address + at, length), checksum)
        at += length
    at += 16 - at % 16
    if read(address + at - 1, 1)[0] != checksum:
        return "Checksum failed"
    if hashed and hashlib.sha256(read(address, at)).digest() != read(address + at, 32):
        return "Image hash failed - image is corrupt"
    return None
