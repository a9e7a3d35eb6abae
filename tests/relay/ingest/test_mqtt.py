"""The MQTT connection on a real broker: acknowledgements, reconnects, and that it never blocks the loop."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from relay import pki
from relay.broker import users_for
from relay.broker.nats import NatsBroker
from relay.ingest.mqtt import Endpoint, Message, MqttLink, client_tls
from tests.relay.ingest.fake_broker import KID, PASSWORD, TOPIC, FakeBroker, Quiet, Recorder, alone, drive

PUBACK, PINGREQ = 4, 12


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsBroker]:
    folder = tmp_path_factory.mktemp("broker")
    authority = pki.create_ca()
    certificate, key = pki.issue_server(authority, ["localhost"])
    for name, content in (("ca", authority.cert_pem), ("cert", certificate), ("key", key)):
        (folder / name).write_bytes(content)
    users = users_for([(KID, KID, PASSWORD)], PASSWORD)
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


def test_a_retained_message_comes_again_when_asked_for(pair: tuple[Party, Party]) -> None:
    relay, device = pair
    topic, log = f"b/0/{KID}/ack", Recorder()
    relay.link.publish(topic, b"kept", time.monotonic(), retain=True)
    until(lambda: device.messages, relay, device)
    device.link.acknowledge(device.messages[0])
    device.link._log = log
    device.link.ask_again(topic)
    until(lambda: len(device.messages) == 2, relay, device)
    assert device.messages[1].octets == b"kept"
    assert device.link.connected
    assert log.events == [], "it is ready once"
    relay.link.publish(topic, b"", time.monotonic(), retain=True)
    until(lambda: relay.link.outstanding == 0, relay, device)


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
