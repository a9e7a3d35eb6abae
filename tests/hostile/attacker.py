"""An attacker who holds one account of the broker and speaks MQTT as he likes."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from relay.broker import Broker

CONNACK, REFUSED = 0x20, -1


def connect(
    broker: Broker, ca: Path, client_id: str, name: str, password: str, *, clean: bool = False
) -> tuple[int, ssl.SSLSocket]:
    """CONNECT of MQTT 3.1.1; the broker's return code, REFUSED when it just closes, and the connection."""
    context = ssl.create_default_context(cafile=str(ca))
    plain = socket.create_connection((broker.host, broker.port), timeout=10)
    connection = context.wrap_socket(plain, server_hostname=broker.host)

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    flags = 0xC0 | (2 if clean else 0)
    body = text("MQTT") + bytes([4, flags, 0, 30]) + text(client_id) + text(name) + text(password)
    connection.sendall(b"\x10" + _length(len(body)) + body)
    return _answer(connection), connection


def _answer(connection: ssl.SSLSocket) -> int:
    answer = b""
    try:
        while len(answer) < 4:
            octets = connection.recv(4 - len(answer))
            if not octets:
                return REFUSED
            answer += octets
    except OSError:
        return REFUSED
    return answer[3] if answer[0] == CONNACK else REFUSED


def _length(value: int) -> bytes:
    octets = bytearray()
    while True:
        value, low = divmod(value, 128)
        octets.append(low | (128 if value else 0))
        if not value:
            return bytes(octets)


def stored(folder: Path) -> int:
    """Octets that the embedded broker keeps in files."""
    return sum(file.stat().st_size for file in (folder / "jetstream").rglob("*") if file.is_file())
