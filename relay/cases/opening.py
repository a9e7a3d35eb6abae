# sans-I/O, but for the store
"""Opens cases, and folds further messages into them.

Messages of one alarm arrive late, twice, or in another order. So folding is one upsert whose result doesn't depend on
the order: counts add up, the newest sequence number wins, "duress" and "not a drill" stick. The upsert reads nothing
first, so nothing can get stale.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement, ColumnElement

from relay.store import schema
from relay.store.atrest import Box
from relay.store.database import Store, values
from relay.store.schema import COUNTERS
from relay.verify.payload import Alarm


class Phase(StrEnum):
    """The bracelet's word on its own alarm. The operators' word, accepted or closed, is stored beside it."""

    OPEN = "open"
    CANCELLED = "cancelled"


class Case(NamedTuple):
    """A case as stored. `raised` is None until the Alert is here, or when the bracelet did not know the time."""

    id: int
    kid: int
    opened_ms: int
    raised: int | None
    cause: int
    messages: int
    last_seq: int
    last_ms: int
    cancel_seq: int | None
    duress: bool
    drill: bool
    accepted_ms: int | None = None
    closed_ms: int | None = None
    accepted_by: bytes | None = None  # sealed
    closed_by: bytes | None = None

    @property
    def phase(self) -> Phase:
        """The phase: a cancel under duress cancels nothing. Updates follow every cancel for an hour, so that nobody
        who holds the bracelet can tell the two kinds of cancel apart; these Updates reopen nothing."""
        return Phase.CANCELLED if self.cancel_seq is not None and not self.duress else Phase.OPEN


def row(case_id: int, kid: int, alarm: Alarm, received_ms: int) -> tuple[Any, ...]:
    """Return the contribution of one message to its case."""
    raised = alarm.time if alarm.seq == 0 and alarm.time else None
    cancel = alarm.seq if alarm.cancel else None
    return (
        case_id,
        kid,
        received_ms,
        raised,
        alarm.cause,
        1,
        alarm.seq,
        received_ms,
        cancel,
        alarm.duress,
        alarm.drill,
    )


def fold(store: Store, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Open the cases of these messages, or add the messages to them."""
    store.many(connection, _FOLD[store.engine.dialect.name], rows)


def read(connection: Connection, case_id: int, *, lock: bool = False) -> Case | None:
    """Read a case. With `lock`, nobody else can change it until this transaction ends."""
    query = select(schema.alarm_case).where(schema.alarm_case.c.id == case_id)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if found is None else Case(*found)


def say(connection: Connection, box: Box, case_id: int, state: str, who: str | None, now_ms: int) -> None:
    """Record that a person has accepted or closed a case."""
    change = update(schema.alarm_case).where(schema.alarm_case.c.id == case_id)
    sealed = None if who is None else box.seal(_place(state), case_id, who.encode())
    connection.execute(change.values({f"{state}_ms": now_ms, f"{state}_by_sealed": sealed}))


def who(box: Box, case: Case, state: str) -> str | None:
    """Name the person who accepted or closed a case; None when that is not known."""
    sealed = getattr(case, f"{state}_by")
    return None if sealed is None else box.open(_place(state), case.id, sealed).decode()


def _place(state: str) -> str:
    return f"alarm_case.{state}_by"


_BY_PEOPLE = ("accepted_ms", "closed_ms", "accepted_by_sealed", "closed_by_sealed")


def called_back_since(kid: Any, case_id: Any) -> ColumnElement[bool]:
    """Build the condition that this case or a later one of the same bracelet has a cancel, forced or not. `kid` and
    `case_id` are numbers or columns."""
    later = schema.alarm_case.alias().c
    of_the_same = (later.id >= case_id, later.id < (kid + 1) * COUNTERS)
    return exists(select(later.id).where(*of_the_same, later.cancel_seq.is_not(None)))


def _upsert(dialect: Any) -> ClauseElement:
    table = schema.alarm_case
    statement = dialect.insert(table).values(values(table, *_BY_PEOPLE))
    new, old = statement.excluded, table.c
    newer = new.last_seq > old.last_seq
    none: ColumnElement[int] = literal_column("-1")
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=[old.id],
        set_={
            "raised": func.coalesce(old.raised, new.raised),
            "messages": old.messages + new.messages,
            "last_seq": case((newer, new.last_seq), else_=old.last_seq),
            "last_ms": case((new.last_ms > old.last_ms, new.last_ms), else_=old.last_ms),
            "cancel_seq": case(
                (func.coalesce(new.cancel_seq, none) > func.coalesce(old.cancel_seq, none), new.cancel_seq),
                else_=old.cancel_seq,
            ),
            "duress": or_(old.duress, new.duress),
            "drill": and_(old.drill, new.drill),
        },
    )
    return upsert


_FOLD = {"sqlite": _upsert(sqlite), "postgresql": _upsert(postgresql)}
