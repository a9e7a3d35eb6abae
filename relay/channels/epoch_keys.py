"""Leaves epoch keys with the broker: one retained message a subscriber, taken away when the subscriber is removed.

The relay leaves them at each connection, because some brokers lose retained messages, and whenever the registry has
changed. Each look also begins the epochs that are due.
"""

from __future__ import annotations

from typing import Protocol

from relay.subscribers.register import Subscribers
from relay.verify.keys import RelayKeys

LOOK_S = 5.0


class Publisher(Protocol):
    """The MQTT connection, as far as this channel needs it."""

    @property
    def connected(self) -> bool: ...
    def publish(self, topic: str, octets: bytes, now: float, *, retain: bool = False) -> int | None: ...


class EpochKeys:
    """Epoch keys on their way to the broker. Set `look_at` to the time of the next look."""

    def __init__(self, subscribers: Subscribers, keys: RelayKeys, link: Publisher) -> None:
        self._subscribers = subscribers
        self._keys = keys
        self._link = link
        self._left: dict[int, tuple[bytes, ...]] = {}  # by subscriber, the epochs whose keys the broker was given
        self._version: int | None = None
        self._leaving: dict[int, int] = {}  # by message id, the subscriber whose keys are taken away
        self._gone: list[int] = []
        self.look_at = 0.0

    def send(self, wall: float, now: float) -> None:
        """Give the broker the keys that it lacks, and begin epochs that are due. Raises what the store raises."""
        if not self._link.connected:
            self._left.clear()
            self._version, self.look_at = None, now
            return
        if now < self.look_at:
            return
        self.look_at = now + LOOK_S
        while self._gone:
            self._subscribers.forget(self._gone[-1])
            self._gone.pop()
        self._subscribers.new_epochs(now=wall, only_due=True)
        version = self._subscribers.version()
        if version != self._version and self._leave(wall, now):
            self._version = version

    def _leave(self, wall: float, now: float) -> bool:
        for message in self._subscribers.retained(self._keys, wall, self._left):
            mid = self._link.publish(message.topic, message.octets, now, retain=True)
            if mid is None:
                return False  # no room: the rest at the next look
            self._left[message.id] = message.epochs
            if not message.octets:
                self._leaving[mid] = message.id
        return True

    def published(self, mid: int) -> None:
        """Note a PUBACK. The next look forgets a removed subscriber whose keys are gone."""
        number = self._leaving.pop(mid, None)
        if number is not None:
            self._gone.append(number)
