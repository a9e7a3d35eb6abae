"""The whole flash chip behind a simulated ESP32, as its loaders see it: erased by sector, programmed by clearing bits.

The partitions that the bracelet keeps in files of their own (file system, NVS) are these files; the rest of the chip
is a file beside them, `.chip`. So what a loader writes is what the bracelet finds, and the other way round. Not
modelled: the time that erasing and programming take, the status registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hwsim.serial import image
from hwsim.world.nor import SECTOR, programmed

_WINBOND, _W25Q = 0xEF, 0x40  # Winbond's W25Q series, SPI: manufacturer and memory type of its data sheets


class OutOfRange(ValueError):
    """Beyond the end of the chip."""


class SpiFlash:
    """`files` and `nvs` are the images of these partitions. Without a `.chip` file one with an application is made."""

    def __init__(self, files: Path, nvs: Path, megabytes: int) -> None:
        self.size = megabytes << 20
        self._rest = files.with_name(files.name + ".chip")
        self._parts = [(image.NVS, nvs, image.NVS_SIZE), (image.FILES, files, files.stat().st_size)]
        if self.size < image.FILES + files.stat().st_size:
            raise ValueError(f"a chip of {megabytes} MB has no room for the file system of the stock image for 4 MB")
        for path, size in ((nvs, image.NVS_SIZE), (self._rest, self.size)):
            if not path.exists():
                path.write_bytes(b"\xff" * size)
                if path == self._rest:
                    for address, content in image.stand_in().items():
                        self._write(address, content)

    @property
    def jedec_id(self) -> int:
        """Answer to Read JEDEC ID (9Fh), first octet lowest: manufacturer, type, binary logarithm of the capacity."""
        return _WINBOND | _W25Q << 8 | (self.size.bit_length() - 1) << 16

    def _pieces(self, address: int, count: int) -> Iterator[tuple[Path, int, int]]:
        """File, place in it, number of octets."""
        if address < 0 or address + count > self.size:
            raise OutOfRange(f"0x{address:x}+0x{count:x}")
        while count:
            path, place, room = self._rest, address, self.size - address
            for begin, part, size in self._parts:
                if begin <= address < begin + size:
                    path, place, room = part, address - begin, begin + size - address
                elif address < begin:
                    room = min(room, begin - address)
            room = min(room, count)
            yield path, place, room
            address, count = address + room, count - room

    def read(self, address: int, count: int) -> bytes:
        content = b""
        for path, place, size in self._pieces(address, count):
            with path.open("rb") as file:
                file.seek(place)
                content += file.read(size)
        return content

    def _write(self, address: int, data: bytes) -> None:
        done = 0
        for path, place, size in self._pieces(address, len(data)):
            with path.open("r+b") as file:
                file.seek(place)
                file.write(data[done : done + size])
            done += size

    def program(self, address: int, data: bytes) -> None:
        self._write(address, programmed(self.read(address, len(data)), data))

    def erase(self, address: int, count: int) -> None:
        """Every sector that has an octet of it."""
        if not count:
            return
        begin, end = address - address % SECTOR, address + count + -(address + count) % SECTOR
        self._write(begin, b"\xff" * (end - begin))

    def why_not_bootable(self) -> str | None:
        return image.why_not_bootable(self.read)
