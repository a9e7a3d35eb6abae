"""The effect of an operation on the cells of a flash chip: whole, or torn when the supply fails within it.

NOR flash as in the W25Q32FV (Winbond's data sheet: 4 KB sector erase, pages of 256 octets): an erase sets a sector to
ones, a program can only clear bits. Data sheets promise nothing about an operation that is cut short. By its seed the
model leaves some units whole and one half-programmed. After an erase it leaves one part done, one part with bits that
aren't ones yet, and one part untouched. A unit is 16 octets, the grain of writes to encrypted flash (ESP-IDF,
`esp_flash_write_encrypted`).
"""

from __future__ import annotations

import random

SECTOR = 4096
UNIT = 16
PAGE_US, ERASE_US = 700, 45_000  # typical tPP and tSE, AC electrical characteristics


class SupplyLost(Exception):
    """A supply that failed at a flash operation."""


def programmed(old: bytes, new: bytes) -> bytes:
    """Return cells that held `old` after a program of `new`: bits are only cleared."""
    return bytes(a & b for a, b in zip(old, new, strict=True))


def torn_program(old: bytes, new: bytes, address: int, dice: random.Random) -> bytes:
    """Return the cells after a program that the supply cut short: some units are done, the next one has some of its
    bits, the rest is as it was."""
    end = address + len(old)
    starts = [address, *range(address - address % UNIT + UNIT, end, UNIT)]
    torn = dice.randrange(len(starts))
    begin = starts[torn] - address
    after = (starts[torn + 1] if torn + 1 < len(starts) else end) - address
    whole = programmed(old, new)
    some = bytes(a & (b | dice.getrandbits(8)) for a, b in zip(old[begin:after], new[begin:after], strict=True))
    return whole[:begin] + some + old[after:]


def torn_erase(old: bytes, dice: random.Random) -> bytes:
    """Return the cells after an erase that the supply cut short: one part is ones, in the next some bits are not yet,
    the rest is as it was."""
    begin, after = sorted(dice.randrange(len(old) + 1) for _ in range(2))
    some = bytes(a | dice.getrandbits(8) for a in old[begin:after])
    return b"\xff" * begin + some + old[after:]
