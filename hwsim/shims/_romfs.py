"""The partition `romfs` in the address space, and `vfs` as an image with ROMFS has it: what the desktop's lacks is
`rom_ioctl` (docs/library/vfs.rst; mpremote's `romfs query` uses it like the firmware does).

Its first image is the firmware that the world was given, from a file of the host; the others are on the bracelet's
flash. Not modelled: writing with rom_ioctl.
"""

import _flash
import _hw
import ffi
import uctypes
from micropython import const
from vfs import *  # noqa: F403
from vfs import VfsPosix

_FIRST = const(0x20000)  # the room of the first image: a third of the partition
_READ = const(1)  # these: sys/mman.h, Linux
_SHARED = const(1)
_PRIVATE = const(2)
_FIXED = const(16)
_ANONYMOUS = const(32)


def _mapped():
    first, sectors = _hw.cfg["romfs"]
    size = sectors * _flash.SECTOR
    mmap = ffi.open(None).func("p", "mmap", "pLiiil")
    address = mmap(0, size, _READ, _PRIVATE | _ANONYMOUS, -1, 0)
    with VfsPosix().open(_hw.cfg["rom"], "rb") as file:
        mmap(address, min(file.seek(0, 2), _FIRST), _READ, _PRIVATE | _FIXED, file.fileno(), 0)
    first = first * _flash.SECTOR + _FIRST
    mmap(address + _FIRST, size - _FIRST, _READ, _SHARED | _FIXED, _flash.chip.file.fileno(), first)
    return uctypes.bytearray_at(address, size)


_rom = _mapped()


def rom_ioctl(request, argument=0):
    if request == 1:
        return 1
    return _rom if request == 2 and argument == 0 else -22  # EINVAL
