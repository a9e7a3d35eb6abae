# sans-I/O, but for the store
"""Reads what the store knows of alarms, for the list that people look at; decides nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import cbor2
from sqlalchemy import Connection, Row, select

from relay.cases.opening import Case, who
from relay.outbox import EVIDENCE
from relay.registry import UNREADABLE, code_name_of
from relay.store import AtRestError, commands, schema
from relay.store.atrest import Box
from relay.store.database import Store
from relay.verify.envelope import parse_sign1
from relay.verify.payload import Alarm, Cell, Fix, parse_alarm

DAY_MS = 86_400_000
_MISSING = (UNREADABLE, "missing")  # code name and state of a bracelet whose row is


class Word(NamedTuple):
    """A message of an alarm. `alarm` is None when its stored content can't be read."""

    received_ms: int
    path: str
    seq: int
    alarm: Alarm | None


class Place(NamedTuple):
    """The wearer's last position, from the newest message that has one, and the time at which it was taken."""

    fix: Fix
    at_ms: int
    doubtful: bool


class Heard(NamedTuple):
    """The cell that the bracelet was in, and when."""

    cell: Cell
    at_ms: int


class Known(NamedTuple):
    """An alarm with what belongs to it. `delay_s` is the delay of its Alert, None when the Alert is missing or undated.
    `heard_in` is there only when it is not older than the place."""

    case: Case
    code_name: str
    bracelet: str
    last: Word
    delay_s: int | None
    place: Place | None
    heard_in: Heard | None
    accepted_by: str | None
    closed_by: str | None

    def __repr__(self) -> str:
        return f"Known({self.case.id})"


def known(store: Store, now_ms: int, *, everything: bool = False) -> list[Known]:
    """Read the alarms that are open, or had a message or were closed within a day; with `everything`, all."""
    table, recent = schema.alarm_case.c, now_ms - DAY_MS
    query = select(schema.alarm_case)
    if not everything:
        waits = table.closed_ms.is_(None) & ~table.drill & (table.cancel_seq.is_(None) | table.duress)
        query = query.where(waits | (table.last_ms > recent) | (table.closed_ms > recent))
    with store.read() as connection:
        cases = [Case(*row) for row in connection.execute(query)]
        bracelets = _bracelets(connection, store.box, {case.kid for case in cases})
        return [_known(connection, store.box, case, *bracelets.get(case.kid, _MISSING)) for case in cases]


def code_name(store: Store, kid: str) -> str:
    """Return the operators' name for this bracelet."""
    with store.read() as connection:
        return _bracelets(connection, store.box, {int(kid, 16)})[int(kid, 16)][0]


def _bracelets(connection: Connection, box: Box, kids: set[int]) -> dict[int, tuple[str, str]]:
    """Read the code name and the state of these bracelets."""
    table = schema.bracelet.c
    query = select(table.kid, table.profile_sealed, table.state)
    if len(kids) == 1:
        query = query.where(table.kid.in_(kids))
    revoking = commands.revoking(connection)
    return {
        kid: (code_name_of(box, kid, sealed), "revoking" if kid in revoking else state)
        for kid, sealed, state in connection.execute(query)
        if kid in kids
    }


def _who(box: Box, case: Case, state: str) -> str | None:
    try:
        return who(box, case, state)
    except AtRestError:
        return UNREADABLE


def _known(connection: Connection, box: Box, case: Case, code_name: str, bracelet: str) -> Known:
    alarm = schema.alarm.c
    newest = select(schema.alarm).where(alarm.case_id == case.id).order_by(alarm.seq.desc())
    delay_s = connection.execute(select(alarm.delay_s).where(alarm.id == case.id)).scalar_one_or_none()
    last, place, heard_in = None, None, None
    with connection.execute(newest) as rows:
        for row in rows:  # until one has a position; mostly the newest does
            word = Word(row.received_ms, row.path, row.seq, _opened(box, row))
            last = last or word
            if word.alarm is None:
                continue
            said_ms = word.alarm.time * 1000 or word.received_ms
            if heard_in is None and word.alarm.cell is not None:
                heard_in = Heard(word.alarm.cell, said_ms)
            if word.alarm.fix is not None:
                place = Place(word.alarm.fix, said_ms - word.alarm.fix.age_s * 1000, word.alarm.doubtful)
                break
    if last is None:  # a case was opened by some message: its row is missing
        last = Word(case.last_ms, "a way that is not known", case.last_seq, None)
    by = _who(box, case, "accepted"), _who(box, case, "closed")
    return Known(case, code_name, bracelet, last, delay_s, place, heard_in, *by)


def _opened(box: Box, row: Row[Any]) -> Alarm | None:
    """Open a stored message; return None for a damaged row, which must not hide the others."""
    try:
        _, sign1 = cbor2.loads(box.open(EVIDENCE, row.id, row.evidence_sealed))
        return parse_alarm(parse_sign1(sign1)[0], row.counter)
    except Exception:
        return None
