"""The partition `romfs` in the address space, and `vfs` as in an image with ROMFS: the desktop's `vfs` lacks
`rom_ioctl` (docs/library/vfs.rst; mpremote's `romfs query` uses it like the firmware does).

An ordinary bracelet has the world's firmware as its first image, from a file of the host, and all images after it on
its flash; a bracelet behind a serial port has all of them on its flash. Not modelled: writing with rom_ioctl.
"""

import _flash
import _hw
import ffi
import uctypes
from micropython import const
from vfs import *  # noqa: F403
from vfs import VfsPosix

_READ = const(1)  # from here to _ANONYMOUS: sys/mman.h, Linux
_SHARED = const(1)
_PRIVATE = const(2)
_FIXED = const(16)
_ANONYMOUS = const(32)


def _mapped(path, offset, size):
    mmap = ffi.open(None).func("p", "mmap", "pLiiil")
    address = mmap(0, size, _READ, _PRIVATE | _ANONYMOUS, -1, 0)
    for info, flash in _flash.partitions:
        if info[4] == "romfs":
            address = mmap(0, info[3], _READ, _SHARED, _flash.chip.file.fileno(), flash.first())
            size = info[3]
    with VfsPosix().open(path, "rb") as file:
        if offset == 0:  # a file of its own
            mmap(address, file.seek(0, 2), _READ, _PRIVATE | _FIXED, file.fileno(), 0)
    return uctypes.bytearray_at(address, size)


_rom = _mapped(*_hw.cfg["rom"])


def rom_ioctl(request, argument=0):
    if request == 1:
        return 1
    return _rom if request == 2 and argument == 0 else -22  # EINVAL
