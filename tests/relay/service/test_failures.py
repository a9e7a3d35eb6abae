"""What fails around the relay: the disk, the embedded broker, the certificate, the room in memory."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import pki, rebroadcast
from tests.relay.service.rig import ROOT, TIMEOUT, Process, Rig, eventually, rig


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, own_broker=False) as made:
        yield made


def test_a_full_disk_costs_time_and_nothing_else(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    relay = on_broker.start(full_disk=True)
    count = 60
    for seq in range(count):
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm(seq))
    failure = relay.wait_for("store.failed")[0]
    assert "full" in failure["error"]
    assert on_broker.count("alarm") < count
    assert relay.events("mqtt.disconnected") == []
    (on_broker.data.path / "room").touch()
    eventually(lambda: on_broker.count("alarm") == count, "all are stored once there is room")
    receipts = {device.next()[1] for _ in range(count)}
    assert len(receipts) == count
    counters = [rebroadcast.check(subscriber.next()[1]).document["counter"] for _ in range(count)]
    assert sorted(counters) == list(range(count))


def test_a_fault_in_sending_orders_stops_no_alarm(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    relay = Process(on_broker, ("tests.relay.service.without_orders",))
    on_broker.processes.append(relay)
    (failure,) = relay.wait_for("duty.failed")
    assert (failure["duty"], failure["level"]) == ("orders", "error")
    relay.wait_for("mqtt.ready")
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    assert device.next()
    assert rebroadcast.check(subscriber.next()[1]).ok
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0


def test_a_killed_embedded_broker_is_started_again(embedded: Rig) -> None:
    bracelet = embedded.bracelet()
    relay = embedded.start()
    device = bracelet.connect()
    broker = int((embedded.data.broker / "pid").read_text())
    os.kill(broker, signal.SIGKILL)
    relay.wait_for("broker.restarted")
    relay.wait_for("mqtt.ready", 2)
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    device.next()


def test_a_bracelet_added_and_revoked_while_the_relay_runs(embedded: Rig) -> None:
    relay = embedded.start()
    bracelet = embedded.bracelet("zwei")
    relay.signal(signal.SIGHUP)
    relay.wait_for("registry.reloaded")
    device = bracelet.connect()
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    device.next()
    done = run_relay("bracelet", "revoke", bracelet.kid, "--now", "--yes", "--json", "--data", str(embedded.data.path))
    assert json.loads(done.stdout) == json.loads(done.stdout) | {"state": "revoked", "relay_told": True}
    relay.wait_for("registry.reloaded", 2)
    eventually(lambda: not device.connected, "its connection is closed")


def test_what_the_disk_did_not_allow_is_done_later(embedded: Rig) -> None:
    relay = embedded.start()
    in_the_way = embedded.data.broker / "nats.conf.new"  # its configuration can't be written
    in_the_way.mkdir()
    relay.signal(signal.SIGHUP)
    relay.wait_for("registry.reloaded")  # needs no disk
    os.kill(int((embedded.data.broker / "pid").read_text()), signal.SIGKILL)
    relay.wait_for("broker.down")
    in_the_way.rmdir()
    relay.wait_for("broker.restarted")


def test_a_second_relay_on_the_same_folder_is_refused(embedded: Rig) -> None:
    embedded.start()
    done = run_relay("run", "--data", str(embedded.data.path))
    assert done.returncode == 1
    assert "serving this folder already" in done.stderr


@pytest.mark.parametrize("what", ["wrong-ca", "wrong-name", "expired"])
def test_a_broker_with_a_bad_certificate_is_not_talked_to(on_broker: Rig, what: str) -> None:
    data = on_broker.data
    ca = pki.load_ca(data.ca_cert.read_bytes(), data.ca_key.read_bytes())
    authority = pki.create_ca() if what == "wrong-ca" else ca
    names = ["elsewhere"] if what == "wrong-name" else ["localhost"]
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    not_after = past + datetime.timedelta(days=1) if what == "expired" else None
    certificate, key = pki.issue_server(authority, names, past, not_after)
    data.server_cert.write_bytes(certificate)
    data.server_key.write_bytes(key)
    on_broker.start_broker()
    relay = on_broker.start(wait=False)
    warning = relay.wait_for("mqtt.unreachable", 2)[0]
    if what == "expired":
        assert "this machine's clock" in warning["hint"]
        assert "expired" in warning["hint"]
    else:
        assert warning["hint"] == "the broker's certificate was refused: wrong CA, wrong name, or expired"
    assert relay.events("mqtt.connected") == []


@pytest.mark.long
def test_more_than_memory_may_hold_waits_with_the_broker(on_broker: Rig) -> None:
    config = on_broker.data.config
    config.write_text(config.read_text() + "\n[limits]\nqueue = 100\nbatch = 10\n")
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    first = on_broker.start()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    count = 1000
    for _ in range(count):
        device.publish_soon(f"{bracelet.base}/alarm", bracelet.alarm())
    eventually(lambda: device.unpublished == 0, "the broker has them")
    relay = on_broker.start()
    eventually(lambda: on_broker.count("alarm") == count, "all are stored in the end")
    assert relay.events("mqtt.disconnected") == []


def run_relay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_a_relay_that_is_still_starting_survives_being_told_of_a_bracelet(embedded: Rig) -> None:
    relay = Process(embedded, ("tests.relay.service.told_early",))
    embedded.processes.append(relay)
    relay.wait_for("registry.reloaded")
    relay.wait_for("mqtt.ready")


def test_a_relay_with_another_store_key_does_not_start_to_refuse_alarms(on_broker: Rig) -> None:
    on_broker.bracelet()
    (on_broker.data.keys / "store.key").write_text("ab" * 32)
    done = run_relay("run", "--data", str(on_broker.data.path))
    assert done.returncode == 1
    assert "does not open what is in the database" in done.stderr


def test_a_certificate_near_its_end_is_renewed_at_the_start(embedded: Rig) -> None:
    data = embedded.data
    ca = pki.load_ca(data.ca_cert.read_bytes(), data.ca_key.read_bytes())
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    certificate, key = pki.issue_server(ca, ["localhost", "127.0.0.1"], not_after=soon)
    data.server_cert.write_bytes(certificate)
    data.server_key.write_bytes(key)
    embedded.start()  # connects by TLS
    later = soon + datetime.timedelta(days=365)
    assert pki.is_fit(data.server_cert.read_bytes(), data.server_key.read_bytes(), ["localhost"], later)
    assert data.server_key.stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_becomes_unfit_is_renewed_while_the_relay_runs(embedded: Rig) -> None:
    """As when the machine's clock is set: the broker shows the new one, and an alarm goes through."""
    data = embedded.data
    bracelet = embedded.bracelet()
    relay = Process(embedded, ("tests.relay.service.looking_often",))
    embedded.processes.append(relay)
    relay.wait_for("mqtt.ready")
    ca = pki.load_ca(data.ca_cert.read_bytes(), data.ca_key.read_bytes())
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate, key = pki.issue_server(ca, ["localhost", "127.0.0.1"], not_after=yesterday)
    data.server_key.write_bytes(key)
    data.server_cert.write_bytes(certificate)
    relay.wait_for("broker.certificate_renewed")
    device = bracelet.connect()  # checks the certificate
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    device.next()


def test_a_name_added_to_the_configuration_gets_into_the_certificate(embedded: Rig) -> None:
    data = embedded.data
    data.config.write_text(data.config.read_text().replace('public_host = "localhost"', 'public_host = "far.example"'))
    assert not embedded.relay.vouches_for("far.example")
    embedded.start()
    assert embedded.relay.vouches_for("far.example")
    assert embedded.relay.vouches_for("localhost")


def test_an_unfit_certificate_that_can_not_be_renewed_is_said_in_words(embedded: Rig) -> None:
    embedded.data.ca_key.unlink()
    embedded.data.server_cert.write_text("garbage")
    done = run_relay("run", "--data", str(embedded.data.path))
    assert done.returncode == 1
    assert "could not be renewed: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
