"""The broker as a child process: never outlives its relay, never shares its folder or port, says why it failed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from relay.broker import Broker, BrokerError
from relay.broker.nats import KNOWN, NatsBroker, checked_executable, subjects
from relay.broker.process import ChildBroker

from .conftest import Connect, everyone, make
from .test_durability import wait_until


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def refuses(broker: Broker) -> bool:
    try:
        socket.create_connection((broker.host, broker.port), timeout=1).close()
    except OSError:
        return True
    return False


RELAY = """
    import os, sys, time
    from pathlib import Path
    sys.path.insert(0, {root!r})
    for _ in range(20):  # a relay at work has more descriptors open than dash can count
        os.dup(0)
    from tests.broker.conftest import everyone, make
    broker = make({kind!r}, Path({folder!r}), Path({tls!r}), everyone())
    broker.start()
    broker.wait_ready()
    print(broker.pid, flush=True)
    time.sleep(600)
"""


def start_relay(kind: str, folder: Path, tls: Path) -> tuple[subprocess.Popen[str], int]:
    """A process of its own with a broker, as the relay is one, and the broker's pid."""
    root = str(Path(__file__).parents[2])
    script = textwrap.dedent(RELAY).format(root=root, kind=kind, folder=str(folder), tls=str(tls))
    relay = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert relay.stdout is not None
    return relay, int(relay.stdout.readline())


@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_the_broker_ends_with_its_relay(kind: str, number: int, tmp_path: Path, tls_files: Path) -> None:
    relay, pid = start_relay(kind, tmp_path / "broker", tls_files)
    assert alive(pid)
    relay.send_signal(number)
    relay.communicate()
    wait_until(lambda: not alive(pid))


def test_the_next_relay_ends_a_broker_left_behind(tmp_path: Path, tls_files: Path) -> None:
    relay, pid = start_relay("nats", tmp_path / "broker", tls_files)
    # Only a lifeline that failed leaves a broker behind: its watcher, the one child of the broker's, is ended first.
    watcher = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(watcher) == 1
    os.kill(int(watcher[0]), signal.SIGKILL)
    relay.kill()
    relay.communicate()
    time.sleep(0.2)
    assert alive(pid)
    broker = make("nats", tmp_path / "broker", tls_files, everyone())
    broker.start()
    try:
        broker.wait_ready()
        assert not alive(pid)
    finally:
        broker.stop()


def test_a_pid_that_went_to_another_process_is_left_alone(tmp_path: Path, tls_files: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        broker = make("nats", tmp_path / "broker", tls_files, everyone())
        broker.folder.mkdir()
        (broker.folder / "pid").write_text(f"{bystander.pid}\n")
        broker.start()
        broker.wait_ready()
        broker.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_two_relays_do_not_share_a_folder(nats: NatsBroker, tls_files: Path) -> None:
    second = make("nats", nats.folder, tls_files, everyone())
    with pytest.raises(BrokerError, match="another relay"):
        second.start()
    assert nats.poll() is None


@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
def test_a_taken_port_is_reported(kind: str, nats: NatsBroker, tmp_path: Path, tls_files: Path) -> None:
    second = make(kind, tmp_path / "second", tls_files, everyone())
    second.port = nats.port
    with pytest.raises(BrokerError, match=f"port {nats.port}: Address already in use"):
        second.start()
    second.stop()


def test_a_refused_configuration_is_reported_in_the_brokers_own_words(tmp_path: Path, tls_files: Path) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem", everyone())
    broker = NatsBroker(*where, sync_interval="sometimes")
    broker.start()
    try:
        with pytest.raises(BrokerError, match="sync_interval"):
            broker.wait_ready()
    finally:
        broker.stop()


def test_a_broken_certificate_is_reported(tmp_path: Path, tls_files: Path) -> None:
    broken = NatsBroker(tmp_path / "b", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "ca.pem", everyone())
    broken.start()
    try:
        with pytest.raises(BrokerError, match="ended with status"):
            broken.wait_ready()
    finally:
        broken.stop()


def test_stop_is_orderly_and_may_be_called_twice(broker: Broker) -> None:
    pid = broker.pid
    broker.stop()
    broker.stop()
    assert pid is not None
    assert not alive(pid)
    assert refuses(broker)
    assert broker.poll() is None
    assert not broker.ensure_running(), "what was stopped on purpose must not come back"


def test_start_leaves_a_running_broker_alone(broker: Broker) -> None:
    pid = broker.pid
    broker.start()
    assert broker.pid == pid


def test_a_broker_started_from_a_thread_outlives_the_thread(tmp_path: Path, tls_files: Path) -> None:
    broker = make("nats", tmp_path / "broker", tls_files, everyone())
    thread = threading.Thread(target=broker.start)
    thread.start()
    thread.join()
    try:
        broker.wait_ready()
        time.sleep(0.2)
        assert broker.poll() is None
    finally:
        broker.stop()


def test_reloading_a_stopped_broker_serves_its_next_start(broker: ChildBroker, connect: Connect) -> None:
    broker.stop()
    broker.reload(everyone()[:2])
    broker.start()
    broker.wait_ready()
    assert connect(broker, "relay").code == 0


# -- nats-server alone


def test_nats_has_no_way_in_but_mqtt(nats: NatsBroker) -> None:
    """Its own protocol listens on this machine only, and lets in nobody, not even with a good password."""
    log = nats.log_file.read_text()
    port = int(log.split("Listening for client connections on 127.0.0.1:")[1].split()[0])
    user = nats.users[0]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        stream = connection.makefile("rwb")
        assert stream.readline().startswith(b"INFO ")
        stream.write(
            b'CONNECT {"verbose":true,"user":"%s","pass":"%s"}\r\n' % (user.name.encode(), user.password.encode())
        )
        stream.flush()
        assert stream.readline().startswith(b"-ERR 'Authorization Violation'")


def test_a_repackaged_server_that_is_not_the_known_one_is_not_started(tmp_path: Path) -> None:
    good = checked_executable()
    changed = tmp_path / "nats-server"
    changed.write_bytes(good.read_bytes() + b"\0")
    changed.chmod(0o755)
    with pytest.raises(BrokerError, match="not the nats-server that was tested"):
        checked_executable(changed, next(iter(KNOWN.values())))


def test_another_server_is_started_when_the_configuration_names_it(tmp_path: Path, tls_files: Path) -> None:
    own = tmp_path / "own-nats-server"
    own.symlink_to(checked_executable())
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem", everyone())
    broker = NatsBroker(*where, executable=own)
    broker.start()
    try:
        broker.wait_ready()
    finally:
        broker.stop()
    with pytest.raises(BrokerError, match="can't be read"):
        NatsBroker(*where, executable=tmp_path / "none", sha256="0" * 64).start()


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("b/0/0a1b2c3d/alarm", ["b.0.0a1b2c3d.alarm"]),
        ("b/+/+/hb", ["b.*.*.hb"]),
        ("r/#", ["r", "r.>"]),
    ],
)
def test_topics_become_subjects(topic: str, expected: list[str]) -> None:
    assert subjects(topic) == expected
