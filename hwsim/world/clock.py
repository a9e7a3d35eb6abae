"""The world's clock: an event heap in integer microseconds.

Events at the same instant happen in the order in which they were scheduled, so a run depends on nothing but its inputs.
The clock knows nothing about devices or wall-clock time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

FOREVER = 1 << 60


class Timer:
    """A scheduled call. `cancel` it any time; a cancelled or past timer does nothing."""

    __slots__ = ("at_us", "call")

    def __init__(self, at_us: int, call: Callable[[], object]) -> None:
        self.at_us = at_us
        self.call: Callable[[], object] | None = call

    @property
    def pending(self) -> bool:
        return self.call is not None

    def cancel(self) -> None:
        self.call = None


class Clock:
    def __init__(self) -> None:
        self.now_us = 0
        self._heap: list[tuple[int, int, Timer]] = []
        self._scheduled = 0
        self.happened = 0  # events so far

    def at(self, us: int, call: Callable[[], object]) -> Timer:
        timer = Timer(max(us, self.now_us), call)
        self._scheduled += 1
        heapq.heappush(self._heap, (timer.at_us, self._scheduled, timer))
        return timer

    def after(self, us: int, call: Callable[[], object]) -> Timer:
        return self.at(self.now_us + us, call)

    def next_us(self, but: Timer | None = None) -> int:
        """Return the time of the next event, of all or of all `but` one; FOREVER when there is none."""
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
        if but is not None and self._heap and self._heap[0][2] is but:
            return self._next_but_first()
        return self._heap[0][0] if self._heap else FOREVER

    def _next_but_first(self) -> int:
        """Return the time of the next event after the first. No event of the heap has an earlier one below it, so this
        looks only below the first and below cancelled ones."""
        found, look = FOREVER, [1, 2]
        while look:
            place = look.pop()
            if place < len(self._heap) and self._heap[place][0] < found:
                if self._heap[place][2].pending:
                    found = self._heap[place][0]
                else:
                    look += [2 * place + 1, 2 * place + 2]
        return found

    def step(self) -> None:
        """Advance to the next event and let it happen."""
        at_us = self.next_us()
        if at_us == FOREVER:
            return
        timer = heapq.heappop(self._heap)[2]
        self.now_us = max(self.now_us, at_us)
        self.happened += 1
        call, timer.call = timer.call, None
        assert call is not None
        call()
