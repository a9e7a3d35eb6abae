"""Define who may do what on an MQTT broker, and what the relay needs of a broker that it runs itself.

Any MQTT 3.1.1 broker serves, by configuration. `nats` is the embedded one for the demo and small installations;
`mosquitto` is the second one that the tests run, and an example of how to set up a broker of one's own. Neither
broker's PUBACK means that an alarm is delivered: only the relay's receipt does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PASSWORD = re.compile(r"[A-Za-z0-9_-]{16,128}")
TOPIC = re.compile(r"(?:[A-Za-z0-9_-]+|\+)(?:/(?:[A-Za-z0-9_-]+|\+))*(?:/#)?")


class BrokerError(RuntimeError):
    """The broker can't be run; the message says why in one sentence."""


SUBSCRIPTIONS = 8  # at once, of an account that needs no more
PAYLOAD = 64 << 10
BRACELET_WAITING = 500  # a bracelet subscribes with QoS 0 in a clean session, so nothing should wait
BRACELET_PAYLOAD = 1 << 10  # a message has at most 140 octets; the rest is what a packet adds


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rights of one account on the broker: the topic filters it may publish to and subscribe to, and nothing else.

    An account connects with the client id that is its name, so that it has one session and can take nobody else's.
    `ids` are further ones whose sessions are kept; `any_id` is for accounts whose password never leaves the relay."""

    name: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    any_id: bool = False
    subscriptions: int = SUBSCRIPTIONS
    payload: int = PAYLOAD
    waiting_most: int | None = None  # messages that may wait for it; None: as many as there are

    def __post_init__(self) -> None:
        # Plain characters only, so that no broker's configuration language can read them as anything else.
        if not NAME.fullmatch(self.name):
            raise ValueError("a broker user's name or password has characters that are not allowed")
        if not all(TOPIC.fullmatch(topic) for topic in (*self.publish, *self.subscribe)):
            raise ValueError("a broker user's topic filter is malformed")

    def allows_id(self, client_id: str) -> bool:
        """Tell whether the account may connect with this client id."""
        return client_id == self.name or self.any_id or client_id in self.ids


@dataclass(frozen=True, kw_only=True)
class MqttUser(Rules):
    """An account with its password."""

    password: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not PASSWORD.fullmatch(self.password):
            raise ValueError("a broker user's name or password has characters that are not allowed")

    def __repr__(self) -> str:  # a password must not reach a log or a traceback
        return f"MqttUser({self.name!r})"


class Broker(Protocol):
    """A broker that the relay runs as its child process."""

    host: str
    port: int

    @property
    def pid(self) -> int | None:
        """Return the process id, None while the broker is stopped."""

    def start(self) -> None:
        """Start the broker, after ending one that an earlier relay left behind."""

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Return as soon as the broker accepts a user over TLS. Raises BrokerError when it doesn't."""

    def serves(self) -> bool:
        """Tell whether to connect already: a client that comes earlier may be refused after some seconds. Cheap; true
        after a while in any case."""

    def poll(self) -> int | None:
        """Return the exit status if the broker has ended by itself, else None. To be called now and then."""

    def ensure_running(self) -> bool:
        """Start the broker again if it has ended, at most once a second. Return True if it was started."""

    def reload(self, users: Iterable[MqttUser]) -> None:
        """Make these the users; connections of users that stay as they are stay open."""

    def renew(self) -> None:
        """Make the broker show the certificate that is in its file now. The broker may be started again for that: its
        sessions and all that it has acknowledged stay, connections may not."""

    def stop(self) -> None:
        """End the broker and wait until it has ended."""


PROGRAMS = "fw/+/+"  # pieces of bundles, retained: relay/bundles.py
RELAY, INTAKES, PROGRAMMER = "relay", ("intake-1-a", "intake-1-h"), "programs"
# The accounts of a check: with the relay's, a check would end the relay's session. PROBE_KID is no key id.
PROBE, PROBE_BRACELET, PROBE_KID = "probe", "probe-bracelet", "probe"
PROBE_WAITING = 10_000  # messages of a burst
SUBSCRIBER_WAITING = 20_000  # documents that may wait for a subscriber
_TEMPORARY_PREFIX = "tmp-"
TEMPORARY = 10  # clients at once under one subscriber's account beside its own
_UP = ("b/+/+/alarm", "b/+/+/hb")
_OUT = ("b/+/+/ack", "s/+/+/alarm", "s/+/+/case", "s/+/key/+")


def bracelet_rules(account: str, kid: str) -> dict[str, Any]:
    """Return the rules of a bracelet: it reaches its own three topics and no one else's, and reads the programs that
    are there for all."""
    base = f"b/{kid[0]}/{kid}"
    return {
        "name": account,
        "publish": (f"{base}/alarm", f"{base}/hb"),
        "subscribe": (f"{base}/ack", PROGRAMS),
        "payload": BRACELET_PAYLOAD,
        "waiting_most": BRACELET_WAITING,
    }


def bracelet_user(account: str, kid: str, password: str) -> MqttUser:
    return MqttUser(password=password, **bracelet_rules(account, kid))


def own_users(password: str, sessions: Sequence[str] = INTAKES) -> list[MqttUser]:
    """Return the relay's own accounts. The relay hears every bracelet, answers each, rebroadcasts, and brings
    subscribers their keys. Alarms and heartbeats have a session each, so that many of one don't delay the other. An
    account of its own leaves the bundles, because a broker that makes the client id of the name would otherwise end the
    relay's session. `sessions`: the client ids of the two, for alarms and for heartbeats."""
    whole: dict[str, Any] = {"publish": (*_OUT, PROGRAMS), "password": password, "subscriptions": 64}
    return [
        MqttUser(name=RELAY, subscribe=_UP, any_id=True, **whole),
        *(MqttUser(name=name, subscribe=(topic,), **whole) for name, topic in zip(sessions, _UP, strict=True)),
        MqttUser(name=PROGRAMMER, password=password, publish=(PROGRAMS,), waiting_most=0),
        *(MqttUser(password=password, **rules) for rules in _probe_rules()),
    ]


def _probe_rules() -> list[dict[str, Any]]:
    """Return the rules of the two accounts of a check. They use topics of their own, and hear what is published on
    those of a bracelet and an audience that can't exist. One account hears; the other is like a bracelet's."""
    base = f"b/{PROBE_KID[0]}/{PROBE_KID}"
    documents = tuple(topic.replace("+", "probe", 1) for topic in _OUT[1:])
    return [
        {
            "name": PROBE_BRACELET,
            "publish": ("probe/+",),
            "subscribe": ("probe/+", f"{base}/ack", PROGRAMS),
            "payload": BRACELET_PAYLOAD,
            "waiting_most": BRACELET_WAITING,
        },
        {
            "name": PROBE,
            "publish": ("probe/+",),
            "subscribe": ("probe/+", f"{base}/alarm", f"{base}/ack", *documents),
            "waiting_most": PROBE_WAITING,
        },
    ]


def temporary_id(account: str, number: int) -> str:
    """Return the client id of a temporary client: one of a few, so that not even a broker that crashes keeps many
    sessions."""
    return f"{_TEMPORARY_PREFIX}{account}-{number % TEMPORARY}"


def temporary_ids(account: str) -> tuple[str, ...]:
    """Return all client ids that an account has beside its own name."""
    return tuple(temporary_id(account, number) for number in range(TEMPORARY))


def is_temporary(client_id: str) -> bool:
    """Tell whether nothing is to wait for anybody under this client id."""
    return client_id.startswith(_TEMPORARY_PREFIX) or client_id in (PROBE, PROBE_BRACELET)


def subscriber_rules(account: str, audience: str) -> dict[str, Any]:
    """Return the rules of a subscriber: it reads what is sealed for its audience, and its own keys; it writes
    nothing."""
    base = f"s/{audience}"
    return {
        "name": account,
        "subscribe": (f"{base}/+/alarm", f"{base}/+/case", f"{base}/key/{account}"),
        "ids": temporary_ids(account),
        "waiting_most": SUBSCRIBER_WAITING,
    }


def subscriber_account(account: str, password: str, audience: str) -> MqttUser:
    return MqttUser(password=password, **subscriber_rules(account, audience))


def users_for(
    bracelets: Iterable[tuple[str, str, str]],
    relay_password: str,
    subscribers: Iterable[tuple[str, str, str]] = (),
    sessions: Sequence[str] = INTAKES,
) -> list[MqttUser]:
    """Return everyone on the broker: the relay first, then (account, password, audience) of each subscriber, then
    (account, kid, password) of each bracelet."""
    people = [*own_users(relay_password, sessions), *(subscriber_account(*each) for each in subscribers)]
    return people + [bracelet_user(*bracelet) for bracelet in bracelets]
