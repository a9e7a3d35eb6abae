# hwsim: no-float
"""What must outlive a reset, kept in two files on flash that are written in turn.

A slot is magic, sequence number, length, content, checksum, in one write and one close; it is read back. Whatever
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
        """Store. With `erase` both slots are written, so that nothing of the former content is left in either."""
        self._write(content)
        if erase:
            self._write(content)

    def _write(self, content):
        sequence = self._sequence + 1
        body = _MAGIC + sequence.to_bytes(4, "big") + len(content).to_bytes(4, "big") + content
        path = self._slots[self._next]
        with open(path, "wb") as file:
            file.write(body + sha256(body).digest()[:_CHECK])
        if _read(path) != (sequence, content):
            raise OSError(5)  # EIO
        self._sequence = sequence
        self._next = 1 - self._next


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
        counter, key, skipped = self.down
        flat = []
        for number in sorted(skipped):
            flat += [number, skipped[number]]
        return cbor.encode(
            [
                VERSION, self.alarm_tx, self.heartbeat_tx, [counter, key] + flat,
                self.alarm, self.messages, self.time, self.acked,
            ]
        )  # fmt: skip


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
