"""The check beside a running relay: it is not disturbed, takes nothing for an alarm, and examines its broker itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from relay.cli import main
from relay.ingest.sessions import client_ids
from relay.store import schema
from tests.relay.service.rig import Process, Rig, eventually, rig

from .looking import AlteredMosquitto, altered_in


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def start_mosquitto(made: Rig, settings: dict[str, str | None]) -> AlteredMosquitto:
    data = made.data
    where = (made.folder / "mosquitto", "127.0.0.1", made.port, data.server_cert, data.server_key, made.relay.users())
    return altered_in(where, settings)


def counted(made: Rig) -> list[tuple[str, int]]:
    with made.relay.store.read() as connection:
        return [(row.reason, row.count) for row in connection.execute(select(schema.refusal))]


def told(relay: Process, event: str) -> list[dict]:
    """What the relay says of its broker: examining it takes half a minute."""
    return eventually(lambda: relay.events(event), event, timeout=150)


def own_events(relay: Process) -> list[str]:
    """What the relay says of its own work."""
    return [e["event"] for e in relay.events() if not e["event"].startswith("broker.")]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_nothing_of_a_check_is_an_alarm_to_a_running_relay(beside: Rig) -> None:
    """On a broker without any rules, everything that is tried really reaches it."""
    device = beside.bracelet()
    broker = start_mosquitto(beside, {"acl_file": None})
    try:
        relay = beside.start()
        told(relay, "broker.lacks")
        before = own_events(relay)
        done = CliRunner().invoke(main, ["broker", "check", "--json", "--data", str(beside.data.path)])
        assert done.exit_code == 3, done.output
        report = json.loads(done.stdout)
        came = {finding["key"]: finding["came"] for finding in report["findings"]}
        assert "may publish b/p/probe/alarm" in came["bracelet_topics"]
        assert report["verdict"] == "less"

        assert own_events(relay) == before
        assert counted(beside) == []
        assert beside.count("alarm") == 0
        client = device.connect()
        client.publish(f"{device.base}/alarm", device.alarm())
        client.next()
        assert own_events(relay)[len(before) :][:3] == ["alarm.received", "alarm.verified", "alarm.committed"]
        assert counted(beside) == []
    finally:
        broker.stop()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_relay_examines_its_broker_and_says_what_it_lacks(beside: Rig) -> None:
    beside.bracelet()
    broker = start_mosquitto(beside, {"max_queued_messages": "1000", "message_size_limit": None})
    try:
        relay = beside.start()
        (loses,) = told(relay, "broker.loses")
        assert loses["level"] == "error"
        assert "max_queued_messages" in loses["hint"]
        (lacks,) = told(relay, "broker.lacks")
        assert "256 KiB" in lacks["came"]
    finally:
        broker.stop()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_without_a_relay_its_sessions_are_tried_too_and_stay(beside: Rig) -> None:
    """What waits for the relay waits on."""
    device = beside.bracelet()
    broker = beside.start_broker()
    relay = beside.start()
    relay.stop()
    client = device.connect()
    client.publish(f"{device.base}/alarm", device.alarm())
    done = CliRunner().invoke(main, ["broker", "check", "--data", str(beside.data.path)])
    assert done.exit_code == 0, done.output
    again = beside.start()
    client.next()
    assert beside.count("alarm") == 1
    eventually(lambda: again.events("alarm.committed"), "the alarm that waited is stored")
    assert broker.poll() is None
    assert client_ids(beside.relay.config.mqtt.sessions) == ("intake-1-a", "intake-1-h")
