# hwsim: no-float
"""Choose which of the program's images runs, before anything of it is loaded. See firmware/updates.md.

The first image was flashed by cable, and nothing on the bracelet ever writes it. Beside it there are two slots for
updates. Where MicroPython runs programs from the partition `romfs`, all three are in it. Without that partition each is
a file with a bundle; boards flashed before bundles have the first image as files. A new image is on trial: it has three
starts to prove itself, else the former one is back. This file and main.py are always those of the first image; with the
image that runs they share only numbers in NVS and the name `tocsin.app.main`.
"""

import sys

# A name that is looked up in littlefs costs up to 270 reads of flash, 80 us each, and MicroPython looks for each of its
# own modules in all these places whenever one is imported (py/builtinimport.c). The program is in none of them.
for place in ("", "/lib", "/rom/lib"):
    if place in sys.path:
        sys.path.remove(place)

import hashlib  # noqa: E402 - see above
import io  # noqa: E402
import os  # noqa: E402

import esp32  # noqa: E402
import machine  # noqa: E402
import vfs  # noqa: E402

_ROOM = 0x28000  # of an image
_HEADER = 1024  # of a bundle, before its image
_DIGEST = 98  # the last octets of the COSE_Sign1 in a header: SHA-256 of the image, then the signature with its head
_PIECE = 1024
_TRIAL_MS = 60000  # a trial that hangs so early that it feeds no watchdog ends with this one
_PLACE = "/slot%d"  # first in sys.path: it tells the program which image it is
_FILES = "/firmware.bin", "/slot1.bin", "/slot2.bin"
_NAME = "slot"  # in NVS: image in use | image on trial << 2 | starts left to it << 4
_NUMBER_MAX = 1 << 21
_ROMFS, _DATA, _FOLDER, _MODULE = 0x14A6B1, 2, 4, 5  # kinds of records: docs/reference/romfs.rst


class Choice:
    """The image of this start: `number` 1 or 2, or 0 for the first. Making a Choice makes its modules importable."""

    def __init__(self):
        self.number = state = 0
        try:
            self._nvs = esp32.NVS("tocsin")
            state = self._nvs.get_i32(_NAME)
        except OSError:  # there never was an update, or NVS is damaged
            pass
        self._used, trial, left = state & 3, state >> 2 & 3, state >> 4
        if trial:
            # Stored before it begins, so that no end of a start, however sudden, is forgotten.
            if left > 0 and self._store(self._used | trial << 2 | left - 1 << 4) and self._mount(trial):
                machine.WDT(timeout=_TRIAL_MS)
                return
            self._give_up()
        if not self._used:
            self._first()
        elif not self._mount(self._used):
            print("@firmware state=damaged")
            self._store(0)
            self._first()

    def failed(self):
        """Give up an image whose modules can't be loaded: take the one before it, or at last that flashed by cable."""
        if not self.number:
            if machine.reset_cause() == machine.DEEPSLEEP_RESET:  # the image was not checked: the next start does that
                machine.reset()
            return False
        number, self.number = self.number, 0
        if number != self._used:
            self._give_up()
            machine.reset()
        self._store(0)
        del sys.path[0]
        for name in list(sys.modules):
            if name.startswith("tocsin"):
                del sys.modules[name]
        self._first()
        return True

    def _first(self):
        """Take the image flashed by cable; one in a partition is mounted already. In place of a damaged bundle take a
        slot that is whole; without such a slot take the damaged one: the part of it that works may call for help."""
        if _rom() or self._mount(0):
            return
        try:
            os.stat(_FILES[0])
        except OSError:  # files
            sys.path.insert(0, "")
            return
        print("@firmware state=damaged")
        for number in (1, 2):
            if self._mount(number):
                self._store(number)
                return
        machine.WDT(timeout=_TRIAL_MS)
        self._mount(0, _unchecked)

    def _give_up(self):
        print("@firmware state=given_up")
        self._store(self._used)

    def _store(self, state):
        try:
            self._nvs.set_i32(_NAME, state)
            self._nvs.commit()
        except (AttributeError, OSError):
            return False
        return True

    def _mount(self, number, check=None):
        check = check or _check
        try:
            slot = _rom()
            if slot:
                slot = slot[number * _ROOM : (number + 1) * _ROOM]
                check(lambda at, size: slot[at : at + size])
                found = vfs.VfsRom(slot[_HEADER:])
            else:
                file = open(_FILES[number], "rb")  # noqa: SIM115 - it stays open: a name costs more than its content
                check(lambda at, size: file.seek(at) and file.read(size))
                found = _Files(file)
            vfs.mount(found, _PLACE % number)
        except Exception:  # whatever it is: no such image, or a damaged one
            return False
        sys.path.insert(0, _PLACE % number)
        self.number = number
        return True


def _rom():
    """Return the partition that this interpreter runs programs from, in its memory; None when there is no such one."""
    try:
        return memoryview(vfs.rom_ioctl(2, 0))
    except (AttributeError, TypeError):
        return None


def _unchecked(piece):
    pass


def _check(piece):
    """Raise ValueError unless the image is the signed one: damaged modules can stop an interpreter for good. After a
    sleep nothing is checked: sleeps are frequent, and a crash after one ends in a reset."""
    if machine.reset_cause() == machine.DEEPSLEEP_RESET:
        return
    begin = io.BytesIO(piece(_HEADER, 8))
    _number(begin)
    end = _HEADER + _number(begin) + begin.seek(0, 1)
    found = hashlib.sha256()
    for at in range(_HEADER, end, _PIECE):
        found.update(piece(at, min(_PIECE, end - at)))
    signed = 6 + int.from_bytes(piece(4, 2), "big")
    if found.digest() != bytes(piece(signed - _DIGEST, 32)):
        raise ValueError


class _Files:
    """The image in a bundle as a file system to import from, like that of MicroPython's tests/extmod/vfs_userfs.py."""

    def __init__(self, bundle):
        self._bundle = bundle
        self._places = {}  # begin and length of a file; None for a folder
        bundle.seek(_HEADER)
        if _number(bundle) != _ROMFS:
            raise ValueError
        self._walk(bundle, "", _number(bundle) + bundle.seek(0, 1))

    def _walk(self, file, folder, end):
        """Read all records from here on to `end`; the record of a file holds one more, its content."""
        while file.seek(0, 1) < end:
            kind = _number(file)
            after = min(_number(file) + file.seek(0, 1), end)
            if kind == _DATA:
                at = file.seek(0, 1)
                self._places[folder] = at, after - at
            elif kind in (_FOLDER, _MODULE):
                name = folder + "/" + file.read(_number(file)).decode()
                self._places[name] = None
                self._walk(file, name, after)
            else:
                raise ValueError
            file.seek(after)

    def mount(self, readonly, mkfs):
        pass

    def stat(self, path):
        if path not in self._places:
            raise OSError(2)  # ENOENT
        return (0x8000 if self._places[path] else 0x4000,) + (0,) * 9

    def open(self, path, mode):
        at, size = self._places[path]
        self._bundle.seek(at)
        return io.BytesIO(self._bundle.read(size))


def _number(file):
    """Read a number: 7 bits an octet, the highest first; the last octet is below 128."""
    number = 0
    while number < _NUMBER_MAX:
        octet = file.read(1)[0]
        number = number << 7 | octet & 127
        if octet < 128:
            return number
    raise ValueError
