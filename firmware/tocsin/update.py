# hwsim: no-float
"""Install another version of the program from a bundle in a file, then try it. See firmware/updates.md.

Loaded only when there is something to do. A bundle goes into the slot that is not in use; only when all of it is there,
and its maker's signature is good, a mark in NVS says that the next start shall try it (slots.py). On trial this
module raises a drill of its own. Its receipt shows that the new program seals, stores, sends and hears, and only that
makes it the one in use. All that concerns an alarm goes first.
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
SLOT_FILE = "/slot%d.bin"  # a slot, where programs don't run from a partition: slots.py
PIECE = 448  # of a bundle, in one MQTT message: with its topic within mqtt_codec.PACKET_MAX
ANSWER_MS = 10000
SILENT = 3  # times in a row that a piece does not come: the next try is at the next start, or after so long awake
AGAIN_MS = 900000
VAIN, VAIN_MAX = "vain", 24  # in NVS: tries in a row without a single piece; after so many the bundle counts as gone
SPARE = 16384  # octets that a bundle must leave free in the file system
ROOM = 0x28000  # of an image in the partition `romfs`
HEADER = 1024  # of a bundle: "TCNB", length of the COSE_Sign1, that, and room for more
LABEL = b"TCN1 bundle"
SLOT, LOWEST = "slot", "version"  # in NVS: see slots.py; the version in use, below which nothing is installed any more
STARTS = 3  # that a trial has
TRIAL_MS = 1200000  # and so long awake; it does not sleep
SETTLE_MS = 15000  # the networks come first, so that the trial is like the wearer's life
LOOK_MS = 1000
PROVE_MS = 100  # a press is noticed so soon
_SECTOR, _PIECE = 4096, 1024
_SIGN_HEADER = b"\xa1\x01\x32"  # {1: -19}


def manifest(header, key):
    """Return (version, size, SHA-256) of the image that a bundle's header vouches for. ValueError says what is wrong
    with it or with installing it here. Takes a second or two for the signature, in one piece."""
    size = int.from_bytes(header[4:6], "big")
    if len(header) != HEADER or header[:4] != b"TCNB" or header[6 + size :].strip(b"\xff"):
        raise ValueError("header")
    signed = cbor.decode(header[6 : 6 + size])
    if not isinstance(signed, list) or len(signed) != 4 or signed[:2] != [_SIGN_HEADER, {}]:
        raise ValueError("header")
    _, _, payload, signature = signed
    if not key or not ed25519.good(key):
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
    """Raise ValueError when this is no higher version."""
    if version <= VERSION or version < floor.Floor(LOWEST).read():
        raise ValueError("version")


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _rom():
    """Return the partition that this interpreter runs programs from, in its memory; None when there is no such one."""
    try:
        return memoryview(vfs.rom_ioctl(2, 0))
    except (AttributeError, TypeError):
        return None


def _room():
    """Return the octets that are free in the file system. When littlefs counts more blocks in use than there are
    (lfs2_fs_size, "may be larger than the filesystem actually is"), a huge number stands for one below 0."""
    size, _, blocks, free = os.statvfs("/")[:4]
    return size * free if free <= blocks else 0


class Updater:
    """The task of updates, from the start on."""

    def __init__(self, app, bracelet, state):
        self._app = app
        self._bracelet = bracelet
        self._state = state
        self._clock = app.clock
        self._came = aio.Event()
        self._ask_at = 0

    async def run(self):
        state = floor.Floor(SLOT).read()
        if self._app.trial:
            await self._prove(state >> 2 & 3)
        while True:
            for path, step in ((FILE, self._install), (OFFERED, self._fetch)):
                wanted = settings.read(path, HEADER)
                try:
                    if wanted:
                        await step()
                except (OSError, ValueError, MemoryError, AttributeError, TypeError, IndexError) as error:
                    if settings.read(path, HEADER) == wanted:  # else it was another one that came meanwhile
                        refuse(error, path)
                self._bracelet.hold(False)
            await asyncio.sleep_ms(LOOK_MS)

    async def _calm(self):
        """Wait, with the usual sleep, until nothing is going on that matters more; then keep the bracelet awake."""
        while self._bracelet.busy() or not self._state.alarm.idle(self._clock.ms()):
            self._bracelet.hold(False)
            await asyncio.sleep_ms(LOOK_MS)
        self._bracelet.hold(True)

    def _restart(self):
        self._app.starts.lived()  # it ends on purpose: no reason for safe mode
        machine.reset()

    def _hot(self):
        age = self._state.alarm.age(self._clock.ms())
        return age is not None and age < DENSE_MS and not self._state.alarm.drill

    # -- fetching ---------------------------------------------------------------------------------------------------

    async def _fetch(self):
        """Fetch the pieces that the relay has left with the broker; fetched pieces outlive sleep and resets."""
        offer = settings.read(OFFERED)
        version, size, digest, _ = cbor.decode(offer)
        acceptable(version)
        topic, silent, at = "fw/%s/" % hexlify(digest[:8]).decode(), 0, _size(PART)
        if at % PIECE or at > size:
            os.remove(PART)
            at = 0
        there = at
        while at < size:
            await self._calm()
            if self._clock.ms() < self._ask_at or not self._bracelet.fetch(topic + str(at // PIECE), self._take):
                return  # without a connection there is nothing to stay awake for
            self._got = None
            await self._came.wait(ANSWER_MS)
            self._came.clear()
            if settings.read(OFFERED) != offer:  # another one came meanwhile
                return
            if self._got is None:
                silent += 1
                if silent == SILENT:
                    return self._later(at > there)
            elif len(self._got) != min(PIECE, size - at):
                raise ValueError("piece")
            else:
                silent = 0
                if at == there and _room() < size - at + SPARE:
                    raise ValueError("room")
                with open(PART, "ab") as file:  # noqa: ASYNC230 - there is no other way, and it is quick
                    file.write(self._got)
                at += len(self._got)
        await self._fetched(offer, digest)

    def _later(self, some):
        """Try again later, but not for ever: each waking would last half a minute for nothing."""
        vain = 0 if some else floor.Floor(VAIN).read() + 1
        self._ask_at = self._clock.ms() + AGAIN_MS
        floor.Floor(VAIN).write(vain % VAIN_MAX)
        if vain >= VAIN_MAX:
            raise ValueError("silent")

    def _take(self, octets):
        self._got = octets
        self._came.set()

    async def _fetched(self, offer, digest):
        with open(PART, "rb") as file:  # noqa: ASYNC230 - as above
            await self._check(lambda at: file.read(_PIECE), _size(PART), digest)
        if settings.read(OFFERED) != offer:
            return
        log.event("firmware", state="fetched")
        os.rename(PART, FILE)
        os.remove(OFFERED)
        floor.Floor(VAIN).write(0)

    # -- installing -------------------------------------------------------------------------------------------------

    async def _install(self):
        slot, rom = 1 if floor.Floor(SLOT).read() & 3 != 1 else 2, _rom()
        await self._calm()
        with open(FILE, "rb") as file:  # noqa: ASYNC230 - as above
            header = file.read(HEADER)
            version, size, digest = manifest(header, settings.read(KEY, 33))
            if _size(FILE) != HEADER + size:
                raise ValueError("size")
            if rom:
                await self._copy(header, file, size, slot)
                at = slot * ROOM
                if bytes(rom[at : at + HEADER]) != header:
                    raise ValueError("digest")
                there = rom[at + HEADER : at + HEADER + size]
                await self._check(lambda at: there[at : at + _PIECE], size, digest)
            else:
                await self._check(lambda at: file.read(_PIECE), size, digest)
        # From here on without a pause: an alarm that is raised meanwhile is not for a program that nobody knows.
        await self._calm()
        # The file goes first, so that a program that fails is not installed over and over.
        if rom:
            os.remove(FILE)
        else:
            os.rename(FILE, SLOT_FILE % slot)
        if not floor.Floor(SLOT).write(floor.Floor(SLOT).read() & 3 | slot << 2 | STARTS << 4):
            raise ValueError("nvs")
        log.event("firmware", state="installed", version=version)
        self._restart()

    async def _copy(self, header, file, size, slot):
        flash = Partition.find(Partition.TYPE_DATA, label="romfs")[0]
        first = slot * ROOM // _SECTOR
        for at in range(0, HEADER + size, _PIECE):
            if at % _SECTOR == 0:
                await self._calm()
                flash.ioctl(6, first + at // _SECTOR)
            flash.writeblocks(first + at // _SECTOR, file.read(_PIECE) if at else header, at % _SECTOR)
            await asyncio.sleep_ms(0)

    async def _check(self, read, size, digest):
        """Raise ValueError unless flash holds what was signed: so many octets, read(at) a piece of them."""
        found = hashlib.sha256()
        for at in range(0, size, _PIECE):
            found.update(read(at))
            await asyncio.sleep_ms(0)
        if found.digest() != digest:
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
            # The wearer's wish now is for a program that is known to work: that one finds the button still held.
            if now > until or self._bracelet.pressed():
                self._end_drill(first)
                self._app.abandon()
            await asyncio.sleep_ms(PROVE_MS)
        self._end_drill(first)
        self._app.trial = False
        floor.Floor(LOWEST).write(VERSION)
        if floor.Floor(SLOT).write(slot):
            log.event("firmware", state="kept", version=VERSION)
        # Not in the minutes of an alarm that matter most. Without a restart the program would never sleep.
        while self._bracelet.busy() or self._hot():
            await asyncio.sleep_ms(LOOK_MS)
        self._restart()

    def _end_drill(self, first):
        """End the trial's drill, and drop its messages: if nobody took them, perhaps nobody can."""
        alarm, delivery = self._state.alarm, self._state.delivery
        if alarm.drill and alarm.counter is not None and alarm.counter >= first:
            alarm.close(alarm.counter)
            delivery.queue = [message for message in delivery.queue if message.counter < first]
            self._state.persist()


def refuse(error, path):
    """Report that nothing is installed, and remove this bundle, or the order of it."""
    why = isinstance(error, ValueError) and error.args
    log.event("refused", what="update", reason=str(error.args[0]).replace(" ", "_") if why else log.reason(error))
    for gone in (path, PART):
        try:
            os.remove(gone)
        except OSError:
            pass
