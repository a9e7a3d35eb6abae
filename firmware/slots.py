# hwsim: no-float
"""Which of the program's images runs, chosen before anything of it is loaded. See "Updates" in firmware/README.md.

The partition `romfs` holds three: the one flashed by cable, which MicroPython mounts itself and which nothing on the
bracelet ever writes, and two slots for updates. A new image is on trial: it has three starts to prove itself, else the
former one is back. This file and main.py are always those of the first image; with the one that runs they share only
numbers in NVS and the name `tocsin.app.main`.
"""

import sys

import esp32
import machine
import vfs

_ROOM = 0x20000  # of an image
_HEADER = 1024  # of a bundle, before its image
_TRIAL_MS = 60000  # a trial that hangs so early that it feeds no watchdog ends with this one
_PLACE = "/slot%d"  # first in sys.path: by that the program knows which image it is
_NAME = "slot"  # in NVS: image in use | image on trial << 2 | starts left to it << 4


class Choice:
    """The image of this start: `number` 1 or 2, or 0 for the first one. Its modules are found once this is made."""

    def __init__(self):
        self.number = 0
        try:
            self._nvs = esp32.NVS("tocsin")
            state = self._nvs.get_i32(_NAME)
        except OSError:  # there never was an update, or NVS is damaged
            return
        self._used, trial, left = state & 3, state >> 2 & 3, state >> 4
        if trial:
            # Stored before it begins, so that no end of a start, however sudden, is forgotten.
            if left > 0 and self._store(self._used | trial << 2 | left - 1 << 4) and self._mount(trial):
                machine.WDT(timeout=_TRIAL_MS)
                return
            self._give_up()
        if self._used:
            self._mount(self._used)

    def failed(self):
        """Its modules can't be loaded: those of the image before it, or at last those flashed by cable, are to be."""
        if not self.number:
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
        return True

    def _give_up(self):
        print("@firmware state=given_up")
        self._store(self._used)

    def _store(self, state):
        try:
            self._nvs.set_i32(_NAME, state)
            self._nvs.commit()
        except OSError:
            return False
        return True

    def _mount(self, number):
        try:
            at = number * _ROOM + _HEADER
            image = memoryview(vfs.rom_ioctl(2, 0))[at : at + _ROOM - _HEADER]
            vfs.mount(vfs.VfsRom(image), _PLACE % number)
        except (OSError, ValueError, AttributeError, TypeError):  # no such image, or an interpreter without any
            return False
        sys.path.insert(0, _PLACE % number)
        self.number = number
        return True
