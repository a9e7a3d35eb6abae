"""MQTT brokers: who may do what on one, and the brokers the relay can run itself.

Any MQTT 3.1.1 broker serves, by configuration. `nats` is the embedded one for the demo and small installations;
`mosquitto` is the second one that the tests run, and an example of how to set up a broker of one's own. Neither
broker's PUBACK means that an alarm is delivered: only the relay's receipt does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PASSWORD = re.compile(r"[A-Za-z0-9_-]{16,128}")
TOPIC = re.compile(r"(?:[A-Za-z0-9_-]+|\+)(?:/(?:[A-Za-z0-9_-]+|\+))*(?:/#)?")


class BrokerError(RuntimeError):
    """The broker can't be run; the message says why in one sentence."""


@dataclass(frozen=True)
class MqttUser:
    """One account on the broker, with the topic filters it may publish and subscribe; nothing else is allowed it."""

    name: str
    password: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Plain characters only, so that no broker's configuration language can read them as anything else.
        if not NAME.fullmatch(self.name) or not PASSWORD.fullmatch(self.password):
            raise ValueError("a broker user's name or password has characters that are not allowed")
        if not all(TOPIC.fullmatch(topic) for topic in (*self.publish, *self.subscribe)):
            raise ValueError("a broker user's topic filter is malformed")

    def __repr__(self) -> str:  # a password must not reach a log or a traceback
        return f"MqttUser({self.name!r})"


class Broker(Protocol):
    """A broker that the relay runs as its child process."""

    host: str
    port: int

    @property
    def pid(self) -> int | None:
        """The process, None while it is stopped."""

    def start(self) -> None:
        """Start it, after ending one that an earlier relay left behind."""

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Return as soon as it accepts a user over TLS; BrokerError when it doesn't."""

    def poll(self) -> int | None:
        """Its exit status if it has ended by itself, else None. To be called now and then."""

    def ensure_running(self) -> bool:
        """Start it again if it has ended, at most once a second; True if it did."""

    def reload(self, users: Iterable[MqttUser]) -> None:
        """Make these the users; connections of users that stay as they are stay open."""

    def renew(self) -> None:
        """Have it show the certificate that is in its file now. It may be started again for that: what it has
        acknowledged and its sessions stay, connections may not."""

    def stop(self) -> None:
        """End it and wait until it has ended."""


PROGRAMS = "fw/+/+"  # pieces of bundles, retained: relay/bundles.py


def bracelet_user(kid: str, password: str) -> MqttUser:
    """A bracelet reaches its own three topics and no one else's; and reads the programs that are there for all."""
    base = f"b/{kid[0]}/{kid}"
    return MqttUser(kid, password, publish=(f"{base}/alarm", f"{base}/hb"), subscribe=(f"{base}/ack", PROGRAMS))


def relay_user(password: str) -> MqttUser:
    """The relay hears every bracelet, answers each, rebroadcasts, and brings subscribers their keys."""
    publish = ("b/+/+/ack", "s/+/+/alarm", "s/+/+/case", "s/+/key/+", PROGRAMS)
    return MqttUser("relay", password, publish=publish, subscribe=("b/+/+/alarm", "b/+/+/hb"))


def subscriber_account(name: str, password: str, audience: str) -> MqttUser:
    """A subscriber reads what is sealed for its audience, and its own keys; it writes nothing."""
    base = f"s/{audience}"
    return MqttUser(name, password, subscribe=(f"{base}/+/alarm", f"{base}/+/case", f"{base}/key/{name}"))


TEMPORARY = 10  # clients at once under one account beside its own


def temporary_id(account: str, number: int) -> str:
    """The client id of a temporary client: one of a few, so that not even a broker that crashes keeps many sessions."""
    return f"tmp-{account}-{number % TEMPORARY}"


def users_for(
    bracelets: Iterable[tuple[str, str]], relay_password: str, subscribers: Iterable[tuple[str, str, str]] = ()
) -> list[MqttUser]:
    """Everyone on the broker: the relay first, then (account, password, audience) of each subscriber, then (kid,
    password) of each bracelet."""
    people = [relay_user(relay_password), *(subscriber_account(*each) for each in subscribers)]
    return people + [bracelet_user(kid, password) for kid, password in bracelets]
