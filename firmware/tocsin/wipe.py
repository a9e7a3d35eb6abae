# hwsim: no-float
"""Wipe a revoked bracelet: every key and setting is erased, and the bracelet is blank.

The keys that decrypt and sign go first. A mark that is set before anything else makes a wipe that lost its supply go on
at the next boot, however often; until the mark is set nothing has happened, and the relay says it again. Files are
overwritten, but a file system puts the new octets elsewhere; so at the end the room that it has given up is filled
once, and the old octets are erased.
"""

import os

import machine

from tocsin import floor, identity, log, settings
from tocsin.drivers import partition

MARK = "wipe"  # in NVS, or as a file where NVS does not work
FILES = (
    identity.PATH,
    identity.PATH + settings.COPY,
    settings.SETTINGS,
    settings.SETTINGS + settings.COPY,
    settings.CA,
    settings.ANSWER,
    settings.OFFER,
)
_FILE = "/" + MARK
_FILLING = "/" + MARK + "ing"
_PIECE = 4096
_ROUNDS = 160  # of writing a small file anew: each adds some 100 octets to the log of 4096 that a directory is
_ROUND = 64


def begun():
    """Tell whether a wipe has begun and is not finished."""
    return floor.Floor(MARK).read() == 1 or settings.read(_FILE, 1) is not None


def begin():
    """Set the mark: from now on the wipe will be carried out, whatever happens. False when it can't be stored."""
    if floor.Floor(MARK).write(1):
        return True
    try:
        with open(_FILE, "w") as file:
            file.write(MARK)
        return True
    except OSError:
        return False


def keys(name=None):
    """Erase the keys that decrypt, then those that sign, then settings and NVS's values for this identity (`name`).
    Takes well under a second; may be repeated."""
    machine.RTC().memory(b"")
    _erase_journal()
    known = identity.load()
    name = name or (known.name if known else None)
    if name:
        floor.Floor(name).forget()
    for path in FILES:
        _erase_file(path)


def rest():
    """Do the second half: erase what the file system keeps of former contents. Yields now and then; takes some half a
    minute. The mark goes with the last step."""
    for number in range(_ROUNDS):
        try:
            with open(_FILLING, "wb") as file:
                file.write(bytes((number,)) * _ROUND)
        except OSError:
            pass
        yield
    piece = bytes(_PIECE)
    try:
        with open(_FILLING, "wb") as file:
            while True:
                file.write(piece)
                yield
    except OSError:  # no room is left: that was the purpose
        pass
    _remove(_FILLING)
    _remove(_FILE)
    floor.Floor(MARK).forget()
    log.event("wiped")


def _erase_journal():
    try:
        flash = partition.journal()
        for sector in range(flash.ioctl(4, 0)):
            flash.ioctl(6, sector)
    except OSError as error:
        log.event("refused", what="journal", reason=log.reason(error))


def _erase_file(path):
    try:
        size = os.stat(path)[6]
        with open(path, "wb") as file:
            file.write(bytes(size))
    except OSError:  # there is none
        return
    _remove(path)


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
