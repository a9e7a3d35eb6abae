"""The flash of one device: its partitions in one image, the NVS partition, their wear, and where the supply fails.

The image is a file that the interpreter itself works on (shims/_flash.py); the NVS partition is in world/nvs.py. The
image of an ordinary device holds the end of a chip of 4 MB: file system, program and journal. Behind a serial port the
image is the whole chip, and its partition table says what is where (hwsim/serial).
One sequence counts the operations on both, from switching on, and the supply can fail at any of them. Not modelled:
when a sector wears out; the journal's sectors can be declared worn.
"""

from __future__ import annotations

import array
import random
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hwsim.world.nor import SECTOR, SupplyLost, torn_erase, torn_program
from hwsim.world.nvs import Nvs

SIZE = 2 << 20  # the file system's partition of the stock image for 4 MB; its end is program and journal here
JOURNAL_SECTORS = 6  # partition `journal` of firmware/flash.md
_BEGIN = 0x200000  # of an ordinary device's image in its chip
# Time of a read command. ESP-IDF's threshold for reads of 4 octets, each a command, is 35,200 octets a second,
# "about 70% of the average test data" (components/idf_test/include/esp32/idf_performance_target.h,
# IDF_PERFORMANCE_MIN_FLASH_SPEED_BYTE_PER_SEC_RD_4B): 80 us on average. That is too much for reads in one piece of
# more than a command's 64 octets (..._RD_2KB: 7 us a command), but the short reads of littlefs decide.
READ_US = 80
CLEAN, TORN = "clean", "torn"  # just before the operation, and within it


class Place(NamedTuple):
    """A partition as in MicroPython's `Partition.info()`, and its first octet in the image."""

    kind: int
    subtype: int
    address: int
    size: int
    label: str
    first: int


_FILES, _JOURNAL = 0x180000, SIZE - JOURNAL_SECTORS * SECTOR
ROMFS = Place(1, 0x8F, _BEGIN + _FILES, 0x78000, "romfs", _FILES)  # three images of the program
ORDINARY = (
    Place(1, 0x81, _BEGIN, _FILES, "vfs", 0),
    ROMFS,
    Place(1, 0x40, _BEGIN + _JOURNAL, JOURNAL_SECTORS * SECTOR, "journal", _JOURNAL),
)  # firmware/image/TOCSIN_ESP32/partitions.csv


class Chip:
    """The flash of one device. `cut_in` = n makes the supply fail at the n-th operation from the next start on, resets
    included: within that operation, or with `cut_how` = CLEAN just before it."""

    def __init__(self, path: Path, seed: str) -> None:
        self.path = path
        self.wear_path = path.with_name(path.name + ".wear")
        self.nvs = Nvs(path.with_name(path.name + ".nvs"), self._before_nvs)
        self.partitions: tuple[Place, ...] = ORDINARY
        self.cut_in: int | None = None
        self.cut_how = TORN
        self.journal_worn = False  # from the next start on: neither programs nor erases change its cells
        self.read_us = READ_US  # from the next start on; 0: reading takes no time
        self.reads = 0  # commands of this start, until the last line on the console
        self.reads_until: dict[str, int] = {}  # the same, until the first event of each name
        self._cut_at: int | None = None
        self._seed = seed
        self._at_power_on = 0
        self._at_boot = 0  # operations of the file system before the interpreter began

    # -- the journal's partition

    def _journal(self) -> Place:
        return next(place for place in self.partitions if place.label == "journal")

    @property
    def journal(self) -> bytes:
        """The content of the journal's partition."""
        place = self._journal()
        with self.path.open("rb") as file:
            file.seek(place.first)
            return file.read(place.size)

    @journal.setter
    def journal(self, content: bytes) -> None:
        place = self._journal()
        if len(content) != place.size:
            raise ValueError(f"the journal's partition has {place.size} octets, not {len(content)}")
        with self.path.open("r+b") as file:
            file.seek(place.first)
            file.write(content)

    # -- counters

    def _counts(self) -> array.array[int]:
        counts = array.array("I")
        if self.wear_path.exists():
            counts.frombytes(self.wear_path.read_bytes())
            if sys.byteorder == "big":
                counts.byteswap()
        return counts

    @property
    def erases(self) -> dict[int, int]:
        """The number of erases of each sector of the file system, the workshop's writing included."""
        return {sector: count for sector, count in enumerate(self._counts()[::2]) if count}

    @property
    def programs(self) -> dict[int, int]:
        """The number of programs of each sector of the file system, in whole or in part."""
        return {sector: count for sector, count in enumerate(self._counts()[1::2]) if count}

    @property
    def operations(self) -> int:
        """Operations of file system and NVS since the device was last switched on."""
        return self._total() - self._at_power_on

    def _total(self) -> int:
        return sum(self._counts()) + self.nvs.operations

    # -- for the device

    def prepare(self) -> None:
        """Make counters where there are none, also for an image that comes from elsewhere."""
        if not self.wear_path.exists():
            self.wear_path.write_bytes(bytes(self.path.stat().st_size // SECTOR * 8))

    def power_on(self) -> None:
        self._at_power_on = self._total()

    def power_off(self) -> None:
        self._cut_at = None

    def start(self) -> None:
        """Get ready for an interpreter that is about to use the flash."""
        self.prepare()
        self._at_boot = sum(self._counts())
        self.reads, self.reads_until = 0, {}
        self.nvs.unmount()
        if self.cut_in is not None:
            self._cut_at, self.cut_in = self._total() + self.cut_in, None

    def hello(self) -> dict[str, Any]:
        """Return what the interpreter is told of the flash at its start."""
        return {
            "wear": str(self.wear_path),
            "ask": self.ask(),
            "partitions": self.partitions,
            "worn": self.journal_worn,
            "read_us": self.read_us,
        }

    def ask(self) -> int | None:
        """Return the operation, counted from the interpreter's start, before which it asks; None: it never asks."""
        return None if self._cut_at is None else self._cut_at - self._at_boot - self.nvs.operations

    def asked(self, address: int, data: bytes | None) -> int | None:
        """Answer an interpreter that is about to program `data`, or to erase. Raises SupplyLost when the supply fails
        there, with the cells as that leaves them."""
        if self._fails():
            if self.cut_how == TORN:
                with self.path.open("r+b") as file:
                    file.seek(address)
                    old = file.read(SECTOR if data is None else len(data))
                    file.seek(address)
                    file.write(self._torn(old, address, data))
            raise SupplyLost
        return self.ask()

    # -- inside

    def _fails(self) -> bool:
        return self._cut_at is not None and self._total() + 1 >= self._cut_at

    def _before_nvs(self, old: bytes, address: int, data: bytes | None) -> bytes | None:
        if not self._fails():
            return None
        return self._torn(old, address, data) if self.cut_how == TORN else old

    def _torn(self, old: bytes, address: int, data: bytes | None) -> bytes:
        dice = random.Random(f"{self._seed}/torn/{self._total()}")
        return torn_erase(old, dice) if data is None else torn_program(old, data, address, dice)
