"""What has come in and is not on disk yet: a lane for alarms and one for heartbeats, both bounded.

Alarms go first, whatever else waits. What finds no room is not kept and not acknowledged, so that its sender keeps it;
`overflowed` tells the loop to ask for it again once there is room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Two bounded queues. The bound holds for each."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._alarms: deque[T] = deque()
        self._heartbeats: deque[T] = deque()
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._alarms) + len(self._heartbeats)

    @property
    def has_room(self) -> bool:
        """Whether there is room enough to ask again for what was turned away."""
        return max(len(self._alarms), len(self._heartbeats)) <= self._bound // 2

    def put(self, item: T, *, alarm: bool) -> bool:
        lane = self._alarms if alarm else self._heartbeats
        if len(lane) >= self._bound:
            self.overflowed = True
            return False
        lane.append(item)
        return True

    def take(self, most: int) -> list[T]:
        """The next batch: alarms first, in the order in which they came."""
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
