"""The relay's one MQTT connection: alarms and heartbeats in, rebroadcasts and receipts out.

paho-mqtt speaks the protocol (3.1.1, QoS 1, persistent session); this module feeds it from the relay's own loop, a
buffer at a time, so that a thousand messages cost a few system calls. A message is acknowledged only when the loop says
so. Nothing here decides what a message means.

Connecting may take seconds (names, TCP, TLS) and happens in a short-lived thread, so that alarms by SMS don't wait for
a broker that is down. That thread owns the client from `_connect` until it has finished; the loop owns it at every
other time.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from relay.ingest.buffered import BufferedSocket
from relay.log import Logger

FILTERS = ("b/+/+/alarm", "b/+/+/hb")
_BACKOFF = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_CONNECT_TIMEOUT = 10.0
_STALLED = 30.0
_STABLE = 10.0  # a connection that lasted so long was a good one: the next attempt comes soon again
_GOODBYE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH from the broker. `mid` counts only within its connection."""

    topic: str
    octets: bytes
    mid: int
    connection: int


class _Client(paho.Client):
    """paho's client on a buffered socket. `_create_socket` is private; without it a message costs three reads and a
    write of its own, each a TLS record."""

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return BufferedSocket(sock)


def client_tls(ca: Path) -> ssl.SSLContext:
    """TLS that checks the broker's certificate against this CA alone, and its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=os.fspath(ca))
    return context


@dataclass(frozen=True)
class Endpoint:
    """Where and as whom to connect."""

    host: str
    port: int
    client_id: str
    user: str
    password: str
    tls: ssl.SSLContext | None
    keepalive: int = 30
    clean: bool = False  # nothing is kept for us while we are away

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port})"


class MqttLink:
    """The connection. The loop selects on `fileno()` and calls `readable`, `flush` and `tick`.

    Of a message that is longer than `longest` only so much is kept: thousands may have to wait in memory.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        log: Logger,
        *,
        filters: tuple[str, ...] = FILTERS,
        on_message: Callable[[Message], None],
        on_published: Callable[[int], None],
        has_room: Callable[[], bool] = lambda: True,
        longest: int = 1 << 16,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._log = log
        self._filters = filters
        self._deliver = on_message
        self._published = on_published
        self._has_room = has_room
        self._longest = longest
        self._wake = wake
        self._connecting: threading.Thread | None = None
        self._connect_error: Exception | None = None
        self._connect_at = 0.0
        self._failures = 0
        self._connection = 0
        self._connected = False
        self._subscribed = False
        self._dropped = False
        self._connected_at: float | None = None
        self._unacked: dict[int, bytes] = {}
        self._outstanding: dict[int, float] = {}
        self._resent = False
        self._closing = False
        self._client = self._new_client()

    def _new_client(self) -> _Client:
        e = self._endpoint
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=e.client_id,
            clean_session=e.clean,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        client.username_pw_set(e.user, e.password)
        if e.tls is not None:
            client.tls_set_context(e.tls)
        client.connect_timeout = _CONNECT_TIMEOUT
        # Unlimited: with a limit every PUBACK scans all outgoing messages (245 us at 10,000). The loop bounds what it
        # hands over.
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(0)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.connect_async(e.host, e.port, e.keepalive)
        return client

    # ---- for the loop ----

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and our subscriptions."""
        return self._connected and self._subscribed

    @property
    def outstanding(self) -> int:
        """Messages published and not yet acknowledged by the broker."""
        return len(self._outstanding)

    def _socket(self) -> BufferedSocket | None:
        sock: Any = self._client.socket() if self._connecting is None else None
        return sock if isinstance(sock, BufferedSocket) else None

    def fileno(self) -> int | None:
        sock = self._socket()
        return sock.fileno() if sock is not None else None

    @property
    def wants_write(self) -> bool:
        sock = self._socket()
        return sock is not None and sock.unsent > 0

    @property
    def unread(self) -> int:
        """Octets that have been read from the network and not yet looked at: select doesn't see them."""
        sock = self._socket()
        return sock.pending() if sock is not None else 0

    @property
    def unsent(self) -> int:
        """Octets that the network hasn't taken yet."""
        sock = self._socket()
        return sock.unsent if sock is not None else 0

    def readable(self) -> None:
        """Take in what has arrived while `has_room`; calls `on_message` and `on_published`. The rest waits in `unread`,
        in the sockets and, in the end, with the broker."""
        sock = self._socket()
        if sock is None:
            return
        sock.fill()
        while sock.pending() and self._has_room() and self._is_current(sock):
            self._client.loop_read()
        if sock.ended and not sock.pending() and self._is_current(sock):
            self._client.loop_read()  # tells paho that the connection is gone

    def _is_current(self, sock: BufferedSocket) -> bool:
        current: object = self._client.socket()
        return current is sock

    def flush(self) -> None:
        sock = self._socket()
        if sock is None:
            return
        if self._client.want_write():
            self._client.loop_write()
        sock.flush()

    def tick(self, now: float) -> None:
        """Keepalive and reconnecting."""
        if self._closing:
            return
        if self._connecting is not None:
            if not self._connecting.is_alive():
                self._finish_connecting(now)
            return
        if self._client.socket() is not None:
            self._client.loop_misc()
        if self._dropped:
            self._dropped = False
            self._retry(now)
        if self._client.socket() is None:
            if now >= self._connect_at:
                self._connect()
        elif self._connected:
            self._watch(now)

    def _watch(self, now: float) -> None:
        """Whether the broker, which has accepted us, does its part."""
        if self._resent:  # paho has sent them again on the new connection
            self._resent = False
            self._connected_at = now
            self._outstanding = dict.fromkeys(self._outstanding, now)
        if self._outstanding and now - next(iter(self._outstanding.values())) > _STALLED:
            self._log.warning("mqtt.no_puback", waiting=len(self._outstanding), waited_s=_STALLED)
            self.reconnect(now)
        elif not self._subscribed and self._connected_at is not None and now - self._connected_at > _STALLED:
            self._log.warning("mqtt.not_subscribed", waited_s=_STALLED, hint="asking again on a new connection")
            self.reconnect(now)

    def deadline(self, now: float) -> float:
        if self._client.socket() is None and self._connecting is None:
            return self._connect_at
        return now + 1.0  # paho's keepalive is kept in whole seconds

    def publish(self, topic: str, octets: bytes, now: float) -> int | None:
        """Hand a message to the connection (it is kept while there is none). Returns its id for `on_published`, None
        when there is no room."""
        info = self._client.publish(topic, octets, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return None
        self._outstanding[info.mid] = now
        return info.mid

    def acknowledge(self, message: Message) -> None:
        """PUBACK. An id of an earlier connection may belong to another message by now, so it is left alone: the broker
        sends that one again."""
        if message.connection == self._connection and self._connected:
            self._unacked.pop(message.mid, None)
            self._client.ack(message.mid, 1)

    def reconnect(self, now: float) -> None:
        """Drop the connection and make a new one; the broker then sends again what was not acknowledged."""
        sock = self._socket()
        if sock is not None:
            sock.abandon()
            self._client.loop_read()
        self._dropped = False
        self._connect_at = now

    def close(self) -> None:
        """Say goodbye (the session stays with the broker)."""
        self._closing = True
        if self._connecting is not None:
            self._connecting.join(_GOODBYE_TIMEOUT)
            if self._connecting.is_alive():
                return  # it still owns the client, and ends with the process
            self._connecting = None
        sock = self._socket()
        if sock is not None:
            sock.linger = True
        self._client.disconnect()

    # ---- connecting ----

    def _connect(self) -> None:
        self._connect_error = None
        self._connecting = threading.Thread(target=self._connect_now, name="mqtt-connect", daemon=True)
        self._connecting.start()

    def _connect_now(self) -> None:
        try:
            self._client.reconnect()
        except Exception as error:  # whatever goes wrong here means "not connected"; the loop reports it
            self._connect_error = error
        finally:
            self._wake()

    def _finish_connecting(self, now: float) -> None:
        self._connecting = None
        if self._connect_error is not None:
            self._dropped = False
            self._retry(now, self._connect_error)

    def _retry(self, now: float, error: object = None) -> None:
        """Connect again after a while: a longer one after each connection that failed, was refused, or did not last."""
        if self._connected_at is not None and now - self._connected_at >= _STABLE:
            self._failures = 0
        self._connected_at = None
        delay = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)] * random.uniform(0.5, 1.5)
        self._failures += 1
        self._connect_at = now + delay
        if error is not None:
            self._log.warning("mqtt.unreachable", error=error, hint=_hint(error), retry_s=round(delay, 2))

    # ---- paho's callbacks: they note what happened and never raise ----

    def _on_connect(self, _client: Any, _userdata: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._failures = max(self._failures, 3)
            self._log.error(
                "mqtt.refused",
                reason=str(reason),
                hint="check user and password file in relay.toml, and the broker's users",
            )
            return
        self._connection += 1
        self._unacked.clear()
        self._connected = True
        self._resent = True
        self._subscribed = False
        self._client.subscribe([(f, 1) for f in self._filters])
        self._log.info("mqtt.connected", session_present=bool(flags.session_present))

    def _on_subscribe(
        self, _client: Any, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(r.is_failure for r in reasons):
            self._log.error(
                "mqtt.subscription_refused",
                hint=f"the broker's rules must let {self._endpoint.user} read {' and '.join(self._filters)}",
            )
            return
        self._subscribed = True
        self._log.info("mqtt.ready")

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        was_connected, self._connected = self._connected, False
        self._subscribed = False
        self._dropped = True
        self._unacked.clear()
        if was_connected and not self._closing:
            self._log.warning("mqtt.disconnected", reason=str(reason))

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        octets = bytes(message.payload[: self._longest])
        if self._unacked.get(message.mid) == octets:
            return  # sent again by a broker that grew impatient; it is being worked on
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._unacked[message.mid] = octets
        self._deliver(Message(topic, octets, message.mid, self._connection))

    def _on_publish(self, _client: Any, _userdata: Any, mid: int, _reason: Any, _properties: Any) -> None:
        self._outstanding.pop(mid, None)
        self._published(mid)


def _hint(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the broker's certificate was refused: wrong CA, wrong name, or expired"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: is the broker running?"
    if isinstance(error, socket.gaierror):
        return "the broker's name can't be resolved"
    return "trying again"
