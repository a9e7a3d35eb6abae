# hwsim: no-float
"""What must outlive a reset, kept in two files on flash that are written in turn.

A slot is magic, sequence number, length, content, checksum, written between one opening and one close. It is made,
written and read back in pieces, because a heap that has been in use for hours has no long stretches free. Whatever
moment the power goes, the other slot holds the state before. The content is one CBOR array (see Record), bounded by
the delivery queue. No track: no position is stored except inside the encrypted octets of undelivered messages, and
these are overwritten in both slots as soon as they are delivered.
"""

import os
from hashlib import sha256

from tocsin import cbor

SLOTS = ("/journal.a", "/journal.b")
_MAGIC = b"TCJ1"
_HEAD = 12
_CHECK = 8
_PIECE = 256
SIZE_MAX = 16384
VERSION = 1


class Journal:
    def __init__(self, slots=SLOTS):
        self._slots = slots
        self._sequence = 0
        self._next = 0  # slot to write next: never the newest good one

    def load(self):
        """The newest whole content, or None."""
        best = None
        for index in (0, 1):
            found = _read(self._slots[index])
            if found and (best is None or found[0] > best[0]):
                best = found
                self._next = 1 - index
        if best is None:
            return None
        self._sequence = best[0]
        return best[1]

    def save(self, content, erase=False):
        """Store content, given as a list of pieces. With `erase` both slots are written, so that nothing of the former
        content is left in either."""
        self._write(content)
        if erase:
            self._write(content)

    def _write(self, content):
        sequence = self._sequence + 1
        length = 0
        for piece in content:
            length += len(piece)
        head = _MAGIC + sequence.to_bytes(4, "big") + length.to_bytes(4, "big")
        check = sha256(head)
        for piece in content:
            check.update(piece)
        parts = [head] + content + [check.digest()[:_CHECK]]
        path = self._slots[self._next]
        with open(path, "wb") as file:
            for part in parts:
                file.write(part)
        if not _holds(path, parts):
            raise OSError(5)  # EIO
        self._sequence = sequence
        self._next = 1 - self._next


def _holds(path, parts):
    """Whether a file is these parts and nothing more."""
    with open(path, "rb") as file:
        for part in parts:
            for at in range(0, len(part), _PIECE):
                piece = part[at : at + _PIECE]
                if file.read(len(piece)) != piece:
                    return False
        return not file.read(1)


def _read(path):
    try:
        if os.stat(path)[6] > SIZE_MAX:
            return None
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    body = data[:-_CHECK]
    if len(data) < _HEAD + _CHECK or body[:4] != _MAGIC or sha256(body).digest()[:_CHECK] != data[-_CHECK:]:
        return None
    if int.from_bytes(body[8:12], "big") != len(body) - _HEAD:
        return None
    return int.from_bytes(body[4:8], "big"), bytes(body[_HEAD:])


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

    def encode(self):
        """The content's octets in pieces of at most some 300."""
        counter, key, skipped = self.down
        down = [counter, key]
        for number in sorted(skipped):
            down += [number, skipped[number]]
        pieces = [cbor.array_head(8), cbor.encode(VERSION)]
        for items in (self.alarm_tx, self.heartbeat_tx, down, self.alarm, self.messages):
            pieces.append(cbor.array_head(len(items)))
            pieces.extend([cbor.encode(item) for item in items])
        pieces.append(cbor.encode(self.time))
        pieces.append(cbor.encode(self.acked))
        return pieces


def decode(content):
    """A Record, or ValueError: a checksum doesn't prove that an older or newer firmware meant the same."""
    try:
        version, alarm_tx, heartbeat_tx, down, alarm, messages, time, acked = cbor.decode(content)
        if version != VERSION or len(alarm_tx) != 2 or len(heartbeat_tx) != 2 or len(alarm) not in (0, 4):
            raise ValueError
        skipped = {}
        for index in range(2, len(down), 2):
            skipped[down[index]] = down[index + 1]
        record = Record(alarm_tx, heartbeat_tx, (down[0], down[1], skipped))
        for message in messages:
            if len(message) != 4 or not isinstance(message[3], bytes):
                raise ValueError
    except (TypeError, IndexError):
        raise ValueError
    record.alarm, record.messages, record.time, record.acked = alarm, messages, time, acked
    return record
