# sans-I/O
"""Queue what has come in and is not on disk yet: a lane for alarms and one for heartbeats, each fair to every account.

Alarms go first, whatever else waits. Within a lane the accounts take turns, a message each: deficit round robin with
the message as its unit, and without a deficit, because the relay keeps at most a wire message's 140 octets of each. So
a message waits for at most one of each other account, however many those have sent. The reader keeps two bounds:
without room it takes nothing more off the network, and the messages stay with their sender, unacknowledged.
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
        """Count the waiting messages of this account."""
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
        """Take the next items; those of one account come in their order."""
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
        """Put items back before everything else of their accounts, and these accounts before the others."""
        for account, item in reversed(list(items)):
            self._queues.setdefault(account, deque()).appendleft(item)
            self._queues.move_to_end(account, last=False)
            self._length += 1


class Lanes(Generic[T]):
    """Three fair queues, each served when those before it are empty: alarms, heartbeats, and what comes from accounts
    that are over their allowance. Alarms may fill theirs to `bound`; heartbeats are read only while both together are
    below it; the caller bounds the third."""

    def __init__(self, bound: int, account: Callable[[T], str] = lambda _: "") -> None:
        self._bound = bound
        self._account = account
        self._alarms: FairQueue[T] = FairQueue()
        self._heartbeats: FairQueue[T] = FairQueue()
        self._flooding: FairQueue[T] = FairQueue()

    def __len__(self) -> int:
        return len(self._alarms) + len(self._heartbeats) + len(self._flooding)

    @property
    def urgent(self) -> int:
        """Count the waiting messages that don't come from a flooding account."""
        return len(self._alarms) + len(self._heartbeats)

    @property
    def has_room(self) -> bool:
        """Tell whether there is room for anything."""
        return self.urgent < self._bound

    @property
    def has_room_for_alarms(self) -> bool:
        """Tell whether there is room for alarms; heartbeats don't take it."""
        return len(self._alarms) < self._bound

    def waiting_of_floods(self, account: str) -> tuple[int, int]:
        """Count the messages in the third queue: those of this account, and all."""
        return self._flooding.waiting(account), len(self._flooding)

    def put(self, item: T, *, alarm: bool, flooding: bool = False) -> None:
        lane = self._flooding if flooding else self._alarms if alarm else self._heartbeats
        lane.put(self._account(item), item)

    def take(self, most: int) -> list[T]:
        """Take the next batch. At most a tenth of it is from a flood if others wait, because they wait for the whole
        batch."""
        batch = self._alarms.take(most)
        batch += self._heartbeats.take(most - len(batch))
        return batch + self._flooding.take(min(most - len(batch), most // 10 if batch else most))

    def put_back(self, batch: Sequence[T], *, alarms: Callable[[T], bool]) -> None:
        """Put a batch that could not be stored back at the front of the lanes for alarms and heartbeats."""
        for lane, of_this_lane in ((self._alarms, True), (self._heartbeats, False)):
            lane.put_back((self._account(item), item) for item in batch if alarms(item) is of_this_lane)
