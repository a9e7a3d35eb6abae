"""What has come in and is not on disk yet: a lane for alarms and one for heartbeats, each fair to every account.

Alarms go first, whatever else waits. Within a lane the accounts take turns, a message each: deficit round robin with
the message as its unit, and without a deficit, because no more than a wire message's 140 octets is kept of any. So a
message waits for at most one of each other account, however many those have sent. Two bounds are kept by whoever reads:
without room nothing more is taken off the network, and it stays with its sender, unacknowledged.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue for each account; the accounts take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()  # the first is next
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def waiting(self, account: str) -> int:
        """How many messages of this account wait."""
        queue = self._queues.get(account)
        return len(queue) if queue is not None else 0

    def put(self, account: str, item: T) -> None:
        queue = self._queues.get(account)
        if queue is None:
            self._queues[account] = deque((item,))
        else:
            queue.append(item)
        self._length += 1

    def take(self, most: int) -> list[T]:
        """The next items; each account's own come in their order."""
        taken: list[T] = []
        queues = self._queues
        for _ in range(min(most, self._length)):
            account, queue = next(iter(queues.items()))
            taken.append(queue.popleft())
            if queue:
                queues.move_to_end(account)
            else:
                del queues[account]
        self._length -= len(taken)
        return taken

    def put_back(self, items: Iterable[tuple[str, T]]) -> None:
        """Return what was taken, before everything else of its accounts, which are next."""
        for account, item in reversed(list(items)):
            self._queues.setdefault(account, deque()).appendleft(item)
            self._queues.move_to_end(account, last=False)
            self._length += 1


class Lanes(Generic[T]):
    """Two fair queues. Alarms may fill one to `bound`; heartbeats are read only while both together are below it."""

    def __init__(self, bound: int, account: Callable[[T], str] = lambda _: "") -> None:
        self._bound = bound
        self._account = account
        self._alarms: FairQueue[T] = FairQueue()
        self._heartbeats: FairQueue[T] = FairQueue()

    def __len__(self) -> int:
        return len(self._alarms) + len(self._heartbeats)

    @property
    def has_room(self) -> bool:
        """Whether there is room for anything."""
        return len(self) < self._bound

    @property
    def has_room_for_alarms(self) -> bool:
        """Whether there is room for alarms, which heartbeats don't take."""
        return len(self._alarms) < self._bound

    def waiting(self, account: str, *, alarm: bool) -> tuple[int, int]:
        """How many messages wait in this lane: of this account, and altogether."""
        lane = self._alarms if alarm else self._heartbeats
        return lane.waiting(account), len(lane)

    def put(self, item: T, *, alarm: bool) -> None:
        (self._alarms if alarm else self._heartbeats).put(self._account(item), item)

    def take(self, most: int) -> list[T]:
        """The next batch: alarms first, then heartbeats."""
        batch = self._alarms.take(most)
        return batch + self._heartbeats.take(most - len(batch))

    def put_back(self, batch: Sequence[T], *, alarms: int) -> None:
        """Return a batch that could not be stored to where it came from; its first `alarms` items are alarms."""
        self._alarms.put_back((self._account(item), item) for item in batch[:alarms])
        self._heartbeats.put_back((self._account(item), item) for item in batch[alarms:])
