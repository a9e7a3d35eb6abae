"""The bracelets in memory: public key, state and chains of those heard lately, read from the store when they are
missing; and the audiences that are told of their alarms.

The roster belongs to one thread. It is valid only for the version of the registry under which it was read: the pipeline
compares the versions in every transaction, and calls `forget` when they differ, or when a transaction has failed.
"""

from collections import OrderedDict
from collections.abc import Iterable

from sqlalchemy import Connection, select

from relay.store import chains, commands, schema
from relay.store.chains import Replacement, StoredChain
from relay.store.database import Store
from relay.subscribers.audiences import Audience
from relay.subscribers.audiences import read as read_audiences
from relay.verify.ratchet import MAX_STEPS

CAPACITY = 20_000
STEPS_AT_ONCE = 2 * MAX_STEPS
STEPS_A_SECOND = 500


class Bracelet:
    """A bracelet as the pipeline needs it. `chains` are the states on disk."""

    __slots__ = (
        "_steps",
        "_steps_at",
        "chains",
        "hex",
        "kid",
        "kid_octets",
        "public",
        "revoked",
        "revoking",
    )

    def __init__(self, kid: int, *, public: bytes, revoked: bool, chains: dict[str, StoredChain | None]) -> None:
        self.kid = kid
        self.kid_octets = kid.to_bytes(4, "big")
        self.hex = f"{kid:08x}"
        self.public = public
        self.revoked = revoked
        self.revoking = False  # to be wiped: of its messages only heartbeats count
        self.chains = chains
        self._steps = float(STEPS_AT_ONCE)
        self._steps_at = 0.0

    def may_step(self, steps: int, now: float) -> bool:
        """Tell whether to look for a key that many steps ahead.

        A forged message costs its sender nothing, and the relay up to 5000 steps (some 6 ms) before its tag turns out
        wrong. An attacker with one bracelet's broker account could keep the relay busy for all others. So steps are
        rationed for each bracelet; a message that follows the last one, as nearly every genuine one does, needs none.
        """
        if now > self._steps_at:
            self._steps = min(STEPS_AT_ONCE, self._steps + (now - self._steps_at) * STEPS_A_SECOND)
        self._steps_at = now
        if steps > self._steps:
            return False
        self._steps -= steps
        return True


class Roster:
    """A bounded cache of bracelets, which drops the least recently heard first."""

    def __init__(self, store: Store, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._bracelets: OrderedDict[int, Bracelet] = OrderedDict()
        self._audiences: tuple[Audience, ...] | None = None
        self.damaged: list[str] = []  # channels of audiences that are told nothing, until that is reported
        self._version: int | None = None

    def load(self, kids: Iterable[int]) -> dict[int, Bracelet]:
        """Return those of the bracelets that exist and have keys."""
        found: dict[int, Bracelet] = {}
        missing = []
        for kid in kids:
            bracelet = self._bracelets.get(kid)
            if bracelet is None:
                missing.append(kid)
            else:
                self._bracelets.move_to_end(kid)
                found[kid] = bracelet
        if missing:
            with self._store.read() as connection:
                if self._version is None:
                    self._version = version(connection)
                found.update(self._read(connection, missing))
        return found

    def audiences(self) -> tuple[Audience, ...]:
        """Return the audiences that are told of alarms, each with its present key."""
        if self._audiences is None:
            with self._store.read() as connection:
                if self._version is None:
                    self._version = version(connection)
                self._audiences = read_audiences(connection, self._store.box, self.damaged.append)
        return self._audiences

    def is_current(self, connection: Connection) -> bool:
        """Tell whether the registry is still at the version from which this roster was read."""
        return self._version is None or self._version == version(connection)

    def moved(self, replacements: Iterable[Replacement]) -> None:
        """Note that these chain states are on disk now."""
        for new in replacements:
            mine = self._bracelets[new.kid].chains
            before = mine[new.name]
            floor = new.floor if new.floor is not None else before.floor if before else 0
            mine[new.name] = StoredChain(new.version + 1, new.state, floor)

    def trim(self) -> None:
        """Drop bracelets beyond the capacity. Don't call this while a batch is in work: it may need more at once."""
        while len(self._bracelets) > self._capacity:
            self._bracelets.popitem(last=False)

    def drop(self, kid: int) -> None:
        """Drop a bracelet whose chains were moved by somebody else; it is read again when needed."""
        self._bracelets.pop(kid, None)

    def forget(self) -> None:
        """Drop everything; it is read again when needed."""
        self._bracelets.clear()
        self._audiences = None
        self._version = None

    def _read(self, connection: Connection, kids: list[int]) -> dict[int, Bracelet]:
        bracelets: dict[int, Bracelet] = {}
        stored = chains.read(connection, self._store.box, kids)
        table = schema.bracelet.c
        query = select(table.kid, table.public, table.state).where(table.kid.in_(kids), table.state != "offered")
        for kid, public, state in connection.execute(query):
            mine = {name: stored.get((kid, name)) for name in (chains.ALARM, chains.HEARTBEAT, chains.DOWN)}
            bracelets[kid] = Bracelet(kid, public=public, revoked=state == "revoked", chains=mine)
        for kid in commands.revoking(connection, bracelets):
            bracelets[kid].revoking = True
        self._bracelets.update(bracelets)
        return bracelets


def version(connection: Connection) -> int:
    """Read the registry's version, which rises with every change."""
    number: int = connection.execute(select(schema.registry.c.version)).scalar_one()
    return number
