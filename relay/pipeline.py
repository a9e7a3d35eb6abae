# sans-I/O, but for the store
"""Takes a batch of messages through one transaction, and says what to do next.

`Pipeline.process` verifies every message, writes everything that follows from the good ones in one transaction, and
only then says what may be published, acknowledged and answered. It does no network I/O and reads no clock. When it
returns, all of the batch is on disk; when it raises, none of the batch may be acknowledged, and the caller offers it
again.

The state in memory (keys and chain states of the bracelets heard lately) is a cache. The cache moves only after the
commit, is dropped whenever a transaction has failed, and can't be wrong silently: every row that is replaced must still
have the version that was read. A pipeline belongs to one thread.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from relay import cases, outbox, rebroadcast, registry
from relay.batch import DamagedChain, Event, Inbound, Item, Outcome, Status, Work
from relay.cases import opening
from relay.log import drill_mark
from relay.outbox import OutboxId, Sealed
from relay.rollback import DownChains, Lead
from relay.store import chains, commands, records
from relay.store.database import StaleState, Store
from relay.store.records import Accepted
from relay.store.roster import Bracelet, Roster
from relay.subscribers import audiences, coarse
from relay.verify import Envelope, Reason, Refused, RelayKeys, open_alarm, open_heartbeat, parse
from relay.verify.down import Kind
from relay.verify.payload import DRILL
from relay.verify.ratchet import MAX_STEPS, ChainState

STALE_RETRIES = 5
DAMAGED = (
    "what the database has of these subscribers was altered and can't be read, so they are told nothing; run `relay "
    "subscriber rotate`, and if that does not help, restore a backup"
)
DAMAGED_CHAIN = (
    "what the database has of this bracelet's keys was altered, and what it sends can't be read: restore a backup; the "
    "bracelet repeats its alarms until then"
)

__all__ = ["STALE_RETRIES", "Event", "Inbound", "Item", "Outcome", "Pipeline", "Status"]


class Pipeline:
    """Verification, storage and answers for batches of messages."""

    def __init__(self, store: Store, keys: RelayKeys, worker: str = "relay", lead: Lead | None = None) -> None:
        self.store = store
        self.keys = keys
        self.worker = worker
        self.roster = Roster(store)
        self.lead = lead or Lead()
        self.down_chains = DownChains(store, self.lead)
        self._owed = Outcome()
        self._replaced = store.replaced

    def process(
        self,
        batch: Sequence[Inbound],
        now: float,
        done: Sequence[OutboxId] = (),
        clock: Callable[[], float] | None = None,
    ) -> Outcome:
        """Take a batch. `done` are deliveries confirmed meanwhile: here they need no transaction of their own.

        `clock` only stamps the events; without it they carry `now`.
        """
        clock = clock or (lambda: now)
        try:
            for _ in range(STALE_RETRIES):
                try:
                    return self._attempt(batch, now, done, clock)
                except StaleState:
                    self.roster.forget()
            return self._attempt(batch, now, done, clock)
        except (IntegrityError, DataError) as error:
            # The database refuses one of the rows, so it would refuse this batch for ever. Find the message that
            # brings that row.
            self.roster.forget()
            if len(batch) <= 1:
                return self._set_aside(batch, now, done, clock, error)
            half = len(batch) // 2
            first = self.process(batch[:half], now, done, clock)
            try:
                second = self.process(batch[half:], now, (), clock)
            except BaseException:
                # The first half is on disk; when it is offered again, it only repeats. Its events are told then.
                self._owed = Outcome([], first.events, first.registry_changed).joined(self._owed)
                raise
            return first.joined(second)
        except BaseException:
            # Perhaps the commit failed, perhaps only its answer was lost: the state in memory can't be trusted.
            self.roster.forget()
            raise

    def _attempt(
        self, batch: Sequence[Inbound], now: float, done: Sequence[OutboxId], clock: Callable[[], float]
    ) -> Outcome:
        if self.store.replaced != self._replaced:  # perhaps by an older copy: begin as after a start
            self._replaced = self.store.replaced
            self.roster.forget()
            self.lead.forget()
        work = Work(now, clock)
        envelopes = [_parse(message) for message in batch]
        bracelets = self.roster.load({e.kid for e in envelopes if isinstance(e, Envelope)})
        self._find_accepted(work, batch, envelopes, bracelets)
        for message, envelope in zip(batch, envelopes, strict=True):
            work.outcome.items.append(self._judge(work, message, envelope, bracelets))
        self._commit(work, done)
        owed, self._owed = self._owed, Outcome()
        return owed.joined(work.outcome)

    def _find_accepted(
        self,
        work: Work,
        batch: Sequence[Inbound],
        envelopes: Sequence[Envelope | Reason],
        bracelets: dict[int, Bracelet],
    ) -> None:
        """Read the stored messages of alarm counters that were used before, for the whole batch at once."""
        used = set()
        for message, envelope in zip(batch, envelopes, strict=True):
            if isinstance(envelope, Envelope) and message.kind != "hb" and envelope.kid in bracelets:
                stored = bracelets[envelope.kid].chains[chains.ALARM]
                if stored is not None and stored.state.is_used(envelope.counter, work.now_s):
                    used.add(records.alarm_id(envelope.kid, envelope.counter))
        if used:
            with self.store.read() as connection:
                work.accepted.update(records.find(connection, used))

    def _judge(self, work: Work, message: Inbound, envelope: Envelope | Reason, bracelets: dict[int, Bracelet]) -> Item:
        lane = "heartbeat" if message.kind == "hb" else "alarm"
        kid, counter = (f"{envelope.kid:08x}", envelope.counter) if isinstance(envelope, Envelope) else (None, None)
        if lane == "alarm":
            work.event("alarm.received", kid, counter, path=message.path, octets=len(message.octets))
        cause = {}
        try:
            if not isinstance(envelope, Envelope):
                raise Refused(envelope)
            if message.topic_kid is not None and message.topic_kid != kid:
                raise Refused(Reason.WRONG_TOPIC)
            bracelet = bracelets.get(envelope.kid)
            if bracelet is None:
                raise Refused(Reason.UNKNOWN_KID)
            if bracelet.revoked or (bracelet.revoking and lane == "alarm"):
                raise Refused(Reason.REVOKED)
            if lane == "alarm":
                return self._alarm(work, message, envelope, bracelet)
            return self._heartbeat(work, message, envelope, bracelet)
        except Refused as refused:
            reason = refused.reason
        except SQLAlchemyError:
            raise  # a fault of the store, not of this message: the caller offers the batch again
        except DamagedChain as error:
            reason, cause = Reason.INTERNAL, {"error": type(error).__name__, "hint": DAMAGED_CHAIN}
        except Exception as error:  # one message must never hold up the others; the bracelet sends it again
            reason, cause = Reason.INTERNAL, {"error": type(error).__name__}
        key = (reason.value, message.path)
        work.refusals[key] = work.refusals.get(key, 0) + 1
        work.event(f"{lane}.refused", kid, counter, reason=reason.value, path=message.path, **cause)
        return Item(Status.REFUSED, kid, counter, reason)

    def _alarm(self, work: Work, message: Inbound, envelope: Envelope, bracelet: Bracelet) -> Item:
        alarm_id = records.alarm_id(envelope.kid, envelope.counter)
        digest = sha256(message.octets).digest()
        state = work.head(bracelet, chains.ALARM)
        if state.is_used(envelope.counter, work.now_s):
            before = work.accepted.get(alarm_id)
            if before is None or before.digest != digest:
                raise Refused(Reason.REPLAY)
            work.event("alarm.duplicate", bracelet.hex, envelope.counter, path=message.path)
            answer = self.down_chains.repeated(work, bracelet, alarm_id, message.path, before)
            return Item(Status.DUPLICATE, bracelet.hex, envelope.counter, receipt=answer or None)

        _ration(bracelet, envelope, state, work)
        opened = open_alarm(envelope, state, bracelet.public, self.keys.id, work.now_s)
        alarm = opened.alarm
        work.event("alarm.verified", bracelet.hex, envelope.counter, **drill_mark(alarm.drill))
        ahead = envelope.counter - state.next
        answer, down = self.down_chains.answer(work, bracelet, alarm_id, message.path, ahead)
        delay_s = rebroadcast.delay_s(alarm, work.now_ms)
        said: dict[str, Any] = {
            "alarm": alarm,
            "kid": bracelet.kid,
            "counter": envelope.counter,
            "received_ms": work.now_ms,
            "path": message.path,
        }
        document = rebroadcast.build(
            self.keys, **said, protected=envelope.protected, sign1=opened.sign1, public=bracelet.public
        )
        deliveries = tuple(
            Sealed(OutboxId(alarm_id, audience.channel, 0), *audience.seal(bracelet.kid, "alarm", its))
            for audience, its in audiences.for_each(
                self.roster.audiences(), bracelet.kid, document, lambda km: coarse.build(self.keys, **said, km=km)
            )
        )
        if self.roster.damaged:
            work.event("audience.damaged", None, None, channels=[*self.roster.damaged], hint=DAMAGED)
            self.roster.damaged.clear()
        evidence = outbox.evidence(self.store.box, alarm_id, envelope.protected, opened.sign1)
        row = (
            *(alarm_id, bracelet.kid, envelope.counter, alarm.seq, alarm_id - alarm.seq, alarm.flags, alarm.time),
            *(work.now_ms, delay_s, message.path, digest, answer, evidence),
        )
        # Everything that can fail has been done; from here on the message is part of the batch.
        work.heads[bracelet.kid, chains.ALARM] = opened.state
        if down is not None:
            work.heads[bracelet.kid, chains.DOWN] = down
        work.accepted[alarm_id] = Accepted(digest, answer)
        if message.sender is not None:
            work.numbers[bracelet.kid] = message.sender
        work.alarms.append(row)
        work.cases.append(opening.row(alarm_id - alarm.seq, bracelet.kid, alarm, work.now_ms))
        work.deliveries += [delivery.id for delivery in deliveries]
        return Item(
            Status.NEW,
            bracelet.hex,
            envelope.counter,
            document=document,
            receipt=answer or None,
            deliveries=deliveries,
            delay_s=delay_s,
            drill=alarm.drill,
        )

    def _heartbeat(self, work: Work, message: Inbound, envelope: Envelope, bracelet: Bracelet) -> Item:
        state = work.head(bracelet, chains.HEARTBEAT)
        if state.is_used(envelope.counter, work.now_s):
            # The broker may deliver a heartbeat again, or a last will after the keys of its time are gone. Such a
            # message changes nothing, whoever sent it, so it does not count as refused.
            return Item(Status.DUPLICATE, bracelet.hex, envelope.counter)
        _ration(bracelet, envelope, state, work)
        opened = open_heartbeat(envelope, state, work.now_s)
        beat = opened.heartbeat
        work.heads[bracelet.kid, chains.HEARTBEAT] = opened.state
        if beat.will:
            work.lost[bracelet.kid] = work.now_ms
            work.event("bracelet.lost", bracelet.hex, envelope.counter, path=message.path)
            return Item(Status.LOST, bracelet.hex, envelope.counter)
        row = (
            *(bracelet.kid, envelope.counter, work.now_ms, beat.time, beat.flags, beat.battery, beat.pending),
            *(beat.down, *(beat.network or (None,) * 4), *(beat.health or (None,) * 4), beat.program),
            None,
        )
        if envelope.counter >= state.next:  # else a later one came before it
            work.beats[bracelet.kid] = row
            work.lost.pop(bracelet.kid, None)
            missing = self.down_chains.heard(work, bracelet, beat)
            first, also = (missing[0], missing[1:]) if missing else (None, ())
            return Item(Status.HEARTBEAT, bracelet.hex, envelope.counter, receipt=first, also=also)
        return Item(Status.HEARTBEAT, bracelet.hex, envelope.counter)

    def _commit(self, work: Work, done: Sequence[OutboxId]) -> None:
        store = self.store
        moved = work.replacements()
        audit: list[tuple[int, str, str, int | None, int | None]]
        audit = [(work.now_ms, self.worker, "alarm.accepted", row[1], row[0]) for row in work.alarms]
        audit += [(work.now_ms, self.worker, "chain.rolled_back", kid, None) for kid in sorted(work.rolled_back)]
        with store.write() as connection:
            if not self.roster.is_current(connection):
                raise StaleState("the registry changed")
            chains.replace(store, connection, moved)
            commands.unseal(connection, work.floors, work.now_ms)
            records.replace_receipts(store, connection, work.receipts)
            cases.fold(store, connection, work.cases)
            records.add_alarms(store, connection, work.alarms)
            outbox.promise(store, connection, work.deliveries, self.worker, work.now_ms)
            records.write_audit(store, connection, audit)
            records.put_heartbeats(store, connection, list(work.beats.values()))
            records.mark_lost(store, connection, [(at, kid) for kid, at in work.lost.items()])
            records.count_refusals(store, connection, work.refusals, work.now_ms)
            outbox.finish(store, connection, done, self.worker, work.now_ms)
            commands.heard_by_sms(store, connection, work.numbers, work.now_ms)
            arrived = commands.confirm(connection, work.heard, work.now_ms)
            rows = [(work.now_ms, self.worker, "command.arrived", each.kid, each.case_id) for each in arrived]
            records.write_audit(store, connection, rows)
            for kid in {each.kid for each in arrived if each.kind == Kind.REVOKE}:
                registry.end(store, connection, self.worker, kid, work.now_ms)
                work.outcome.registry_changed = True
        self._note_arrived(work, arrived)
        self.roster.moved(moved)
        self.down_chains.moved(new.kid for new in moved if new.name == chains.DOWN)
        self.roster.trim()
        for row in work.alarms:
            work.event("alarm.committed", f"{row[1]:08x}", row[2], **drill_mark(row[5] & DRILL))

    def _note_arrived(self, work: Work, arrived: Sequence[commands.Arrived]) -> None:
        for each in arrived:
            work.event("command.arrived", f"{each.kid:08x}", None, command=each.kind.name.lower())

    def _set_aside(
        self,
        batch: Sequence[Inbound],
        now: float,
        done: Sequence[OutboxId],
        clock: Callable[[], float],
        error: Exception,
    ) -> Outcome:
        """Refuse the one message that the database will not take, instead of stopping every alarm behind it."""
        work = Work(now, clock)
        for message in batch:
            work.refusals[Reason.INTERNAL.value, message.path] = 1
            fields = {"reason": Reason.INTERNAL.value, "path": message.path, "error": type(error).__name__}
            work.event("alarm.refused", None, None, **fields)
            work.outcome.items.append(Item(Status.REFUSED, reason=Reason.INTERNAL))
        self._commit(work, done)
        return work.outcome


def _ration(bracelet: Bracelet, envelope: Envelope, state: ChainState, work: Work) -> None:
    ahead = envelope.counter - state.next
    if 0 < ahead <= MAX_STEPS and not bracelet.may_step(ahead, work.now_s):
        raise Refused(Reason.GAP)


def _parse(message: Inbound) -> Envelope | Reason:
    try:
        return parse(message.octets)
    except Refused as refused:
        return refused.reason
