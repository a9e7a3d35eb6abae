"""The bracelets for the load, with real keys, and their messages, sealed beforehand."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.assembly import Relay
from relay.verify import Alarm, Fix, Heartbeat, agree, roots
from relay.verify.payload import Health, Network
from relay.verify.seal import Sealer

ALARM, HEARTBEAT = b"alarm", b"hb"
_RECORD = struct.Struct(">HH")
_FLAGS = 0b11000  # the time is from GNSS
_PROGRESS = 100


@dataclass(frozen=True)
class Sent:
    """The size of a load."""

    messages: int
    alarms: int
    octets: float


class Fleet:
    """The bracelets of one relay; each goes on from where the last load left it."""

    def __init__(self, relay: Relay, count: int, now: int, progress: Callable[[int], None]) -> None:
        self._now = now
        self._next = 0
        self._sealers: list[Sealer] = []
        self._answered: list[int] = [0] * count  # receipts that each has, once all that it has sealed is answered
        ca_der = relay.ca_der()
        for number in range(count):
            offer = relay.registry.offer(f"bench {number}", now=now, host="localhost", port=1, ca_der=ca_der)
            kid, relay_id = bytes.fromhex(offer["kid"]), bytes.fromhex(offer["relay_id"])
            ephemeral = X25519PrivateKey.generate()
            shared = agree(ephemeral.private_bytes_raw(), bytes.fromhex(offer["relay_x25519"]))
            sealer = Sealer(kid, relay_id, roots(shared, kid, relay_id), secrets.token_bytes(32))
            x25519 = ephemeral.public_key().public_bytes_raw().hex()
            answer = {"tocsin": 1, "kid": kid.hex(), "ed25519": sealer.public.hex(), "x25519": x25519}
            relay.registry.complete(answer, now=now)
            self._sealers.append(sealer)
            if number % _PROGRESS == 0:
                progress(number)

    def seal(self, file: Path, messages: int, alarm_share: float) -> Sent:
        """Write a load: bracelets in turn, alarms spread evenly, each an Alert with a position."""
        alarms, octets = 0, 0
        with file.open("wb") as out:
            for number in range(messages):
                at = self._next % len(self._sealers)
                sealer = self._sealers[at]
                self._next += 1
                if int((number + 1) * alarm_share) > alarms:
                    kind, message = ALARM, sealer.alarm(self._alarm())
                    alarms += 1
                    self._answered[at] += 1
                else:
                    kind, message = HEARTBEAT, sealer.heartbeat(self._heartbeat(self._answered[at]))
                kid = sealer.kid.hex().encode()
                topic = b"b/%b/%b/%b" % (kid[:1], kid, kind)
                out.write(_RECORD.pack(len(topic), len(message)) + topic + message)
                octets += len(message)
        return Sent(messages, alarms, octets / messages)

    def _heartbeat(self, answered: int) -> Heartbeat:
        return Heartbeat(_FLAGS, self._now, 80, 0, answered, Network(1, 85, 262001, 1), Health(4, 0, 0, 0), 1)

    def _alarm(self) -> Alarm:
        return Alarm(_FLAGS, 0, 0, self._now, 80, Fix(521234567, -1131234567, 12, 34, 120, 3, 270))


def read(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield each (topic, message) of a load that `Fleet.seal` wrote."""
    data = file.read_bytes()
    at = 0
    while at < len(data):
        topic, message = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield data[at : at + topic], data[at + topic : at + topic + message]
        at += topic + message
