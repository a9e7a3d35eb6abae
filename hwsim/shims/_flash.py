"""The board's flash: a NOR chip in a file, under the interpreter's own littlefs.

Modelled: erase to ones by sectors of 4096, programming only clears bits, reading gives what the cells hold, counts of
both operations per sector, and the time they take: 0.7 ms a page of 256, 45 ms a sector, typical for a W25Q32FV
(Winbond's data sheet, AC electrical characteristics, tPP and tSE). At which operation the supply fails, and what that
leaves, is the world's to say (world/chip.py): from operation `ask` on it is asked before each.
Not modelled: read time, wear-out, times of files (on an ESP32 each file has the time it was last written).
"""

from binascii import hexlify

import _hw
import uos
import vfs

SECTOR = 4096
PAGE_US = 700
ERASE_US = 45000
_ONES = b"\xff" * SECTOR  # made at boot: erasing takes nothing of the firmware's heap

chip = None


class Nor:
    def __init__(self, path, wear, ask):
        self._file = open(path, "r+b")  # noqa: SIM115
        self._wear = open(wear, "r+b") if wear else None  # noqa: SIM115
        self._sectors = self._file.seek(0, 2) // SECTOR
        self._operations = 0
        self.ask = ask  # the operation before which the world wants to be asked, or None

    def readblocks(self, sector, buf, offset=0):
        self._file.seek(sector * SECTOR + offset)
        self._file.readinto(buf)

    def writeblocks(self, sector, buf, offset=0):
        self._before(sector * SECTOR + offset, buf)
        old = bytearray(len(buf))
        self.readblocks(sector, old, offset)
        for byte in old:
            if byte != 255:
                buf = bytes(old[i] & buf[i] for i in range(len(buf)))
                break
        self._file.seek(sector * SECTOR + offset)
        self._file.write(buf)
        self._count(sector, 4)
        _hw.charge(PAGE_US * ((len(buf) + 255) // 256))

    def ioctl(self, request, argument):
        if request == 4:
            return self._sectors
        if request == 5:
            return SECTOR
        if request == 6:
            self._erase(argument)
        return 0

    def _erase(self, sector):
        self._before(sector * SECTOR, None)
        self._file.seek(sector * SECTOR)
        self._file.write(_ONES)
        self._count(sector, 0)
        _hw.charge(ERASE_US)

    def _before(self, address, data):
        self._operations += 1
        if self.ask is not None and self._operations >= self.ask:
            self.ask = _hw.call("flash", "ask", address, None if data is None else hexlify(data).decode())

    def _count(self, sector, offset):
        # Beside the image, so that counts outlive the interpreter: of each sector its erases and its programs.
        if self._wear:
            self._wear.seek(sector * 8 + offset)
            count = int.from_bytes(self._wear.read(4), "little") + 1
            self._wear.seek(sector * 8 + offset)
            self._wear.write(count.to_bytes(4, "little"))


def mount(path, wear=None, ask=None):
    # As the ESP32 port does at boot: a flash without a file system gets one.
    global chip
    chip = Nor(path, wear, ask)
    # Without times of files: the interpreter would take them from the host's clock.
    try:
        fs = vfs.VfsLfs2(chip, mtime=False)
    except OSError:
        vfs.VfsLfs2.mkfs(chip)
        fs = vfs.VfsLfs2(chip, mtime=False)
    vfs.umount("/")
    vfs.mount(fs, "/")
    uos.chdir("/")
