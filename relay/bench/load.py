"""The load generator, a process of its own: it publishes a prepared load and watches what comes back.

    python -m relay.bench.load SPEC.json      -> one JSON object on standard output

Two MQTT connections over TLS, QoS 1 on both: one publishes for all bracelets, one subscribes. The generator works on
sockets, because a general client would cost more than the relay that it is to load. Times are CLOCK_MONOTONIC, so that
they compare with those of the relay's process.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from relay.bench.fleet import ALARM, read
from relay.broker.process import connect_packet
from relay.ingest import qos1
from relay.ingest.buffered import BufferedSocket
from relay.ingest.mqtt import client_tls
from relay.subscribers.sealing import EPOCH_OCTETS, Epoch
from relay.verify import parse

SUBACK, CONNACK = 9, 2
_WINDOW = 4000  # unacknowledged by the broker; of 65,535 message ids
_TICK = 0.001


@dataclass(frozen=True)
class Spec:
    """The load to send, and the answers to wait for."""

    port: int
    ca: str
    user: str
    password: str
    messages: str
    rate: float | None  # messages a second; None: as fast as the broker takes them
    raw: bool  # no relay: the subscriber hears the bracelets' own topics
    audience: str  # without `raw`, the audience that the subscriber belongs to
    epoch: str  # its epoch and key, in hexadecimal
    sealed: bool  # whether what comes is sealed
    timeout: float  # give up after this long without anything new


@dataclass(frozen=True)
class Result:
    """The figures of a run. Latency is the time from when a message was due to when the subscriber had its result."""

    messages: int
    first_sent: float
    last_seen: float
    heard: int
    lost: int
    duplicated: int
    receipts: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Connection:
    """An MQTT connection."""

    def __init__(self, spec: Spec, client_id: str) -> None:
        plain = socket.create_connection(("localhost", spec.port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = client_tls(Path(spec.ca)).wrap_socket(plain, server_hostname="localhost")
        tls.setblocking(False)
        self.socket = BufferedSocket(tls)
        self.socket.send(connect_packet(client_id, spec.user, spec.password))
        self.expect(CONNACK)

    def fileno(self) -> int:
        return self.socket.fileno()

    def expect(self, *kinds: int) -> None:
        """Wait for one packet of each of these kinds."""
        self.socket.flush()
        missing = set(kinds)
        while True:
            select.select([self.socket], [], [], 10)
            missing -= {head.kind for head in self.packets()}
            if not missing:
                return
            if self.socket.ended:
                raise ConnectionError("the broker closed the connection")

    def subscribe(self, filters: list[str]) -> None:
        body = b"\0\1" + b"".join(struct.pack(">H", len(f)) + f.encode() + b"\1" for f in filters)
        self.socket.send(b"\x82" + bytes([len(body)]) + body)
        self.expect(SUBACK)

    def packets(self) -> Iterator[qos1.Head]:
        """Yield every packet that has arrived; its body is in `self.socket.input`."""
        self.socket.fill()
        while (head := qos1.head(self.socket.input, self.socket.at)) and head.end <= len(self.socket.input):
            yield head
            self.socket.at = head.end


class Load:
    """A run of the generator."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._publisher = Connection(spec, "load-publisher")
        self._subscriber = Connection(spec, "load-subscriber")
        own = ["b/+/+/alarm", "b/+/+/hb"] if spec.raw else [f"s/{spec.audience}/+/alarm", "b/+/+/ack"]
        epoch = bytes.fromhex(spec.epoch)
        self._epoch = Epoch(epoch[:EPOCH_OCTETS], epoch[EPOCH_OCTETS:])
        self._subscriber.subscribe(own)
        self._packets: list[bytes] = []
        self._due: list[float] = []
        self._index: dict[bytes, int] = {}
        self._prepare()
        self._seen: list[float] = [0.0] * len(self._packets)
        self._unacked = 0
        self._sent = 0
        self._heard = self._duplicated = self._receipts = 0
        self._last_seen = 0.0

    def _prepare(self) -> None:
        for number, (topic, message) in enumerate(read(Path(self._spec.messages))):
            self._packets.append(qos1.publish(topic, number % 65_535 + 1, message))
            if self._spec.raw:
                self._index[message] = number
            elif topic.endswith(ALARM):
                self._index[topic.split(b"/")[2] + b"%d" % parse(message).counter] = number

    def run(self) -> Result:
        expected = len(self._index)
        start = time.monotonic()
        active = start
        while True:
            self._send(time.monotonic(), start)
            for connection in (self._publisher, self._subscriber):
                connection.socket.flush()
            before = self._heard, self._receipts, self._sent
            wait = _TICK if self._sent < len(self._packets) else 0.05
            for connection in select.select([self._publisher, self._subscriber], [], [], wait)[0]:
                self._receive(connection)
            now = time.monotonic()
            if before != (self._heard, self._receipts, self._sent):
                active = now
            complete = self._heard >= expected and (self._spec.raw or self._receipts >= expected)
            if (complete and self._sent == len(self._packets)) or now - active > self._spec.timeout:
                return self._result(start, expected)

    def _send(self, now: float, start: float) -> None:
        until = len(self._packets)
        if self._spec.rate is not None:
            until = min(until, int((now - start) * self._spec.rate))
        until = min(until, self._sent + _WINDOW - self._unacked)
        if until <= self._sent:
            return
        rate = self._spec.rate
        for number in range(self._sent, until):
            self._due.append(start + number / rate if rate is not None else now)
        self._publisher.socket.send(b"".join(self._packets[self._sent : until]))
        self._unacked += until - self._sent
        self._sent = until

    def _receive(self, connection: Connection) -> None:
        acks = []
        for head in connection.packets():
            if head.kind == qos1.PUBACK:
                self._unacked -= 1
            elif head.kind == qos1.PUBLISH:
                published = qos1.read_publish(connection.socket.input, head, head.end)
                if published.mid is not None:
                    acks.append(qos1.puback(published.mid))
                self._note(published.topic, published.octets)
        if acks:
            connection.socket.send(b"".join(acks))
        if connection.socket.ended:
            raise ConnectionError("the broker closed the connection")

    def _note(self, topic: bytes, message: bytes) -> None:
        self._last_seen = now = time.monotonic()
        if topic.endswith(b"/ack"):
            self._receipts += 1
            return
        number = self._index[message if self._spec.raw else self._document_key(topic, message)]
        if self._seen[number]:
            self._duplicated += 1
            return
        self._seen[number] = now
        self._heard += 1

    def _document_key(self, topic: bytes, message: bytes) -> bytes:
        """Find kid and counter of a rebroadcast, without parsing it."""
        document = self._epoch.open(topic.decode(), message) if self._spec.sealed else message
        start = document.index(b'"counter":') + 10
        return topic.split(b"/")[2] + document[start : document.index(b",", start)]

    def _result(self, start: float, expected: int) -> Result:
        latencies = sorted((self._seen[n] - self._due[n]) * 1000 for n in self._index.values() if self._seen[n])
        if not latencies:
            latencies = [float("inf")]
        return Result(
            messages=self._sent,
            first_sent=start,
            last_seen=self._last_seen,
            heard=self._heard,
            lost=expected - self._heard,
            duplicated=self._duplicated,
            receipts=self._receipts,
            p50_ms=round(latencies[len(latencies) // 2], 1),
            p99_ms=round(latencies[len(latencies) * 99 // 100], 1),
            max_ms=round(latencies[-1], 1),
        )


def main() -> None:
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    click.echo(json.dumps(asdict(Load(spec).run())))


if __name__ == "__main__":
    main()
