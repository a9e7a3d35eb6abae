"""The board's flash: a NOR chip in a file, under the interpreter's own littlefs; the world says how it is parted.

Modelled: erase to ones by sectors of 4096, programming only clears bits, reading gives what the cells hold, counts of
both operations per sector, and the time they take: 0.7 ms a page of 256, 45 ms a sector, typical for a W25Q32FV
(Winbond's data sheet, AC electrical characteristics, tPP and tSE). The world tells at which operation the supply
fails, and what that leaves (world/chip.py): from operation `ask` on, this module asks the world before each.
Reads are counted as the commands that a chip needs for them, and from main.py on each is charged (world/chip.py,
READ_US); MicroPython's own reads before that are within the time that its start takes (world/device.py). littlefs
reads as on a chip: with MicroPython's own sizes, 32 octets at least and 128 at once (extmod/vfs_lfsx.c). A ROMFS is in
the address space and costs no reads.
Not modelled: wear-out; times of files (on an ESP32 each file has the time it was last written, and opening it reads
that); the chip's search of all of sys.path for some of its own modules at each import (py/builtinimport.c), while the
shims in their place are there already or are looked for once.
"""

from binascii import hexlify

import _hw
import uos
import vfs
from micropython import const

SECTOR = 4096
_PAGE_US = const(700)
_ERASE_US = const(45000)
_COMMAND = const(64)  # octets that one read command brings: ESP-IDF, hal/spi_flash_hal.h, SPI_FLASH_HAL_MAX_READ_BYTES
_BOOT = "# This file is executed on every boot (including wake-boot from deepsleep)\n"
_CORRUPTED = "The filesystem appears to be corrupted. Erase the flash, and write MicroPython again.\n"
_ONES = b"\xff" * SECTOR  # made at boot, so that erasing takes none of the firmware's heap

chip = None
partitions = []  # (what Partition.info() returns, block device)


class Nor:
    """A partition of the chip: a block device. All partitions share the chip's file, counts and operations."""

    def __init__(self, chip, first, sectors):
        self._chip = chip
        self._first = first
        self._sectors = sectors
        self.worn = False  # True: no operation changes its cells any more

    def first(self):
        return self._first * SECTOR

    def readblocks(self, sector, buf, offset=0):
        commands = (len(buf) + _COMMAND - 1) // _COMMAND
        self._chip.reads += commands
        _hw.charge(self._chip.read_us * commands)
        self._read(sector, buf, offset)

    def _read(self, sector, buf, offset):
        self._chip.file.seek((self._first + sector) * SECTOR + offset)
        self._chip.file.readinto(buf)

    def writeblocks(self, sector, buf, offset=None):
        if offset is None:  # the simple interface erases first
            for other in range(sector, sector + len(buf) // SECTOR):
                self.ioctl(6, other)
            offset = 0
        address = (self._first + sector) * SECTOR + offset
        self._chip.before(address, buf)
        if not self.worn:
            old = bytearray(len(buf))
            self._read(sector, old, offset)
            for byte in old:
                if byte != 255:
                    buf = bytes(old[i] & buf[i] for i in range(len(buf)))
                    break
            self._chip.file.seek(address)
            self._chip.file.write(buf)
        self._chip.count(address // SECTOR, 4)
        _hw.charge(_PAGE_US * ((len(buf) + 255) // 256))

    def ioctl(self, request, argument):
        if request == 4:
            return self._sectors
        if request == 5:
            return SECTOR
        if request == 6:
            address = (self._first + argument) * SECTOR
            self._chip.before(address, None)
            if not self.worn:
                self._chip.file.seek(address)
                self._chip.file.write(_ONES)
            self._chip.count(address // SECTOR, 0)
            _hw.charge(_ERASE_US)
        return 0


class Chip:
    def __init__(self, path, wear, ask):
        self.file = open(path, "r+b")  # noqa: SIM115
        self._wear = open(wear, "r+b") if wear else None  # noqa: SIM115
        self._operations = 0
        self.ask = ask  # the operation before which the world wants to be asked, or None
        self.reads = 0  # commands, since this start
        self.read_us = 0  # the time of each

    def before(self, address, data):
        self._operations += 1
        if self.ask is not None and self._operations >= self.ask:
            self.ask = _hw.call("flash", "ask", address, None if data is None else hexlify(data).decode())

    def count(self, sector, offset):
        # In a file beside the image, so that counts outlive the interpreter: erases and programs of each sector.
        if self._wear:
            self._wear.seek(sector * 8 + offset)
            count = int.from_bytes(self._wear.read(4), "little") + 1
            self._wear.seek(sector * 8 + offset)
            self._wear.write(count.to_bytes(4, "little"))


def open_chip(path, wear, ask, places, worn):
    global chip
    chip = Chip(path, wear, ask)
    for kind, subtype, address, size, label, first in places:
        flash = Nor(chip, first // SECTOR, size // SECTOR)
        flash.worn = worn and label == "journal"
        partitions.append(((kind, subtype, address, size, label, False), flash))


def mount(stock=False):
    # A flash without a file system gets one; `stock`: as the ESP32 port makes it (modules/_boot.py and inisetup.py).
    vfs.umount("/")
    flash = None
    for info, other in partitions:
        if info[4] == "vfs":
            flash = other
    if flash is None:
        return
    # Without times of files: the interpreter would take them from the host's clock.
    try:
        fs = vfs.VfsLfs2(flash, mtime=False)
    except OSError:
        if stock:
            _check_empty(flash)
        vfs.VfsLfs2.mkfs(flash)
        fs = vfs.VfsLfs2(flash, mtime=False)
    else:
        stock = False
    vfs.mount(fs, "/")
    uos.chdir("/")
    if stock:
        with open("/boot.py", "w") as f:
            f.write(_BOOT)


def _check_empty(flash):
    sector = bytearray(SECTOR)
    flash.readblocks(0, sector)
    while sector != _ONES:
        print(_CORRUPTED)
        _hw.wait(_hw.clock() + 3_000_000)
    print("Performing initial setup")
