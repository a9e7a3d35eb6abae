# sans-I/O
# hwsim: no-float
"""MQTT 3.1.1 (OASIS) control packets to and from octets: the subset of a client that sends with QoS 1.

Pure. It refuses with ValueError what a broker must not send us, and packets longer than any of ours could be.
"""

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13
PACKET_MAX = 512
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def _text(value):
    if isinstance(value, str):
        value = value.encode()
    if len(value) > PACKET_MAX:
        raise ValueError
    return len(value).to_bytes(2, "big") + value


def _packet(first, body):
    length = len(body)
    if length > 16383:
        raise ValueError
    head = bytes((first, length)) if length < 128 else bytes((first, length & 127 | 128, length >> 7))
    return head + body


def connect(client, user, password, keepalive, will=None):
    """Begin a session that ends with its connection. `will`: (topic, payload), for QoS 1 and not retained."""
    flags = b"\xce" if will else b"\xc2"
    left = _text(will[0]) + _text(will[1]) if will else b""
    body = b"\x00\x04MQTT\x04" + flags + keepalive.to_bytes(2, "big")
    return _packet(0x10, body + _text(client) + left + _text(user) + _text(password))


def publish(topic, payload, packet_id):
    return _packet(0x32, _text(topic) + packet_id.to_bytes(2, "big") + payload)


def puback(packet_id):
    return _packet(0x40, packet_id.to_bytes(2, "big"))


def subscribe(topic, packet_id):
    """Subscribe with QoS 0: the relay repeats what must arrive, and the broker has nothing to keep for us."""
    return _packet(0x82, packet_id.to_bytes(2, "big") + _text(topic) + b"\x00")


def unsubscribe(topic, packet_id):
    return _packet(0xA2, packet_id.to_bytes(2, "big") + _text(topic))


class Decoder:
    """A decoder from octets in any split to whole packets: (CONNACK, session present, code), (PUBLISH, topic, payload,
    packet id or None), (PUBACK, packet id), (SUBACK, packet id, code), (UNSUBACK, packet id), (PINGRESP,)."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data):
        self._buffer.extend(data)
        packets = []
        while True:
            size = self._size()
            if size is None or len(self._buffer) < size[0] + size[1]:
                return packets
            head, length = size
            body = bytes(self._buffer[head : head + length])
            first = self._buffer[0]
            self._buffer = self._buffer[head + length :]
            packets.append(_parse(first, body))

    def _size(self):
        """Return (octets of fixed header, of the rest) of the first packet, or None while that can't be told."""
        length = 0
        for index in range(1, 5):
            if index >= len(self._buffer):
                return None
            octet = self._buffer[index]
            length |= (octet & 127) << (7 * (index - 1))
            if length > PACKET_MAX:
                raise ValueError
            if octet < 128:
                return index + 1, length
        raise ValueError


def _parse(first, body):
    kind = first >> 4
    if kind == PUBLISH:
        return _parse_publish(first, body)
    if first & 15:
        raise ValueError
    if kind == CONNACK and len(body) == 2 and body[0] < 2:
        return CONNACK, body[0], body[1]
    if kind == PUBACK and len(body) == 2:
        return PUBACK, int.from_bytes(body, "big")
    if kind == UNSUBACK and len(body) == 2:
        return UNSUBACK, int.from_bytes(body, "big")
    if kind == SUBACK and len(body) == 3:
        return SUBACK, int.from_bytes(body[:2], "big"), body[2]
    if kind == PINGRESP and not body:
        return (PINGRESP,)
    raise ValueError


def _parse_publish(first, body):
    qos = first >> 1 & 3
    if qos > 1 or len(body) < 2:
        raise ValueError
    at = 2 + int.from_bytes(body[:2], "big")
    if len(body) < at + 2 * qos:
        raise ValueError
    topic = body[2:at].decode()
    packet_id = None
    if qos:
        packet_id = int.from_bytes(body[at : at + 2], "big")
        if not packet_id:
            raise ValueError
        at += 2
    return PUBLISH, topic, body[at:], packet_id
