"""An MQTT 3.1.1 broker for tests in virtual time: enough of the specification to prove a client against.

QoS 0 and 1, persistent sessions per client id with redelivery, one connection per client id, users with passwords, last
will, keep-alive. A PUBACK can be delayed or kept back. It is not a broker to run: no QoS 2 (refused, as a protocol
error), no access control by topic. The relay's tests use real brokers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwsim.world.clock import Timer

if TYPE_CHECKING:
    import ssl

    from hwsim.world.net import Stream
    from hwsim.world.world import World

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
ACCEPTED, BAD_USER = 0, 4


class ProtocolError(Exception):
    """A client that broke the specification; the connection ends."""


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int = 1
    client: str = ""  # who published it
    duplicate: bool = False


@dataclass
class Session:
    """The state that the broker keeps of a client (MQTT 3.1.1, 3.1.2.4)."""

    client: str
    subscriptions: dict[str, int] = field(default_factory=dict)
    queue: deque[Message] = field(default_factory=deque)
    inflight: dict[int, Message] = field(default_factory=dict)
    next_id: int = 1
    connection: _Connection | None = None


class MqttBroker:
    def __init__(
        self, world: World, host: str, port: int, tls: ssl.SSLContext | None, users: dict[str, str] | None
    ) -> None:
        self.world = world
        self.host, self.port, self._tls = host, port, tls
        self.users = users  # None: everybody
        self.puback_delay_us: int | None = 0  # None: keep every PUBACK back
        self.published: list[Message] = []
        self.names: dict[str, str] = {}  # by random word, such as a key id: the trace's word for it
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, bytes] = {}  # by topic, for later subscribers
        self._subscribers: list[Callable[[Message], object]] = []
        self.up()

    # -- for the test

    def on_publish(self, call: Callable[[Message], object]) -> None:
        """Register a call for every message that a client publishes (a duplicate as often as it comes)."""
        self._subscribers.append(call)

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message to all who have subscribed, now or, in a persistent session, later."""
        self.route(Message(topic, payload, qos))

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep a message for everybody who subscribes from now on; with no octets, forget it (MQTT 3.1.1, 3.3.1.3)."""
        if payload:
            self.retained[topic] = payload
        else:
            self.retained.pop(topic, None)

    def up(self) -> None:
        self.world.net.listen(self.host, self.port, lambda stream: _Connection(self, stream), self._tls)
        self.note("up")

    def present(self, tls: ssl.SSLContext) -> None:
        """Show another certificate from now on. Connections break, sessions stay."""
        self.down()
        self._tls = tls
        self.up()

    def down(self, forget: bool = False) -> None:
        """Break connections and refuse new ones. Sessions are kept, unless the broker is to forget them."""
        self.note("down")
        self.world.net.unlisten(self.host, self.port)
        if forget:
            self.sessions.clear()

    def note(self, what: str, **detail: object) -> None:
        for key, value in detail.items():
            for secret, name in self.names.items():
                if isinstance(value, str):
                    detail[key] = value = value.replace(secret, name)
        self.world.note("broker", what, **detail)

    # -- for its connections

    def received(self, message: Message) -> None:
        self.published.append(message)
        self.note(
            "publish", client=message.client, topic=message.topic, octets=len(message.payload), dup=message.duplicate
        )
        for call in self._subscribers:
            call(message)
        self.route(message)

    def route(self, message: Message) -> None:
        for session in self.sessions.values():
            granted = [qos for pattern, qos in session.subscriptions.items() if matches(pattern, message.topic)]
            if granted:
                qos = min(message.qos, max(granted))
                if session.connection or qos:
                    session.queue.append(Message(message.topic, message.payload, qos, message.client))
                if session.connection:
                    session.connection.pump()


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic matches a pattern (MQTT 3.1.1, 4.7)."""
    wanted, got = pattern.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(got) or level not in ("+", got[place]):
            return False
    return len(wanted) == len(got)


class _Connection:
    def __init__(self, broker: MqttBroker, stream: Stream) -> None:
        self._broker = broker
        self._stream = stream
        self._buffer = b""
        self._session: Session | None = None
        self._clean = True
        self._will: Message | None = None
        self._keepalive_us = 0
        self._deadline: Timer | None = None
        self._over = False

    # -- octets

    def received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while not self._over:
                packet = self._cut_packet()
                if packet is None:
                    break
                self._packet(*packet)
        except (ProtocolError, IndexError, UnicodeDecodeError) as error:
            self._broker.note("protocol error", why=str(error) or "malformed packet")
            self._end(gracefully=False)
        self._watch_keepalive()

    def _cut_packet(self) -> tuple[int, int, bytes] | None:
        length = shift = 0
        for at in range(1, 5):
            if at >= len(self._buffer):
                return None
            length |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            if not self._buffer[at] & 0x80:
                break
        else:
            raise ProtocolError("remaining length of more than four octets")
        if len(self._buffer) < at + 1 + length:
            return None
        head, body = self._buffer[0], self._buffer[at + 1 : at + 1 + length]
        self._buffer = self._buffer[at + 1 + length :]
        return head >> 4, head & 15, body

    def _send(self, kind: int, body: bytes, flags: int = 0) -> None:
        if self._over:
            return
        length, encoded = len(body), bytearray()
        while True:
            length, digit = length >> 7, length & 0x7F
            encoded.append(digit | (0x80 if length else 0))
            if not length:
                break
        self._stream.write(bytes([kind << 4 | flags]) + bytes(encoded) + body)

    def closed(self) -> None:
        self._end(gracefully=False)

    def _end(self, gracefully: bool) -> None:
        if self._over:
            return
        self._over = True
        if self._deadline:
            self._deadline.cancel()
        session, self._session = self._session, None
        if session:
            session.connection = None
            session.queue = deque(message for message in session.queue if message.qos)
            self._broker.note("client gone", client=session.client, gracefully=gracefully)
            if self._clean:
                self._broker.sessions.pop(session.client, None)
        self._stream.close()
        if self._will and not gracefully:
            self._broker.received(self._will)

    def _watch_keepalive(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        if self._keepalive_us and not self._over:
            self._deadline = self._broker.world.after(self._keepalive_us * 3 // 2, lambda: self._end(gracefully=False))

    # -- packets

    def _packet(self, kind: int, flags: int, body: bytes) -> None:
        if self._session is None:
            if kind != CONNECT:
                raise ProtocolError("the first packet is not CONNECT")
            self._connect(body)
        elif kind == PUBLISH:
            self._publish(flags, body)
        elif kind == PUBACK:
            self._session.inflight.pop(int.from_bytes(body[:2], "big"), None)
            self.pump()
        elif kind == SUBSCRIBE:
            self._subscribe(flags, body)
        elif kind == UNSUBSCRIBE:
            self._session.subscriptions.pop(_text(body, 2)[0], None)
            self._send(UNSUBACK, body[:2])
        elif kind == PINGREQ:
            self._send(PINGRESP, b"")
        elif kind == DISCONNECT:
            self._will = None
            self._end(gracefully=True)
        else:
            raise ProtocolError(f"packet of type {kind}")

    def _connect(self, body: bytes) -> None:
        name, at = _text(body, 0)
        level, flags = body[at], body[at + 1]
        self._keepalive_us = int.from_bytes(body[at + 2 : at + 4], "big") * 1_000_000
        client, at = _text(body, at + 4)
        if name != "MQTT" or level != 4 or flags & 1:
            raise ProtocolError("not MQTT 3.1.1")
        if flags & 4:
            topic, at = _text(body, at)
            payload, at = _octets(body, at)
            self._will = Message(topic, payload, flags >> 3 & 3, client)
        user = password = ""
        if flags & 0x80:
            user, at = _text(body, at)
        if flags & 0x40:
            secret, at = _octets(body, at)
            password = secret.decode()
        if at != len(body):
            raise ProtocolError("octets after CONNECT")
        users = self._broker.users
        if users is not None and users.get(user) != password:
            self._broker.note("client refused", client=client)
            self._send(CONNACK, bytes([0, BAD_USER]))
            self._will = None
            self._end(gracefully=True)
            return
        self._clean = bool(flags & 2)
        if not client and not self._clean:
            raise ProtocolError("no client id for a session to keep")
        self._open_session(client)

    def _open_session(self, client: str) -> None:
        sessions = self._broker.sessions
        known = sessions.get(client)
        if known and known.connection:
            known.connection._end(gracefully=False)
        if self._clean:
            sessions.pop(client, None)
        known = sessions.get(client)
        self._session = session = known or Session(client)
        sessions[client] = session
        session.connection = self
        self._broker.note("client", client=client, session="kept" if known else "new")
        self._send(CONNACK, bytes([1 if known else 0, ACCEPTED]))
        for packet_id, message in session.inflight.items():
            self._deliver(packet_id, message, again=True)
        self.pump()

    def _publish(self, flags: int, body: bytes) -> None:
        assert self._session is not None
        qos = flags >> 1 & 3
        if qos > 1:
            raise ProtocolError(f"QoS {qos}")
        topic, at = _text(body, 0)
        if not topic or "+" in topic or "#" in topic:
            raise ProtocolError("a topic name with wildcards, or none")
        packet_id = b""
        if qos:
            packet_id, at = body[at : at + 2], at + 2
            if packet_id == b"\0\0":
                raise ProtocolError("packet id 0")
        message = Message(topic, body[at:], qos, self._session.client, bool(flags & 8))
        self._broker.received(message)
        if qos and self._broker.puback_delay_us is not None:
            if self._broker.puback_delay_us:
                self._broker.world.after(self._broker.puback_delay_us, lambda: self._send(PUBACK, packet_id))
            else:
                self._send(PUBACK, packet_id)

    def _subscribe(self, flags: int, body: bytes) -> None:
        assert self._session is not None
        if flags != 2:
            raise ProtocolError("reserved flags of SUBSCRIBE")
        at, granted, kept = 2, bytearray(), []
        while at < len(body):
            pattern, at = _text(body, at)
            self._session.subscriptions[pattern] = min(body[at], 1)
            granted.append(min(body[at], 1))
            for topic, payload in self._broker.retained.items():
                if matches(pattern, topic):
                    kept.append(Message(topic, payload, min(body[at], 1)))
            at += 1
            self._broker.note("subscribe", client=self._session.client, topic=pattern)
        self._send(SUBACK, body[:2] + bytes(granted))
        self._session.queue.extend(kept)
        self.pump()

    # -- to the client

    def pump(self) -> None:
        """Send the messages that wait. Only one of QoS 1 is under way at a time, which keeps their order over a
        reconnect."""
        session = self._session
        while session and session.queue and not self._over:
            if session.queue[0].qos and session.inflight:
                return
            message = session.queue.popleft()
            packet_id = 0
            if message.qos:
                packet_id = session.next_id
                session.next_id = packet_id % 65535 + 1
                session.inflight[packet_id] = message
            self._deliver(packet_id, message, again=False)

    def _deliver(self, packet_id: int, message: Message, again: bool) -> None:
        topic = message.topic.encode()
        body = len(topic).to_bytes(2, "big") + topic
        if message.qos:
            body += packet_id.to_bytes(2, "big")
        self._send(PUBLISH, body + message.payload, message.qos << 1 | (8 if again else 0))


def _octets(body: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if at + 2 > len(body) or end > len(body):
        raise ProtocolError("a field longer than its packet")
    return body[at + 2 : end], end


def _text(body: bytes, at: int) -> tuple[str, int]:
    octets, at = _octets(body, at)
    return octets.decode(), at
