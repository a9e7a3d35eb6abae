"""Bracelets for the relay's tests: provisioned through the registry as real ones are, sealing as they do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select

from relay.pipeline import Inbound, Pipeline, Status
from relay.registry import Registry
from relay.store import Store, records
from relay.store.schema import metadata
from relay.subscribers import audiences
from relay.subscribers.audiences import Audience, Permission
from relay.subscribers.register import LOCAL, Subscribers
from relay.verify import Alarm, ChainState, Fix, Heartbeat, Reason, RelayKeys, agree, open_receipt, parse, roots
from relay.verify.seal import Sealer

NOW = 1_767_225_700.25
KEYS = RelayKeys(bytes(range(32)))
STORE_KEY = bytes(range(32, 64))
SOMEWHERE = Fix(597700000, -438501234, 12, 3, 34, 14, 87)
NETWORK_TIME = 2 << 3


@dataclass
class Bracelet:
    """A provisioned bracelet: it seals, and it reads receipts as firmware does."""

    kid: str
    sealer: Sealer
    down: ChainState

    def alarm(
        self, seq: int = 0, flags: int = NETWORK_TIME, fix: Fix | None = SOMEWHERE, time: int = int(NOW) - 10
    ) -> bytes:
        return self.sealer.alarm(Alarm(flags, 0, seq, time, 80, fix))

    def heartbeat(self, pending: int = 0) -> bytes:
        return self.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, pending))

    def confirmed(self, receipt: bytes | None) -> int:
        """The alarm counter in a receipt."""
        assert receipt is not None
        counter, self.down = open_receipt(parse(receipt), self.down, 0)
        return counter

    def by_mqtt(self, octets: bytes) -> Inbound:
        return Inbound("mqtt", octets, "alarm", self.kid)

    def by_sms(self, octets: bytes) -> Inbound:
        return Inbound("sms", octets)

    def beat(self, octets: bytes) -> Inbound:
        return Inbound("mqtt", octets, "hb", self.kid)


SUBSCRIBER = X25519PrivateKey.from_private_bytes(bytes(range(64, 96)))


def subscribed(store: Store) -> None:
    """Give the store its local subscriber, as `relay init` does."""
    Subscribers(store).add(LOCAL, SUBSCRIBER.public_key().public_bytes_raw(), Permission(), now=NOW)


def audience(store: Store) -> Audience:
    """The one audience that there is."""
    with store.read() as connection:
        (found,) = audiences.read(connection, store.box)
    return found


def offer(store: Store, code_name: str = "sparrow") -> dict[str, Any]:
    return Registry(store, KEYS).offer(code_name, now=NOW, host="relay.example", port=8883, ca_der=b"der")


def answer(offered: dict[str, Any]) -> tuple[dict[str, Any], Bracelet]:
    """What a device makes of an offer, and the device."""
    private = X25519PrivateKey.generate()
    kid, relay_id = bytes.fromhex(offered["kid"]), bytes.fromhex(offered["relay_id"])
    chains = roots(agree(private.private_bytes_raw(), bytes.fromhex(offered["relay_x25519"])), kid, relay_id)
    sealer = Sealer(kid, relay_id, chains, os.urandom(32))
    public = private.public_key().public_bytes_raw().hex()
    document = {"tocsin": 1, "kid": offered["kid"], "ed25519": sealer.public.hex(), "x25519": public}
    return document, Bracelet(offered["kid"], sealer, ChainState(0, chains.down))


def provision(store: Store, code_name: str = "sparrow") -> Bracelet:
    document, bracelet = answer(offer(store, code_name))
    Registry(store, KEYS).complete(document, now=NOW)
    return bracelet


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, to compare before and after."""
    with store.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }


def one(pipeline: Pipeline, message: Inbound, now: float = NOW) -> tuple[Status, Reason | None]:
    (item,) = pipeline.process([message], now).items
    return item.status, item.reason


def refusals(store: Store) -> dict[tuple[str, str], int]:
    with store.read() as connection:
        return records.refusals(connection)
