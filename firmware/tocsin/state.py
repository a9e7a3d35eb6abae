"""Keep what a bracelet knows and must not forget: chains, the newest alarm, undelivered messages, all in the journal.

Sealing and receipts happen here, each ending in one record on flash. A write that fails is reported and tried again
later; it doesn't keep an alarm from being sent (see chains.py). Nothing here waits or talks to hardware other than
flash.
"""

import gc

from tocsin import VERSION, alarm, cbor, chains, checkin, delivery, envelope, floor, journal, log, movement, ratchet
from tocsin.crypto import ed25519
from tocsin.drivers import partition

RETRY_MS = 5000  # of a failed write
HEARTBEATS = 16  # counters reserved by one write
HEARTBEATS_END = 1 << 32
FLAG_LAST, FLAG_DOUBTFUL = 128, 256
FLAG_USED = 1  # of a heartbeat


class State:
    def __init__(self, identity, clock, random_byte, slept=False):
        """Go on where the journal says the last boot ended. ValueError when neither slot is whole: without its chain
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
        self.acked = record.acked  # one more than the highest counter that has its receipt
        self.first = self._alarm_tx.counter  # messages sealed from now on have this counter or a higher one
        self.saved = record.time  # the time on flash, for after a lost supply
        self._take_held(record)
        self.settings = record.extra[2]  # from the relay, as envelope.SETTINGS names them
        self._extra = record.extra
        self.check_in = checkin.CheckIn(0) if slept else checkin.CheckIn()
        self.check_in.restore(record.extra[:2], now, clock.time())
        self.worn = bool(record.extra[4])
        self.strap = None  # a strap.Strap where the board has one
        self.last = False  # the battery is about to end: nothing more may come
        self.revoked = False
        self.used = False  # something came down under a used counter, and the relay does not know
        self.wiped = False  # nothing is sealed or stored any more
        self.alarm = alarm.Alarm()
        self.alarm.restore(record.alarm, now, clock.time(), *record.extra[5:6])
        self.told = None  # the fix in its newest message
        self.delivery = delivery.Delivery(random_byte)
        self._quiet()
        for message in record.messages:
            self.delivery.add(delivery.Message(*message), now)
        self.dirty = now  # when to write, None: flash has everything. At boot at once: it reserves counters.

    def _take_held(self, record):
        """Add an Alert that was raised while the journal could not be written. An Alert below `acked` is older than the
        record, which would have it if it still waited."""
        try:
            state, message = cbor.decode(self._floor.held() or b"\xf6")
            newest = max(record.alarm[0] if record.alarm else -1, record.acked - 1)
            if len(state) in (alarm.STATE, alarm.STATE_1) and len(message) == 4 and message[0] > newest:
                record.alarm = state
                record.messages.append(message)
                record.extra[5:] = []
        except (ValueError, TypeError):  # mostly nothing is held
            pass

    def _quiet(self):
        """Tell the delivery what it is to know of the newest alarm."""
        self.delivery.quiet = self.alarm.counter if self.alarm.called_back else None

    def _hold(self):
        """Store the newest Alert, while it waits for its receipt, in the other place."""
        message = self.delivery.find(self.alarm.counter)
        state = self.alarm.state(self._clock.ms())
        if state:
            state[1] = 0  # NVS leaves old values readable; the journal will tell when it was
        self._floor.hold(cbor.encode([state, message.state()]) if message else None)

    def _block(self):
        return chains.block(self._alarm_tx.limit - self.acked)

    @property
    def sparing(self):
        """Tell whether it is so many counters ahead of the relay's answers that those left are for gestures alone."""
        return not self._block()

    def settle(self):
        """Forget an alarm that is over and delivered. True when there is something to store."""
        newest, now = self.alarm, self._clock.ms()
        if not newest.over(now):  # nearly always, and often asked
            return False
        end = newest.ends_at()
        if end is not None and now >= end:
            self.delivery.close(newest.counter, not newest.drill)
        for message in self.delivery.queue:
            if message.alarm == newest.counter:
                return False
        self.told = None
        return newest.settle(now, False)

    def persist(self, alarms=0, heartbeats=0):
        """Write the journal. True when it is on flash; else it is `dirty` and to be tried again."""
        if self.wiped:
            return False
        self.settle()
        now = self._clock.ms()
        record = journal.Record(
            self._alarm_tx.reserve(max(self._block(), alarms)),
            self._heartbeat_tx.reserve(heartbeats),
            self._down.state(),
        )
        record.alarm = self.alarm.state(now)
        record.messages = [message.state() for message in self.delivery.queue]
        record.time = self._clock.time()
        record.acked = self.acked
        # A wearer who finds it empty takes it off and charges it: then an open strap at the next start is no cut one.
        worn = int(self.strap is not None and self.strap.worn and not self.last)
        record.extra = self.check_in.state(now, record.time) + self._extra[2:4] + [worn]
        behind = self.alarm.state_behind(now)
        if behind:
            record.extra.append(behind)
        try:
            gc.collect()  # a record takes some KB for a moment
            self._journal.save(record.encode())
        except (OSError, MemoryError) as error:
            log.event("refused", what="journal", reason=log.reason(error))
            self.dirty = now + RETRY_MS
            if self._floor.write(record.alarm_tx[0]):
                self._alarm_tx.reserved(record.alarm_tx)
            self._hold()
            return False
        self._floor.hold(None)
        self._alarm_tx.reserved(record.alarm_tx)
        self._heartbeat_tx.reserved(record.heartbeat_tx)
        self.saved = record.time
        self.dirty = None
        return True

    def rest(self):
        """Return, for the clock's memory, how far the reserves are used."""
        return [self._alarm_tx.rest(), self._heartbeat_tx.rest()]

    def resume(self, chains):
        """Take up what rest() returned before the processor slept: the unused part of the reserves is still good, and
        flash needs no write for a start."""
        resumed = [self._alarm_tx.resume(*chains[0]), self._heartbeat_tx.resume(*chains[1])]
        if all(resumed):
            self.dirty = None

    def _flags(self):
        """Return the flags of every message: time quality, strap, and whether it may be the last."""
        strap = self.strap.state << 5 if self.strap else 0
        return self._clock.quality << 3 | strap | (FLAG_LAST if self.last else 0)

    def seal(self, kind, what, battery, fix, cell, news):
        """Seal an Alert, Update or cancel that one of alarm.CAUSES asked for (None: its time has come), queue it and
        store it. Returns its Message, or None when no counter is left that is surely unused: then flash has failed for
        long, and nothing can be sealed until a write succeeds; or the chain has ended."""
        if self.wiped:
            return None
        taken = self._alarm_tx.take()
        if taken is None:
            self.persist(alarms=1)
            taken = self._alarm_tx.take()
        if taken is None:
            return None
        counter, key = taken
        first = counter if kind == alarm.ALERT else self.alarm.counter
        seconds = self._clock.time()
        flags, cause = self._flags() | self.alarm.flags(kind, what), self.alarm.cause_of(kind, what)
        if fix and fix[7]:
            flags |= FLAG_DOUBTFUL
        payload = envelope.alarm_payload(
            flags, cause, min(counter - first, 65535), seconds, battery, fix, cell, counter=counter
        )
        octets, _ = envelope.seal_alarm(self._id.kid, self._id.relay_id, counter, key, payload, self._signer)
        now = self._clock.ms()
        still = kind != alarm.ALERT and movement.moved(self.told, fix) is False
        self.alarm.sealed(kind, counter, seconds, now, news, fix is not None, what, still)
        self.told = fix
        self._quiet()
        message = delivery.Message(counter, first, kind, octets)
        dropped = self.delivery.add(message, now)
        if dropped:
            log.event("dropped", counter=dropped.counter)
        self.persist()
        return message

    def heartbeat(self, battery, network, health):
        """Seal a heartbeat: (counter, octets), or None when its counter can't be put beyond use first. `network` and
        `health` as envelope.seal_heartbeat takes them."""
        if self.wiped:
            return None
        taken = self._heartbeat_tx.take()
        if taken is None and self.persist(heartbeats=HEARTBEATS):
            taken = self._heartbeat_tx.take()
        if taken is None:
            return None
        counter, key = taken
        pending = len(self.delivery.queue)
        # After a revocation no message is wanted any more, so none is missing. And a relay that uses counters again
        # must learn the next good one.
        down = self._down.state()[0] if self.revoked or self.used else self._down.missing()
        flags = self._flags() | (FLAG_USED if self.used else 0)
        fields = (flags, self._clock.time(), battery, pending, down, network, health, VERSION)
        return counter, envelope.seal_heartbeat(self._id.kid, counter, key, fields)[0]

    def scan(self, octets):
        """Work towards opening what came down; True when open() will be quick. ValueError when it can't be ours."""
        kid, counter = envelope.peek(octets)
        if kid != self._id.kid:
            raise ValueError("down: another bracelet's")
        return self._down.scan(counter)

    def open(self, octets):
        """Open what came down: (kind, value, does it change anything, shall it be felt); ValueError, and nothing
        changed, unless it is genuine and new. The chain's move and what follows from it are one record on flash. Only a
        "revoke" is not written: wipe.py carries it out, and it comes again until that has begun. An "update" has its
        counter at the end. Words about an alarm that is not open to the wearer (alarm.secret) are no news, whatever
        they say."""
        number = envelope.peek(octets)[1]
        kind, value = envelope.open_down(octets, self._id.kid, self._down)
        if kind == "revoke":
            self.revoked = True
            return kind, value, True, False
        news = True
        if kind == "receipt":
            message = self.delivery.receipt(value)
            self.acked = max(self.acked, value + 1)
            news = message is not None
            feel = news and self.alarm.receipt(message.alarm, value)
        elif kind in ("accept", "close") and self.alarm.secret(value):
            news = feel = False
        elif kind == "accept":
            feel = self.alarm.accept(value)
        elif kind == "close":
            feel = self.alarm.close(value)
            self.delivery.close(value)
        else:
            feel = False
            news = kind == "update" or number >= self._extra[3]  # an older one that came late changes nothing
            if kind == "update":
                value.append(number)
            if news and kind == "configure":
                self.settings = dict(self.settings)
                self.settings.update(value)
                self._extra = self._extra[:2] + [self.settings, number + 1] + self._extra[4:]
        self.persist()
        return kind, value, news, feel
