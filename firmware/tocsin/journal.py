# hwsim: no-float
"""Keep what must outlive a reset, in one of two slots of flash that are written in turn, each of whole sectors.

The slots are a partition of their own and not files: a file system leaves old contents readable until it needs the
room; here the former slot is erased as soon as the next one is written and read back. Nobody who takes the bracelet
finds a key that opens an earlier message, and raising needs no file system. Since the slot is erased already, a save
only programs: some milliseconds instead of the 45 and more of an erase.

A slot is magic, sequence number, length, content, checksum. It is made, written and read back in pages, because a heap
that has been in use for hours has no long stretches free. At whatever moment the power goes, one of the slots is whole:
the state before, or the state after. The content is one CBOR array (see Record), bounded by the delivery queue. It has
no track: no position is stored except inside the encrypted octets of undelivered messages.
"""

from hashlib import sha256

from tocsin import cbor

_MAGIC = b"TCJ1"
_HEAD = 12
_CHECK = 8
_SECTOR = 4096
_PAGE = 256  # what the chip programs at once; also a multiple of the 16 octets that encrypted flash is written in
_SHORT = 128
_BLANK = b"\xff" * _PAGE
_BLOT = bytes(_PAGE)
VERSION = 2  # 1 had no `extra`; it is still read
_EXTRA = (0, 0, {}, 0, 0)  # for items that an older record lacks


class Journal:
    def __init__(self, flash):
        """Use `flash`, a block device with sectors of 4096 octets, as esp32.Partition: readblocks and writeblocks with
        an offset, which don't erase, and ioctl 4 (number of sectors) and 6 (erase one)."""
        self._flash = flash
        self._sectors = flash.ioctl(4, 0) // 2  # of a slot
        self._sequence = 0
        self._next = 0  # slot to write next: never the newest good one
        self._ready = False  # is that slot known to be erased?
        self._page = bytearray(_PAGE)

    def load(self):
        """Return the newest whole content, or None. The other slot is erased: remains of a lost supply are not wanted,
        and the next save finds it ready."""
        best = None
        for slot in (0, 1):
            found = self._read(slot)
            if found and (best is None or found[0] > best[0]):
                best = found
                self._next = 1 - slot
        if best is None:
            return None
        self._sequence = best[0]
        try:
            self._erase(self._next)
        except OSError:
            pass  # the next save says so
        return best[1]

    def save(self, content):
        """Store content, given as a list of pieces, and erase the former. OSError when either fails: then the former
        content is still there, or both are."""
        length = 0
        for piece in content:
            length += len(piece)
        if _HEAD + length + _CHECK > self._sectors * _SECTOR:
            raise OSError(28)  # ENOSPC
        sequence = self._sequence + 1
        head = _MAGIC + sequence.to_bytes(4, "big") + length.to_bytes(4, "big")
        check = sha256(head)
        for piece in content:
            check.update(piece)
        parts = [head] + content + [check.digest()[:_CHECK]]
        if not self._ready:
            self._erase(self._next)
        self._ready = False
        self._each_page(parts, self._program)
        self._each_page(parts, self._compare)
        self._sequence = sequence
        self._next = 1 - self._next
        self._erase(self._next)

    def _each_page(self, parts, use):
        """Call use(address, page) with each page of the slot that these parts fill, the last one padded."""
        page = self._page
        address = self._next * self._sectors * _SECTOR
        filled = 0
        for part in parts:
            taken = 0
            while taken < len(part):
                size = min(len(part) - taken, _PAGE - filled)
                page[filled : filled + size] = part[taken : taken + size]
                taken += size
                filled += size
                if filled == _PAGE:
                    use(address, page)
                    address += _PAGE
                    filled = 0
        if filled:
            page[filled:] = _BLANK[filled:]
            use(address, page)

    def _program(self, address, page):
        self._flash.writeblocks(address // _SECTOR, page, address % _SECTOR)

    def _compare(self, address, page):
        there = bytearray(_PAGE)
        self._flash.readblocks(address // _SECTOR, there, address % _SECTOR)
        if there != page:
            raise OSError(5)  # EIO

    def _erase(self, slot):
        """Make a slot blank, and check that it is. OSError when it is not."""
        for sector in range(slot * self._sectors, (slot + 1) * self._sectors):
            if not self._blank(sector):
                self._flash.ioctl(6, sector)
                if not self._blank(sector):
                    self._blot(sector)
                    raise OSError(5)
        self._ready = True

    def _blot(self, sector):
        """Overwrite a sector that is worn out and can't be erased: most often it can still be programmed, so that
        nothing of its content stays."""
        for offset in range(0, _SECTOR, _PAGE):
            self._flash.writeblocks(sector, _BLOT, offset)

    def _blank(self, sector):
        for offset in range(0, _SECTOR, _PAGE):
            self._flash.readblocks(sector, self._page, offset)
            if self._page != _BLANK:
                return False
        return True

    def _read(self, slot):
        """Return (sequence number, content) of a whole slot, or None."""
        first = slot * self._sectors
        head = bytearray(_HEAD)
        self._flash.readblocks(first, head, 0)
        length = int.from_bytes(head[8:12], "big")
        if head[:4] != _MAGIC or _HEAD + length + _CHECK > self._sectors * _SECTOR:
            return None
        data = bytearray(length + _CHECK)
        self._flash.readblocks(first, data, _HEAD)
        content = bytes(data[:length])
        check = sha256(head)
        check.update(content)
        if check.digest()[:_CHECK] != data[length:]:
            return None
        return int.from_bytes(head[4:8], "big"), content


class Record:
    """The content: chains, the newest alarm, undelivered messages, the time."""

    def __init__(self, alarm_tx, heartbeat_tx, down):
        self.alarm_tx = alarm_tx  # [limit, key] as chains.Sender.reserve gives it
        self.heartbeat_tx = heartbeat_tx
        self.down = down  # (counter, key, {counter: key}) as ratchet.ReceiveChain.state gives it
        self.alarm = []  # as alarm.Alarm.state gives it
        self.messages = []  # as delivery.Message.state gives it
        self.time = 0  # s since 1970 when this was written, 0 unknown
        self.acked = 0  # counters below this are known to the relay
        # [check-in: deadline (s since 1970, 0 unknown), minutes it was started with (0: it does not run); settings from
        # the relay as envelope.SETTINGS names them, 1 + the down counter that they came with; strap worn; and
        # only while there is any, what goes on behind a drill, as alarm.Alarm.state_behind gives it]
        self.extra = list(_EXTRA)

    def encode(self):
        """Return the content's octets in pieces of at most some 300."""
        counter, key, skipped = self.down
        pieces = [cbor.array_head(9) + cbor.encode(VERSION)]
        for items in (self.alarm_tx, self.heartbeat_tx):
            _add(pieces, cbor.encode(items))
        _add(pieces, cbor.array_head(2 + 2 * len(skipped)) + cbor.encode(counter) + cbor.encode(key))
        for number in sorted(skipped):
            _add(pieces, cbor.encode(number) + cbor.encode(skipped[number]))
        _add(pieces, cbor.encode(self.alarm) + cbor.array_head(len(self.messages)))
        for message in self.messages:
            _add(pieces, cbor.encode(message))
        for item in (self.time, self.acked, self.extra):
            _add(pieces, cbor.encode(item))
        return pieces


def _add(pieces, octets):
    """Append to the last piece while that stays short: a list of many pieces wants one long stretch of the heap."""
    if len(pieces[-1]) + len(octets) <= _SHORT:
        pieces[-1] += octets
    else:
        pieces.append(octets)


def decode(content):
    """Return a Record, or raise ValueError: a checksum doesn't prove that an older or newer firmware meant the same."""
    try:
        items = cbor.decode(content)
        version, alarm_tx, heartbeat_tx, down, alarm, messages, time, acked = items[:8]
        if version not in (1, VERSION) or len(items) != version + 7:
            raise ValueError
        if len(alarm_tx) != 2 or len(heartbeat_tx) != 2 or len(alarm) not in (0, 4 if version == 1 else 7):
            raise ValueError
        extra = items[8] if version == VERSION else []
        skipped = {}
        for index in range(2, len(down), 2):
            skipped[down[index]] = down[index + 1]
        record = Record(alarm_tx, heartbeat_tx, (down[0], down[1], skipped))
        for message in messages:
            if len(message) != 4 or not isinstance(message[3], bytes):
                raise ValueError
        extra = extra + list(_EXTRA[len(extra) :])
        if not all(type(extra[i]) is type(_EXTRA[i]) for i in range(len(_EXTRA))):
            raise ValueError
    except (TypeError, IndexError, KeyError):
        raise ValueError
    record.extra = extra
    record.alarm, record.messages, record.time, record.acked = alarm, messages, time, acked
    return record
