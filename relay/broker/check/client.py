"""Drive MQTT connections by hand: no thread, every wait bounded, and whatever a broker does is an answer.

paho-mqtt speaks the protocol. An exception that it raises on a malformed packet counts as the end of that connection.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from relay.ingest.endpoint import hint_for

_TICK = 0.02
_KEEPALIVE = 20  # seconds; paho bounds the TLS handshake by it too


class Account(NamedTuple):
    """An account's name and password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.name!r})"


class Answer(Enum):
    """An answer to a PUBLISH or SUBSCRIBE."""

    YES = "acknowledged"
    NO = "refused"
    CLOSED = "closed the connection"
    NOTHING = "gave no answer"


class Interrupted(Exception):
    """The broker ended a connection, or was silent, where it had to answer; the message says which."""


@dataclass(frozen=True)
class Heard:
    """A message that came."""

    topic: str
    octets: bytes
    qos: int
    retained: bool


class Client:
    """A connection. `refusal` says in words why there is none; it is None when the broker has accepted the client."""

    def __init__(self, clients: Clients, client: mqtt.Client) -> None:
        self.refusal: str | None = None
        self.advice = ""
        self.session_present = False
        self.ended = False
        self.heard: list[Heard] = []
        self._clients = clients
        self._client = client
        self._code: int | None = None
        self._reason = ""
        self._granted: dict[int, int] = {}
        self._confirmed = 0
        self._unacked: list[tuple[int, int]] = []
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish

    def connect(self, host: str, port: int, timeout: float) -> None:
        try:
            self._client.connect(host, port, _KEEPALIVE)
        except (OSError, ValueError) as error:
            self.ended = True
            self.refusal, self.advice = f"can't be reached: {error}", hint_for(error)
            return
        self._clients.wait(lambda: self._code is not None or self.ended, timeout)
        if self._code is None:
            self.refusal = "closed the connection before it answered" if self.ended else "did not answer"
            self.abandon()
        elif self._code:
            self.refusal = f"refused ({self._reason})"
            self.ended = True

    @property
    def is_accepted(self) -> bool:
        return self.refusal is None

    def subscribe(self, topic: str, qos: int = 1) -> tuple[Answer, int]:
        """Subscribe. Return the answer, and the granted QoS if it is YES."""
        mid = self._client.subscribe(topic, qos)[1]
        self._clients.wait(lambda: mid in self._granted or self.ended)
        granted = self._granted.get(mid) if mid is not None else None
        if granted is None:
            return (Answer.CLOSED if self.ended else Answer.NOTHING), 128
        return (Answer.YES, granted) if granted < 128 else (Answer.NO, granted)

    def listen(self, topic: str, qos: int = 1) -> int:
        """Subscribe, and return the granted QoS. Raises Interrupted when it is not granted."""
        answer, granted = self.subscribe(topic, qos)
        if answer is not Answer.YES:
            raise Interrupted(f"to SUBSCRIBE {topic} the broker {said(answer)}")
        return granted

    def publish(self, topic: str, octets: bytes, *, retain: bool = False) -> Answer:
        """Publish with QoS 1."""
        return Answer.YES if self.publish_all([(topic, octets)], retain=retain) else self._silence()

    def tell(self, topic: str, octets: bytes, *, retain: bool = False) -> None:
        """Publish. Raises Interrupted unless the message is acknowledged."""
        answer = self.publish(topic, octets, retain=retain)
        if answer is not Answer.YES:
            raise Interrupted(f"to PUBLISH {topic} the broker {said(answer)}")

    def publish_all(self, messages: Sequence[tuple[str, bytes]], *, retain: bool = False) -> int:
        """Publish with QoS 1. Return how many messages the broker has acknowledged when all are, or no more are for a
        while."""
        before = self._confirmed
        until = before + len(messages)
        for topic, octets in messages:
            self._client.publish(topic, octets, 1, retain)
        while not self.ended and self._confirmed < until and self._confirms_more():
            pass
        return self._confirmed - before

    def _confirms_more(self) -> bool:
        had = self._confirmed
        self._clients.wait(lambda: self._confirmed > had or self.ended)
        return self._confirmed > had

    def hears(self, octets: bytes, seconds: float | None = None) -> bool:
        """Tell whether a message with this content has come, or comes soon."""
        return self._clients.wait(lambda: any(one.octets == octets for one in self.heard), seconds)

    def hears_more(self) -> bool:
        """Tell whether any message comes that was not there yet."""
        had = len(self.heard)
        self._clients.wait(lambda: len(self.heard) > had or self.ended)
        return len(self.heard) > had

    def stays(self, seconds: float) -> bool:
        """Tell whether the connection still stands after so long."""
        self._clients.wait(lambda: self.ended, seconds)
        return not self.ended

    def acknowledge_all(self) -> None:
        """Send a PUBACK for everything that was heard."""
        waiting, self._unacked = self._unacked, []
        for mid, qos in waiting:
            self._client.ack(mid, qos)

    def close(self) -> None:
        """Send DISCONNECT, and close."""
        if not self.ended:
            self._client.disconnect()
            self._clients.wait(lambda: self.ended, 1.0)
            self.abandon()

    def abandon(self) -> None:
        """Lose the connection without a word, as a smashed bracelet does."""
        self.ended = True
        sock: Any = self._client.socket()
        if sock is not None:
            sock.close()

    # ---- for Clients ----

    def socket(self) -> Any:
        return None if self.ended else self._client.socket()

    @property
    def wants_write(self) -> bool:
        return self._client.want_write()

    def turn(self, readable: bool, writable: bool) -> None:
        """Read, write and keep alive. Any failure ends this connection."""
        try:
            results = [
                self._client.loop_read() if readable else mqtt.MQTT_ERR_SUCCESS,
                self._client.loop_write() if writable and self._client.socket() is not None else mqtt.MQTT_ERR_SUCCESS,
                self._client.loop_misc(),
            ]
        except Exception:  # paho doesn't catch all that a packet can do to it
            results = [mqtt.MQTT_ERR_PROTOCOL]
        if any(result != mqtt.MQTT_ERR_SUCCESS for result in results):
            self.ended = True

    def _silence(self) -> Answer:
        return Answer.CLOSED if self.ended else Answer.NOTHING

    def _on_connect(self, _c: Any, _u: Any, flags: mqtt.ConnectFlags, reason: Any, _p: Any) -> None:
        self._code, self._reason = (reason.value if reason.is_failure else 0), str(reason).lower()
        self.session_present = flags.session_present

    def _on_disconnect(self, *_: Any) -> None:
        self.ended = True

    def _on_subscribe(self, _c: Any, _u: Any, mid: int, reasons: list[Any], _p: Any) -> None:
        self._granted[mid] = reasons[0].value if reasons else 128

    def _on_publish(self, *_: Any) -> None:
        self._confirmed += 1

    def _on_message(self, _c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.qos, message.retain))
        if message.qos:
            self._unacked.append((message.mid, message.qos))


def said(answer: Answer) -> str:
    """Return the answer in words, for a sentence whose subject is the broker."""
    return answer.value


class Clients:
    """The connections to one broker, opened and driven together. Nothing waits beyond `seconds` from now."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, *, seconds: float, patience: float) -> None:
        self.host, self.port, self.patience = host, port, patience
        self._tls = tls
        self._deadline = time.monotonic() + seconds
        self._open: list[Client] = []

    @property
    def is_encrypted(self) -> bool:
        return self._tls is not None

    def time_is_over(self) -> bool:
        return time.monotonic() >= self._deadline

    def allow(self, seconds: float) -> None:
        """Give at least so much more time, for things that must be tidied up."""
        self._deadline = max(self._deadline, time.monotonic() + seconds)

    def open(
        self, account: Account | None, client_id: str, *, clean: bool = True, will: tuple[str, bytes] | None = None
    ) -> Client:
        """Connect; the client's `refusal` says whether that worked."""
        made = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,  # messages that wait for somebody else's account stay there
        )
        made.max_inflight_messages_set(0)
        made.connect_timeout = self.patience
        if account is not None:
            made.username_pw_set(*account)
        if self._tls is not None:
            made.tls_set_context(self._tls)
        if will is not None:
            made.will_set(*will, qos=1)
        client = Client(self, made)
        self._open = [*(one for one in self._open if not one.ended), client]
        client.connect(self.host, self.port, self.patience)
        return client

    def enter(self, account: Account, client_id: str, *, clean: bool = True) -> Client:
        """Connect. Raises Interrupted when the broker does not let the account in."""
        client = self.open(account, client_id, clean=clean)
        if not client.is_accepted:
            raise Interrupted(f"to CONNECT as {account.name} the broker {client.refusal}")
        return client

    def end_session(self, account: Account, client_id: str) -> bool:
        """End what the broker keeps under this client id (3.1.2.4). Return whether the broker let the account in for
        that."""
        client = self.open(account, client_id, clean=True)
        client.close()
        return client.is_accepted

    def wait(self, happened: Callable[[], bool], seconds: float | None = None) -> bool:
        """Drive all connections until this has happened, and tell whether it has."""
        end = min(time.monotonic() + (self.patience if seconds is None else seconds), self._deadline)
        while not happened() and time.monotonic() < end:
            self._turn()
        return happened()

    def close(self) -> None:
        """Close all connections."""
        for client in self._open:
            client.close()
        self._open = []

    def _turn(self) -> None:
        sockets = {client: sock for client in self._open if (sock := client.socket()) is not None}
        writing = [client for client in sockets if client.wants_write]
        try:
            readable, writable, _ = select.select(
                list(sockets.values()), [sockets[client] for client in writing], [], _TICK
            )
        except (OSError, ValueError):  # one was closed: its turn shows it
            readable, writable = list(sockets.values()), []
        for client, sock in sockets.items():
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            client.turn(sock in readable or pending, sock in writable)
