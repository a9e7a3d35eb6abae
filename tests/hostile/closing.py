"""A broker that ends the connection on a PUBLISH that its rules forbid, as RabbitMQ and aedes do: nats-server behind a
proxy that reads what the client sends."""

from __future__ import annotations

from pathlib import Path

from relay.ingest import qos1
from tests.tls_proxy import TlsProxy


class ClosingProxy(TlsProxy):
    """A PUBLISH on a topic with `forbidden` ends its connection."""

    def __init__(self, to: int, cert: Path, key: Path, forbidden: str) -> None:
        self.forbidden: str | None = forbidden
        self.closed = 0
        super().__init__(to, cert, key)

    def sees(self, packet: bytes, kind: int) -> None:
        if kind != qos1.PUBLISH or self.forbidden is None:
            return
        head = qos1.head(packet, 0)
        if head is not None and self.forbidden in qos1.read_publish(packet, head, 0).topic.decode():
            self.closed += 1
            raise ConnectionError
