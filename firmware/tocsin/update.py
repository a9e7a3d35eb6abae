# hwsim: no-float
"""Another version of the program: installed from a bundle in a file, then tried. See "Updates" in firmware/README.md.

Loaded only when there is something to do. A bundle goes into the slot that is not in use; only when all of it is there,
and its maker's signature is good, a mark in NVS says that the next start shall try it (/rom/slots.py). On trial this
module raises a drill of its own. Its receipt shows that the new program seals, stores, sends and hears, and only that
makes it the one in use. Whatever concerns an alarm goes first.
"""

import asyncio
import hashlib
import os
import sys
from binascii import hexlify

import machine
import vfs
from esp32 import Partition

from tocsin import VERSION, aio, cbor, floor, log, settings
from tocsin.alarm import DENSE_MS
from tocsin.crypto import ed25519

KEY = "/update.key"  # the maker's public key: 32 octets, put there when it was flashed
FILE = "/update.bin"
OFFERED, PART = "/update.get", "/update.part"  # see app.py
PIECE = 448  # of a bundle, in one MQTT message: with its topic within mqtt_codec.PACKET_MAX
ANSWER_MS = 10000
SILENT = 6  # pieces in a row that do not come: then not before the next start
ROOM = 0x20000  # of an image in the partition `romfs`
HEADER = 1024  # of a bundle: "TCNB", length of the COSE_Sign1, that, and room for more
LABEL = b"TCN1 bundle"
SLOT, LOWEST = "slot", "version"  # in NVS: see slots.py; the version in use, below which nothing is installed any more
STARTS = 3  # that a trial has
TRIAL_MS = 1200000  # and so long awake; it does not sleep
SETTLE_MS = 15000  # networks first: what is tried is what the wearer has
LOOK_MS = 1000
PROVE_MS = 100  # a press is noticed so soon
_SECTOR, _PIECE = 4096, 1024
_SIGN_HEADER = b"\xa1\x01\x32"  # {1: -19}


def manifest(header, key):
    """(version, size, SHA-256) of the image that a bundle's header vouches for. ValueError says what is wrong with it
    or with installing it here. Takes a second or two for the signature, in one piece."""
    size = int.from_bytes(header[4:6], "big")
    if len(header) != HEADER or header[:4] != b"TCNB" or header[6 + size :].strip(b"\xff"):
        raise ValueError("header")
    signed = cbor.decode(header[6 : 6 + size])
    if not isinstance(signed, list) or len(signed) != 4 or signed[:2] != [_SIGN_HEADER, {}]:
        raise ValueError("header")
    _, _, payload, signature = signed
    if not key or len(key) != 32:
        raise ValueError("key")
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise ValueError("header")
    if not ed25519.verify(key, cbor.encode(["Signature1", _SIGN_HEADER, LABEL, payload]), signature):
        raise ValueError("signature")
    content = cbor.decode(payload)
    if not isinstance(content, list) or len(content) != 5 or content[0] != 1:
        raise ValueError("format")
    _, version, mpy, size, digest = content
    if mpy != sys.implementation._mpy:
        raise ValueError("processor")
    acceptable(version)
    if not 0 < size <= ROOM - HEADER:
        raise ValueError("size")
    return version, size, digest


def acceptable(version):
    """ValueError when this is no higher version."""
    if version <= VERSION or version < floor.Floor(LOWEST).read():
        raise ValueError("version")


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


class Updater:
    """The task, from the start on."""

    def __init__(self, app, bracelet, state):
        self._app = app
        self._bracelet = bracelet
        self._state = state
        self._clock = app.clock
        self._came = asyncio.Event()

    async def run(self):
        state = floor.Floor(SLOT).read()
        if self._app.trial:
            await self._prove(state >> 2 & 3)
        while True:
            if settings.read(OFFERED, 1):
                await self._fetch()
            if settings.read(FILE, 1):
                await self._install(1 if state & 3 != 1 else 2)
            await asyncio.sleep_ms(SETTLE_MS)

    async def _calm(self):
        """Until nothing is going on that matters more."""
        while self._bracelet.busy() or not self._state.alarm.idle(self._clock.ms()):
            await asyncio.sleep_ms(LOOK_MS)

    async def _restart(self):
        """When an alarm is not in the minutes that matter most. Without a restart the program would never sleep."""
        while self._bracelet.busy() or self._hot():
            await asyncio.sleep_ms(LOOK_MS)
        self._app.starts.lived()  # it ends on purpose: no reason for safe mode
        machine.reset()

    def _hot(self):
        age = self._state.alarm.age(self._clock.ms())
        return age is not None and age < DENSE_MS and not self._state.alarm.drill

    # -- fetching ---------------------------------------------------------------------------------------------------

    async def _fetch(self):
        """Piece by piece from the broker, where the relay has left them; what is there outlives sleep and resets."""
        self._bracelet.hold(True)
        try:
            version, size, digest = cbor.decode(settings.read(OFFERED))
            acceptable(version)
            Partition.find(Partition.TYPE_DATA, label="romfs")[0]  # without it there is no use
            topic, silent = "fw/%s/" % hexlify(digest[:8]).decode(), 0
            at = _size(PART)
            if at % PIECE or at > size:
                os.remove(PART)
                at = 0
            while at < size and silent < SILENT:
                await self._calm()
                piece = await self._piece(topic + str(at // PIECE))
                if piece is None:
                    silent += 1
                elif len(piece) != min(PIECE, size - at):
                    raise ValueError("piece")
                else:
                    silent = 0
                    with open(PART, "ab") as file:  # noqa: ASYNC230 - as above
                        file.write(piece)
                    at += len(piece)
            if at >= size:
                await self._fetched(digest)
        except (OSError, ValueError, MemoryError, TypeError, IndexError) as error:
            refuse(error)
        self._bracelet.hold(False)

    async def _piece(self, topic):
        """None when it does not come."""
        self._got = None
        if self._bracelet.fetch(topic, self._take):
            await aio.wait(self._came, ANSWER_MS)
            self._came.clear()
        else:
            await asyncio.sleep_ms(ANSWER_MS)
        return self._got

    def _take(self, octets):
        self._got = octets
        self._came.set()

    async def _fetched(self, digest):
        found = hashlib.sha256()
        with open(PART, "rb") as file:  # noqa: ASYNC230 - as above
            while True:
                piece = file.read(_PIECE)
                if not piece:
                    break
                found.update(piece)
                await asyncio.sleep_ms(0)
        if found.digest() != digest:
            raise ValueError("digest")
        log.event("firmware", state="fetched")
        os.rename(PART, FILE)
        os.remove(OFFERED)

    # -- installing -------------------------------------------------------------------------------------------------

    async def _install(self, slot):
        self._bracelet.hold(True)
        try:
            await self._calm()
            with open(FILE, "rb") as file:  # noqa: ASYNC230 - there is no other way, and it is quick
                header = file.read(HEADER)
                version, size, digest = manifest(header, settings.read(KEY, 32))
                await self._copy(header, file, size, slot)
            await self._check(header, size, digest, slot)
            # First, so that a program that fails is not installed over and over.
            os.remove(FILE)
            if not floor.Floor(SLOT).write(floor.Floor(SLOT).read() & 3 | slot << 2 | STARTS << 4):
                raise ValueError("nvs")
            log.event("firmware", state="installed", version=version)
            await self._restart()
        except (OSError, ValueError, MemoryError, AttributeError, TypeError, IndexError) as error:
            refuse(error)
        self._bracelet.hold(False)

    async def _copy(self, header, file, size, slot):
        flash = Partition.find(Partition.TYPE_DATA, label="romfs")[0]
        first = slot * ROOM // _SECTOR
        for at in range(0, HEADER + size, _PIECE):
            if at % _SECTOR == 0:
                await self._calm()
                flash.ioctl(6, first + at // _SECTOR)
            piece = file.read(_PIECE) if at else header
            if len(piece) != min(_PIECE, HEADER + size - at):
                raise ValueError("size")
            flash.writeblocks(first + at // _SECTOR, piece, at % _SECTOR)
            await asyncio.sleep_ms(0)
        if file.read(1):
            raise ValueError("size")

    async def _check(self, header, size, digest, slot):
        """What is on flash now is what was signed."""
        there = memoryview(vfs.rom_ioctl(2, 0))[slot * ROOM : slot * ROOM + HEADER + size]
        found = hashlib.sha256()
        for at in range(HEADER, HEADER + size, _PIECE):
            found.update(there[at : at + _PIECE])
            await asyncio.sleep_ms(0)
        if bytes(there[:HEADER]) != header or found.digest() != digest:
            raise ValueError("digest")

    # -- on trial ---------------------------------------------------------------------------------------------------

    async def _prove(self, slot):
        log.event("firmware", state="trial", version=VERSION)
        now = self._clock.ms()
        alarm, first, at, until = self._state.alarm, self._state.first, now + SETTLE_MS, now + TRIAL_MS
        while self._state.acked <= first:  # until the relay has a message that this program has sealed
            now = self._clock.ms()
            if at and now >= at and alarm.idle(now):
                at = None
                self._bracelet.want("trial")
            # What the wearer wants now is for a program that is known to work: it finds the button still held.
            if now > until or self._bracelet.pressed():
                self._end_drill(first)
                self._app.abandon()
            await asyncio.sleep_ms(PROVE_MS)
        self._end_drill(first)
        self._app.trial = False
        floor.Floor(LOWEST).write(VERSION)
        if floor.Floor(SLOT).write(slot):
            log.event("firmware", state="kept", version=VERSION)
        await self._restart()

    def _end_drill(self, first):
        """No more of it. If nobody took it, nobody may be able to."""
        alarm, delivery = self._state.alarm, self._state.delivery
        if alarm.drill and alarm.counter is not None and alarm.counter >= first:
            alarm.close(alarm.counter)
            delivery.queue = [message for message in delivery.queue if message.counter < first]
            self._state.persist()


def refuse(error):
    """Nothing is installed, and the bundle is gone."""
    why = isinstance(error, ValueError) and error.args
    log.event("refused", what="update", reason=str(error.args[0]).replace(" ", "_") if why else log.reason(error))
    for path in (OFFERED, PART, FILE):
        try:
            os.remove(path)
        except OSError:
            pass
