"""The whole flash chip behind a simulated ESP32, as its loaders see it: erased by sector, programmed by clearing bits.

The chip is one file, in which the bracelet's partitions lie where the partition table says. So the bracelet finds what
a loader writes, and the other way round. Not modelled: the time that erasing and programming take, the status
registers.
"""

from __future__ import annotations

from pathlib import Path

from hwsim.chips import Family
from hwsim.serial import image
from hwsim.world.chip import Place
from hwsim.world.nor import SECTOR, programmed

_WINBOND, _W25Q = 0xEF, 0x40  # Winbond's W25Q series, SPI: manufacturer and memory type of its data sheets


class OutOfRange(ValueError):
    """An address beyond the end of the chip."""


class SpiFlash:
    """A flash chip in the file at `path`. When there is no file, it makes a chip as a workshop leaves it. Raises
    ValueError when the file is no chip of this size."""

    def __init__(self, path: Path, family: Family, megabytes: int) -> None:
        self.size = megabytes << 20
        self._path = path
        self._family = family
        if not path.exists():
            path.write_bytes(b"\xff" * self.size)
            for address, content in image.stand_in(family).items():
                self._write(address, content)
        elif not path.is_file() or path.stat().st_size != self.size:
            raise ValueError(f"{path} is no flash image: a file of {self.size} octets, the board's whole chip")

    @property
    def jedec_id(self) -> int:
        """The answer to Read JEDEC ID (9Fh), first octet lowest: manufacturer, type, log2 of the capacity."""
        return _WINBOND | _W25Q << 8 | (self.size.bit_length() - 1) << 16

    def read(self, address: int, count: int) -> bytes:
        self._check(address, count)
        with self._path.open("rb") as file:
            file.seek(address)
            return file.read(count)

    def _check(self, address: int, count: int) -> None:
        if address < 0 or address + count > self.size:
            raise OutOfRange(f"0x{address:x}+0x{count:x}")

    def _write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        with self._path.open("r+b") as file:
            file.seek(address)
            file.write(data)

    def program(self, address: int, data: bytes) -> None:
        self._write(address, programmed(self.read(address, len(data)), data))

    def erase(self, address: int, count: int) -> None:
        """Erase every sector that has an octet of this range."""
        if not count:
            return
        begin, end = address - address % SECTOR, address + count + -(address + count) % SECTOR
        self._write(begin, b"\xff" * (end - begin))

    # -- what is on it

    def why_not_bootable(self) -> str | None:
        return image.why_not_bootable(self.read, self._family)

    def partitions(self) -> tuple[Place, ...]:
        """Return the partitions that MicroPython finds, on a chip that starts."""
        return tuple(
            Place(part.kind, part.subtype, part.offset, part.size, part.name.decode(errors="replace"), part.offset)
            for part in image.partitions(self.read, self._family, self.size)
        )

    def romfs(self) -> tuple[int, int] | None:
        """Return the offset and size of the partition that MicroPython mounts as /rom; None when there is none."""
        found = image.romfs(self.read, image.partitions(self.read, self._family, self.size))
        return (found.offset, found.size) if found else None
