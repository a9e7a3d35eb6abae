"""Events on their way to a firmware, in the order in which they were sent: `[device, ...]` for now, and
`[time, device, ...]` that are announced for later (`shims/_hw.py`). The inbox does not look at what they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hwsim.world.clock import FOREVER

Event = list[Any]


def _time(event: Event) -> int:
    return event[0] if isinstance(event[0], int) else 0


class Inbox:
    def __init__(self) -> None:
        self._events: list[Event] = []

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def add(self, *event: Any) -> None:
        self._events.append([*event])

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def first_us(self) -> int:
        """Return when the first event is due: 0 for now, FOREVER when there is none."""
        return min(map(_time, self._events), default=FOREVER)

    def drop(self, device: str, after_us: int = -1) -> None:
        """Drop the events for this device, or only those announced to it for later than `after_us`."""
        self._events = [event for event in self._events if device not in event[:2] or 0 <= _time(event) <= after_us]

    def drop_unheard(self, kind: str, now_us: int) -> None:
        """Drop the events that have come by now to devices of this kind, but none that takes something back."""

        def unheard(event: Event) -> bool:
            return _time(event) <= now_us and any(str(part).startswith(kind) for part in event[:2])

        self._events = [event for event in self._events if None in event or not unheard(event)]
