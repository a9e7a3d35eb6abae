"""Starts everything that one alarm needs on this machine: a broker with TLS, a relay, its modem, a bracelet, a
subscriber.

All parts are the real ones: the relay is `relay run` in a process of its own, the broker a child process, the
bracelet the unmodified firmware in a real MicroPython on simulated hardware in real time. The end-to-end tests use
the same stack. The stack listens on loopback only, and keeps everything in one folder that the caller owns.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from hwsim.world import Track, World
from relay import initial
from relay.assembly import Relay
from relay.broker import Broker, MqttUser
from relay.broker.nats import NatsBroker
from relay.broker.process import free_port, let_go, spawn
from relay.datadir import DataDir
from relay.subscribers.reader import Reader

HOST = "127.0.0.1"
NAME = "broker.demo"  # the bracelet's name for the broker; resolved in the simulated world only
SSID, WIFI_KEY = "workshop", "hwsim-key"
RELAY_NUMBER, BRACELET_NUMBER = "+10000000099", "+10000000001"
TRACK = Track.still(52.0, 13.0, 34)
START_TIMEOUT_S = 60.0


class StackError(RuntimeError):
    """A start or an event that did not come; the message says which, and what was heard last."""


class BrokerFactory(Protocol):
    def __call__(
        self, folder: Path, host: str, port: int, cert: Path, key: Path, users: Iterable[MqttUser]
    ) -> Broker: ...


@dataclass(frozen=True)
class Happened:
    """An event of any part, with the wall-clock time at which it happened."""

    at: float
    source: str  # "relay", "subscriber", or a part of the simulated world ("firmware", "button", "haptic" ...)
    what: str
    detail: dict[str, Any] = field(default_factory=dict)


class Stack:
    """The stack, as a context manager. It tells `say` what it starts, for a progress display."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: BrokerFactory = NatsBroker,
        data_network: bool = True,
        sms: bool = True,
        code_name: str = "demo",
        number: str = BRACELET_NUMBER,
        track: Track = TRACK,
        files: Mapping[str, bytes] | None = None,
        relay_command: Sequence[str] = (sys.executable, "-m", "relay"),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.data = DataDir(folder / "relay")
        self.world = World(seed=int.from_bytes(os.urandom(4), "big"), start=int(time.time()), realtime=True)
        self._wall_base = time.time() - self.world.now_us / 1e6
        self._make_broker = broker
        self._data_network = data_network
        self._sms = sms
        self._code_name, self._number, self._track = code_name, number, track
        self._files = dict(files or {})  # the workshop has put these on the bracelet
        self._relay_command = tuple(relay_command)
        self._say = say
        self._events: queue.SimpleQueue[Happened] = queue.SimpleQueue()
        self._traced = 0
        self._heard: list[Happened] = []  # while the stack comes up: events that nobody has asked for yet
        self._coming_up = True
        self._relay: subprocess.Popen[str] | None = None
        self._lifeline = -1
        self._relay_last_words: list[str] = []
        self._subscriber: mqtt.Client | None = None
        self.documents: list[bytes] = []  # all that the subscriber got, in its order

    # -- life

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self._say("a modem on the relay's side")
        world = self.world
        self.bracelet = world.bracelet(phone=self._number, track=self._track)
        # The bracelet has been worn for hours: it knows the sky and the cell. Nobody should have to watch that.
        self.bracelet.gnss.cold_start_s = 1.0
        self.bracelet.modem.register_us = 500_000
        world.sms.delay_us = 1_500_000
        self.bracelet.wifi.ssid, self.bracelet.wifi.key = SSID, WIFI_KEY
        self.bracelet.wifi.up = self._data_network
        self.bracelet.modem.service = self._sms
        port = world.relay_modem(RELAY_NUMBER, pty=True).port
        world.start_thread()

        self._say("keys, certificates and a data folder")
        mqtt_port = free_port(HOST)
        initial.init(self.data, initial.Options((NAME, "localhost", HOST), HOST, mqtt_port, port, RELAY_NUMBER))
        self.relay_parts = Relay(self.data)
        world.call(lambda: world.net.route(NAME, mqtt_port, HOST, mqtt_port))
        self.offer = self.relay_parts.registry.offer(
            self._code_name,
            now=time.time(),
            host=NAME,
            port=mqtt_port,
            ca_der=self.relay_parts.ca_der(),
            sms=RELAY_NUMBER,
            wifi=[(SSID, WIFI_KEY)],
        )

        self._say("the broker, with TLS")
        data = self.data
        self.broker = self._make_broker(
            data.broker, HOST, mqtt_port, data.server_cert, data.server_key, self.relay_parts.users()
        )
        self.broker.start()

        self._say("the bracelet: it makes its own keys")
        files = {**self._files, "/offer.json": json.dumps(self.offer).encode()}
        world.call(lambda: self.bracelet.files.put_all(files))
        world.call(self.bracelet.boot)
        self.wait_for(
            lambda e: e.source == "firmware" and e.what == "provisioned",
            START_TIMEOUT_S,
            "the bracelet to make its keys",
        )
        answer = json.loads(world.call(lambda: self.bracelet.files.get("/answer.json")))
        self.relay_parts.registry.complete(answer, now=time.time())
        self.kid: str = answer["kid"]

        self._say("the relay")
        self.broker.wait_ready(START_TIMEOUT_S)
        self.start_relay()
        self._subscribe(mqtt_port)
        self._wait_armed()

    def _wait_armed(self) -> None:
        """Wait until the path that the first alarm takes is up, and the wearer's place is known."""
        wanted = {("firmware", "armed", None), ("firmware", "clock", "gnss")}
        if self._data_network:
            # Before the relay has subscribed, the broker keeps nothing for it.
            wanted |= {("firmware", "link", "mqtt"), ("relay", "mqtt.ready", None)}
        else:
            wanted |= {("firmware", "link", "sms"), ("relay", "sms.ready", None)}
        seen = {("firmware", "armed", None)}  # after provisioning, the bracelet went on by itself

        def all_there(event: Happened) -> bool:
            if event.detail.get("up") != 0:
                key = event.detail.get("path") if event.what == "link" else event.detail.get("quality")
                seen.add((event.source, event.what, key))
            return wanted <= seen

        # Some of these events may have come while the stack waited for others.
        if not any(all_there(event) for event in self._heard):
            self.wait_for(all_there, START_TIMEOUT_S, "the bracelet to be ready")
        self._heard.clear()
        self._coming_up = False

    def close(self) -> None:
        """End everything that this stack started."""
        self.stop_relay()
        if self._subscriber is not None:
            self._subscriber.disconnect()
            self._subscriber.loop_stop()
            self._subscriber = None
        self.world.close()
        if hasattr(self, "broker"):
            self.broker.stop()
        if hasattr(self, "relay_parts"):
            self.relay_parts.store.close()

    # -- the relay

    def start_relay(self) -> None:
        """Start the relay's process; return when it has said that it started."""
        environment = {**os.environ, "TOCSIN_BROKER__EMBEDDED": "false", "PYTHONUNBUFFERED": "1"}
        command = [*self._relay_command, "run", "--data", str(self.data.path), "--log-json"]
        self._relay, self._lifeline = spawn(command, stderr=subprocess.PIPE, text=True, env=environment)
        threading.Thread(target=self._read_relay, args=(self._relay,), daemon=True).start()
        self.wait_for(
            lambda e: e.source == "relay" and e.what == "relay.started", START_TIMEOUT_S, "the relay to start"
        )

    def kill_relay(self, number: int = signal.SIGKILL) -> None:
        """End the relay's process at once, as a crash would."""
        if self._relay is not None:
            self._relay.send_signal(number)
            self._relay.wait(30)
            self._relay = None
            let_go(self._lifeline)

    def stop_relay(self) -> None:
        self.kill_relay(signal.SIGTERM)

    @property
    def relay_running(self) -> bool:
        return self._relay is not None and self._relay.poll() is None

    def _read_relay(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                fields = json.loads(line)
                event = fields.pop("event")
            except (ValueError, KeyError, AttributeError):
                self._relay_last_words = [*self._relay_last_words[-20:], line.rstrip()]
                continue
            self._events.put(Happened(float(fields.pop("at", time.time())), "relay", event, fields))

    # -- the broker

    def kill_broker(self) -> None:
        """End the broker at once, as a crash would; it stays down."""
        if self.broker.pid is not None and self.broker.poll() is None:
            os.kill(self.broker.pid, signal.SIGKILL)
            while self.broker.poll() is None:
                time.sleep(0.01)

    def start_broker(self) -> None:
        self.broker.start()
        self.broker.wait_ready()

    @property
    def broker_running(self) -> bool:
        return self.broker.pid is not None and self.broker.poll() is None

    # -- the subscriber

    def _subscribe(self, port: int) -> None:
        own = self.relay_parts.local_subscriber()
        assert own.private is not None
        reader = Reader(own.audience, own.account, own.relay_key, own.private)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=own.account, clean_session=False)
        client.username_pw_set(own.account, own.password)
        client.tls_set_context(ssl.create_default_context(cafile=str(self.data.ca_cert)))
        client.reconnect_delay_set(1, 2)
        subscribed = threading.Event()
        client.on_connect = lambda c, *_: c.subscribe([(each, 1) for each in reader.filters])
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _u, message: self._read(reader, message.topic, bytes(message.payload))
        client.connect(HOST, port)
        client.loop_start()
        self._subscriber = client
        if not subscribed.wait(START_TIMEOUT_S):
            raise StackError("the subscriber could not subscribe")

    def _read(self, reader: Reader, topic: str, octets: bytes) -> None:
        now = time.monotonic()
        heard_now = reader.take(topic, octets, None, now)
        if reader.asks_for_keys(now) and self._subscriber is not None:
            self._subscriber.subscribe(reader.key_topic, 1)
        for heard in heard_now:
            if heard.kind in ("key", "case") and heard.ok:
                continue
            detail: dict[str, Any] = {"genuine": heard.ok}
            if heard.document is not None:
                self.documents.append(heard.octets)
                detail |= {"counter": heard.document["counter"], "octets": len(octets)}
            self._events.put(Happened(time.time(), "subscriber", "document", detail))

    # -- events

    def events(self) -> list[Happened]:
        """List what has happened since the last call."""
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        start = self._traced
        fresh = self.world.call(lambda: list(self.world.trace)[start:])
        self._traced += len(fresh)
        found += [Happened(self._wall_base + e.t_us / 1e6, e.who, e.what, dict(e.detail)) for e in fresh]
        return sorted(found, key=lambda event: event.at)

    def wait_for(self, wanted: Callable[[Happened], bool], timeout: float, what: str) -> list[Happened]:
        """Collect events until one is wanted. Raises StackError when that does not happen in `timeout` seconds."""
        seen: list[Happened] = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            fresh = self.events()
            seen += fresh
            if self._coming_up:
                self._heard += fresh
            if any(wanted(event) for event in fresh):
                return seen
            if self._relay is not None and self._relay.poll() is not None:
                raise StackError(f"the relay ended while waiting for {what}: " + " ".join(self._relay_last_words[-3:]))
            time.sleep(0.02)
        tail = "\n".join(f"  {e.source} {e.what} {e.detail}" for e in seen[-25:])
        raise StackError(f"waited {timeout:g} s for {what}; it did not happen. Last heard:\n{tail}")
