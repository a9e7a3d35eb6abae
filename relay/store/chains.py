"""Packs, seals, reads and replaces chain states on disk.

A state is written only in the same transaction as the rows that justify it, and only if nobody has written it since it
was read (`version`).
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from relay.store import schema
from relay.store.atrest import AtRestError, Box
from relay.store.database import StaleState, Store
from relay.verify.keys import KEY_OCTETS, MESSAGE_KEY_OCTETS, Roots, next_chain_key
from relay.verify.ratchet import ChainState, Skipped

ALARM, HEARTBEAT, DOWN = Roots._fields
_SKIPPED = Struct(f">IQ{MESSAGE_KEY_OCTETS}s")

_REPLACE = (
    update(schema.chain)
    .values(
        next=bindparam("new_next"),
        version=schema.chain.c.version + literal_column("1"),
        state_sealed=bindparam("new_state"),
    )
    .where(
        schema.chain.c.kid == bindparam("a_kid"),
        schema.chain.c.name == bindparam("a_name"),
        schema.chain.c.version == bindparam("old_version"),
    )
)


# By a step as wide as this, the bracelet knows that the step was made on purpose (firmware: ratchet.py); see `leap`.
LEAP = 128
_FLOOR = (
    update(schema.chain)
    .values(floor=bindparam("new_floor"))
    .where(schema.chain.c.kid == bindparam("a_kid"), schema.chain.c.name == bindparam("a_name"))
)


class StoredChain(NamedTuple):
    """A chain's state and the version of the row it came from. Messages sealed below `floor` are void."""

    version: int
    state: ChainState
    floor: int = 0


class Replacement(NamedTuple):
    """A chain's new state, and the version of the row that it follows. Without `floor`, the row keeps its own."""

    kid: int
    name: str
    version: int
    state: ChainState
    floor: int | None = None


def read(connection: Connection, box: Box, kids: Iterable[int]) -> dict[tuple[int, str], StoredChain | None]:
    """Read the chains of these bracelets, by (kid, name). A row that can't be opened gives None, and harms no other
    bracelet."""
    chains: dict[tuple[int, str], StoredChain | None] = {}
    table = schema.chain.c
    query = select(table.kid, table.name, table.next, table.version, table.state_sealed, table.floor)
    for kid, name, number, version, sealed, floor in connection.execute(query.where(table.kid.in_(list(kids)))):
        try:
            chains[kid, name] = StoredChain(version, _unpack(number, box.open(_place(name), kid, sealed)), floor)
        except AtRestError:
            chains[kid, name] = None
    return chains


def create(connection: Connection, box: Box, kid: int, roots: Roots) -> None:
    """Create the three chains of a new bracelet."""
    rows = [
        {"kid": kid, "name": name, "next": 0, "version": 0, "state_sealed": box.seal(_place(name), kid, root)}
        for name, root in roots._asdict().items()
    ]
    connection.execute(insert(schema.chain), rows)


def replace(store: Store, connection: Connection, replacements: Sequence[Replacement]) -> None:
    """Write new states, or raise StaleState if one of the rows was changed or deleted since it was read."""
    seal = store.box.seal
    rows = [
        (new.state.next, seal(_place(new.name), new.kid, _pack(new.state)), new.kid, new.name, new.version)
        for new in replacements
    ]
    if store.many(connection, _REPLACE, rows) != len(rows):
        raise StaleState("a chain was changed by another process")
    floors = [(new.floor, new.kid, new.name) for new in replacements if new.floor is not None]
    store.many(connection, _FLOOR, floors)


def leap(number: int, least: int = LEAP) -> int:
    """Count the steps that lead a chain at `number` to a multiple of LEAP that lies `least` ahead or more. A step on
    purpose ends there, so that the bracelet knows which of the messages after it are missing, whichever comes first."""
    return -(number + least) // LEAP * -LEAP - number


def leapt(state: ChainState, least: int) -> ChainState:
    """Return a sending chain after a step on purpose, `least` wide or more; unchanged for 0."""
    return forward(state, leap(state.next, least)) if least else state


def forward(state: ChainState, steps: int) -> ChainState:
    """Return a sending chain after so many messages that are never sealed."""
    key = state.key
    for _ in range(steps):
        key = next_chain_key(key)
    return ChainState(state.next + steps, key)


def _place(name: str) -> str:
    return "chain." + name


def _pack(state: ChainState) -> bytes:
    if not state.skipped:
        return state.key
    return state.key + b"".join(_SKIPPED.pack(number, kept.at, kept.key) for number, kept in state.skipped.items())


def _unpack(number: int, packed: bytes) -> ChainState:
    skipped = {n: Skipped(key, at) for n, at, key in _SKIPPED.iter_unpack(packed[KEY_OCTETS:])}
    return ChainState(number, packed[:KEY_OCTETS], skipped)
