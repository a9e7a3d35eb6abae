"""A batch that was split keeps all that became of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from relay.batch import Event, Item, Outcome, Status
from relay.downlink import Desk, Downlink
from relay.pipeline import Pipeline
from relay.registry import Registry
from relay.store import Store, records
from relay.verify import Heartbeat
from tests.relay.support import KEYS, NETWORK_TIME, NOW, provision

SOME: dict[str, Any] = {
    "items": [Item(Status.NEW)],
    "events": [Event("alarm.received", NOW, None, None, {})],
    "registry_changed": True,
}


@pytest.mark.parametrize("name", [each.name for each in fields(Outcome)])
@pytest.mark.parametrize("side", [0, 1])
def test_no_field_is_forgotten(name: str, side: int) -> None:
    halves = [Outcome(), Outcome()]
    halves[side] = Outcome(**{name: SOME[name]})
    joined = halves[0].joined(halves[1])
    assert getattr(joined, name) == SOME[name]
    assert joined == halves[side]


def test_the_order_stays() -> None:
    first, second = Outcome(items=[Item(Status.NEW)]), Outcome(items=[Item(Status.REFUSED)])
    assert [item.status for item in first.joined(second).items] == [Status.NEW, Status.REFUSED]


@pytest.mark.parametrize("wiped_first", [True, False])
def test_a_wipe_that_is_confirmed_beside_a_message_that_the_database_refuses(
    store: Store, monkeypatch: pytest.MonkeyPatch, wiped_first: bool
) -> None:
    wiped, other = provision(store), provision(store, "heron")
    pipeline = Pipeline(store, KEYS)
    desk = Desk(store, Registry(store, KEYS))
    desk.revoke(wiped.kid, now=NOW)
    (command,) = Downlink(store, KEYS, pipeline.roster.drop).due(NOW)
    octets = wiped.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 0, command.counter + 1))
    bad = other.alarm()
    add = records.add_alarms

    def refuse(store: Store, connection: Any, rows: Any) -> None:
        if rows:
            raise IntegrityError("insert", None, Exception("the database does not take it"))
        add(store, connection, rows)

    monkeypatch.setattr(records, "add_alarms", refuse)
    batch = [wiped.beat(octets), other.by_mqtt(bad)]
    outcome = pipeline.process(batch if wiped_first else batch[::-1], NOW)
    assert outcome.registry_changed
    assert {item.status for item in outcome.items} == {Status.HEARTBEAT, Status.REFUSED}


def test_a_half_that_is_on_disk_when_the_other_fails_keeps_what_came_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped, other = provision(store), provision(store, "heron")
    pipeline = Pipeline(store, KEYS)
    Desk(store, Registry(store, KEYS)).revoke(wiped.kid, now=NOW)
    (command,) = Downlink(store, KEYS, pipeline.roster.drop).due(NOW)
    refused, full = IntegrityError("insert", None, Exception()), OperationalError("insert", None, Exception())
    errors = [refused, None, full]

    def fails(*_: Any) -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    monkeypatch.setattr(records, "put_heartbeats", fails)
    octets = wiped.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(NOW), 80, 0, command.counter + 1))
    batch = [wiped.beat(octets), other.by_mqtt(other.alarm())]
    with pytest.raises(OperationalError):
        pipeline.process(batch, NOW)
    outcome = pipeline.process(batch, NOW)
    assert outcome.registry_changed
    assert "command.arrived" in [event.name for event in outcome.events]
    assert not pipeline.process([], NOW).registry_changed
