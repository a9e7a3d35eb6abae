# sans-I/O, but for the store
"""The outbox: deliveries that were promised in the same transaction as the alarm, until they are done.

This module sends nothing. A worker leases rows, sends, and reports; when a lease runs out, the next worker may take the
row. So a delivery may happen twice, but it never fails to happen. A delivery is to one audience (`relay.subscribers`).
When a delivery is leased, its document is built again from the stored evidence, and sealed under the audience's key of
that time: the table holds no content.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cbor2
from sqlalchemy import Connection, Row, bindparam, func, insert, null, or_, select, update

from relay import case_document, rebroadcast
from relay.store import schema
from relay.store.atrest import Box
from relay.store.database import Store, values
from relay.store.schema import COUNTERS
from relay.subscribers import audiences, coarse
from relay.subscribers.audiences import Audience
from relay.verify.envelope import parse_sign1
from relay.verify.keys import RelayKeys
from relay.verify.payload import DRILL, parse_alarm

ALARM = "alarm"
EVIDENCE = "alarm.evidence"
LEASE_S = 30  # well above the time from publish to PUBACK; a broker that takes longer gets the document twice
RETRY_MOST_S = 3600


class OutboxId(NamedTuple):
    """The idempotency key of a delivery."""

    alarm_id: int
    channel: str
    step: int
    document: str = ALARM  # or the new state of its case, from case_document.STATES


class Sealed(NamedTuple):
    """A delivery as it is published for the first time."""

    id: OutboxId
    topic: str
    octets: bytes

    def __repr__(self) -> str:
        return f"Sealed({self.topic})"


class Delivery(NamedTuple):
    """A leased delivery, ready to publish."""

    id: OutboxId
    topic: str
    octets: bytes
    kid: str
    counter: int
    attempt: int
    drill: bool

    def __repr__(self) -> str:
        return f"Delivery({self.kid}, {self.counter})"


_T = schema.outbox.c
_THIS = (
    *(_T.alarm_id == bindparam("of_alarm"), _T.channel == bindparam("of_channel"), _T.step == bindparam("of_step")),
    _T.document == bindparam("of_document"),
)

_PROMISE = insert(schema.outbox).values(values(schema.outbox, "done_ms"))
_LOG = insert(schema.outbox_attempt).values(values(schema.outbox_attempt, "id"))
_DONE = update(schema.outbox).values(lease_ms=null(), done_ms=bindparam("new_done")).where(*_THIS, _T.done_ms.is_(None))
_AGAIN = update(schema.outbox).values(due_ms=bindparam("new_due"), lease_ms=null()).where(*_THIS, _T.done_ms.is_(None))
_LEASE = update(schema.outbox).values(
    attempts=bindparam("new_attempts"), worker=bindparam("new_worker"), lease_ms=bindparam("new_lease")
)
_LEASE = _LEASE.where(*_THIS)


def promise(store: Store, connection: Connection, ids: Sequence[OutboxId], worker: str, now_ms: int) -> None:
    """Write the deliveries of new alarms, in the alarms' transaction, leased to `worker`, which sends them next."""
    lease = now_ms + LEASE_S * 1000
    store.many(connection, _PROMISE, [(*key, 0, now_ms, now_ms, 1, worker, lease) for key in ids])


def promise_case(
    store: Store, connection: Connection, case_id: int, state: str, channels: Sequence[str], now_ms: int
) -> None:
    """Write the deliveries of a case's new state, in the transaction that records the state; any worker sends them."""
    message = select(func.min(schema.alarm.c.id)).where(schema.alarm.c.case_id == case_id)
    alarm_id = connection.execute(message).scalar_one()
    if alarm_id is None:  # a case was opened by some message, whose row is missing
        return
    keys = [OutboxId(alarm_id, channel, 0, state) for channel in channels]
    store.many(connection, _PROMISE, [(*key, 0, now_ms, now_ms, 0, None, None) for key in keys])


def finish(
    store: Store, connection: Connection, ids: Sequence[OutboxId], worker: str, now_ms: int, result: str = "done"
) -> None:
    """Record deliveries as done, in the caller's transaction. A delivery that is done already stays as it is."""
    store.many(connection, _DONE, [(now_ms, *key) for key in ids])
    store.many(connection, _LOG, [(*key, now_ms, worker, result) for key in ids])


def evidence(box: Box, alarm_id: int, protected: bytes, sign1: bytes) -> bytes:
    """Seal the outer header and the Sign1 of an alarm message for its row."""
    return box.seal(EVIDENCE, alarm_id, cbor2.dumps([protected, sign1]))


class Outbox:
    """A worker's view of the outbox."""

    def __init__(
        self,
        store: Store,
        keys: RelayKeys,
        worker: str = "relay",
        on_unreadable: Callable[[OutboxId, Exception], None] = lambda _key, _error: None,
    ) -> None:
        self.store = store
        self.keys = keys
        self.worker = worker
        self._on_unreadable = on_unreadable

    def release(self) -> int:
        """Free the deliveries that an earlier run of this worker has leased and not finished; return their number."""
        with self.store.write() as connection:
            mine = update(schema.outbox).where(_T.worker == self.worker, _T.done_ms.is_(None), _T.lease_ms.is_not(None))
            return connection.execute(mine.values(lease_ms=null())).rowcount

    def pending(self) -> int:
        """Count the deliveries that are not done, leased or not."""
        query = select(func.count()).select_from(schema.outbox).where(_T.done_ms.is_(None))
        with self.store.read() as connection:
            return connection.execute(query).scalar_one()

    def lease(self, now: float, limit: int = 100) -> list[Delivery]:
        """Lease deliveries that are due and that nobody has, oldest first, for LEASE_S seconds."""
        now_ms = int(now * 1000)
        with self.store.read() as connection:  # often nothing is due; then no transaction needs to write
            if connection.execute(_due(now_ms, 1, lock=False)).first() is None:
                return []
        with self.store.write() as connection:
            rows = connection.execute(_due(now_ms, limit)).all()
            damaged: list[str] = []
            read = audiences.read(connection, self.store.box, damaged.append) if rows else ()
            told = {each.channel: each for each in read}
            lease = now_ms + LEASE_S * 1000
            taken = [(row.attempts + 1, self.worker, lease, *_key(row)) for row in rows]
            self.store.many(connection, _LEASE, taken)
            deliveries = []
            for row in rows:
                if row.channel not in told and row.channel not in damaged:
                    # The last member of this audience was removed meanwhile: there is nobody to tell.
                    key = _key(row)
                    finish(self.store, connection, [key], self.worker, now_ms, "nobody")
                    continue
                try:
                    deliveries.append(self._deliver(row, told[row.channel]))
                except Exception as error:
                    # One damaged row must not hold up the others. It stays unfinished, and its log says why.
                    retry, key = now_ms + RETRY_MOST_S * 1000, _key(row)
                    self._again(connection, key, retry, now_ms, "unreadable")
                    self._on_unreadable(key, error)
        return deliveries

    def mark_done(self, ids: Sequence[OutboxId], now: float) -> None:
        """Record that the other side has these. `Pipeline.process(done=...)` does so within a batch's transaction."""
        if ids:
            with self.store.write() as connection:
                finish(self.store, connection, ids, self.worker, int(now * 1000))

    def mark_failed(self, key: OutboxId, now: float, retry_at: float, result: str) -> None:
        """Record that an attempt failed; the next is due at `retry_at`, at most RETRY_MOST_S from now. `result` is a
        short word for the log, never content."""
        retry_at = min(retry_at, now + RETRY_MOST_S)
        with self.store.write() as connection:
            self._again(connection, key, int(retry_at * 1000), int(now * 1000), result)

    def _again(self, connection: Connection, key: OutboxId, due_ms: int, now_ms: int, result: str) -> None:
        self.store.many(connection, _AGAIN, [(due_ms, *key)])
        self.store.many(connection, _LOG, [(*key, now_ms, self.worker, result)])

    def _deliver(self, row: Row[Any], audience: Audience) -> Delivery:
        kind, document = (ALARM, self._alarm(row, audience)) if row.document == ALARM else ("case", self._case(row))
        kid, counter = divmod(row.alarm_id if row.document == ALARM else row.case_id, COUNTERS)
        sealed = audience.seal(kid, kind, document)
        return Delivery(_key(row), *sealed, f"{kid:08x}", counter, row.attempts + 1, bool(row.flags & DRILL))

    def _case(self, row: Row[Any]) -> bytes:
        at_ms = row.accepted_ms if row.document == "accepted" else row.closed_ms
        return case_document.build(self.keys, row.case_id, row.document, at_ms)

    def _alarm(self, row: Row[Any], audience: Audience) -> bytes:
        protected, sign1 = cbor2.loads(self.store.box.open(EVIDENCE, row.alarm_id, row.evidence_sealed))
        alarm = parse_alarm(parse_sign1(sign1)[0], row.counter)
        said: dict[str, Any] = {
            "alarm": alarm,
            "kid": row.kid,
            "counter": row.counter,
            "received_ms": row.received_ms,
            "path": row.path,
        }
        km = audience.permission.coarse_km
        if km is None:
            return rebroadcast.build(self.keys, **said, protected=protected, sign1=sign1, public=row.public)
        return coarse.build(self.keys, **said, km=km)


def _key(row: Row[Any]) -> OutboxId:
    return OutboxId(row.alarm_id, row.channel, row.step, row.document)


def _reached(moment: Any, now_ms: int, most_s: int) -> Any:
    """Build the condition that a moment has come, or lies further ahead than `most_s`: then it was set by a clock that
    was ahead, and that has been corrected since."""
    return or_(moment <= now_ms, moment > now_ms + most_s * 1000)


def _due(now_ms: int, limit: int, *, lock: bool = True) -> Any:
    alarm, bracelet, case = schema.alarm.c, schema.bracelet.c, schema.alarm_case.c
    due = (
        select(
            *(_T.alarm_id, _T.channel, _T.step, _T.document, _T.attempts),
            *(alarm.case_id, case.accepted_ms, case.closed_ms),
            *(alarm.kid, alarm.counter, alarm.flags, alarm.received_ms, alarm.path, alarm.evidence_sealed),
            bracelet.public,
        )
        .join_from(schema.outbox, schema.alarm, alarm.id == _T.alarm_id)
        .join(schema.bracelet, bracelet.kid == alarm.kid)
        .join(schema.alarm_case, case.id == alarm.case_id)
        .where(_T.done_ms.is_(None), _reached(_T.due_ms, now_ms, RETRY_MOST_S))
        .where(or_(_T.lease_ms.is_(None), _reached(_T.lease_ms, now_ms, LEASE_S)))
        .order_by(_T.priority, _T.created_ms, _T.alarm_id)
        .limit(limit)
    )
    return due.with_for_update(skip_locked=True, of=schema.outbox) if lock else due
