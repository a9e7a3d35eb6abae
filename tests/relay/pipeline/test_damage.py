"""One damaged value in the store is the trouble of one bracelet or one subscriber, whichever value it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Table, select, update

from relay.cases import listing, reading
from relay.channels.epoch_keys import EpochKeys
from relay.downlink import Desk, Downlink
from relay.outbox import LEASE_S, Outbox
from relay.pipeline import Pipeline, Status
from relay.registry import Registry
from relay.store import Store, chains, schema
from relay.subscribers.audiences import Permission, key_topic
from relay.subscribers.register import LOCAL, Subscribers
from relay.verify import Heartbeat
from tests.relay.support import KEYS, NETWORK_TIME, NOW, answer, offer, provision

LATER = NOW + LEASE_S + 1
BROKEN = b"\x00" * 60
SEALED = [
    (table.name, column.name)
    for table in schema.metadata.sorted_tables
    for column in table.c
    if column.name.endswith("_sealed")
]


class Broker:
    """A broker that keeps the messages left with it, by topic."""

    connected = True

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def publish(self, topic: str, octets: bytes, now: float, *, retain: bool = False) -> int | None:
        self.kept[topic] = octets
        return len(self.kept)


class Life:
    """Two bracelets and two subscribers with something in every table; `bad` and "partner" own what is damaged."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bad, self.good = provision(store, "bad"), provision(store, "good")
        self.offered = offer(store, "offered")
        self.subscribers, self.registry = Subscribers(store), Registry(store, KEYS)
        self.desk = Desk(store, self.registry)
        public = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self.partner = self.subscribers.add("partner", public, Permission(coarse_km=20), now=NOW)
        pipeline = Pipeline(store, KEYS)
        for each in (self.bad, self.good):
            message = each.by_sms(each.alarm())._replace(sender="+10000000001")
            (item,) = pipeline.process([message], NOW).items
            each.confirmed(item.receipt)
            pipeline.process([each.beat(each.heartbeat())], NOW)
            self.desk.accept(f"{each.kid}-0", now=NOW, by="Ada")
            self.desk.configure(each.kid, {"heartbeat_s": 1200}, now=NOW)
        Downlink(store, KEYS, lambda _kid: None).due(NOW)
        self.second = [each.by_mqtt(each.alarm()) for each in (self.bad, self.good)]
        for message in self.second:
            pipeline.process([message], NOW)
        self.desk.close(f"{self.bad.kid}-0", now=NOW, by="Ada")

    def damage(self, table: Table, column: str, *which: Any, into: Any = BROKEN) -> None:
        """Whatever of it is of the bad bracelet, of the offered one, or of the partner."""
        kids, partner = [int(self.bad.kid, 16), int(self.offered["kid"], 16)], int(self.partner.audience, 16)
        owned = {
            "audience": table.c.get("id") == partner,
            "epoch": table.c.get("audience") == partner,
            "subscriber": table.c.get("id") == self.partner.id,
        }.get(table.name, table.c["kid"].in_(kids) if "kid" in table.c else None)
        assert owned is not None, f"{table.name} is new: say whose its rows are"
        with self.store.write() as connection:
            changed = connection.execute(
                update(table).where(owned, table.c[column].is_not(None), *which).values({column: into})
            )
        assert changed.rowcount, "nothing was damaged"


@pytest.fixture
def life(store: Store) -> Life:
    return Life(store)


def alarms(life: Life) -> list[Status]:
    """One new message of each kind from each bracelet; what became of the alarms."""
    pipeline = Pipeline(life.store, KEYS)
    both = (life.bad, life.good)
    beats = [each.beat(each.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 1, 1))) for each in both]
    pipeline.process(beats, LATER)
    repeated = pipeline.process(life.second, LATER).items
    assert repeated[1].status is Status.DUPLICATE
    items = pipeline.process([each.by_mqtt(each.alarm()) for each in both], LATER).items
    assert items[1].receipt is not None
    assert any(one.id.channel.endswith(life.subscribers.get(LOCAL).audience) for one in items[1].deliveries)
    return [item.status for item in items]


def orders(life: Life) -> None:
    due = Downlink(life.store, KEYS, lambda _kid: None).due(LATER)
    assert life.good.kid in [each.kid for each in due]


def documents(life: Life) -> None:
    with life.store.write() as connection:
        connection.execute(update(schema.outbox).values(done_ms=None, lease_ms=None, due_ms=int(NOW * 1000)))
    told = {each.topic.split("/")[1] for each in Outbox(life.store, KEYS, "another").lease(LATER)}
    assert life.subscribers.get(LOCAL).audience in told


def keys(life: Life) -> None:
    broker, own = Broker(), life.subscribers.get(LOCAL)
    EpochKeys(life.subscribers, KEYS, broker).send(NOW + 86_401, 0.0)
    assert broker.kept[key_topic(own.audience, own.account)]


def beats(life: Life) -> None:
    """Heartbeats that lack a receipt, and ones that have everything."""
    for down in (0, 1, 2, 3, 4):
        both = [each.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 1, down)) for each in (life.bad, life.good)]
        messages = [each.beat(octets) for each, octets in zip((life.bad, life.good), both, strict=True)]
        items = Pipeline(life.store, KEYS).process(messages, LATER + down).items
        assert items[1].status is Status.HEARTBEAT


def words(life: Life) -> None:
    assert {each.kid for each in life.registry.list()} >= {life.bad.kid, life.good.kid}
    assert len(life.subscribers.list()) == 2
    cases = {f"{each.case.kid:08x}" for each in reading.known(life.store, int(LATER * 1000), everything=True)}
    assert life.good.kid in cases
    for each in reading.known(life.store, int(LATER * 1000), everything=True):
        assert listing.lines(each, int(LATER * 1000))
        assert listing.plain(each, int(LATER * 1000))


def requests(life: Life) -> None:
    for each in (life.bad, life.good):
        life.desk.accept(f"{each.kid}-1", now=NOW, by="Grace")
    life.desk.configure(life.good.kid, {"heartbeat_s": 600}, now=NOW)
    life.subscribers.rotate(LOCAL, X25519PrivateKey.generate().public_key().public_bytes_raw(), now=NOW)
    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    life.subscribers.add("another", public, Permission(), now=NOW)
    document, _ = answer(offer(life.store, "new"))
    life.registry.complete(document, now=NOW)
    life.subscribers.remove(life.partner.account, now=NOW)


WORK: list[Callable[[Life], object]] = [alarms, orders, beats, documents, keys, words, requests]
PLAIN = [
    ("bracelet", "public", b"short"),
    ("chain", "next", -1),
    ("command", "kind", 77),
    ("command", "body", BROKEN),
    ("command", "counter", 1),
    ("alarm", "receipt", BROKEN),
    ("command", "octets", b""),
    ("alarm_case", "opened_ms", 1 << 60),
    ("alarm_case", "closed_ms", 1 << 60),
    ("alarm_case", "raised", 1 << 60),
    ("heartbeat", "flags", -1),
    ("heartbeat", "battery", -1),
    ("audience", "newest", 0),
    ("audience", "newest", 99),
    ("subscriber", "public", b"short"),
]


@pytest.mark.parametrize(("table", "column"), SEALED, ids=lambda one: one)
def test_a_damaged_value_stops_nobody_else(life: Life, table: str, column: str) -> None:
    life.damage(schema.metadata.tables[table], column)
    for work in WORK:
        work(life)


@pytest.mark.long  # one work may mend what the next would meet
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
@pytest.mark.parametrize(("table", "column"), SEALED, ids=lambda one: one)
def test_a_damaged_value_stops_nobody_else_in_one_work_alone(
    life: Life, table: str, column: str, work: Callable[[Life], object]
) -> None:
    life.damage(schema.metadata.tables[table], column)
    work(life)


@pytest.mark.parametrize(("table", "column", "into"), PLAIN, ids=lambda one: str(one)[:12])
def test_nor_does_one_that_is_not_sealed(life: Life, table: str, column: str, into: Any) -> None:
    life.damage(schema.metadata.tables[table], column, into=into)
    for work in WORK[:-1]:
        work(life)


@pytest.mark.parametrize("name", [chains.HEARTBEAT, chains.DOWN])
def test_an_alarm_is_stored_whatever_else_of_its_bracelet_is_damaged(life: Life, name: str) -> None:
    life.damage(schema.chain, "state_sealed", schema.chain.c.name == name)
    assert alarms(life) == [Status.NEW, Status.NEW]


def test_an_alarm_that_got_no_receipt_gets_one_when_the_chain_is_mended(life: Life) -> None:
    chain = schema.chain
    mine = (chain.c.kid == int(life.bad.kid, 16), chain.c.name == chains.DOWN)
    with life.store.read() as connection:
        whole = connection.execute(select(chain.c.state_sealed).where(*mine)).scalar_one()
    life.damage(chain, "state_sealed", chain.c.name == chains.DOWN)
    message = life.bad.by_mqtt(life.bad.alarm())
    outcome = Pipeline(life.store, KEYS).process([message, message], NOW)
    assert [(item.status, item.receipt) for item in outcome.items] == [(Status.NEW, None), (Status.DUPLICATE, None)]
    assert outcome.items[0].deliveries
    (said,) = [event for event in outcome.events if event.name == "chain.damaged"]
    assert "backup" in said.fields["hint"]
    beat = life.bad.beat(life.bad.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 1, 1)))
    assert Pipeline(life.store, KEYS).process([beat], LATER).items[0].status is Status.HEARTBEAT
    with life.store.write() as connection:
        connection.execute(update(chain).where(*mine).values(state_sealed=whole))
    (item,) = Pipeline(life.store, KEYS).process([message], LATER).items
    assert life.bad.confirmed(item.receipt) == 2


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # PostgreSQL lets nobody delete what others refer to
@pytest.mark.parametrize("table", ["alarm", "bracelet", "epoch"])
def test_nor_does_a_missing_row(store: Store, life: Life, table: str) -> None:
    kid, audience = int(life.bad.kid, 16), int(life.partner.audience, 16)
    with store.engine.connect() as connection:
        assert connection.connection.driver_connection is not None
        connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")
        where = f"audience = {audience}" if table == "epoch" else f"kid = {kid}"
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE {where}")
        connection.commit()
    store.close()
    for work in WORK[1:5]:
        work(life)
    cases = {each.case.kid for each in reading.known(store, int(LATER * 1000), everything=True)}
    assert cases == {kid, int(life.good.kid, 16)}
    assert len(life.subscribers.list()) == 2
    life.desk.accept(f"{life.bad.kid}-1", now=NOW, by="Grace")


def test_a_damaged_receipt_is_sealed_anew_and_refuses_no_heartbeat(life: Life) -> None:
    life.damage(schema.alarm, "receipt")
    pipeline = Pipeline(life.store, KEYS)
    lacking = life.bad.beat(life.bad.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 1, 1)))
    assert pipeline.process([lacking], LATER).items[0].status is Status.HEARTBEAT
    (item,) = pipeline.process([life.second[0]], LATER).items
    assert (item.status, life.bad.confirmed(item.receipt)) == (Status.DUPLICATE, 1)
