"""MQTT 3.1.1 packets, octet by octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.links import mqtt_codec as codec


def test_connect():
    assert codec.connect("0a1b2c3d", "0a1b2c3d", "pw", 60) == (
        b"\x10\x22\x00\x04MQTT\x04\xc2\x00\x3c\x00\x080a1b2c3d\x00\x080a1b2c3d\x00\x02pw"
    )


def test_connect_with_a_will():
    """MQTT 3.1.1, 3.1.2.3: will flag, will QoS 1, not retained; 3.1.3: the will stands before user and password."""
    assert codec.connect("c", "u", "pw", 60, ("b/0a/x/hb", b"\x83\x00")) == (
        b"\x10\x23\x00\x04MQTT\x04\xce\x00\x3c\x00\x01c\x00\x09b/0a/x/hb\x00\x02\x83\x00\x00\x01u\x00\x02pw"
    )


def test_publish_subscribe_puback():
    assert codec.publish("t", b"xy", 258) == b"\x32\x07\x00\x01t\x01\x02xy"
    assert codec.subscribe("t", 1) == b"\x82\x06\x00\x01\x00\x01t\x00"
    assert codec.puback(258) == b"\x40\x02\x01\x02"


def test_long_packets_have_two_length_octets():
    packet = codec.publish("t", bytes(200), 1)
    assert packet[1:3] == bytes((205 & 127 | 128, 1))
    ((_, topic, payload, packet_id),) = codec.Decoder().feed(packet)
    assert (topic, payload, packet_id) == ("t", bytes(200), 1)


PACKETS = [
    (b"\x20\x02\x01\x00", (codec.CONNACK, 1, 0)),
    (b"\x20\x02\x00\x05", (codec.CONNACK, 0, 5)),
    (b"\x40\x02\x12\x34", (codec.PUBACK, 0x1234)),
    (b"\x90\x03\x00\x01\x01", (codec.SUBACK, 1, 1)),
    (b"\xd0\x00", (codec.PINGRESP,)),
    (b"\x32\x07\x00\x01t\x00\x09xy", (codec.PUBLISH, "t", b"xy", 9)),
    (b"\x30\x05\x00\x01txy", (codec.PUBLISH, "t", b"xy", None)),
]


@given(st.lists(st.sampled_from(PACKETS), max_size=10), st.data())
def test_decodes_by_any_split(packets, data):
    stream = b"".join(packet for packet, _ in packets)
    decoder, seen, at = codec.Decoder(), [], 0
    while at < len(stream):
        n = data.draw(st.integers(1, 9))
        seen += decoder.feed(stream[at : at + n])
        at += n
    assert seen == [meaning for _, meaning in packets]


@pytest.mark.parametrize(
    "bad",
    [
        b"\x20\x03\x00\x00\x00",
        b"\x20\x02\x02\x00",
        b"\x21\x02\x00\x00",
        b"\x10\x00",
        b"\xf0\x00",
        b"\x34\x05\x00\x01t\x00\x01",
        b"\x32\x04\x00\x09t\x00",
        b"\x32\x05\x00\x01t\x00\x00",
        b"\x32\x00",
        b"\x40\x01\x00",
        b"\x32\xff\xff\xff\xff\x01",
        b"\x32\x81\x04",
        b"\x30\x03\x00\x01\xff",
    ],
)
def test_refused(bad):
    with pytest.raises(ValueError):
        codec.Decoder().feed(bad)


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waits_bounded(data):
    decoder = codec.Decoder()
    try:
        decoder.feed(data)
    except ValueError:
        return
    assert len(decoder._buffer) <= codec.PACKET_MAX + 5
