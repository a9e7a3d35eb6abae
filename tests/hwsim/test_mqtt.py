"""The broker model, packet by packet, as MQTT 3.1.1 wants it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.world import World
from hwsim.world.mqtt import matches

HOST, PORT = "broker.test", 1883


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def connect(
    client: str, clean: bool = False, keepalive: int = 60, user: str = "", password: str = "", will=None
) -> bytes:
    flags = (2 if clean else 0) | (0x80 if user else 0) | (0x40 if password else 0) | (0x0C if will else 0)
    body = text("MQTT") + bytes([4, flags]) + keepalive.to_bytes(2, "big") + text(client)
    if will:
        body += text(will[0]) + text(will[1])
    return packet(0x10, body + (text(user) if user else b"") + (text(password) if password else b""))


def packet(head: int, body: bytes) -> bytes:
    assert len(body) < 16384
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([head]) + length + body


def publish(topic: str, payload: bytes, number: int = 1, dup: bool = False) -> bytes:
    return packet(0x32 | (8 if dup else 0), text(topic) + number.to_bytes(2, "big") + payload)


class Client:
    """The client's end of a connection, without a network in between."""

    def __init__(self, world, broker):
        self.peer = "test"
        self.said = b""
        self.gone = False
        accept = world.net._services[world.net._name(HOST), PORT]
        self._link = type("Link", (), {"accept": lambda link, endpoint: setattr(link, "endpoint", endpoint)})()
        self._link.peer = "test"
        self._link.write = self.write
        self._link.close = self.close
        accept(self._link)

    def write(self, data):
        self.said += data

    def close(self):
        self.gone = True

    def send(self, data):
        self.said = b""
        self._link.endpoint.received(data)
        return self.said

    def vanish(self):
        self._link.endpoint.closed()


@pytest.fixture
def broker(world):
    return world.mqtt_broker(HOST, PORT, tls=False)


@pytest.fixture
def client(world, broker):
    def make(name="one", **options):
        made = Client(world, broker)
        made.connack = made.send(connect(name, **options))
        return made

    return make


def subscribe(topic, number=9):
    return packet(0x82, number.to_bytes(2, "big") + text(topic) + b"\x01")


def test_a_publication_is_acknowledged_and_seen(world, broker, client):
    seen = []
    broker.on_publish(seen.append)
    one = client()
    assert one.connack == b"\x20\x02\x00\x00"
    assert one.send(publish("b/0a/alarm", b"\x00" * 200, 7)) == b"\x40\x02\x00\x07"
    assert [(m.topic, len(m.payload), m.client, m.duplicate) for m in seen] == [("b/0a/alarm", 200, "one", False)]
    assert broker.published == seen
    assert one.send(publish("b/0a/alarm", b"x", 7, dup=True)) == b"\x40\x02\x00\x07"
    assert broker.published[1].duplicate


def test_the_acknowledgement_can_be_late_or_kept_back(world, broker, client):
    one = client()
    broker.puback_delay_us = 2_000_000
    assert one.send(publish("t", b"x")) == b""
    world.run(2.1)
    assert one.said == b"\x40\x02\x00\x01"
    broker.puback_delay_us = None
    assert one.send(publish("t", b"x")) == b""
    world.run(30)
    assert one.said == b""
    assert len(broker.published) == 2


def test_a_session_is_kept_and_what_was_not_acknowledged_comes_again(broker, client):
    one = client()
    assert one.send(subscribe("b/+/ack")) == b"\x90\x03\x00\x09\x01"
    broker.publish("b/0a/ack", b"1")
    assert one.said.endswith(b"\x32\x0d" + text("b/0a/ack") + b"\x00\x011")
    broker.publish("b/0a/ack", b"2")  # waits for the first one's PUBACK
    one.vanish()
    broker.publish("b/0a/ack", b"3")
    broker.publish("elsewhere", b"4")
    again = client()
    assert again.connack == b"\x20\x02\x01\x00\x3a\x0d" + text("b/0a/ack") + b"\x00\x011"  # with DUP
    assert again.send(b"\x40\x02\x00\x01") == b"\x32\x0d" + text("b/0a/ack") + b"\x00\x022"
    assert again.send(b"\x40\x02\x00\x02") == b"\x32\x0d" + text("b/0a/ack") + b"\x00\x033"
    assert again.send(b"\x40\x02\x00\x03") == b""


def test_a_clean_session_is_forgotten(broker, client):
    one = client(clean=True)
    one.send(subscribe("t"))
    one.vanish()
    broker.publish("t", b"x")
    assert client(clean=True).connack == b"\x20\x02\x00\x00"
    client().vanish()
    assert client(clean=True).connack == b"\x20\x02\x00\x00"
    assert broker.sessions.keys() == {"one"}


def test_the_same_client_again_ends_the_first_connection(client):
    one = client()
    two = client()
    assert one.gone
    assert two.connack[2] == 1
    assert not two.gone


def test_users_and_passwords(world, broker, client):
    broker.users = {"anna": "secret"}
    assert client(user="anna", password="secret").connack == b"\x20\x02\x00\x00"
    refused = client(user="anna", password="wrong")
    assert refused.connack == b"\x20\x02\x00\x04"
    assert refused.gone
    assert client().connack == b"\x20\x02\x00\x04"


def test_silence_ends_the_connection_and_publishes_the_will(world, broker, client):
    one = client(keepalive=10, will=("b/0a/gone", "!"))
    world.run(14)
    assert not one.gone
    assert one.send(b"\xc0\x00") == b"\xd0\x00"
    world.run(14)
    assert not one.gone
    world.run(2)
    assert one.gone
    assert broker.published[0].topic == "b/0a/gone"
    two = client(will=("b/0a/gone", "!"))
    two.send(b"\xe0\x00")
    assert two.gone
    assert len(broker.published) == 1  # a DISCONNECT suppresses it


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x34\x05" + text("t") + b"\x00\x01",  # QoS 2
        publish("a/+/b", b""),
        publish("", b""),
        publish("t", b"", number=0),
        b"\x32\x02\x00\x09",  # a field longer than its packet
        b"\x80\x06\x00\x01" + text("t") + b"\x01",  # flags of SUBSCRIBE
        b"\x30\xff\xff\xff\xff\x01",
        b"\x00\x00",
        connect("one"),  # twice
    ],
)
def test_violations_end_the_connection(world, client, wrong):
    one = client()
    one.send(wrong)
    assert one.gone
    world.expect("broker", "protocol error")


@pytest.mark.parametrize("first", [b"\xc0\x00", packet(0x10, text("MQIsdp") + bytes(6)), connect("", clean=False)])
def test_a_wrong_beginning(world, broker, first):
    one = Client(world, broker)
    one.send(first)
    assert one.gone


def test_packets_arrive_in_any_pieces(world, broker):
    one = Client(world, broker)
    for octet in connect("one") + publish("t", b"hello", 3):
        one._link.endpoint.received(bytes([octet]))
    assert one.said == b"\x20\x02\x00\x00\x40\x02\x00\x03"


def test_it_goes_down_and_comes_back_with_its_sessions(world, broker, client):
    one = client()
    one.send(subscribe("t"))
    broker.down()
    one.vanish()  # what the network does to it
    assert (world.net.resolve(HOST), PORT) not in world.net._services
    broker.publish("t", b"x")
    broker.up()
    again = client()
    assert again.connack == b"\x20\x02\x01\x00\x32\x06\x00\x01t\x00\x01x"


@pytest.mark.parametrize(
    ("pattern", "topic", "match"),
    [
        ("b/+/+/alarm", "b/0a/0a1b2c3d/alarm", True),
        ("b/+/+/alarm", "b/0a/0a1b2c3d/hb", False),
        ("b/+", "b", False),
        ("b/#", "b/x/y", True),
        ("#", "b/x", True),
        ("b/x", "b/x/y", False),
        ("b/x/y", "b/x", False),
    ],
)
def test_patterns(pattern, topic, match):
    assert matches(pattern, topic) is match


@given(st.binary(max_size=100))
def test_no_octets_upset_it(noise):
    with World() as world:
        broker = world.mqtt_broker(HOST, PORT, tls=False)
        Client(world, broker).send(noise)
        one = Client(world, broker)
        one.send(connect("one"))
        one.send(noise)


def test_another_certificate_breaks_connections_and_keeps_sessions(world, broker, client):
    first = client("a")
    first.send(subscribe("t"))
    broker.present(world.authority.server(HOST))
    first.vanish()
    client("b")  # it does not speak TLS
    world.expect("network", "tls refused")
    broker.publish("t", b"kept")
    assert [message.payload for message in broker.sessions["a"].queue] == [b"kept"]


def test_the_trace_can_say_a_name_instead_of_a_random_one(world, broker, client):
    broker.names = {"0badcafe": "kid"}
    one = client("0badcafe")
    one.send(publish("b/0badcafe/alarm", b"x"))
    assert "0badcafe" not in world.format_trace()
    world.expect("broker", "publish", client="kid", topic="b/kid/alarm")
