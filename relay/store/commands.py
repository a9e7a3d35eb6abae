"""Commands to bracelets on disk: asked for, sealed, sent, arrived.

One process (the command line) asks for a command; another one (the running relay) seals it, and alone moves the down
chain. Unless that chain is stepped forward (`unseal`), a command is sealed once: the same octets are sent until the
bracelet's heartbeat shows that they arrived, or until the command is done otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from relay.store import schema
from relay.store.atrest import AtRestError
from relay.store.database import Store
from relay.store.schema import COUNTERS
from relay.verify import down
from relay.verify.down import HEARTBEAT_S, Bundle, Kind
from relay.verify.envelope import parse
from relay.verify.reasons import Refused

NUMBER = "sms_sender.number"
AGAIN_MS = 10_000  # a message sent so lately may still be on its way; a bracelet that was away loses it (QoS 0)
_RECEIPTS = 200  # newest alarm messages whose receipts are looked through for a missing one
_T = schema.command.c


class Arrived(NamedTuple):
    """A command that a bracelet has."""

    id: int
    kid: int
    kind: Kind
    case_id: int | None


def add(connection: Connection, kid: int, kind: Kind, body: bytes, now_ms: int, case_id: int | None = None) -> int:
    """Ask for a command; return its id."""
    row = {"kid": kid, "kind": int(kind), "case_id": case_id, "body": body, "requested_ms": now_ms}
    done = connection.execute(insert(schema.command).values(**row, due_ms=now_ms, attempts=0))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def unfinished(connection: Connection, kid: int, kind: Kind | None = None) -> Sequence[Row[Any]]:
    """List the commands that a bracelet shall still be told, oldest first."""
    query = select(schema.command).where(_T.kid == kid, _T.done_ms.is_(None)).order_by(_T.id)
    return connection.execute(query if kind is None else query.where(_T.kind == int(kind))).all()


def finish(connection: Connection, ids: Iterable[int], result: str, now_ms: int) -> None:
    """Record commands as done; `result` is arrived, superseded, expired or given up."""
    change = update(schema.command).values(done_ms=now_ms, result=result)
    connection.execute(change.where(_T.id.in_(list(ids)), _T.done_ms.is_(None)))


def heartbeat_intervals(connection: Connection) -> dict[int, int]:
    """Read the seconds between two heartbeats of the bracelets that were told to change them: the interval that a
    bracelet has confirmed, or, while it has not, the longer one."""
    told = or_(_T.done_ms.is_(None), _T.result == "arrived")
    query = select(_T.kid, _T.body, _T.done_ms).where(_T.kind == int(Kind.CONFIGURE), told).order_by(_T.id)
    found: dict[int, int] = {}
    for kid, body, done_ms in connection.execute(query):
        interval = settings_of(body).get("heartbeat_s")
        if interval is not None:
            found[kid] = interval if done_ms is not None else max(interval, found.get(kid, HEARTBEAT_S))
    return found


def bundles(connection: Connection, since_ms: int) -> tuple[set[Bundle], set[Bundle]]:
    """List the bundles that some bracelet in use may be fetching, and the other bundles that were ever ordered. A
    bracelet may be fetching its newest order, if that is not withdrawn, was made after `since_ms`, and has a higher
    version than the one that the bracelet's newest heartbeat reports."""
    beat = schema.heartbeat.c
    query = select(_T.kid, _T.body, _T.result, _T.requested_ms, schema.bracelet.c.state, beat.program)
    joined = schema.command.join(schema.bracelet, schema.bracelet.c.kid == _T.kid)
    query = query.select_from(joined.join(schema.heartbeat, beat.kid == _T.kid, isouter=True))
    every = connection.execute(query.where(_T.kind == int(Kind.UPDATE)).order_by(_T.id)).all()
    rows = [row for row in every if isinstance(_content(row.body), Bundle)]  # without damaged ones
    newest = {row.kid: row for row in rows if row.state == "active"}.values()
    open_ = [row for row in newest if row.result in (None, "arrived") and row.requested_ms > since_ms]
    wanted = {row.body for row in open_ if (row.program or 0) < _bundle(row.body).version}
    return {_bundle(body) for body in wanted}, {_bundle(row.body) for row in rows if row.body not in wanted}


def withdraw(connection: Connection, body: bytes, now_ms: int) -> list[int]:
    """End every order of this bundle; return the key ids of the bracelets that had one."""
    mine = (_T.kind == int(Kind.UPDATE), _T.body == body)
    on_order = or_(_T.done_ms.is_(None), _T.result == "arrived")
    rows = connection.execute(select(_T.id, _T.kid).where(*mine, on_order)).all()
    change = update(schema.command).where(_T.id.in_([row.id for row in rows]))
    connection.execute(change.values(done_ms=func.coalesce(_T.done_ms, now_ms), result="superseded"))
    return [row.kid for row in rows]


def _content(body: bytes) -> object:
    """Read the content of a command; None for a damaged one, which must not hide the others."""
    try:
        return down.parse(body)[1]
    except Refused:
        return None


def _bundle(body: bytes) -> Bundle:
    content = _content(body)
    assert isinstance(content, Bundle)
    return content


def confirm(connection: Connection, heard: Mapping[int, int], now_ms: int) -> list[Arrived]:
    """Finish the commands that have arrived; make the others due again, unless they were sent a moment ago. `heard`, by
    key id: the counter of the down chain below which a heartbeat reports nothing missing."""
    query = select(_T.id, _T.kid, _T.kind, _T.case_id, _T.counter).where(_T.kid.in_(list(heard)), _T.done_ms.is_(None))
    rows = connection.execute(query.where(_T.counter.is_not(None))).all() if heard else []
    arrived = [row for row in rows if row.counter < heard[row.kid]]
    if arrived:
        finish(connection, [row.id for row in arrived], "arrived", now_ms)
    missing = [row.id for row in rows if row.counter >= heard[row.kid]]
    if missing:
        old = or_(_T.sent_ms < now_ms - AGAIN_MS, _T.sent_ms > now_ms)
        connection.execute(update(schema.command).where(_T.id.in_(missing), old).values(due_ms=now_ms))
    kinds = {int(kind) for kind in Kind}  # a damaged row is of none
    return [Arrived(row.id, row.kid, Kind(row.kind), row.case_id) for row in arrived if row.kind in kinds]


def unseal(connection: Connection, kids: Iterable[int], now_ms: int) -> None:
    """Have the commands that wait for these bracelets sealed anew, and begun anew: their down chains were stepped
    forward."""
    anew = {"counter": None, "octets": None, "sent_ms": None, "attempts": 0, "due_ms": now_ms}
    waiting = (_T.kid.in_(list(kids)), _T.done_ms.is_(None), _T.counter.is_not(None))
    connection.execute(update(schema.command).where(*waiting).values(anew))


def revoking(connection: Connection, kids: Iterable[int] | None = None) -> set[int]:
    """List the bracelets that are to be wiped and have not confirmed it."""
    query = select(_T.kid).where(_T.done_ms.is_(None), _T.kind == int(Kind.REVOKE))
    return set(connection.execute(query if kids is None else query.where(_T.kid.in_(list(kids)))).scalars())


def missing(connection: Connection, kid: int, counter: int, now_ms: int) -> bytes | None:
    """Find the sealed message with this counter of the down chain, to be sent again. Return None when it left a moment
    ago, or is too old to be found, or is a command under way, which keeps its own schedule."""
    query = select(_T.octets, _T.done_ms, _T.sent_ms).where(_T.kid == kid, _T.counter == counter)
    command = connection.execute(query.order_by(_T.id.desc()).limit(1)).first()
    if command is not None:
        sent = command.sent_ms or 0  # in the future, if a clock was ahead
        late = command.done_ms is not None and not now_ms - AGAIN_MS <= sent <= now_ms
        return command.octets if late else None
    alarm = schema.alarm.c
    old = or_(alarm.received_ms < now_ms - AGAIN_MS, alarm.received_ms > now_ms)
    mine = (alarm.id >= kid * COUNTERS, alarm.id < (kid + 1) * COUNTERS, old)
    receipts = select(alarm.receipt).where(*mine).order_by(alarm.id.desc()).limit(_RECEIPTS)
    for receipt in connection.execute(receipts).scalars():
        if counter_of(receipt) == counter:
            return bytes(receipt)
    return None


def counter_of(octets: bytes) -> int | None:
    """Read the counter of a sealed message; None where there is none, or what is stored of it is damaged."""
    try:
        return parse(octets).counter if octets else None
    except Refused:
        return None


def heard_by_sms(store: Store, connection: Connection, numbers: Mapping[int, str], now_ms: int) -> None:
    """Note that genuine messages of these bracelets came by SMS, from these numbers."""
    table = schema.sms_sender
    for kid, number in numbers.items():
        row = {"heard_ms": now_ms, "number_sealed": store.box.seal(NUMBER, kid, number.encode())}
        if not connection.execute(update(table).where(table.c.kid == kid).values(row)).rowcount:
            connection.execute(insert(table).values(kid=kid, **row))


def sms_number(store: Store, connection: Connection, kid: int, case_id: int | None) -> str | None:
    """Return the number to which to send a command by SMS, if the bracelet was last heard that way, or the alarm in
    question was; else None."""
    sender, alarm, beat = schema.sms_sender.c, schema.alarm.c, schema.heartbeat.c
    found = connection.execute(select(sender.heard_ms, sender.number_sealed).where(sender.kid == kid)).one_or_none()
    if found is None:
        return None
    mine = (alarm.id >= kid * COUNTERS, alarm.id < (kid + 1) * COUNTERS)
    newest = select(alarm.path).where(*mine).order_by(alarm.id.desc()).limit(1)
    beaten = connection.execute(select(beat.received_ms).where(beat.kid == kid)).scalar_one_or_none() or 0
    last = connection.execute(newest).scalar_one_or_none() == "sms" and beaten < found.heard_ms
    texted = select(alarm.id).where(alarm.case_id == case_id, alarm.path == "sms").limit(1)
    if not last and (case_id is None or connection.execute(texted).first() is None):
        return None
    try:
        return store.box.open(NUMBER, kid, found.number_sealed).decode()
    except AtRestError:  # damaged: the next SMS of this bracelet brings the number again
        return None


def settings_of(body: bytes) -> dict[str, int]:
    """Return the settings that a command to configure changes; none where it is damaged."""
    content = _content(body)
    return content if isinstance(content, dict) else {}
