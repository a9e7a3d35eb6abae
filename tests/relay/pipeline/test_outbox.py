"""The outbox: what was promised is delivered at least once, by whoever is there."""

from __future__ import annotations

from collections.abc import Callable

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import update

from relay.outbox import EVIDENCE, LEASE_S, RETRY_MOST_S, Delivery, Outbox, OutboxId
from relay.pipeline import Pipeline, Status
from relay.store import Store, schema
from relay.subscribers import audiences
from relay.subscribers.audiences import Permission
from relay.subscribers.register import Subscribers
from tests.relay.support import KEYS, NOW, Bracelet, audience, contents, provision

Found = Callable[[list[Delivery]], list[tuple[OutboxId, bytes]]]


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, KEYS)


def raise_alarms(pipeline: Pipeline, bracelet: Bracelet, count: int, now: float = NOW) -> list[tuple[OutboxId, bytes]]:
    items = pipeline.process([bracelet.by_mqtt(bracelet.alarm(seq)) for seq in range(count)], now).items
    return [(delivery.id, item.document) for item in items for delivery in item.deliveries if item.document]


@pytest.fixture
def found(store: Store) -> Found:
    """Opens what was leased, as a subscriber does."""
    epoch = audience(store).epoch
    return lambda deliveries: [(each.id, epoch.open(each.topic, each.octets)) for each in deliveries]


def attempts(store: Store) -> list[tuple[str, str]]:
    return [(row[6], row[7]) for row in contents(store)["outbox_attempt"]]


def test_a_new_alarm_is_leased_to_the_pipeline(pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet) -> None:
    raise_alarms(pipeline, bracelet, 2)
    assert outbox.pending() == 2
    assert outbox.lease(NOW + LEASE_S - 1) == []


def test_after_a_crash_the_same_documents_come_out(
    store: Store, pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found
) -> None:
    promised = raise_alarms(pipeline, bracelet, 3)
    assert outbox.release() == 3
    deliveries = outbox.lease(NOW + 1)
    assert found(deliveries) == promised
    assert [(d.topic, d.kid, d.counter, d.attempt) for d in deliveries] == [
        (f"s/{audience(store).id}/{bracelet.kid}/alarm", bracelet.kid, counter, 2) for counter in range(3)
    ]
    assert outbox.lease(NOW + 2) == [], "leased once"
    outbox.mark_done([key for key, _ in promised], NOW + 3)
    assert outbox.pending() == 0
    assert outbox.release() == 0
    assert outbox.lease(NOW + 10 * LEASE_S) == []
    assert attempts(store) == [("relay", "done")] * 3


def test_a_lease_that_runs_out_is_taken_by_another(
    pipeline: Pipeline, open_store: Callable[[], Store], bracelet: Bracelet, found: Found
) -> None:
    promised = raise_alarms(pipeline, bracelet, 1)
    other = Outbox(open_store(), KEYS, "relay-2")
    assert other.release() == 0, "what another worker has is not ours to free"
    assert other.lease(NOW + LEASE_S - 1) == []
    assert found(other.lease(NOW + LEASE_S + 1)) == promised


def test_oldest_first_and_not_more_than_asked_for(
    pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found, store: Store
) -> None:
    other = provision(store, "heron")
    later = raise_alarms(pipeline, bracelet, 2, NOW + 5)
    earlier = raise_alarms(pipeline, other, 2, NOW)
    outbox.release()
    assert found(outbox.lease(NOW + 6, limit=3)) == [*earlier, later[0]]
    assert found(outbox.lease(NOW + 6, limit=3)) == [later[1]]


def test_what_is_urgent_goes_before_what_is_older(
    pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found, store: Store
) -> None:
    early, late, urgent = raise_alarms(pipeline, bracelet, 3)
    outbox.release()
    with store.write() as connection:
        row = schema.outbox.c.alarm_id == urgent[0].alarm_id
        connection.execute(update(schema.outbox).where(~row).values(priority=5))
        connection.execute(
            update(schema.outbox).where(row).values(priority=4, created_ms=schema.outbox.c.created_ms + 9)
        )
    assert found(outbox.lease(NOW + 6)) == [urgent, early, late]


def test_a_failed_attempt_is_repeated(
    store: Store, pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found
) -> None:
    promised = raise_alarms(pipeline, bracelet, 1)
    key = promised[0][0]
    outbox.mark_failed(key, NOW + 1, NOW + 20, "refused")
    assert outbox.lease(NOW + 19) == []
    assert found(outbox.lease(NOW + 20)) == promised
    outbox.mark_done([key], NOW + 21)
    outbox.mark_failed(key, NOW + 22, NOW + 23, "late")
    assert outbox.lease(NOW + 24) == [], "what is done stays done"
    assert attempts(store) == [("relay", "refused"), ("relay", "done"), ("relay", "late")]


def test_unreadable_evidence_holds_up_nobody(
    store: Store, pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found
) -> None:
    other = provision(store, "heron")
    raise_alarms(pipeline, bracelet, 1)
    good = raise_alarms(pipeline, other, 1)
    with store.write() as connection:
        mine = schema.alarm.c.kid == int(bracelet.kid, 16)
        connection.execute(update(schema.alarm).where(mine).values(evidence_sealed=b"damaged"))
    outbox.release()
    assert found(outbox.lease(NOW + 1)) == good
    assert attempts(store) == [("relay", "unreadable")]
    assert outbox.pending() == 2, "it stays unfinished, to be seen"
    outbox.mark_done([good[0][0]], NOW + 2)
    assert outbox.lease(NOW + RETRY_MOST_S) == []
    assert outbox.lease(NOW + 1 + RETRY_MOST_S) == []
    assert attempts(store) == [("relay", "unreadable"), ("relay", "done"), ("relay", "unreadable")]


def test_done_with_nothing_is_nothing(store: Store, outbox: Outbox) -> None:
    before = contents(store)
    outbox.mark_done([], NOW)
    assert contents(store) == before


def test_a_delivery_prints_no_document(pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet) -> None:
    raise_alarms(pipeline, bracelet, 1)
    outbox.release()
    assert repr(outbox.lease(NOW)) == f"[Delivery({bracelet.kid}, 0)]"


@pytest.mark.parametrize("evidence", [b"\xff", cbor2.dumps(7), cbor2.dumps([b"", b"no sign1"])])
def test_evidence_of_another_version_holds_up_nobody(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, found: Found, evidence: bytes
) -> None:
    noted: list[OutboxId] = []
    outbox = Outbox(store, KEYS, on_unreadable=lambda key, _error: noted.append(key))
    odd, good = raise_alarms(pipeline, bracelet, 2)
    with store.write() as connection:
        sealed = store.box.seal(EVIDENCE, odd[0].alarm_id, evidence)
        row = schema.alarm.c.id == odd[0].alarm_id
        connection.execute(update(schema.alarm).where(row).values(evidence_sealed=sealed))
    outbox.release()
    assert found(outbox.lease(NOW + 1)) == [good]
    assert noted == [odd[0]], "somebody is told"


def test_alarms_accepted_while_the_clock_was_ahead_do_not_wait_for_that_time(
    pipeline: Pipeline, outbox: Outbox, bracelet: Bracelet, found: Found
) -> None:
    promised = raise_alarms(pipeline, bracelet, 2, NOW + 365 * 86400)
    assert found(outbox.lease(NOW)) == promised, "neither their due time nor their lease can be true"
    assert outbox.lease(NOW + 1) == [], "leased once"
    outbox.release()
    assert found(outbox.lease(NOW + 2)) == promised, "nor their due time"


@pytest.mark.parametrize("what", ["permission", "epoch"])
def test_a_damaged_audience_keeps_alarms_from_nobody_else(store: Store, bracelet: Bracelet, what: str) -> None:
    subscribers = Subscribers(store)
    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    entry = subscribers.add("far", public, Permission(coarse_km=20), now=NOW)
    number, whole = int(entry.audience, 16), f"mqtt:{audiences.name(int(entry.audience, 16))}"
    (before,) = Pipeline(store, KEYS).process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    assert len(before.deliveries) == 2
    with store.write() as connection:
        table, row, name = {
            "permission": (schema.audience, schema.audience.c.id == number, "permission_sealed"),
            "epoch": (schema.epoch, schema.epoch.c.audience == number, "key_sealed"),
        }[what]
        connection.execute(update(table).where(row).values({name: bytes(60)}))
    pipeline = Pipeline(store, KEYS)
    outcome = pipeline.process([bracelet.by_mqtt(bracelet.alarm(1))], NOW)
    assert [item.status for item in outcome.items] == [Status.NEW]
    assert len(outcome.items[0].deliveries) == 1
    (event,) = [event for event in outcome.events if event.name == "audience.damaged"]
    assert event.fields["channels"] == [whole]
    again = pipeline.process([bracelet.by_mqtt(bracelet.alarm(2))], NOW)
    assert "audience.damaged" not in [event.name for event in again.events], "it is said once"
    told: list[OutboxId] = []
    outbox = Outbox(store, KEYS, on_unreadable=lambda key, _error: told.append(key))
    assert len(outbox.lease(NOW + LEASE_S + 1)) == 3
    assert [key.channel for key in told] == [whole], "kept until it can be read again"
    keys = {each.id: bool(each.epochs) for each in subscribers.retained(KEYS, NOW)}
    assert keys.pop(entry.id) == (what == "permission")
    assert [*keys.values()] == [True]
