"""The board's flash: a NOR chip in a file, under the interpreter's own littlefs.

Modelled: erase to ones by sectors of 4096, programming can only clear bits, the time both take (typical figures of a
W25Q32), a supply that fails at the n-th operation and leaves that one half done, erase counts of sectors.
Not modelled: read time, wear-out.
"""

import _hw
import uos
import vfs

SECTOR = 4096
_ERASE_US = 45000
_PAGE_US = 700


class Nor:
    def __init__(self, path, cut):
        self._file = open(path, "r+b")  # noqa: SIM115
        self._sectors = self._file.seek(0, 2) // SECTOR
        self._cut = cut  # the operation at which the supply fails
        self.operations = 0
        self.erased = {}

    def readblocks(self, sector, buf, offset=0):
        self._file.seek(sector * SECTOR + offset)
        self._file.readinto(buf)

    def writeblocks(self, sector, buf, offset=0):
        old = bytearray(len(buf))
        self.readblocks(sector, old, offset)
        last = self._operation()
        if last:
            buf = buf[: len(buf) // 2]
        blank = True
        for byte in old:
            if byte != 255:
                blank = False
                break
        if not blank:
            buf = bytes(old[i] & buf[i] for i in range(len(buf)))
        self._file.seek(sector * SECTOR + offset)
        self._file.write(buf)
        _hw.charge(_PAGE_US * ((len(buf) + 255) // 256))
        if last:
            _hw.leave("powercut", self.operations)

    def ioctl(self, request, argument):
        if request == 4:
            return self._sectors
        if request == 5:
            return SECTOR
        if request == 6:
            self._erase(argument)
        return 0

    def _erase(self, sector):
        last = self._operation()
        self.erased[sector] = self.erased.get(sector, 0) + 1
        self._file.seek(sector * SECTOR)
        self._file.write(b"\xff" * (SECTOR // 2 if last else SECTOR))
        _hw.charge(_ERASE_US)
        if last:
            _hw.leave("powercut", self.operations)

    def _operation(self):
        self.operations += 1
        return self.operations == self._cut


def mount(path, cut=None):
    # As the ESP32 port does at boot: a flash without a file system gets one.
    nor = Nor(path, None)
    try:
        fs = vfs.VfsLfs2(nor)
    except OSError:
        vfs.VfsLfs2.mkfs(nor)
        fs = vfs.VfsLfs2(nor)
    nor.operations = 0
    nor._cut = cut
    vfs.umount("/")
    vfs.mount(fs, "/")
    uos.chdir("/")
    return nor
