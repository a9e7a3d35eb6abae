# sans-I/O, but for the store
"""The audiences as the running relay needs them: the bracelets of which each may hear, and the key of its epoch.

The relay reads them in one transaction, for one version of the registry (`relay.store.roster`). When the pipeline seals
for an audience, it makes sure, in the transaction that promises the delivery, that the version is still the same. So no
message reaches a subscriber that was removed before the message was stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, select

from relay.store import schema
from relay.store.atrest import AtRestError, Box
from relay.subscribers.sealing import PADDED, Epoch

CHANNEL = "mqtt:"
EPOCH_KEY, PERMISSION = "epoch.key", "audience.permission"


class Permission(NamedTuple):
    """A permission: for which bracelets (None: all, also later ones) and how exactly (None: as the bracelet says)."""

    only: frozenset[int] | None = None
    coarse_km: int | None = None

    def encode(self) -> bytes:
        only = None if self.only is None else sorted(self.only)
        return json.dumps({"only": only, "coarse_km": self.coarse_km}).encode()

    @classmethod
    def decode(cls, octets: bytes) -> Permission:
        found = json.loads(octets)
        return cls(None if found["only"] is None else frozenset(found["only"]), found["coarse_km"])


class Audience(NamedTuple):
    """Subscribers with the same permission."""

    id: str
    permission: Permission
    epoch: Epoch

    @property
    def channel(self) -> str:
        """The audience's name in the outbox."""
        return CHANNEL + self.id

    def may_hear_of(self, kid: int) -> bool:
        return self.permission.only is None or kid in self.permission.only

    def seal(self, kid: int, kind: str, document: bytes) -> tuple[str, bytes]:
        """Seal a document; return the topic and the octets to publish. `kind`: alarm or case."""
        topic = f"s/{self.id}/{kid:08x}/{kind}"
        return topic, self.epoch.seal(topic, document, PADDED[kind])


def name(number: int) -> str:
    """Write an audience's id as topics and the outbox have it."""
    return f"{number:012x}"


def key_topic(audience: str, account: str) -> str:
    """Return the topic on which a subscriber finds its epoch keys."""
    return f"s/{audience}/key/{account}"


def read(connection: Connection, box: Box, damaged: Callable[[str], object] = str) -> tuple[Audience, ...]:
    """Read every audience that has a member, with its newest epoch. `damaged` is called with the channel of an audience
    whose row does not open, or whose newest epoch is missing: it must not keep alarms from the others."""
    audience, epoch, subscriber = schema.audience.c, schema.epoch.c, schema.subscriber.c
    members = select(subscriber.audience).where(subscriber.removed_ms.is_(None))
    query = (
        select(audience.id, audience.permission_sealed, epoch.id.label("epoch"), epoch.key_sealed)
        .outerjoin_from(schema.audience, schema.epoch, (epoch.audience == audience.id) & (epoch.n == audience.newest))
        .where(audience.id.in_(members))
        .order_by(audience.id)
    )
    found = []
    for row in connection.execute(query):
        try:
            if row.epoch is None:
                raise AtRestError("this audience's newest epoch is missing")
            permission = Permission.decode(box.open(PERMISSION, row.id, row.permission_sealed))
            found.append(Audience(name(row.id), permission, open_epoch(box, row.epoch, row.key_sealed)))
        except AtRestError:
            damaged(CHANNEL + name(row.id))
    return tuple(found)


def open_epoch(box: Box, number: bytes, key_sealed: bytes) -> Epoch:
    """Open an epoch's key, and make the epoch."""
    return Epoch(number, box.open(EPOCH_KEY, int.from_bytes(number, "big"), key_sealed))


def for_each(
    audiences: Iterable[Audience], kid: int, exact: bytes, coarse: Callable[[int], bytes]
) -> Iterator[tuple[Audience, bytes]]:
    """Yield the audiences that may hear of a bracelet, each with the document that it may see. `coarse` makes the
    document for a grid of so many km."""
    made: dict[int, bytes] = {}
    for audience in audiences:
        if audience.may_hear_of(kid):
            km = audience.permission.coarse_km
            if km is not None and km not in made:
                made[km] = coarse(km)
            yield audience, exact if km is None else made[km]
