"""A batch of messages: as it came, while it is worked on, and what became of it. No behaviour but bookkeeping: what is
decided is in `relay.pipeline` and `relay.rollback`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from relay.outbox import OutboxId, Sealed
from relay.store.chains import DOWN, Replacement
from relay.store.records import Accepted
from relay.store.roster import Bracelet
from relay.verify import Reason
from relay.verify.ratchet import ChainState


class Inbound(NamedTuple):
    """A message as it came. `kind` is "alarm", "hb", or None where the path doesn't tell (SMS: alarms only)."""

    path: str
    octets: bytes
    kind: str | None = None
    topic_kid: str | None = None
    reply: object = None
    sender: str | None = None  # of an SMS: its number


class DamagedChain(Exception):
    """What the database has of a bracelet's chain can't be read."""


class Status(StrEnum):
    """What became of a message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    HEARTBEAT = "heartbeat"
    LOST = "lost"  # a last will: the bracelet's connection has ended
    REFUSED = "refused"


@dataclass(slots=True)
class Item:
    """What became of one message, and what there is to send. Of a refused one, `kid` and `counter` are claims. For a
    heartbeat, `receipt` is whatever it says that is missing of what was sent down, and `also` more of it. `document` is
    what `deliveries` carry sealed; in clear it leaves the relay for nobody."""

    status: Status
    kid: str | None = None
    counter: int | None = None
    reason: Reason | None = None
    document: bytes | None = field(default=None, repr=False)
    receipt: bytes | None = field(default=None, repr=False)
    also: tuple[bytes, ...] = field(default=(), repr=False)
    deliveries: tuple[Sealed, ...] = field(default=(), repr=False)
    delay_s: int | None = None
    drill: bool = False


class Event(NamedTuple):
    """Something for the log. Never a position, a number, a name or a key."""

    name: str
    at: float
    kid: str | None
    counter: int | None
    fields: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """`items` is aligned with the batch."""

    items: list[Item] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    registry_changed: bool = False  # a bracelet has confirmed its wipe: its account at the broker is to be closed

    def joined(self, later: Outcome) -> Outcome:
        """What became of two batches, one after the other: lists behind each other, and true where either is."""
        both: dict[str, Any] = {}
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(later, each.name)
            both[each.name] = mine or its if isinstance(mine, bool) else mine + its
        return Outcome(**both)


class Work:
    """A batch in work: everything that is to be written, and chain states as they will be."""

    def __init__(self, now: float, clock: Callable[[], float]) -> None:
        self.now_ms = int(now * 1000)
        self.now_s = int(now)
        self.clock = clock
        self.outcome = Outcome()
        self.heads: dict[tuple[int, str], ChainState] = {}
        self.versions: dict[tuple[int, str], int] = {}
        self.accepted: dict[int, Accepted] = {}
        self.beats: dict[int, tuple[Any, ...]] = {}
        self.lost: dict[int, int] = {}  # by kid, when
        self.alarms: list[tuple[Any, ...]] = []
        self.cases: list[tuple[Any, ...]] = []
        self.deliveries: list[OutboxId] = []
        self.refusals: dict[tuple[str, str], int] = {}
        self.heard: dict[int, int] = {}  # by kid, below which counter of the down chain nothing is missing
        self.numbers: dict[int, str] = {}  # by kid, where a genuine SMS came from
        self.floors: dict[int, int] = {}  # by kid, to where the down chain was stepped forward
        self.rolled_back: set[int] = set()  # kids that showed that the relay was put back to an earlier state
        self.receipts: dict[int, bytes] = {}  # new ones for alarm messages of earlier batches, by id

    def head(self, bracelet: Bracelet, name: str) -> ChainState:
        """The chain's state after the messages of this batch so far."""
        key = (bracelet.kid, name)
        state = self.heads.get(key)
        if state is None:
            stored = bracelet.chains[name]
            if stored is None:
                raise DamagedChain("a chain of this bracelet is missing or unreadable")
            state = stored.state
            self.versions[key] = stored.version
        return state

    def replacements(self) -> list[Replacement]:
        """The chains that moved, with the version of the row that each replaces."""
        return [
            Replacement(kid, name, self.versions[kid, name], state, self.floors.get(kid) if name == DOWN else None)
            for (kid, name), state in self.heads.items()
        ]

    def floor(self, bracelet: Bracelet) -> int:
        """Below which counter of the down chain all that was sealed is void."""
        stored = bracelet.chains[DOWN]
        return self.floors.get(bracelet.kid, stored.floor if stored else 0)

    def event(self, name: str, kid: str | None, counter: int | None, **fields: Any) -> None:
        """Note something for the log."""
        self.outcome.events.append(Event(name, self.clock(), kid, counter, fields))
