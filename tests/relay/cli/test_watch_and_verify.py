"""`relay watch` on a real broker, and `relay verify` of what it showed."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from relay.broker import TEMPORARY
from relay.downlink import Desk
from relay.ingest.mqtt import Endpoint, client_tls
from relay.pipeline import Inbound, Pipeline
from tests.relay.service.rig import ROOT, TIMEOUT, Bracelet, Rig, eventually, rig


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def start_watch(rig: Rig, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relay", "watch", "--data", str(rig.data.path), *options]
    watch = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watch.stderr is not None
    eventually(lambda: "mqtt.ready" in watch.stderr.readline(), "it watches")
    return watch


def test_watch_shows_an_alarm_and_verify_accepts_it(on_broker: Rig, tmp_path: Path) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    on_broker.start()
    human, machine = start_watch(on_broker, "--count", "1"), start_watch(on_broker, "--count", "1", "--json")
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())

    shown, _ = human.communicate(timeout=TIMEOUT)
    assert f"ALERT   {bracelet.kid}-0  button  eins" in shown
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ  ALERT", shown)
    assert "52.1234567, 13.1234567 within 12 m, 3 s old" in shown
    assert "\x1b" not in shown, "no colours where no terminal is"
    line, _ = machine.communicate(timeout=TIMEOUT)
    seen = json.loads(line)
    assert seen["genuine"]
    assert human.returncode == machine.returncode == 0

    file = tmp_path / "alarm.json"
    file.write_text(json.dumps(seen["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    key = on_broker.data.relay_public_key
    assert verify(file, "--relay-key", str(key)) == (0, "GENUINE")
    assert verify(file) == (3, "SIGNATURES HOLD, RELAY UNKNOWN")
    assert verify(file, "--relay-key", "00" * 32) == (1, "NOT GENUINE")
    changed = seen["document"] | {"battery": 79}
    file.write_text(json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    assert verify(file) == (1, "NOT GENUINE")


@pytest.mark.long
def test_watchers_do_not_throw_each_other_off_and_leave_no_session(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    on_broker.start()
    watchers = [start_watch(on_broker, "--json", "--count", "1") for _ in range(3)]
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    for watcher in watchers:
        out, err = watcher.communicate(timeout=TIMEOUT)
        assert json.loads(out)["genuine"]
        assert "mqtt.disconnected" not in err
    own = on_broker.relay.local_subscriber()
    for number in range(TEMPORARY):
        endpoint = on_broker.relay.temporary(own, number)
        assert session_present(on_broker, endpoint) is False
    subscriber = on_broker.subscriber()
    subscriber.close()
    on_broker.clients.remove(subscriber)
    mine = replace(endpoint, client_id=own.account)
    assert session_present(on_broker, mine) is True, "the look at it works"


def session_present(rig: Rig, endpoint: Endpoint) -> bool:
    found: queue.Queue[bool] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, endpoint.client_id, clean_session=False)
    client.username_pw_set(endpoint.user, endpoint.password)
    client.tls_set_context(client_tls(rig.data.ca_cert))
    client.on_connect = lambda _c, _u, flags, *_: found.put(flags.session_present)
    client.connect("localhost", rig.port)
    client.loop_start()
    try:
        return found.get(timeout=TIMEOUT)
    finally:
        client.disconnect()
        client.loop_stop()


def test_watch_shows_what_becomes_of_an_alarm(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    on_broker.start()
    human = start_watch(on_broker)
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    device.next()
    desk, alarm = Desk(on_broker.relay.store, on_broker.relay.registry), f"{bracelet.kid}-0"
    desk.accept(alarm, now=time.time())
    device.next()
    desk.close(alarm, now=time.time())
    device.next()
    assert human.stdout is not None
    lines = [human.stdout.readline() for _ in range(4)]
    assert f"ALERT   {alarm}" in lines[0]
    assert [line.split()[1:] for line in lines[2:]] == [["ACCEPTED", alarm, "eins"], ["CLOSED", alarm, "eins"]]
    human.terminate()
    human.communicate(timeout=TIMEOUT)


@pytest.mark.long
def test_watch_starts_with_what_is_open_and_shows_what_it_missed_while_it_was_cut_off(on_broker: Rig) -> None:
    first, second = on_broker.bracelet("eins"), on_broker.bracelet("zwei")
    broker = on_broker.start_broker()
    pipeline = Pipeline(on_broker.relay.store, on_broker.relay.keys)

    def raised(bracelet: Bracelet) -> str:
        pipeline.process([Inbound("sms", bracelet.alarm())], time.time())
        return f"{bracelet.kid}-0"

    alarm = raised(first)
    human, machine = start_watch(on_broker), start_watch(on_broker, "--json")
    assert human.stdout is not None
    assert machine.stdout is not None
    assert human.stdout.readline().startswith("Open, as of 20")
    assert human.stdout.readline().split()[:3] == ["ALARM", alarm, "eins"]
    opened = json.loads(machine.stdout.readline())["open"]
    assert (opened["alarm"], opened["code_name"], opened["state"]) == (alarm, "eins", "unanswered")
    broker.stop()
    missed = raised(second)
    broker.start()
    assert json.loads(machine.stdout.readline())["open"]["alarm"] == missed
    line = eventually(lambda: (said := human.stdout.readline()).startswith("ALARM") and said, "it is shown")  # type: ignore[union-attr]
    assert line.split()[:3] == ["ALARM", missed, "zwei"], "and not the first one again"
    for each in (human, machine):
        each.terminate()
        each.communicate(timeout=TIMEOUT)


def test_watch_shows_what_is_not_genuine_as_refused(on_broker: Rig) -> None:
    on_broker.start_broker()
    relay = on_broker.relay.endpoint()
    watch = start_watch(on_broker)
    from tests.relay.service.rig import Client

    forger = Client(on_broker, relay.user, relay.password, "forger", ["b/+/+/ack"], clean=True)
    on_broker.clients.append(forger)
    topic = f"s/{on_broker.relay.local_subscriber().audience}/0a1b2c3d/alarm"
    forger.publish(topic, b'{"tocsin": 1}')
    assert watch.stderr is not None
    line = watch.stderr.readline()
    assert f"REFUSED  {topic}: " in line
    watch.terminate()
    out, _ = watch.communicate(timeout=TIMEOUT)
    assert out == ""


def verify(file: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "relay", "verify", str(file), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    return done.returncode, done.stdout.splitlines()[0]
