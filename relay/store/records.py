"""The rows that a batch leaves behind beside chains, cases and outbox: alarms, heartbeats, refusal counters, audit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from relay.store import schema
from relay.store.database import Store, values
from relay.store.schema import COUNTERS


class Accepted(NamedTuple):
    """The part of an accepted alarm message that is kept to recognise and answer its duplicates."""

    digest: bytes
    receipt: bytes


def alarm_id(kid: int, counter: int) -> int:
    """Return the id of a message of the alarm chain."""
    return kid * COUNTERS + counter


def find(connection: Connection, ids: Iterable[int]) -> dict[int, Accepted]:
    """Find those of the alarm messages that were accepted before."""
    table = schema.alarm.c
    query = select(table.id, table.digest, table.receipt).where(table.id.in_(list(ids)))
    return {number: Accepted(digest, receipt) for number, digest, receipt in connection.execute(query)}


def newest(connection: Connection, kid: int, limit: int) -> list[tuple[int, Accepted]]:
    """Read the newest alarm messages of a bracelet, oldest of them first, each with its id."""
    table = schema.alarm.c
    mine = (table.id >= kid * COUNTERS, table.id < (kid + 1) * COUNTERS)
    query = select(table.id, table.digest, table.receipt).where(*mine).order_by(table.id.desc()).limit(limit)
    rows = connection.execute(query).all()
    return [(number, Accepted(digest, receipt)) for number, digest, receipt in reversed(rows)]


def case_of(connection: Connection, alarm_id: int) -> int | None:
    """Find the alarm that a message raises or, as an Update, continues; None where there is none. The id of an Alert
    that has not come yet also finds its alarm."""
    alarm, case = schema.alarm.c, schema.alarm_case.c
    found = connection.execute(select(case.id).where(case.id == alarm_id)).scalar_one_or_none()
    if found is None:
        found = connection.execute(select(alarm.case_id).where(alarm.id == alarm_id)).scalar_one_or_none()
    return found


def replace_receipts(store: Store, connection: Connection, receipts: Mapping[int, bytes]) -> None:
    """Store new receipts of alarm messages, by id, where the bracelet can't read the former."""
    store.many(connection, _RECEIPT, [(octets, number) for number, octets in receipts.items()])


def heard_downs(connection: Connection, kids: Iterable[int]) -> dict[int, int]:
    """Read the `down` in the newest heartbeats of these bracelets, by key id."""
    table = schema.heartbeat.c
    query = select(table.kid, table.down).where(table.kid.in_(list(kids)), table.down.is_not(None))
    return {row.kid: row.down for row in connection.execute(query)}


def add_alarms(store: Store, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add alarm messages, values in the order of the table's columns."""
    store.many(connection, _ALARM, rows)


def put_heartbeats(store: Store, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store the newest heartbeat of each bracelet; an older one that comes late changes nothing."""
    store.many(connection, _HEARTBEAT[store.engine.dialect.name], rows)


def mark_lost(store: Store, connection: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Record that the connections of these bracelets have ended: (now_ms, kid). A bracelet that was never heard has no
    row to change."""
    store.many(connection, _LOST, rows)


def count_refusals(store: Store, connection: Connection, counts: Mapping[tuple[str, str], int], now_ms: int) -> None:
    """Add to the refusal counters, by (reason, path)."""
    rows = [(reason, path, count, now_ms, now_ms) for (reason, path), count in counts.items()]
    store.many(connection, _REFUSAL[store.engine.dialect.name], rows)


def write_audit(
    store: Store, connection: Connection, rows: Sequence[tuple[int, str, str, int | None, int | None]]
) -> None:
    """Record who did what to which bracelet and alarm: (at_ms, actor, action, kid, alarm_id)."""
    store.many(connection, _AUDIT, rows)


def refusals(connection: Connection) -> dict[tuple[str, str], int]:
    """Read the refusal counters, by (reason, path)."""
    table = schema.refusal.c
    return {
        (reason, path): count
        for reason, path, count in connection.execute(select(table.reason, table.path, table.count))
    }


def _put_heartbeat(dialect: Any) -> ClauseElement:
    table = schema.heartbeat
    statement = dialect.insert(table).values(values(table))
    new = {column.name: statement.excluded[column.name] for column in table.c if column.name != "kid"}
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=[table.c.kid], set_=new, where=statement.excluded.counter > table.c.counter
    )
    return upsert


def _count_refusal(dialect: Any) -> ClauseElement:
    table = schema.refusal
    statement = dialect.insert(table).values(values(table))
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=[table.c.reason, table.c.path],
        set_={"count": table.c.count + statement.excluded.count, "last_ms": statement.excluded.last_ms},
    )
    return upsert


_ALARM = insert(schema.alarm).values(values(schema.alarm))
_AUDIT = insert(schema.audit).values(values(schema.audit, "id"))
_RECEIPT = (
    update(schema.alarm).values(receipt=bindparam("new_receipt")).where(schema.alarm.c.id == bindparam("of_alarm"))
)
_LOST = (
    update(schema.heartbeat).values(lost_ms=bindparam("now_ms")).where(schema.heartbeat.c.kid == bindparam("number"))
)
_HEARTBEAT = {"sqlite": _put_heartbeat(sqlite), "postgresql": _put_heartbeat(postgresql)}
_REFUSAL = {"sqlite": _count_refusal(sqlite), "postgresql": _count_refusal(postgresql)}
