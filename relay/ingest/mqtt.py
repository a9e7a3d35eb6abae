"""Run one MQTT connection of the relay: alarms or heartbeats in, rebroadcasts and receipts out.

paho-mqtt speaks the protocol (3.1.1, persistent session) except for PUBLISH and PUBACK, which `relay.ingest.qos1` and
`outgoing` do; this module feeds both from the relay's own loop, a buffer at a time, so that a thousand messages cost a
few system calls. A message is acknowledged only when the loop says so. Nothing here decides what a message means.

Connecting may take seconds (names, TCP, TLS) and happens in a short-lived thread, so that alarms by SMS don't wait for
a broker that is down. That thread owns the client from `_connect` until it has finished; the loop owns it at every
other time.
"""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from relay.ingest import qos1
from relay.ingest.buffered import READ_AHEAD, BufferedSocket
from relay.ingest.endpoint import Endpoint, NoAnswer, client_tls, hint_for
from relay.ingest.outgoing import Outgoing, SetAside
from relay.log import Logger

__all__ = ["FILTERS", "Endpoint", "Message", "MqttLink", "client_tls"]

FILTERS = ("b/+/+/alarm", "b/+/+/hb")
_BACKOFF = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_CONNECT_TIMEOUT = 10.0
_LOOK = 0.05  # between two looks whether the broker lets clients in yet
_ANSWER = 10.0  # from the connection to the CONNACK
_STALLED = 30.0
_STALLED_ALONE = 10.0  # the same while one message after the other is tried
_STABLE = 10.0  # a connection that lasted so long was a good one: the next attempt comes soon again
_GOODBYE_TIMEOUT = 2.0
_OWN = (qos1.PUBLISH, qos1.PUBACK)
_KID = re.compile(r"[0-9a-f]{8}")
_LONGEST_OTHER = 1024  # octets of a packet that paho reads; a CONNACK, SUBACK or PINGRESP has at most a dozen


@dataclass(frozen=True, slots=True)
class Message:
    """A PUBLISH from the broker. `mid` counts only within its session and connection; it is None with QoS 0, which has
    no acknowledgement."""

    topic: str
    octets: bytes
    mid: int | None
    connection: int
    session: str = ""


class _Client(paho.Client):
    """The paho client on a buffered socket. `_create_socket` is private; without it a message costs three reads and a
    write of its own, each a TLS record."""

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return BufferedSocket(sock)


class MqttLink:
    """A connection. The loop selects on `fileno()` and calls `readable`, `flush` and `tick`.

    Of a message longer than `longest` only that much is kept: thousands may have to wait in memory. `session` names the
    connection in the log if there are several; then their owner says when all are ready.
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
        may_connect: Callable[[], bool] = lambda: True,
        session: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._log = log
        self._filters = filters
        self._deliver = on_message
        self._published = on_published
        self._has_room = has_room
        self._longest = longest
        self._wake = wake
        self._may_connect = may_connect
        self._name = session
        self._session = {"session": session} if session else {}  # for the log
        self._connecting: threading.Thread | None = None
        self._connect_error: Exception | None = None
        self._connect_at = 0.0
        self._failures = 0
        self._connection = 0
        self._connected = False
        self._subscribed = False
        self._was_connected = self._was_subscribed = False  # how far the connection that ended had come
        self._refused = ""  # what the broker refused on this connection
        self._dropped = False
        self._opened_at = 0.0
        self._connected_at: float | None = None
        self._unacked: dict[int, bytes] = {}
        self._outgoing = Outgoing()
        self._incomplete = False  # what has been read ends within a packet
        self._resumed = False  # what an earlier connection left unconfirmed has been sent on this one
        self._cut: qos1.Published | None = None  # a message whose last `_to_drop` octets are still to be dropped
        self._to_drop = 0
        self._traffic = [False, False]  # a PUBLISH or PUBACK came, one went, since the last tick
        self._traffic_at = 0.0
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
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.connect_async(e.host, e.port, e.keepalive)
        return client

    # ---- for the loop ----

    @property
    def connected(self) -> bool:
        """Tell whether the broker has accepted us and our subscriptions."""
        return self._connected and self._subscribed

    @property
    def reaches_broker(self) -> bool:
        """Tell whether the broker has let us in. Then a published message leaves now, or with the next tick; else it
        waits."""
        return self._connected and self._socket() is not None

    @property
    def is_refused(self) -> bool:
        """Tell whether the broker has refused us, or a filter, on the newest connection."""
        return bool(self._refused)

    @property
    def outstanding(self) -> int:
        """Count the messages published and not yet acknowledged by the broker."""
        return len(self._outgoing)

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
        """Count the octets that have been read from the network and can be dealt with: select doesn't see them. The
        beginning of a packet can't be dealt with before the rest is there, which select does see."""
        sock = self._socket()
        return sock.pending() if sock is not None and not self._incomplete else 0

    @property
    def unsent(self) -> int:
        """Count the octets that the network hasn't taken yet."""
        sock = self._socket()
        return sock.unsent if sock is not None else 0

    def readable(self) -> None:
        """Take in what has arrived while `has_room`; calls `on_message` and `on_published`. The rest waits in `unread`,
        in the sockets and, in the end, with the broker."""
        sock = self._socket()
        if sock is None:
            return
        sock.fill()
        complete = True
        while complete and sock.pending() and self._has_room() and self._is_current(sock):
            complete = self._take_packet(sock)
        self._incomplete = not complete
        if sock.ended and self._is_current(sock) and not (complete and sock.pending()):
            sock.abandon()
            self._client.loop_read()  # tells paho that the connection is gone

    def _take_packet(self, sock: BufferedSocket) -> bool:
        """Deal with the next packet, or drop what has come of one too long to keep. Return False if more must come
        first."""
        if self._cut is not None:
            return self._drop(sock, self._cut)
        try:
            head = qos1.head(sock.input, sock.at)
            if head is not None and head.kind not in _OWN and head.end - sock.at > _LONGEST_OTHER:
                raise ValueError("a packet of this kind can't be so long")
            if head is None or (head.end > len(sock.input) and sock.pending() < READ_AHEAD):
                return False
            if head.kind in _OWN:
                return self._take_own(sock, head)
        except ValueError as error:
            return self._malformed(sock, error)
        before = sock.at
        try:
            self._client.loop_read()
        except Exception as error:  # paho doesn't catch all that a packet can do to it
            return self._malformed(sock, error)
        return sock.at > before

    def _take_own(self, sock: BufferedSocket, head: qos1.Head) -> bool:
        self._traffic[0] = True
        if head.kind == qos1.PUBACK:
            mid = qos1.read_puback(sock.input, head)
            sock.at = head.end
            if self._outgoing.confirm(mid):
                self._published(mid)
        else:
            published = qos1.read_publish(sock.input, head, self._longest)
            if head.end > len(sock.input):
                self._to_drop = head.end - sock.at
                return self._drop(sock, published)
            sock.at = head.end
            self._arrived(*published)
        return True

    def _drop(self, sock: BufferedSocket, published: qos1.Published) -> bool:
        """Pass over the octets of a message; report the message once its last octet has come."""
        passed = min(self._to_drop, sock.pending())
        sock.at += passed
        self._to_drop -= passed
        self._cut = published if self._to_drop else None
        if not self._to_drop:
            self._arrived(*published)
        return not self._to_drop

    def _malformed(self, sock: BufferedSocket, error: Exception) -> bool:
        hint = "what the broker sent is not MQTT 3.1.1"
        self._log.warning("mqtt.malformed", error=error, hint=hint, **self._session)
        sock.abandon()
        return False

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
        """Keep the connection alive, and connect again when it is gone."""
        if self._closing:
            return
        if self._connecting is not None:
            if not self._connecting.is_alive():
                self._finish_connecting(now)
            return
        if all(self._traffic):
            self._traffic, self._traffic_at = [False, False], now
        if self._client.socket() is not None and now - self._traffic_at >= self._endpoint.keepalive / 2:
            # paho's keepalive knows nothing of our packets, and a PINGRESP may wait behind thousands of them.
            self._client.loop_misc()
        if self._dropped:
            self._dropped = False
            self._was_closed(now)
        if self._client.socket() is None:
            if now >= self._connect_at:
                if self._may_connect():
                    self._connect()
                else:
                    self._connect_at = now + _LOOK
        elif self._connected:
            self._watch(now)
        elif now - self._opened_at > _ANSWER:
            self._abandon()
            self._retry(now, NoAnswer(f"the broker did not answer within {_ANSWER:g} s"))
        for news in self._outgoing.take_news():
            self._tell(news)

    def _was_closed(self, now: float) -> None:
        """Deal with a connection that has ended, and not because this side wanted it to."""
        self._outgoing.lost(now)
        error = None
        if not self._refused and self._was_connected and not self._was_subscribed:
            self._filters_refused("the broker closed the connection when asked; was it stopped just then?")
        elif not self._refused and not self._was_connected:
            error = NoAnswer("the broker closed the connection before it answered")
        self._retry(now, error)

    def _watch(self, now: float) -> None:
        """Send unconfirmed messages again, and see whether the broker, which has accepted us, does its part."""
        sock = self._socket()
        if sock is None:
            return
        if self._connected_at is None:
            self._connected_at = now
        if not self._resumed and (self._subscribed or self._refused):  # before that, it would be unclear what ended it
            self._resumed = True
            for packet in self._outgoing.resume(now):
                sock.send(packet)
        elif self._resumed:
            for packet in self._outgoing.more(now):
                sock.send(packet)
        since = self._outgoing.waits_since()
        patience = _STALLED_ALONE if self._outgoing.holds_back else _STALLED
        asked = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)] if self._refused else _STALLED
        if since is not None and now - since > patience:
            self._log.warning("mqtt.no_puback", waiting=len(self._outgoing), waited_s=patience, **self._session)
            self._outgoing.lost(now, stalled=True)
            self.reconnect(now)
        elif not self._subscribed and now - self._connected_at > asked:
            self._failures += 1
            hint = "asking again on a new connection"
            self._log.warning("mqtt.not_subscribed", waited_s=asked, hint=hint, **self._session)
            self.reconnect(now)

    def _tell(self, news: SetAside) -> None:
        """Log a message that was set aside or has passed; of its topic only the rule that covers it, and the key id as
        such."""
        kid = news.topic.split("/")[-2] if news.topic.count("/") > 1 else ""
        whose = {"kid": kid} if _KID.fullmatch(kid) and not news.whole_kind else {}
        if news.passed:
            self._log.info("mqtt.set_aside_passed", rule=news.kind, **whose, **self._session)
            return
        hint = (
            f"publishing this ended connection after connection: the broker's rules must let {self._endpoint.user} "
            f"publish {news.kind}; "
            + ("nothing of this kind is sent until one has passed" if news.whole_kind else "everything else goes on")
        )
        self._log.error("mqtt.set_aside", rule=news.kind, again_s=news.again_s, hint=hint, **whose, **self._session)

    def deadline(self, now: float) -> float:
        if self._client.socket() is None and self._connecting is None:
            return self._connect_at
        return now + 1.0  # paho's keepalive is kept in whole seconds

    def publish(self, topic: str, octets: bytes, now: float, *, retain: bool = False) -> int | None:
        """Hand a message to the connection (it is kept while there is none). Returns its id for `on_published`, None
        when there is no room. `retain`: the broker is to keep it for later subscribers."""
        sock = self._socket() if self._resumed else None
        added = self._outgoing.add(topic, octets, now, send=sock is not None, retain=retain)
        if added is None:
            return None
        mid, packet = added
        if sock is not None and packet:
            self._traffic[1] = True
            sock.send(packet)
        return mid

    def ask_again(self, topic: str) -> None:
        """Have the broker send once more what it retains for one of the filters (MQTT 3.1.1 section 3.8.4)."""
        if self.connected:
            self._client.subscribe(topic, 1)

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK. An id of an earlier connection may belong to another message by now, so it gets none: the
        broker sends its message again."""
        sock = self._socket()
        if sock is not None and self._connected and message.connection == self._connection and message.mid is not None:
            self._unacked.pop(message.mid, None)
            self._traffic[1] = True
            sock.send(qos1.puback(message.mid))

    def reconnect(self, now: float) -> None:
        """Drop the connection and make a new one; the broker then sends unacknowledged messages again."""
        self._abandon()
        self._connect_at = now

    def _abandon(self) -> None:
        sock = self._socket()
        if sock is not None:
            sock.abandon()
            self._client.loop_read()
        self._dropped = False

    def close(self) -> None:
        """Disconnect in good order (the session stays with the broker)."""
        self._closing = True
        if self._connecting is not None:
            self._connecting.join(_GOODBYE_TIMEOUT)
            if self._connecting.is_alive():
                return  # the thread still owns the client, and ends with the process
            self._connecting = None
        sock = self._socket()
        if sock is not None:
            sock.linger = True
        self._client.disconnect()

    # ---- connecting ----

    def _connect(self) -> None:
        self._connect_error = None
        self._connected_at = None
        self._refused = ""
        self._was_connected = self._was_subscribed = False
        self._cut = None
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
        self._opened_at = now
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
            hint = hint_for(error)
            self._log.warning("mqtt.unreachable", error=error, hint=hint, retry_s=round(delay, 2), **self._session)

    # ---- paho's callbacks: they note what happened and never raise ----

    def _on_connect(self, _client: Any, _userdata: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = "connection"
            self._failures = max(self._failures, 3)
            self._log.error("mqtt.refused", reason=str(reason), hint=self._endpoint.if_refused, **self._session)
            return
        self._connection += 1
        self._unacked.clear()
        self._connected = self._was_connected = True
        self._resumed = False
        self._subscribed = self._was_subscribed = not self._filters
        if self._filters:
            self._client.subscribe([(f, 1) for f in self._filters])
        self._log.info("mqtt.connected", session_present=bool(flags.session_present), **self._session)

    def _on_subscribe(
        self, _client: Any, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(r.is_failure for r in reasons):
            self._filters_refused("the broker refused a filter")
            return
        if not self._session and not self._subscribed:
            self._log.info("mqtt.ready")
        self._subscribed = self._was_subscribed = True

    def _filters_refused(self, reason: str) -> None:
        self._refused = "filters"
        self._failures = max(self._failures, 4)
        hint = (
            f"no alarm comes in this way: the broker's rules must let {self._endpoint.user} read "
            f"{' and '.join(self._filters)}; asked again and again"
        )
        self._log.error("mqtt.subscription_refused", reason=reason, hint=hint, **self._session)

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        was_connected, self._connected = self._connected, False
        self._subscribed = self._resumed = self._incomplete = False
        self._dropped = True
        self._unacked.clear()
        if was_connected and not self._closing:
            self._log.warning("mqtt.disconnected", reason=str(reason), **self._session)

    def _arrived(self, topic: bytes, mid: int | None, octets: bytes) -> None:
        if mid is not None:
            if self._unacked.get(mid) == octets:
                return  # sent again by a broker that grew impatient; it is being worked on
            self._unacked[mid] = octets
        self._deliver(Message(topic.decode(errors="replace"), octets, mid, self._connection, self._name))
