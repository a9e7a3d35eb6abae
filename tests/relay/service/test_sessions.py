"""The relay's two sessions at a real broker, and the end of those that it had before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from hwsim import toolchain
from relay.assembly import Relay
from relay.broker.mosquitto import MosquittoBroker
from relay.ingest.mqtt import client_tls
from relay.ingest.sessions import Former, endpoint_of
from tests.relay.service.rig import TIMEOUT, Rig, rig


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def session_is_kept(made: Rig, client_id: str) -> bool:
    """Connect as the relay under this id, and leave the session as it is; whether the broker had one."""
    present: list[bool] = []
    told = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    account = made.relay.endpoint()
    client.username_pw_set(account.user, account.password)
    client.tls_set_context(client_tls(made.data.ca_cert))
    client.on_connect = lambda _c, _u, flags, *_: (present.append(flags.session_present), told.set())
    client.connect("localhost", made.port)
    client.loop_start()
    assert told.wait(TIMEOUT)
    client.disconnect()
    client.loop_stop()
    return present[0]


def test_alarms_and_heartbeats_come_over_a_connection_each(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    relay = on_broker.start()
    assert sorted(e["session"] for e in relay.events("mqtt.connected")) == ["alarms", "heartbeats"]
    assert len(relay.events("mqtt.ready")) == 1
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0
    device = bracelet.connect()
    for _ in range(3):
        device.publish(f"{bracelet.base}/hb", bracelet.heartbeat())
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    on_broker.start()
    device.next()
    assert session_is_kept(on_broker, "intake-1-a")
    assert session_is_kept(on_broker, "intake-1-h")


def test_a_broker_that_makes_the_client_id_of_the_account_keeps_both(on_broker: Rig) -> None:
    """mosquitto with the rules of `relay broker accounts`: two sessions under one account would end each other."""
    bracelet, data = on_broker.bracelet(), on_broker.data
    broker = MosquittoBroker(
        data.broker,
        "127.0.0.1",
        on_broker.port,
        data.server_cert,
        data.server_key,
        on_broker.relay.users(),
        program=toolchain.mosquitto(),
    )
    broker.start()
    try:
        broker.wait_ready()
        relay = on_broker.start()
        device = bracelet.connect()
        device.publish(f"{bracelet.base}/hb", bracelet.heartbeat())
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
        device.next()
        assert relay.events("mqtt.disconnected") == []
        assert len(relay.events("mqtt.connected")) == 2
        relay.signal(signal.SIGTERM)
        assert relay.wait() == 0
    finally:
        for client in on_broker.clients:
            client.close()
        on_broker.clients.clear()
        broker.stop()


def test_another_account_in_the_configuration_is_that_of_both_sessions(on_broker: Rig) -> None:
    own = on_broker.relay.endpoint()
    assert [(one.user, one.client_id) for one in (endpoint_of(own, "a"), endpoint_of(own, "h"))] == [
        ("intake-1-a", "intake-1-a"),
        ("intake-1-h", "intake-1-h"),
    ]
    other = replace(own, user="tocsin")
    assert (endpoint_of(other, "a").user, endpoint_of(other, "h").client_id) == ("tocsin", "intake-1-h")


@pytest.mark.long
def test_sessions_under_earlier_client_ids_are_ended_at_the_start(on_broker: Rig) -> None:
    config = on_broker.data.config
    config.write_text(config.read_text().replace("[mqtt]", '[mqtt]\nclient_id = "relay-0123"', 1))
    on_broker.start_broker()
    session_is_kept(on_broker, "relay-0123")
    assert session_is_kept(on_broker, "relay-0123")
    relay = on_broker.start()
    relay.wait_for("mqtt.former_session_ended")
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0
    assert not session_is_kept(on_broker, "relay-0123")

    config.write_text(config.read_text().replace("[mqtt]", '[mqtt]\nsessions = "elsewhere"', 1))
    renamed = Relay(on_broker.data)
    assert on_broker.broker is not None
    on_broker.broker.reload(renamed.users())  # the operator gives it the accounts of the new sessions
    renamed.store.close()
    second = on_broker.start()
    second.wait_for("mqtt.former_session_ended", 3)  # the one above again, and the two under the former name
    assert not session_is_kept(on_broker, "intake-1-a")


def test_what_is_known_of_former_sessions_outlives_a_start(tmp_path: Path) -> None:
    file = tmp_path / "mqtt-sessions"
    assert Former(file, ["a-a", "a-h"]).ids == []
    changed = Former(file, ["b-a", "b-h"], ["old"])
    assert changed.ids == ["old", "a-a", "a-h"]
    changed.is_over("old")
    assert Former(file, ["b-a", "b-h"]).ids == ["a-a", "a-h"]
    file.write_bytes(b"\xff")
    assert Former(file, ["b-a", "b-h"]).ids == []
