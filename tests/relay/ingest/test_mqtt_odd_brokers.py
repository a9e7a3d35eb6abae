"""The MQTT connection to brokers that send packets in parts, don't answer, refuse, or close on what they forbid."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relay.ingest.mqtt import Message, MqttLink
from relay.verify import Reason, Refused, parse
from relay.verify.envelope import MAX_OCTETS
from tests.relay.ingest.fake_broker import KID, TOPIC, FakeBroker, Recorder, alone, drive


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
    got: list[Message] = []
    length = 3_000_000
    parts = [head(0x32, length) + b"\x00\x01t\x00\x07", *[bytes(30_000)] * 99, bytes(30_000 - 5)]
    with fed(got.append) as (link, far, _):
        reads = 0
        for part in parts:
            far.sendall(part)
            reads += drive(link, 0.002)
        reads += drive(link, 5, lambda: got)
        assert [(m.mid, len(m.octets)) for m in got] == [(7, 1 << 16)]
        assert reads <= 3 * len(parts)


def test_of_a_giant_message_next_to_nothing_is_kept_and_what_follows_is_read() -> None:
    """64 MiB from a hostile broker, the longest topic there is, then an alarm on the same connection."""
    got: list[Message] = []
    size, topic = 1 << 26, b"t" * 65535
    begin = len(topic).to_bytes(2, "big") + topic + b"\x00\x07"
    with fed(got.append) as (link, far, log):
        link._longest = MAX_OCTETS + 1
        far.sendall(head(0x32, size) + begin)
        tracemalloc.start()
        for _ in range((size - len(begin)) >> 16):
            far.sendall(bytes(1 << 16))
            link.readable()
        assert got == [], "it is reported once it has come"
        far.sendall(bytes((size - len(begin)) & 0xFFFF) + b"\x32\x06\x00\x01t\x00\x08x")
        drive(link, 5, lambda: len(got) == 2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 1 << 20
        assert [(len(m.topic), m.mid, m.octets) for m in got] == [(65535, 7, bytes(MAX_OCTETS + 1)), (1, 8, b"x")]
        with pytest.raises(Refused) as refused:
            parse(got[0].octets)
        assert refused.value.reason is Reason.OVERSIZED
        link.acknowledge(got[0])
        link.flush()
        assert far.recv(100)[-4:] == b"\x40\x02\x00\x07"
        assert "mqtt.disconnected" not in log.events


@pytest.mark.parametrize("kind", [0x20, 0x90, 0xB0, 0xD0, 0xF0], ids=hex)
def test_a_giant_packet_of_another_kind_ends_the_connection_before_it_is_kept(kind: int) -> None:
    with fed(lambda _: None) as (link, far, log):
        far.sendall(head(kind, (1 << 28) - 1) + bytes(1000))
        drive(link, 5, lambda: "mqtt.malformed" in log.events)
        assert "can't be so long" in str(log.fields["mqtt.malformed"]["error"])


def head(first: int, length: int) -> bytes:
    return bytes((first, length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21))


@contextmanager
def fed(on_message: Callable[[Message], None]) -> Iterator[tuple[MqttLink, socket.socket, Recorder]]:
    """A connection whose octets the test sends itself, once the broker has let it in."""
    near, far = socket.socketpair()
    broker, log = FakeBroker(), Recorder()
    link = alone(broker.port, log, on_message)
    drive(link, 5, lambda: link.connected)
    sock = link._socket()
    assert sock is not None
    sock._sock.close()
    near.setblocking(False)
    sock._sock = near
    link._client._sock = sock
    yield link, far, log
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
