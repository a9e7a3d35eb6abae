"""A broker of either kind with TLS and users, and real MQTT clients that connect to it."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from hwsim import toolchain
from relay import pki
from relay.broker import INTAKES, Broker, MqttUser, own_users, users_for
from relay.broker.mosquitto import MosquittoBroker
from relay.broker.nats import NatsBroker
from relay.registry import Registry
from relay.store import Store
from relay.store.database import open_store
from tests.relay.support import KEYS, NOW, STORE_KEY

ANNA, BORIS = "0a1b2c3d", "0a99ffee"
PARTNER, SECOND, AUDIENCE = "sub-0000000a", "sub-0000000b", "0000c0ffee01"
PASSWORDS = dict.fromkeys(("relay", *INTAKES, "programs", "probe", "probe-bracelet"), "the-relay-has-one-too") | {
    ANNA: "anna-has-her-own-password",
    BORIS: "boris-has-one-as-well",
    PARTNER: "a-partner-has-its-own",
    SECOND: "the-second-has-another",
}
TIMEOUT = 10


class Client:
    """A paho client whose steps wait for the broker's answer; what arrives is acknowledged only when asked to."""

    def __init__(self, broker: Broker, ca: Path, user: str, password: str, client_id: str, clean: bool) -> None:
        self.received: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        self.code = -1
        self.granted: list[int] = []
        self.session_present = False
        self.broker = broker
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self.paho.max_inflight_messages_set(0)
        self.paho.username_pw_set(user, password)
        self.paho.tls_set_context(ssl.create_default_context(cafile=str(ca)))
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_message = lambda client, userdata, message: self.received.put(message)

    def _on_connect(self, client, userdata, flags, reason, properties) -> None:
        self.code = 0 if reason == "Success" else reason.value
        self.session_present = flags.session_present
        self._connected.set()

    def _on_subscribe(self, client, userdata, mid, reasons, properties) -> None:
        self.granted = [reason.value for reason in reasons]
        self._subscribed.set()

    def connect(self) -> Client:
        self._connected.clear()
        self.paho.connect(self.broker.host, self.broker.port)
        self.paho.loop_start()
        assert self._connected.wait(TIMEOUT), "no CONNACK"
        return self

    def subscribe(self, topic: str) -> list[int]:
        self._subscribed.clear()
        self.paho.subscribe(topic, qos=1)
        assert self._subscribed.wait(TIMEOUT), "no SUBACK"
        return self.granted

    def publish(self, topic: str, payload: bytes) -> None:
        self.paho.publish(topic, payload, qos=1).wait_for_publish(TIMEOUT)

    def receive(self, timeout: float = TIMEOUT) -> mqtt.MQTTMessage:
        return self.received.get(timeout=timeout)

    def ack(self, message: mqtt.MQTTMessage) -> None:
        self.paho.ack(message.mid, message.qos)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self) -> None:
        """Lose the connection without a word, as a crash does."""
        self.paho.loop_stop()
        connection = self.paho.socket()
        if connection is not None:
            connection.close()


Connect = Callable[..., Client]


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, cert.pem and key.pem for 127.0.0.1, and another CA's other.pem."""
    folder = tmp_path_factory.mktemp("tls")
    authority = pki.create_ca()
    cert, key = pki.issue_server(authority, ["127.0.0.1"])
    (folder / "ca.pem").write_bytes(authority.cert_pem)
    (folder / "other.pem").write_bytes(pki.create_ca().cert_pem)
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    return folder


def everyone() -> list[MqttUser]:
    bracelets = [(kid, kid, PASSWORDS[kid]) for kid in (ANNA, BORIS)]
    partners = [(name, PASSWORDS[name], AUDIENCE) for name in (PARTNER, SECOND)]
    return users_for(bracelets, PASSWORDS["relay"], partners)


def make(kind: str, folder: Path, tls: Path, users: list[MqttUser]) -> NatsBroker | MosquittoBroker:
    where = (folder, "127.0.0.1", 0, tls / "cert.pem", tls / "key.pem", users)
    return NatsBroker(*where) if kind == "nats" else MosquittoBroker(*where, program=toolchain.mosquitto())


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, tls_files: Path) -> Iterator[Broker]:
    """Each kind in turn, ready."""
    with running(request.param, tmp_path / "broker", tls_files) as made:
        yield made


@contextmanager
def running(kind: str, folder: Path, tls: Path) -> Iterator[NatsBroker | MosquittoBroker]:
    """A broker of that kind from here to the end, ready."""
    made = make(kind, folder, tls, everyone())
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture
def nats(tmp_path: Path, tls_files: Path) -> Iterator[NatsBroker]:
    """The embedded broker alone, for what only it promises."""
    made = make("nats", tmp_path / "broker", tls_files, everyone())
    assert isinstance(made, NatsBroker)
    made.start()
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture
def connect(tls_files: Path) -> Iterator[Connect]:
    """connect(broker, user) -> Client; all are closed at the end."""
    clients: list[Client] = []

    def connect(
        broker: Broker, user: str, *, password: str = "", client_id: str = "", clean: bool = True, ca: str = "ca.pem"
    ) -> Client:
        client = Client(broker, tls_files / ca, user, password or PASSWORDS[user], client_id or user, clean)
        clients.append(client)
        return client.connect()

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'relay.sqlite3'}", STORE_KEY)
    yield made
    made.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, KEYS)


@pytest.fixture
def gated(tmp_path: Path, tls_files: Path, registry: Registry) -> Iterator[NatsBroker]:
    """The embedded broker as the relay starts it: bracelets are in the store, not in a list."""
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    users = own_users(PASSWORDS["relay"])
    broker = NatsBroker(*where, users, store=str(registry.store.engine.url))
    broker.start()
    broker.wait_ready()
    yield broker
    broker.stop()


def offered(registry: Registry) -> tuple[str, str, str]:
    """A new bracelet's account, password and key id."""
    offer = registry.offer("heron", now=NOW, host="h", port=1, ca_der=b"")
    return offer["mqtt"]["user"], offer["mqtt"]["password"], offer["kid"]


@pytest.fixture
def come(gated: NatsBroker, tls_files: Path) -> Iterator:
    clients = []

    def come(name: str, password: str, client_id: str = "", clean: bool = True) -> Client:
        client = Client(gated, tls_files / "ca.pem", name, password, client_id or name, clean)
        clients.append(client)
        return client.connect()

    yield come
    for client in clients:
        client.close()
