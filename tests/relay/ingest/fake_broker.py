"""A broker that has bad days, and what it takes to drive a connection to it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from relay.ingest.mqtt import Endpoint, Message, MqttLink

KID, PASSWORD = "0a1b2c3d", "a-password-for-everybody"
TOPIC = f"b/0/{KID}/alarm"


class Quiet:
    def _note(self, event: str, **fields: Any) -> None:
        pass

    debug = info = warning = error = _note


class Recorder(Quiet):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.fields: dict[str, dict[str, Any]] = {}  # of the newest of each

    def _note(self, event: str, **fields: Any) -> None:
        self.events.append(event)
        self.fields[event] = fields

    debug = info = warning = error = _note


class FakeBroker:
    """Speaks just enough MQTT, and that late or wrong: what a real broker does only on a bad day."""

    def __init__(
        self,
        connack: int = 0,
        connack_after: float = 0.0,
        suback: int | None = 1,
        says: bytes = b"",
        acks: int = 10**9,
        hangs_up: bool = False,
        forbids: bytes | None = None,
        trickles: float = 0.0,
        on_connect: str = "answers",
    ) -> None:
        self.connections = 0
        self.published: list[bytes] = []
        self.kinds: list[int] = []  # of the packets that came
        self._says, self._acks, self._hangs_up = says, acks, hangs_up
        self.forbids, self._trickles, self._on_connect = forbids, trickles, on_connect
        self._connack, self._after, self._suback = connack, connack_after, suback
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._talk, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while head := stream.read(1):
                length = stream.read(1)
                if not length:
                    return  # the relay hung up in the middle of a packet
                body = stream.read(length[0])
                self.kinds.append(head[0] >> 4)
                if head[0] == 0x10:
                    time.sleep(self._after)
                    if self._on_connect == "closes":
                        return
                    if self._on_connect == "is silent":
                        continue
                    connection.sendall(bytes((0x20, 2, 0, self._connack)))
                    if self._connack:
                        return
                elif head[0] == 0x82 and self._on_connect == "closes on SUBSCRIBE":
                    return
                elif head[0] == 0x82 and self._suback is not None:
                    connection.sendall(bytes((0x90, 4)) + body[:2] + bytes((self._suback, self._suback)))
                    for octet in self._says if self._trickles else ():
                        connection.sendall(bytes((octet,)))
                        time.sleep(self._trickles)
                    connection.sendall(b"" if self._trickles else self._says)
                    if self._hangs_up:
                        return
                elif head[0] >> 4 == 3 and self.forbids is not None and self.forbids in body:
                    return
                elif head[0] >> 4 == 3:
                    self.published.append(head + body)
                    at = 2 + int.from_bytes(body[:2], "big")
                    if self._acks >= len(self.published):
                        connection.sendall(bytes((0x40, 2)) + body[at : at + 2])

    def close(self) -> None:
        self._listening.close()


def alone(
    port: int, log: Quiet, on_message: Callable[[Message], None] = lambda _: None, keepalive: int = 30
) -> MqttLink:
    endpoint = Endpoint("127.0.0.1", port, "relay", "relay", PASSWORD, None, keepalive)
    return MqttLink(endpoint, log, on_message=on_message, on_published=lambda _: None)


def drive(link: MqttLink, seconds: float, done: Callable[[], object] = lambda: False, ahead: float = 0.0) -> int:
    """Turn the loop; how often it found something to read. `ahead`: as if so much time had passed already."""
    end = time.monotonic() + seconds
    reads = 0
    while time.monotonic() < end and not done():
        fd = link.fileno()
        if fd is not None and (link.unread or select.select([fd], [], [], 0.005)[0]):
            link.readable()
            reads += 1
        elif fd is None:
            time.sleep(0.005)
        link.tick(time.monotonic() + ahead)
        link.flush()
    return reads
