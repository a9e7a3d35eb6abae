"""PUBLISH and PUBACK, octet by octet: what is written is read again, cut anywhere, and nothing hostile gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ingest.qos1 import PUBACK, PUBLISH, head, puback, publish, read_puback, read_publish

ids = st.integers(1, 65535)
topics = st.text(max_size=60).map(str.encode)


def test_the_octets_are_those_of_the_standard() -> None:
    assert publish(b"a/b", 10, b"xyz") == bytes.fromhex("320a 0003 612f62 000a 78797a")  # 3.3, with QoS 1
    assert puback(0x1234) == bytes.fromhex("4002 1234")
    assert publish(b"t", 1, bytes(200))[:3] == bytes((0x32, 0x80 | 205 & 127, 205 >> 7))


@given(st.lists(st.tuples(topics, ids, st.binary(max_size=400)), max_size=5), st.integers(0, 30))
def test_a_stream_is_taken_apart_into_what_went_in(messages: list[tuple[bytes, int, bytes]], longest: int) -> None:
    stream = b"".join(publish(*message) + puback(message[1]) for message in messages)
    at = 0
    for topic, mid, octets in messages:
        packet = head(stream, at)
        assert packet is not None
        assert packet.kind == PUBLISH
        assert read_publish(stream, packet, longest) == (topic, mid, octets[:longest])
        packet = head(stream, packet.end)
        assert packet is not None
        assert packet.kind == PUBACK
        assert read_puback(stream, packet) == mid
        at = packet.end
    assert at == len(stream)


@given(topics, ids, st.binary(max_size=300), st.data())
def test_of_a_packet_cut_short_the_end_is_known_or_nothing(
    topic: bytes, mid: int, octets: bytes, data: st.DataObject
) -> None:
    packet = publish(topic, mid, octets)
    cut = packet[: data.draw(st.integers(0, len(packet) - 1))]
    found = head(cut, 0)
    assert found is None or found.end == len(packet)


@given(st.binary(min_size=1, max_size=40))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    try:
        packet = head(octets, 0)
        if packet is None or packet.end > len(octets):
            return
        topic, mid, payload = read_publish(octets, packet, 1000)
        assert len(topic) + len(payload) + (4 if mid is not None else 2) == packet.end - packet.start
    except ValueError:
        pass


def test_qos_0_has_no_id_and_qos_2_is_refused() -> None:
    at_most_once = b"\x30\x04\x00\x01tx"
    packet = head(at_most_once, 0)
    assert packet is not None
    assert read_publish(at_most_once, packet, 10) == (b"t", None, b"x")
    exactly_once = b"\x34" + publish(b"t", 1, b"x")[1:]
    packet = head(exactly_once, 0)
    assert packet is not None
    with pytest.raises(ValueError, match="QoS"):
        read_publish(exactly_once, packet, 10)


def test_a_length_of_five_octets_is_no_mqtt() -> None:
    assert head(b"\x30\xff\xff\xff", 0) is None
    with pytest.raises(ValueError, match="length"):
        head(b"\x30\xff\xff\xff\xff\x01", 0)
