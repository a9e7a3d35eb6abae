"""`relay subscribe` on a real broker, and what stands behind it: a command, or a broker of the subscriber's own."""

from __future__ import annotations

import json
import queue
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner

from hwsim import toolchain
from relay import rebroadcast
from relay.broker.process import free_port
from relay.cli import main
from relay.commands.listening import Listener
from relay.downlink import Desk
from relay.subscribers import file
from relay.subscribers.reader import Heard, Reader
from tests.relay.service.rig import ROOT, TIMEOUT, Bracelet, Client, Rig, eventually, rig


@pytest.fixture
def field(tmp_path: Path) -> Iterator[tuple[Rig, Bracelet, Client, Path]]:
    """A relay, a bracelet, and a partner's file."""
    with rig(tmp_path, own_broker=False) as made:
        bracelet, path = made.bracelet(), tmp_path / "partner.json"
        add = ["subscriber", "add", "partner", "--file", str(path), "--data", str(made.data.path)]
        assert CliRunner().invoke(main, add).exit_code == 0
        made.start()
        yield made, bracelet, bracelet.connect(), path


def subscribe(path: Path, *options: str, wait: bool = True) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relay", "subscribe", str(path), *options]
    reader = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stderr is not None
    if wait:
        eventually(lambda: "mqtt.ready" in reader.stderr.readline(), "it is subscribed")
    return reader


def press(bracelet: Bracelet, device: Client) -> None:
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    device.next()


def test_a_partner_reads_what_comes_and_what_came_while_it_was_away(
    field: tuple[Rig, Bracelet, Client, Path],
) -> None:
    made, bracelet, device, path = field
    reader = subscribe(path, "--json", "--count", "1")
    press(bracelet, device)
    out, _ = reader.communicate(timeout=TIMEOUT)
    assert [json.loads(line)["document"]["counter"] for line in out.splitlines()] == [0]
    press(bracelet, device)
    made.relay.subscribers.new_epochs(now=time.time())
    press(bracelet, device)
    reader = subscribe(path, "--json", "--count", "2", wait=False)  # it may have them before it is ready
    out, _ = reader.communicate(timeout=TIMEOUT)
    assert [json.loads(line)["document"]["counter"] for line in out.splitlines()] == [1, 2]
    assert reader.returncode == 0


def test_a_key_that_the_broker_left_out_is_asked_for(field: tuple[Rig, Bracelet, Client, Path]) -> None:
    made, bracelet, device, path = field
    own = file.read(path)
    assert own.private is not None

    class Misses(Reader):
        """The first keys don't come: nats-server leaves them out when they are published while one subscribes."""

        missed = 0

        def take(self, topic: str, octets: bytes, message: object, now: float) -> list[Heard]:
            if topic == self.key_topic and not self.missed:
                self.missed += 1
                return []
            return super().take(topic, octets, message, now)

    reader, heard = Misses(own.audience, own.account, own.relay_key, own.private), list[Heard]()
    with Listener(made.relay.temporary(own), reader) as listener:

        def read() -> bool:
            heard.extend(listener.turn())
            return bool(reader.missed)

        eventually(read, "the first keys came")
        press(bracelet, device)
        eventually(lambda: read() and len(heard) > 1, "the alarm is read")
    assert [(each.kind, each.ok) for each in heard] == [("key", True), ("alarm", True)]


def test_a_second_reader_of_one_file_does_not_throw_the_first_off(
    field: tuple[Rig, Bracelet, Client, Path],
) -> None:
    _, bracelet, device, path = field
    reader = subscribe(path, "--json", "--count", "1")
    second = subscribe(path, wait=False)
    _, err = second.communicate(timeout=TIMEOUT)
    assert second.returncode == 1
    assert "another `relay subscribe` reads as this subscriber" in err and "--temporary" in err
    press(bracelet, device)
    out, err = reader.communicate(timeout=TIMEOUT)
    assert [json.loads(line)["document"]["counter"] for line in out.splitlines()] == [0]
    assert "mqtt.disconnected" not in err


def test_a_partner_with_a_former_file_is_told_whom_to_ask(field: tuple[Rig, Bracelet, Client, Path]) -> None:
    made, _, _, path = field
    rotate = ["subscriber", "rotate", "partner", "--file", str(path.with_name("new.json"))]
    assert CliRunner().invoke(main, [*rotate, "--data", str(made.data.path)]).exit_code == 0
    reader = subscribe(path, wait=False)
    assert reader.stderr is not None
    try:
        refused = next(line for line in reader.stderr if "mqtt.refused" in line)
    finally:
        reader.send_signal(signal.SIGINT)
        reader.communicate(timeout=TIMEOUT)
    assert "ask the operator" in refused and "relay.toml" not in refused


def test_a_command_gets_each_document_and_its_failures_are_told(
    field: tuple[Rig, Bracelet, Client, Path], tmp_path: Path
) -> None:
    _, bracelet, device, path = field
    got, tried = tmp_path / "got", tmp_path / "tried"
    program = tmp_path / "handler.py"
    program.write_text(
        "import pathlib, sys\n"
        f"tried, got = pathlib.Path({str(tried)!r}), pathlib.Path({str(got)!r})\n"
        "if not tried.exists():\n"
        "    tried.touch()\n"
        "    sys.exit(3)\n"
        "got.write_text(sys.stdin.read())\n"
    )
    words = shlex.join([sys.executable, str(program)])
    reader = subscribe(path, "--exec", words, "--count", "1")
    press(bracelet, device)
    _, err = reader.communicate(timeout=TIMEOUT)
    assert f"the command ended with status 3 for {bracelet.kid}-0: again in 2 s" in err
    seen = json.loads(got.read_text())
    assert seen["genuine"] and seen["document"]["counter"] == 0


def test_stock_clients_work_behind_a_broker_of_the_subscribers_own(
    field: tuple[Rig, Bracelet, Client, Path], tmp_path: Path
) -> None:
    made, bracelet, device, path = field
    port = free_port("127.0.0.1")
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    reader = subscribe(path, "--mqtt", f"127.0.0.1:{port}", wait=False)
    assert reader.stderr is not None
    missing = {"mqtt.ready", f"the broker at 127.0.0.1:{port} can't be reached"}
    while missing:  # an absent broker is told of before any alarm
        line = reader.stderr.readline()
        assert line, missing
        missing = {words for words in missing if words not in line}
    press(bracelet, device)  # its broker is not up yet: nothing is lost
    own = subprocess.Popen([*toolchain.mosquitto(), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    received: queue.Queue[tuple[str, bytes]] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe("r/#", 1)
    client.on_message = lambda _c, _u, m: received.put((m.topic, m.payload))
    try:
        client.connect_async("127.0.0.1", port)
        client.loop_start()
        eventually(client.is_connected, "the stock client is connected")
        press(bracelet, device)
        Desk(made.relay.store, made.relay.registry).accept(f"{bracelet.kid}-0", now=time.time())
        heard: dict[str, list[bytes]] = {"alarm": [], "case": []}
        while not heard["case"] or not any(b'"counter":1' in octets for octets in heard["alarm"]):
            topic, octets = received.get(timeout=TIMEOUT)
            assert topic.startswith(f"r/{bracelet.kid}/")
            heard[topic.rpartition("/")[2]].append(octets)
        assert all(rebroadcast.check(octets, made.relay.keys.public).ok for octets in heard["alarm"])
    finally:
        client.disconnect()
        client.loop_stop()
        own.terminate()
        own.wait(TIMEOUT)
        reader.send_signal(signal.SIGINT)
        _, err = reader.communicate(timeout=TIMEOUT)
    assert reader.returncode == 0
    assert f"the broker at 127.0.0.1:{port} is there" in err


def test_a_removed_partner_is_cut_off_and_its_keys_leave_the_broker(
    field: tuple[Rig, Bracelet, Client, Path], tmp_path: Path
) -> None:
    made, bracelet, device, _ = field
    path = tmp_path / "second.json"
    data = ["--data", str(made.data.path)]
    assert CliRunner().invoke(main, ["subscriber", "add", "second", "--file", str(path), *data]).exit_code == 0
    own = file.read(path)
    second = made.subscriber(own)
    press(bracelet, device)
    assert second.next()[0].endswith(f"/{bracelet.kid}/alarm")
    done = CliRunner().invoke(main, ["subscriber", "remove", "second", "--json", *data])
    assert json.loads(done.stdout)["relay_running"] is True
    press(bracelet, device)
    eventually(lambda: not second.connected, "its account is closed")
    assert second.received.empty()
    eventually(lambda: made.count("subscriber") == 2, "the broker has let go of its keys, and the relay of it")
