"""A real relay process on a real broker, with bracelets and subscribers that are plain MQTT clients."""

from __future__ import annotations

import json
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select

from relay import initial
from relay.assembly import Relay
from relay.broker.nats import NatsBroker
from relay.broker.process import free_port
from relay.datadir import DataDir
from relay.ingest.mqtt import client_tls
from relay.store import schema
from relay.subscribers.file import SubscriberFile
from relay.subscribers.reader import Heard, Reader
from relay.verify import Alarm, Fix, Heartbeat, agree, roots
from relay.verify.seal import Sealer

TIMEOUT = 60.0
ROOT = Path(__file__).parents[3]
NOW = 1_767_225_600


def eventually(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """Wait for something that another process does."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout:g} s: {what}")


class Client:
    """An MQTT client that collects what it receives."""

    def __init__(self, rig: Rig, user: str, password: str, client_id: str, filters: list[str], clean: bool) -> None:
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.subscribed = threading.Event()
        self._filters = filters
        self._paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, protocol=paho.MQTTv311
        )
        self._paho.username_pw_set(user, password)
        self._paho.tls_set_context(client_tls(rig.data.ca_cert))
        self._paho.reconnect_delay_set(1, 1)
        self._paho.on_connect = lambda client, *_: client.subscribe([(f, 1) for f in self._filters])
        self._paho.on_subscribe = lambda *_: self.subscribed.set()
        self._paho.on_message = lambda _c, _u, m: self._take(m.topic, m.payload)
        self._paho.connect_async("localhost", rig.port, 30)
        self._paho.loop_start()
        assert self.subscribed.wait(TIMEOUT)

    def _take(self, topic: str, octets: bytes) -> None:
        self.received.put((topic, octets))

    def publish(self, topic: str, octets: bytes) -> None:
        """Returns when the broker has it."""
        eventually(self._paho.is_connected, "the client is connected")
        self._paho.publish(topic, octets, qos=1).wait_for_publish(TIMEOUT)

    def publish_soon(self, topic: str, octets: bytes) -> None:
        self._paho.publish(topic, octets, qos=1)

    @property
    def unpublished(self) -> int:
        return len(self._paho._out_messages)

    @property
    def connected(self) -> bool:
        return self._paho.is_connected()

    def next(self, timeout: float = TIMEOUT) -> tuple[str, bytes]:
        return self.received.get(timeout=timeout)

    def drain(self) -> list[bytes]:
        octets = []
        while not self.received.empty():
            octets.append(self.received.get()[1])
        return octets

    def distinct(self, count: int) -> set[bytes]:
        """Wait for so many different documents: the broker has them before they come."""
        found: set[bytes] = set()
        eventually(lambda: found.update(self.drain()) or len(found) >= count, f"{count} documents")
        return found

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


class Subscriber(Client):
    """A subscriber: what it receives is opened and checked."""

    def __init__(self, rig: Rig, own: SubscriberFile, clean: bool) -> None:
        assert own.private is not None
        self.reader = Reader(own.audience, own.account, own.relay_key, own.private)
        self.refused: list[Heard] = []
        self.lengths: dict[str, set[int]] = {}  # of what came sealed, by kind
        super().__init__(rig, own.account, own.password, own.account, [*self.reader.filters], clean)

    def _take(self, topic: str, octets: bytes) -> None:
        self.lengths.setdefault(topic.rpartition("/")[2], set()).add(len(octets))
        now = time.monotonic()
        heard_now = self.reader.take(topic, octets, None, now)
        if self.reader.asks_for_keys(now):
            self._paho.subscribe(self.reader.key_topic, 1)
        for heard in heard_now:
            if heard.document is not None:
                self.received.put((heard.topic, heard.octets))
            elif not heard.ok:
                self.refused.append(heard)


class Bracelet:
    """The cryptography of a bracelet, and its account at the broker."""

    def __init__(self, rig: Rig, name: str) -> None:
        relay = rig.relay
        offer = relay.registry.offer(name, now=NOW, host="localhost", port=rig.port, ca_der=relay.ca_der())
        seed, ephemeral = secrets.token_bytes(32), X25519PrivateKey.generate()
        kid, relay_id = bytes.fromhex(offer["kid"]), bytes.fromhex(offer["relay_id"])
        shared = agree(ephemeral.private_bytes_raw(), bytes.fromhex(offer["relay_x25519"]))
        self.kid: str = offer["kid"]
        self.account: str = offer["mqtt"]["user"]
        self.password: str = offer["mqtt"]["password"]
        self.roots = roots(shared, kid, relay_id)
        self.sealer = Sealer(kid, relay_id, self.roots, seed)
        relay.registry.complete(
            {
                "tocsin": 1,
                "kid": self.kid,
                "ed25519": self.sealer.public.hex(),
                "x25519": ephemeral.public_key().public_bytes_raw().hex(),
            },
            now=NOW,
        )
        self._rig = rig
        self.base = f"b/{self.kid[0]}/{self.kid}"

    def connect(self) -> Client:
        client = Client(self._rig, self.account, self.password, self.account, [f"{self.base}/ack"], clean=False)
        self._rig.clients.append(client)
        return client

    def alarm(self, seq: int = 0, flags: int = 0) -> bytes:
        fix = Fix(521234567, 131234567, 12, 3)
        alarm = Alarm(flags=0b11000 | flags, cause=0, seq=seq, time=int(time.time()), battery=80, fix=fix)
        return self.sealer.alarm(alarm)

    def heartbeat(self) -> bytes:
        return self.sealer.heartbeat(Heartbeat(flags=0, time=int(time.time()), battery=80, pending=0))


class Process:
    """A relay in a process of its own."""

    def __init__(self, rig: Rig, arguments: tuple[str, ...]) -> None:
        self.log_file = rig.folder / f"relay-{len(rig.processes)}.log"
        command = [sys.executable, "-m", *arguments, str(rig.data.path)]
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, cwd=ROOT)

    @property
    def pid(self) -> int:
        return self._child.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]
        return [e for e in events if name is None or e["event"] == name]

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        eventually(lambda: self._child.poll() is not None or len(self.events(event)) >= count, event)
        found = self.events(event)
        assert len(found) >= count, self.log_file.read_text()
        return found

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, timeout: float = TIMEOUT) -> int:
        return self._child.wait(timeout)

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


class Rig:
    """Everything of one test, in one folder."""

    def __init__(self, folder: Path, *, own_broker: bool = True, sms_port: str | None = None) -> None:
        self.folder = folder
        self.port = free_port("127.0.0.1")
        self.data = DataDir(folder / "data")
        initial.init(self.data, initial.Options(listen="127.0.0.1", port=self.port, sms_port=sms_port))
        self.relay = Relay(self.data)
        self.clients: list[Client] = []
        self.processes: list[Process] = []
        self.broker: NatsBroker | None = None
        if own_broker:
            text = self.data.config.read_text().replace("embedded = true", "embedded = false")
            self.data.config.write_text(text)

    def bracelet(self, name: str = "eins") -> Bracelet:
        return Bracelet(self, name)

    def start_broker(self) -> NatsBroker:
        """A broker that outlives the relay. Call after the bracelets were made."""
        data = self.data
        self.broker = NatsBroker(
            data.broker, "127.0.0.1", self.port, data.server_cert, data.server_key, self.relay.users()
        )
        self.broker.start()
        self.broker.wait_ready()
        return self.broker

    def start(
        self, *, crash_at: str | None = None, full_disk: bool = False, wait: bool = True, verbose: bool = False
    ) -> Process:
        """A relay that is subscribed. Before its first subscription a broker has nothing to keep for it."""
        arguments: tuple[str, ...] = ("relay", "run", "--log-json", *(["--verbose"] if verbose else []), "--data")
        if crash_at is not None:
            arguments = ("tests.relay.service.crashing", crash_at)
        elif full_disk:
            arguments = ("tests.relay.service.full_disk",)
        process = Process(self, arguments)
        self.processes.append(process)
        if wait:
            process.wait_for("mqtt.ready")
        return process

    def subscriber(self, own: SubscriberFile | None = None, clean: bool = False) -> Subscriber:
        """A subscriber by its file; the local one by default."""
        client = Subscriber(self, own or self.relay.local_subscriber(), clean)
        self.clients.append(client)
        return client

    def count(self, table: str) -> int:
        with self.relay.store.read() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.metadata.tables[table])).scalar_one())

    def unfinished(self) -> int:
        with self.relay.store.read() as connection:
            query = select(func.count()).select_from(schema.outbox).where(schema.outbox.c.done_ms.is_(None))
            return int(connection.execute(query).scalar_one())

    def stop_processes(self) -> None:
        for process in self.processes:
            process.stop()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.stop_processes()
        if self.broker is not None:
            self.broker.stop()
        self.relay.store.close()


@contextmanager
def rig(folder: Path, **options: Any) -> Iterator[Rig]:
    made = Rig(folder, **options)
    try:
        yield made
    finally:
        made.close()
