"""What a bracelet knows and must not forget: chains, the newest alarm, undelivered messages, all in the journal.

Sealing and receipts happen here, each ending in one record on flash. A write that fails is reported and tried again
later; it doesn't keep an alarm from being sent (see chains.py). Nothing here waits or talks to hardware other than
flash.
"""

import gc

from tocsin import alarm, cbor, chains, delivery, envelope, floor, journal, log, ratchet
from tocsin.crypto import ed25519
from tocsin.drivers import partition

RETRY_MS = 5000  # of a failed write
HEARTBEATS = 16  # counters reserved by one write
HEARTBEATS_END = 1 << 32
CAUSE_BUTTON = 0
FLAG_CANCEL = 2


class State:
    def __init__(self, identity, clock, random_byte):
        """Takes up where the journal says the last boot ended. ValueError when neither slot is whole: without its chain
        keys a bracelet can't say anything the relay would believe. OSError without the journal's partition."""
        self._id = identity
        self._clock = clock
        self._signer = ed25519.Signer(identity.seed)
        self._journal = journal.Journal(partition.journal())
        content = self._journal.load()
        if content is None:
            raise ValueError
        record = journal.decode(content)
        clock.start(record.time)
        now = clock.ms()
        self._floor = floor.Floor(identity.name)
        end = envelope.MAX_ALARM_COUNTER + 1
        self._alarm_tx = chains.Sender(record.alarm_tx[0], record.alarm_tx[1], ratchet.step, end)
        self._alarm_tx.skip_to(self._floor.read())
        self._heartbeat_tx = chains.Sender(record.heartbeat_tx[0], record.heartbeat_tx[1], ratchet.step, HEARTBEATS_END)
        self._down = ratchet.ReceiveChain(record.down[0], record.down[1], record.down[2])
        self._acked = record.acked
        self._take_held(record)
        self.alarm = alarm.Alarm()
        self.alarm.restore(record.alarm, now, clock.time())
        self.delivery = delivery.Delivery(random_byte)
        for message in record.messages:
            self.delivery.add(delivery.Message(*message), now)
        self.dirty = now  # when to write, None: flash has everything. At boot at once: it reserves counters.

    def _take_held(self, record):
        """An Alert that was raised while the journal could not be written."""
        try:
            state, message = cbor.decode(self._floor.held() or b"\xf6")
            if len(state) == 4 and len(message) == 4 and message[0] > (record.alarm[0] if record.alarm else -1):
                record.alarm = state
                record.messages.append(message)
        except (ValueError, TypeError):  # nothing, in most cases
            pass

    def _hold(self):
        """The newest Alert, while it waits for its receipt, in the other place."""
        message = self.delivery.find(self.alarm.counter)
        self._floor.hold(cbor.encode([self.alarm.state(), message.state()]) if message else None)

    def _block(self):
        return chains.block(self._alarm_tx.limit - self._acked)

    @property
    def sparing(self):
        """So many counters ahead of what the relay has answered that those left are for gestures alone."""
        return not self._block()

    def persist(self, alarms=0, heartbeats=0):
        """Write the journal. True when it is on flash; else it is `dirty` and to be tried again."""
        record = journal.Record(
            self._alarm_tx.reserve(max(self._block(), alarms)),
            self._heartbeat_tx.reserve(heartbeats),
            self._down.state(),
        )
        record.alarm = self.alarm.state()
        record.messages = [message.state() for message in self.delivery.queue]
        record.time = self._clock.time()
        record.acked = self._acked
        try:
            gc.collect()  # a record takes some KB for a moment
            self._journal.save(record.encode())
        except (OSError, MemoryError) as error:
            log.event("refused", what="journal", reason=log.reason(error))
            self.dirty = self._clock.ms() + RETRY_MS
            if self._floor.write(record.alarm_tx[0]):
                self._alarm_tx.reserved(record.alarm_tx)
            self._hold()
            return False
        self._floor.hold(None)
        self._alarm_tx.reserved(record.alarm_tx)
        self._heartbeat_tx.reserved(record.heartbeat_tx)
        self.dirty = None
        return True

    def seal(self, kind, battery, fix, cell, news):
        """Seal an Alert, Update or cancel, queue it and store it. Its Message, or None when no counter is left that is
        surely unused: then flash has failed for long, and nothing can be sealed until a write succeeds; or the chain
        has ended."""
        taken = self._alarm_tx.take()
        if taken is None:
            self.persist(alarms=1)
            taken = self._alarm_tx.take()
        if taken is None:
            return None
        counter, key = taken
        first = counter if kind == alarm.ALERT else self.alarm.counter
        seconds = self._clock.time()
        flags = self._clock.quality << 3 | (FLAG_CANCEL if kind == alarm.CANCEL else 0)
        payload = envelope.alarm_payload(
            flags, CAUSE_BUTTON, min(counter - first, 65535), seconds, battery, fix, cell, counter=counter
        )
        octets, _ = envelope.seal_alarm(self._id.kid, self._id.relay_id, counter, key, payload, self._signer)
        now = self._clock.ms()
        self.alarm.sealed(kind, counter, seconds, now, news, fix is not None)
        message = delivery.Message(counter, first, kind, octets)
        dropped = self.delivery.add(message, now)
        if dropped:
            log.event("dropped", counter=dropped.counter)
        self.persist()
        return message

    def heartbeat(self, battery):
        """(counter, octets) of a heartbeat, or None when its counter can't be put beyond use first."""
        taken = self._heartbeat_tx.take()
        if taken is None and self.persist(heartbeats=HEARTBEATS):
            taken = self._heartbeat_tx.take()
        if taken is None:
            return None
        counter, key = taken
        fields = (self._clock.quality << 3, self._clock.time(), battery, len(self.delivery.queue))
        return counter, envelope.seal_heartbeat(self._id.kid, counter, key, fields)[0]

    def scan(self, octets):
        """Work towards opening what came down; True when open() will be quick. ValueError when it can't be ours."""
        kid, counter = envelope.peek(octets)
        if kid != self._id.kid:
            raise ValueError("down: another bracelet's")
        return self._down.scan(counter)

    def open(self, octets):
        """(counter, was it waiting, shall it be felt) of a receipt; ValueError, and nothing changed, unless it is
        genuine and new. The chain's move and the end of the message are one record on flash."""
        _, counter = envelope.open_down(octets, self._id.kid, self._down)
        message = self.delivery.receipt(counter)
        self._acked = max(self._acked, counter + 1)
        feel = message is not None and self.alarm.receipt(message.alarm, counter)
        self.persist()
        return counter, message is not None, feel
