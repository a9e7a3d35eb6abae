"""Read ESP-IDF's partition table from a MicroPython image, add the journal's partition, and put the table back.

The format is that of "Partition Tables" (ESP-IDF Programming Guide): entries of 32 octets at 0x8000, ended by the MD5
of those before it. The stock images have no partition for the journal, and without one the firmware refuses to work
(firmware/flash.md).
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hwsim.workshop.trouble import Trouble

TABLE, TABLE_SIZE = 0x8000, 0xC00
SECTOR = 0x1000
JOURNAL_SIZE = 6 * SECTOR
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC, _MD5 = b"\xaa\x50", b"\xeb\xeb" + b"\xff" * 14
APP, DATA = 0x00, 0x01
_FAT, _JOURNAL, _ROMFS = 0x81, 0x40, 0x8F  # subtypes of data; the second is ours, the third MicroPython's


class Partition(NamedTuple):
    name: str
    kind: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size


def decode(table: bytes) -> list[Partition]:
    """Read the entries of a table as it lies in flash. Raises Trouble when it is none, or damaged."""
    found: list[Partition] = []
    for at in range(0, min(len(table), TABLE_SIZE) - _ENTRY.size + 1, _ENTRY.size):
        entry = table[at : at + _ENTRY.size]
        if entry[:2] == _MAGIC:
            _, kind, subtype, offset, size, name, flags = _ENTRY.unpack(entry)
            found.append(Partition(name.rstrip(b"\0").decode("ascii", "replace"), kind, subtype, offset, size, flags))
        elif entry[:16] == _MD5:
            if hashlib.md5(table[:at], usedforsecurity=False).digest() != entry[16:]:
                raise Trouble("the image's partition table is damaged (its MD5 is another): get the image anew")
            break
        else:
            break
    if not found:
        raise Trouble("the image has no partition table at 0x8000: is it a whole one for this chip, its offset right?")
    return found


def encode(partitions: Iterable[Partition]) -> bytes:
    """Return the table as it lies in flash, filled up to its size."""
    entries = b"".join(
        _ENTRY.pack(_MAGIC, each.kind, each.subtype, each.offset, each.size, each.name.encode("ascii"), each.flags)
        for each in partitions
    )
    table = entries + _MD5 + hashlib.md5(entries, usedforsecurity=False).digest()
    if len(table) > TABLE_SIZE:
        raise Trouble("the partition table has more entries than it has room for")
    return table.ljust(TABLE_SIZE, b"\xff")


def with_journal(table: Sequence[Partition], vfs_offset: int, journal_offset: int, flash_size: int) -> list[Partition]:
    """Return the same table with its file system from `vfs_offset`, and the journal's 24 KB at `journal_offset`.

    All else keeps its place: the boot loader starts what the image was built for. Raises Trouble when it doesn't fit.
    """
    kept = [each for each in table if each.name not in ("vfs", "journal")]
    # An image that runs from a ROMFS has it between the two.
    end = min([each.offset for each in kept if each.offset > vfs_offset and each.name == "romfs"] + [journal_offset])
    flags = {each.name: each.flags for each in table}  # `encrypted`, of an image that was built for that
    files = Partition("vfs", DATA, _FAT, vfs_offset, end - vfs_offset, flags.get("vfs", 0))
    journal = Partition("journal", DATA, _JOURNAL, journal_offset, JOURNAL_SIZE, flags.get("journal", 0))
    made = sorted([*kept, files, journal], key=lambda each: each.offset)
    for one, other in itertools.pairwise(made):
        if one.end > other.offset:
            raise Trouble(
                f"the image's partition {one.name} ends at {one.end:#x}, behind {other.name} at {other.offset:#x}: the "
                "image and [partitions] of the board file don't fit each other"
            )
    if made[-1].end > flash_size:
        raise Trouble(
            f"the partition {made[-1].name} ends at {made[-1].end:#x}, and the flash at {flash_size:#x}: see "
            "chip.flash_mb and [partitions] of the board file"
        )
    return made


def romfs(table: Iterable[Partition]) -> Partition | None:
    """Return the partition from which the firmware runs without being loaded into the heap, if the image has one."""
    return next((each for each in table if (each.kind, each.subtype) == (DATA, _ROMFS)), None)


def table_of(image: bytes, offset: int) -> list[Partition]:
    """Read the table in a whole image that begins at `offset` in flash."""
    return decode(image[TABLE - offset : TABLE - offset + TABLE_SIZE])


def replaced(image: bytes, offset: int, partitions: Iterable[Partition]) -> bytes:
    """Return the whole image with another table in it."""
    at = TABLE - offset
    return image[:at] + encode(partitions) + image[at + TABLE_SIZE :]
