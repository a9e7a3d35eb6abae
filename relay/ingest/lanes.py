"""What has come in and is not on disk yet: a lane for alarms and one for heartbeats.

Alarms go first, whatever else waits. The bound is kept by whoever reads: while there is no room nothing more is taken
off the network, so that it stays with its sender, unacknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Two queues with one bound."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._alarms: deque[T] = deque()
        self._heartbeats: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._alarms) + len(self._heartbeats)

    @property
    def has_room(self) -> bool:
        return len(self) < self._bound

    def put(self, item: T, *, alarm: bool) -> None:
        (self._alarms if alarm else self._heartbeats).append(item)

    def take(self, most: int) -> list[T]:
        """The next batch: alarms first, each lane in the order in which it came."""
        batch: list[T] = []
        for lane in (self._alarms, self._heartbeats):
            while lane and len(batch) < most:
                batch.append(lane.popleft())
        return batch

    def put_back(self, batch: Iterable[T], *, alarms: int) -> None:
        """Return a batch that could not be stored to where it came from; its first `alarms` items are alarms."""
        items = list(batch)
        self._alarms.extendleft(reversed(items[:alarms]))
        self._heartbeats.extendleft(reversed(items[alarms:]))
