"""A PTY as the serial port that a computer sees. It notices programs that open and close it; unread octets are lost.

A PTY carries octets only. Baud rates mean nothing on it, and DTR and RTS can't be seen: setting them fails with ENOTTY.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import struct
import termios
import tty
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hwsim.world.world import World

_IN_OPEN, _IN_CLOSE = 0x20, 0x08 | 0x10  # inotify(7)
_EVENT = struct.Struct("iIII")
_UNREAD_MAX = 1 << 20  # octets kept for a program that has it open and doesn't read


class User(Protocol):
    """The device behind the port."""

    def opened(self) -> None: ...

    def received(self, data: bytes) -> None: ...

    def closed(self) -> None:
        """Note that the last program that had the port open is gone, by itself or killed."""


class Port:
    """A serial port. Raises OSError when the machine has no PTY or no inotify left.

    `link` is a symbolic link that leads to the port as long as there is one, whatever the name of the PTY.
    """

    def __init__(self, world: World, user: User, link: Path | None = None) -> None:
        self._world = world
        self._user = user
        self._link = link
        self.path = ""  # of the PTY; empty while the cable is out
        self.plug()
        world.at_close(self._close)

    def plug(self) -> None:
        """Put the cable in: there is a port."""
        self._users = 0
        self._unsent = b""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)  # this end stays open, so that the settings survive programs that go and come
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        # A hang-up of the PTY would not do: there is none when one program closes it and the next opens it at once.
        self._watcher = _watch_file(self.path)
        self._world.watch(self._watcher, self._look)
        self._world.watch(self._master, self._readable)
        if self._link:
            if self._link.is_symlink():  # left by a process that was killed
                self._link.unlink()
            self._link.symlink_to(self.path)

    def unplug(self) -> None:
        """Pull the cable. A program that has the port open finds it gone, as when a USB bridge vanishes."""
        used, self._users = self._users, 0
        self._close()
        if used:
            self._user.closed()

    @property
    def open(self) -> bool:
        """Tell whether a program has the port open."""
        return self._users > 0

    def write(self, data: bytes) -> None:
        if self.path and self._users and len(self._unsent) < _UNREAD_MAX:
            self._unsent += data
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[os.write(self._master, self._unsent) :]
        self._world.watch(self._master, self._readable, self._flush if self._unsent else None)

    def _readable(self) -> None:
        self._look()  # tells first whose octets these are
        with contextlib.suppress(BlockingIOError):
            self._user.received(os.read(self._master, 65536))

    def _look(self) -> None:
        try:
            events = os.read(self._watcher, 4096)
        except BlockingIOError:
            return
        for _, mask, _, _ in _EVENT.iter_unpack(events):  # of a watched file no name follows
            if mask & _IN_OPEN:
                self._users += 1
                if self._users == 1:
                    self._user.opened()
            elif mask & _IN_CLOSE and self._users:
                self._users -= 1
                if not self._users:
                    self._unsent = b""
                    termios.tcflush(self._slave, termios.TCIFLUSH)  # what it didn't read
                    self._flush()
                    self._user.closed()

    def _close(self) -> None:
        if not self.path:
            return
        self.path = ""
        if self._link:
            self._link.unlink(missing_ok=True)
        for fd in (self._master, self._watcher):
            self._world.unwatch(fd)
            os.close(fd)
        os.close(self._slave)


def _watch_file(path: str) -> int:
    """Return a descriptor that tells when a file is opened and closed: inotify, which Python's library lacks."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(path), _IN_OPEN | _IN_CLOSE) < 0:
        error = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise OSError(error, os.strerror(error), path)
    return int(fd)
