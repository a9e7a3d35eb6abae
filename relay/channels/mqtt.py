"""The channel that every relay has: signed and sealed alarms to MQTT subscribers, through the outbox.

A delivery is done when the broker's PUBACK for it has arrived. After a crash, unfinished deliveries are still in the
outbox, and the relay publishes them again. While the broker is down, a limited number waits in memory; the rest stays
in the outbox until there is room. Documents are built and sealed elsewhere (`relay.rebroadcast`, `relay.subscribers`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from relay.outbox import Delivery, OutboxId

IN_FLIGHT = 10_000  # an MQTT connection has 65,535 message ids, receipts need some of them
_LEASE_MOST = 200
_LOOK_AGAIN = 1.0  # seconds until the next look for case documents: operators' commands write them to the outbox only


class Publisher(Protocol):
    """The MQTT connection, as far as this channel needs it."""

    @property
    def connected(self) -> bool: ...
    def publish(self, topic: str, octets: bytes, now: float) -> int | None: ...


class Leaser(Protocol):
    """The outbox, as far as this channel needs it."""

    def lease(self, now: float, limit: int = ..., /) -> list[Delivery]: ...


class Rebroadcast:
    """Deliveries on their way to the broker. `note` is called for each that `refill` has published."""

    def __init__(
        self,
        outbox: Leaser,
        link: Publisher,
        note: Callable[[Delivery], object] = lambda _: None,
        *,
        bound: int = IN_FLIGHT,
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._note = note
        self._bound = bound
        self._by_mid: dict[int, OutboxId] = {}
        self._in_flight: set[OutboxId] = set()
        self._done: list[OutboxId] = []
        self._look_at = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def has_done(self) -> bool:
        return bool(self._done)

    def publish(self, key: OutboxId, topic: str, octets: bytes, now: float) -> bool:
        """Hand a delivery to the broker. Return False if it is on its way already or there is no room; then the outbox
        yields it again later."""
        if key in self._in_flight or len(self._in_flight) >= self._bound:
            return False
        mid = self._link.publish(topic, octets, now)
        if mid is None:
            return False
        self._by_mid[mid] = key
        self._in_flight.add(key)
        return True

    def published(self, mid: int) -> OutboxId | None:
        """Note a PUBACK; return the delivery that it confirms, or None when it was for something else."""
        key = self._by_mid.pop(mid, None)
        if key is not None:
            self._in_flight.discard(key)
            self._done.append(key)
        return key

    def take_done(self) -> list[OutboxId]:
        """Hand over the deliveries that the next transaction shall record as done."""
        done, self._done = self._done, []
        return done

    def put_back_done(self, done: Sequence[OutboxId]) -> None:
        """Keep deliveries that could not be recorded for the next transaction."""
        self._done[:0] = done

    def refill(self, wall: float, now: float) -> int:
        """Publish the deliveries that are still in the outbox after a start or a time without a broker. Raises what the
        store raises."""
        if now < self._look_at or not self._link.connected or len(self._in_flight) > self._bound // 2:
            return 0
        deliveries = self._outbox.lease(wall, _LEASE_MOST)
        self._look_at = now + (0.0 if len(deliveries) == _LEASE_MOST else _LOOK_AGAIN)
        published = 0
        for delivery in deliveries:
            if self.publish(delivery.id, delivery.topic, delivery.octets, now):
                published += 1
                self._note(delivery)
        return published
