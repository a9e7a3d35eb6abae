"""A batch of messages: as it came, while it is in work, and its outcome. This module only keeps the books;
`relay.pipeline` and `relay.rollback` decide.
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
    """A bracelet's chain that is missing from the database or can't be read."""


class Status(StrEnum):
    """The result for a message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    HEARTBEAT = "heartbeat"
    LOST = "lost"  # a last will: the bracelet's connection has ended
    REFUSED = "refused"


@dataclass(slots=True)
class Item:
    """A message's result, and what to send for it. In a refused message, `kid` and `counter` are claims. For a
    heartbeat, `receipt` and `also` are the down messages that the bracelet reports missing. `deliveries` carry
    `document` sealed; it never leaves the relay in clear."""

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
    """An entry for the log. It never holds a position, a number, a name or a key."""

    name: str
    at: float
    kid: str | None
    counter: int | None
    fields: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """The outcome of a batch; `items` is aligned with the batch."""

    items: list[Item] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    registry_changed: bool = False  # a bracelet has confirmed its wipe: the broker must close its account

    def joined(self, later: Outcome) -> Outcome:
        """Join the outcomes of two batches, one after the other: lists in this order, flags true where either is."""
        both: dict[str, Any] = {}
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(later, each.name)
            both[each.name] = mine or its if isinstance(mine, bool) else mine + its
        return Outcome(**both)


class Work:
    """A batch in work: all that is to be written, and the chain states as they will be."""

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
        self.heard: dict[int, int] = {}  # by kid, the counter of the down chain below which nothing is missing
        self.numbers: dict[int, str] = {}  # by kid, the phone number that sent a genuine SMS
        self.floors: dict[int, int] = {}  # by kid, the counter to which the down chain was stepped forward
        self.rolled_back: set[int] = set()  # kids whose messages show that the relay was put back to an earlier state
        self.receipts: dict[int, bytes] = {}  # new ones for alarm messages of earlier batches, by id

    def head(self, bracelet: Bracelet, name: str) -> ChainState:
        """Return the chain's state after the messages of this batch so far."""
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
        """List the chains that moved, with the version of the row that each replaces."""
        return [
            Replacement(kid, name, self.versions[kid, name], state, self.floors.get(kid) if name == DOWN else None)
            for (kid, name), state in self.heads.items()
        ]

    def floor(self, bracelet: Bracelet) -> int:
        """Return the counter of the down chain below which every sealed message is void."""
        stored = bracelet.chains[DOWN]
        return self.floors.get(bracelet.kid, stored.floor if stored else 0)

    def event(self, name: str, kid: str | None, counter: int | None, **fields: Any) -> None:
        """Note something for the log."""
        self.outcome.events.append(Event(name, self.clock(), kid, counter, fields))
