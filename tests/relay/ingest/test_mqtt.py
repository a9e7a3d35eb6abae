"""The MQTT connection on a real broker: acknowledgements, reconnects, and that it never blocks the loop."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from relay import pki
from relay.broker import users_for
from relay.broker.nats import NatsBroker
from relay.ingest.mqtt import Endpoint, Message, MqttLink, client_tls

KID, PASSWORD = "0a1b2c3d", "a-password-for-everybody"
TOPIC = f"b/0/{KID}/alarm"
PUBACK, PINGREQ = 4, 12


class Quiet:
    def _note(self, event: str, **fields: Any) -> None:
        pass

    debug = info = warning = error = _note


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsBroker]:
    folder = tmp_path_factory.mktemp("broker")
    authority = pki.create_ca()
    certificate, key = pki.issue_server(authority, ["localhost"])
    for name, content in (("ca", authority.cert_pem), ("cert", certificate), ("key", key)):
        (folder / name).write_bytes(content)
    users = users_for([(KID, PASSWORD)], PASSWORD, PASSWORD)
    made = NatsBroker(folder / "b", "127.0.0.1", 0, folder / "cert", folder / "key", users)
    made.start()
    made.wait_ready()
    yield made
    made.stop()


class Party:
    """A link and what came through it."""

    def __init__(
        self, broker: NatsBroker, user: str, filters: tuple[str, ...], client_id: str, room: int = 10**9
    ) -> None:
        ca = broker.folder.parent / "ca"
        endpoint = Endpoint("localhost", broker.port, client_id, user, PASSWORD, client_tls(ca))
        self.messages: list[Message] = []
        self.published: list[int] = []
        self.room = room
        self.link = MqttLink(
            endpoint,
            Quiet(),
            filters=filters,
            on_message=self.messages.append,
            on_published=self.published.append,
            has_room=lambda: len(self.messages) < self.room,
        )

    def turn(self) -> None:
        self.link.tick(time.monotonic())
        self.link.flush()
        fd = self.link.fileno()
        if fd is None:
            time.sleep(0.005)
        elif select.select([fd], [], [], 0.005)[0] or self.link.unread:
            self.link.readable()
        self.link.flush()


def until(condition: Callable[[], object], *parties: Party, timeout: float = 15.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        for party in parties:
            party.turn()


@pytest.fixture
def pair(broker: NatsBroker, request: pytest.FixtureRequest) -> Iterator[tuple[Party, Party]]:
    relay = Party(broker, "relay", ("b/+/+/alarm",), f"relay-{abs(hash(request.node.name)) % 10**9}")
    device = Party(broker, KID, (f"b/0/{KID}/ack",), KID)
    until(lambda: relay.link.connected and device.link.connected, relay, device)
    yield relay, device
    for party in (relay, device):
        party.link.close()


def send(device: Party, *messages: bytes) -> None:
    for message in messages:
        device.link.publish(TOPIC, message, time.monotonic())


def test_what_is_acknowledged_does_not_come_again(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    send(device, b"one", b"two")
    until(lambda: len(relay.messages) == 2, relay, device)
    relay.link.acknowledge(relay.messages[0])
    relay.link.flush()
    relay.link.reconnect(time.monotonic())
    until(lambda: len(relay.messages) == 3, relay, device)
    assert [m.octets for m in relay.messages] == [b"one", b"two", b"two"]
    relay.link.acknowledge(relay.messages[2])


def test_an_id_of_an_earlier_connection_is_not_acknowledged(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    send(device, b"one")
    until(lambda: relay.messages, relay, device)
    (old,) = relay.messages
    relay.link.reconnect(time.monotonic())
    until(lambda: len(relay.messages) == 2, relay, device)
    relay.link.acknowledge(old)  # may belong to another message by now
    relay.link.reconnect(time.monotonic())
    until(lambda: len(relay.messages) == 3, relay, device)
    relay.link.acknowledge(relay.messages[2])


def test_a_message_that_the_broker_repeats_while_it_is_worked_on_is_reported_once(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    send(device, b"one")
    until(lambda: relay.messages, relay, device)
    end = time.monotonic() + 3  # the broker repeats after 2 s
    until(lambda: time.monotonic() > end, relay, device)
    assert len(relay.messages) == 1
    relay.link.acknowledge(relay.messages[0])


def test_a_burst_is_read_to_its_end(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    messages = [b"%060d" % n for n in range(5000)]
    send(device, *messages)
    until(lambda: len(relay.messages) == 5000, relay, device)
    assert [m.octets for m in relay.messages] == messages
    assert sorted(device.published) == sorted(set(device.published))
    for message in relay.messages:
        relay.link.acknowledge(message)
    until(lambda: not relay.link.wants_write and device.link.outstanding == 0, relay, device)


def test_without_room_nothing_more_is_taken(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    relay.room = 10
    send(device, *(b"%d" % n for n in range(100)))
    until(lambda: len(relay.messages) == 10 and device.link.outstanding == 0, relay, device)
    for _ in range(20):
        relay.turn()
    assert len(relay.messages) == 10
    assert relay.link.connected
    relay.room = 10**9
    until(lambda: len(relay.messages) == 100, relay, device)
    for message in relay.messages:
        relay.link.acknowledge(message)
    relay.link.flush()


def test_what_is_published_without_a_connection_goes_out_later(broker: NatsBroker) -> None:
    relay = Party(broker, "relay", ("b/+/+/alarm",), "relay-later")
    until(lambda: relay.link.connected, relay)
    device = Party(broker, KID, (f"b/0/{KID}/ack",), KID)
    send(device, b"early")
    assert device.link.outstanding == 1
    until(lambda: relay.messages and device.link.outstanding == 0, relay, device)
    relay.link.acknowledge(relay.messages[0])
    for party in (relay, device):
        party.link.close()


def test_a_server_that_accepts_and_says_nothing_does_not_block_the_loop(broker: NatsBroker) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tls = client_tls(broker.folder.parent / "ca")
        endpoint = Endpoint("localhost", silent.getsockname()[1], "relay", "relay", PASSWORD, tls)
        link = MqttLink(endpoint, Quiet(), on_message=lambda _: None, on_published=lambda _: None)
        start = time.monotonic()
        for _ in range(20):
            link.tick(time.monotonic())
            assert link.fileno() is None
        assert time.monotonic() - start < 0.5


def test_a_name_and_a_password_do_not_show(broker: NatsBroker) -> None:
    tls = client_tls(broker.folder.parent / "ca")
    assert PASSWORD not in repr(Endpoint("localhost", 1, "relay", "relay", PASSWORD, tls))


class Recorder(Quiet):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.fields: dict[str, dict[str, Any]] = {}  # of the newest of each

    def _note(self, event: str, **fields: Any) -> None:
        self.events.append(event)
        self.fields[event] = fields

    debug = info = warning = error = _note


class FakeBroker:
    """Speaks just enough MQTT, and that late or wrong: what a real broker does only on a bad day."""

    def __init__(
        self, connack: int = 0, connack_after: float = 0.0, suback: int | None = 1,
        says: bytes = b"", acks: int = 10**9, hangs_up: bool = False, forbids: bytes | None = None,
        trickles: float = 0.0, on_connect: str = "answers",
    ) -> None:  # fmt: skip
        self.connections = 0
        self.published: list[bytes] = []
        self.kinds: list[int] = []  # of the packets that came
        self._says, self._acks, self._hangs_up = says, acks, hangs_up
        self.forbids, self._trickles, self._on_connect = forbids, trickles, on_connect
        self._connack, self._after, self._suback = connack, connack_after, suback
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._talk, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while head := stream.read(1):
                body = stream.read(stream.read(1)[0])
                self.kinds.append(head[0] >> 4)
                if head[0] == 0x10:
                    time.sleep(self._after)
                    if self._on_connect == "closes":
                        return
                    if self._on_connect == "is silent":
                        continue
                    connection.sendall(bytes((0x20, 2, 0, self._connack)))
                    if self._connack:
                        return
                elif head[0] == 0x82 and self._on_connect == "closes on SUBSCRIBE":
                    return
                elif head[0] == 0x82 and self._suback is not None:
                    connection.sendall(bytes((0x90, 4)) + body[:2] + bytes((self._suback, self._suback)))
                    for octet in self._says if self._trickles else ():
                        connection.sendall(bytes((octet,)))
                        time.sleep(self._trickles)
                    connection.sendall(b"" if self._trickles else self._says)
                    if self._hangs_up:
                        return
                elif head[0] >> 4 == 3 and self.forbids is not None and self.forbids in body:
                    return
                elif head[0] >> 4 == 3:
                    self.published.append(head + body)
                    at = 2 + int.from_bytes(body[:2], "big")
                    if self._acks >= len(self.published):
                        connection.sendall(bytes((0x40, 2)) + body[at : at + 2])

    def close(self) -> None:
        self._listening.close()


def alone(
    port: int, log: Quiet, on_message: Callable[[Message], None] = lambda _: None, keepalive: int = 30
) -> MqttLink:
    endpoint = Endpoint("127.0.0.1", port, "relay", "relay", PASSWORD, None, keepalive)
    return MqttLink(endpoint, log, on_message=on_message, on_published=lambda _: None)


def drive(link: MqttLink, seconds: float, done: Callable[[], object] = lambda: False, ahead: float = 0.0) -> int:
    """Turn the loop; how often it found something to read. `ahead`: as if so much time had passed already."""
    end = time.monotonic() + seconds
    reads = 0
    while time.monotonic() < end and not done():
        fd = link.fileno()
        if fd is not None and (link.unread or select.select([fd], [], [], 0.005)[0]):
            link.readable()
            reads += 1
        elif fd is None:
            time.sleep(0.005)
        link.tick(time.monotonic() + ahead)
        link.flush()
    return reads


def test_a_broker_that_takes_its_time_after_an_outage_is_given_it() -> None:
    broker, log = FakeBroker(connack_after=0.5), Recorder()
    link = alone(broker.port, log)
    link.publish(TOPIC, b"waits since long", time.monotonic() - 3600)
    drive(link, 5, lambda: link.connected and link.outstanding == 0)
    assert link.outstanding == 0
    assert "mqtt.no_puback" not in log.events
    assert broker.connections == 1
    link.close()
    broker.close()


def test_a_broker_that_refuses_us_is_not_asked_without_pause() -> None:
    broker, log = FakeBroker(connack=5), Recorder()
    link = alone(broker.port, log)
    drive(link, 3)
    assert "mqtt.refused" in log.events
    assert broker.connections <= 4
    link.close()
    broker.close()


@pytest.mark.parametrize("suback", [0x80, None])
def test_a_subscription_that_was_not_granted_is_asked_for_again(suback: int | None) -> None:
    broker, log = FakeBroker(suback=suback), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: "mqtt.connected" in log.events)
    drive(link, 0.3)
    assert not link.connected
    drive(link, 5, lambda: broker.connections == 2, ahead=31.0)
    assert broker.connections == 2
    assert "mqtt.not_subscribed" in log.events
    link.close()
    broker.close()


def test_of_a_huge_message_only_the_beginning_is_kept(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    relay.link._longest = 141
    send(device, bytes(60_000))
    until(lambda: relay.messages, relay, device)
    assert len(relay.messages[0].octets) == 141
    relay.link.acknowledge(relay.messages[0])


def test_what_was_not_confirmed_is_sent_again_on_the_next_connection_as_a_repetition() -> None:
    broker, log = FakeBroker(acks=1), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: link.connected)
    for octets in (b"1", b"2", b"3"):
        link.publish(TOPIC, octets, time.monotonic())
    drive(link, 5, lambda: len(broker.published) == 3 and link.outstanding == 2)
    link.reconnect(time.monotonic())
    drive(link, 5, lambda: len(broker.published) == 5)
    first, again = broker.published[1:3], broker.published[3:]
    assert [p[:1] for p in again] == [bytes((0x3A,))] * 2
    assert [p[1:] for p in again] == [p[1:] for p in first]
    link.close()
    broker.close()


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="endless length"),
        pytest.param(b"\x32\x03\x00\x09t", id="topic longer than the packet"),
        pytest.param(b"\x34\x05\x00\x01t\x00\x01", id="QoS 2"),
        pytest.param(b"\x40\x01\x00", id="short PUBACK"),
        pytest.param(b"\x90\x01\x00", id="short SUBACK"),
        pytest.param(b"\xf0\x00", id="reserved kind"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
    ],
)
def test_what_is_not_mqtt_ends_the_connection_and_nothing_else(says: bytes) -> None:
    broker, log = FakeBroker(says=says), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: broker.connections == 2)
    assert broker.connections == 2
    assert "mqtt.disconnected" in log.events
    link.close()
    broker.close()


def test_a_packet_that_ends_with_the_connection_is_not_waited_for() -> None:
    broker, log = FakeBroker(says=b"\x32\x30half a message", hangs_up=True), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: broker.connections == 2)
    assert broker.connections == 2
    link.close()
    broker.close()


def test_a_message_with_qos_0_is_reported_and_not_acknowledged() -> None:
    got: list[Message] = []
    broker, log = FakeBroker(says=b"\x30\x04\x00\x01tx" + b"\x32\x06\x00\x01t\x00\x08y"), Recorder()
    link = alone(broker.port, log, got.append)
    drive(link, 5, lambda: len(got) == 2)
    assert [(m.mid, m.octets) for m in got] == [(None, b"x"), (8, b"y")]
    for message in got:
        link.acknowledge(message)
    drive(link, 5, lambda: PUBACK in broker.kinds)
    drive(link, 0.2)
    assert broker.kinds.count(PUBACK) == 1
    link.close()
    broker.close()


def test_a_broker_that_falls_silent_is_left() -> None:
    broker, log = FakeBroker(), Recorder()
    link = alone(broker.port, log, keepalive=1)
    drive(link, 20, lambda: broker.connections == 2)
    assert broker.connections == 2
    assert PINGREQ in broker.kinds
    link.close()
    broker.close()


def test_while_messages_flow_nobody_waits_for_an_answer_to_a_ping() -> None:
    broker, log = FakeBroker(), Recorder()  # it answers none: the answer would wait behind the messages
    link = alone(broker.port, log, keepalive=2)
    drive(link, 5, lambda: link.connected)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        link.publish(TOPIC, b"x", time.monotonic())
        drive(link, 0.05, lambda: not link.outstanding)
    assert broker.connections == 1
    assert "mqtt.disconnected" not in log.events
    link.close()
    broker.close()


def test_a_message_longer_than_any_buffer_is_cut_and_what_follows_is_read() -> None:
    length = 3_000_000
    body = b"\x00\x01t\x00\x07" + bytes(length - 5)
    huge = b"\x32" + bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21)) + body
    got: list[Message] = []
    broker, log = FakeBroker(says=huge + b"\x32\x06\x00\x01t\x00\x08x"), Recorder()
    link = alone(broker.port, log, got.append)
    drive(link, 10, lambda: len(got) == 2)
    assert [(m.mid, len(m.octets)) for m in got] == [(7, 1 << 16), (8, 1)]
    assert log.events.count("mqtt.connected") == 1
    link.close()
    broker.close()


def test_half_a_packet_is_waited_for_and_not_looked_at_again_and_again() -> None:
    got: list[Message] = []
    broker, log = FakeBroker(says=b"\x32\x30\x00\x01thalf a message"), Recorder()
    link = alone(broker.port, log, got.append)
    drive(link, 5, lambda: link.connected)
    drive(link, 0.3)
    assert drive(link, 0.5) == 0
    assert link.unread == 0
    link.close()
    broker.close()


def test_a_packet_that_trickles_in_costs_a_look_for_each_part_of_it() -> None:
    got: list[Message] = []
    message = b"\x32\x96\x01\x00\x01t\x00\x08" + bytes(145)
    broker, log = FakeBroker(says=message, trickles=0.005), Recorder()
    link = alone(broker.port, log, got.append)
    assert drive(link, 10, lambda: got) <= len(message) + 10
    assert len(got) == 1
    link.close()
    broker.close()


def test_a_huge_packet_that_trickles_in_costs_a_look_for_each_part_of_it() -> None:
    near, far = socket.socketpair()
    got: list[Message] = []
    broker, log = FakeBroker(), Recorder()
    link = alone(broker.port, log, got.append)
    drive(link, 5, lambda: link.connected)
    length = 3_000_000
    head = b"\x32" + bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21))
    sock = link._socket()
    assert sock is not None
    sock._sock.close()
    near.setblocking(False)
    sock._sock = near
    link._client._sock = sock
    reads = 0
    parts = [head + b"\x00\x01t\x00\x07", *[bytes(30_000)] * 99, bytes(30_000 - 5)]
    for part in parts:
        far.sendall(part)
        reads += drive(link, 0.002)
    reads += drive(link, 5, lambda: got)
    assert [(m.mid, len(m.octets)) for m in got] == [(7, 1 << 16)]
    assert reads <= 3 * len(parts)
    link.close()
    broker.close()
    far.close()


@pytest.mark.parametrize("what", ["closes", "is silent"])
def test_a_broker_that_does_not_answer_is_told_of_with_what_happened(what: str) -> None:
    broker, log = FakeBroker(on_connect=what), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: broker.kinds)
    drive(link, 5, lambda: "mqtt.unreachable" in log.events, ahead=0.0 if what == "closes" else 11.0)
    told = log.fields["mqtt.unreachable"]
    assert ("closed" if what == "closes" else "did not answer within 10 s") in str(told["error"])
    assert "MQTT 3.1.1" in told["hint"]
    assert "mqtt.connected" not in log.events
    drive(link, 5, lambda: broker.connections == 2, ahead=25.0)
    assert broker.connections >= 2
    link.close()
    broker.close()


@pytest.mark.parametrize("suback", [0x80, "closes on SUBSCRIBE"])
def test_a_filter_that_is_refused_is_an_error_each_time(suback: int | str) -> None:
    if isinstance(suback, int):
        broker, log = FakeBroker(suback=suback), Recorder()
    else:
        broker, log = FakeBroker(on_connect=suback), Recorder()
    link = alone(broker.port, log)
    drive(link, 10, lambda: log.events.count("mqtt.subscription_refused") == 1)
    drive(link, 10, lambda: log.events.count("mqtt.subscription_refused") == 2, ahead=31.0)
    assert log.events.count("mqtt.subscription_refused") == 2
    assert "let relay read b/+/+/alarm and b/+/+/hb" in log.fields["mqtt.subscription_refused"]["hint"]
    assert "mqtt.ready" not in log.events
    assert not link.connected
    link.close()
    broker.close()


def test_while_a_filter_is_refused_messages_are_published_all_the_same() -> None:
    broker, log = FakeBroker(suback=0x80), Recorder()
    link = alone(broker.port, log)
    link.publish(TOPIC, b"of an alarm that came by SMS", time.monotonic())
    drive(link, 5, lambda: broker.published and link.outstanding == 0)
    assert len(broker.published) == 1
    link.close()
    broker.close()


def test_a_message_that_the_broker_closes_on_is_set_aside_and_the_others_go_on() -> None:
    broker, log = FakeBroker(forbids=b"/case"), Recorder()
    link = alone(broker.port, log)
    drive(link, 5, lambda: link.connected)
    now = time.monotonic()
    for topic in (f"r/{KID}/alarm", f"r/{KID}/case", f"b/0/{KID}/ack"):
        link.publish(topic, b"x", now)
    drive(link, 20, lambda: "mqtt.set_aside" in log.events)
    told = log.fields["mqtt.set_aside"]
    assert (told["rule"], told["kid"]) == ("r/+/case", KID)
    assert "let relay publish r/+/case" in told["hint"]
    drive(link, 10, lambda: link.outstanding == 1)
    link.publish(f"b/0/{KID}/ack", b"later", time.monotonic())
    drive(link, 4, lambda: link.outstanding == 1)
    assert {p[3 : 3 + p[2]].decode() for p in broker.published} == {f"r/{KID}/alarm", f"b/0/{KID}/ack"}
    connections = broker.connections
    assert connections <= 4
    broker.forbids = None
    drive(link, 20, lambda: link.outstanding == 0, ahead=10.0)
    assert link.outstanding == 0
    assert broker.connections == connections
    assert "mqtt.set_aside_passed" in log.events
    link.close()
    broker.close()
