"""The trace of a world: a list of events that a newcomer can read and a digest that repeats with the seed.

Details hold plain values only (numbers, text, booleans): no ciphertext, addresses or paths, which differ between runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_INTEGER = re.compile(r"-?\d+\Z")


@dataclass(frozen=True)
class TraceEvent:
    t_us: int
    who: str
    what: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, who: str | None, what: str | None, detail: Mapping[str, Any]) -> bool:
        """Tell whether the event matches. A detail is matched by an equal value, or by a function that accepts it."""
        if who not in (None, self.who) or what not in (None, self.what):
            return False
        for key, wanted in detail.items():
            if key not in self.detail:
                return False
            got = self.detail[key]
            if not (wanted(got) if callable(wanted) else wanted == got):
                return False
        return True

    def __str__(self) -> str:
        pairs = "  ".join(f"{key}={value}" for key, value in self.detail.items())
        return f"{_time(self.t_us)}  {self.who:<12} {self.what:<14} {pairs}".rstrip()


class Trace:
    def __init__(self) -> None:
        self.events: list[TraceEvent] = []

    def __iter__(self) -> Iterator[TraceEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, index: int) -> TraceEvent:
        return self.events[index]

    def add(self, event: TraceEvent) -> None:
        self.events.append(event)

    def find(self, start: int, who: str | None, what: str | None, detail: Mapping[str, Any]) -> int | None:
        """Return the index of the first event that matches, from `start` on."""
        for index in range(start, len(self.events)):
            if self.events[index].matches(who, what, detail):
                return index
        return None

    def digest(self) -> str:
        digest = hashlib.sha256()
        for event in self.events:
            row = [event.t_us, event.who, event.what, sorted((k, str(v)) for k, v in event.detail.items())]
            digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        return digest.hexdigest()[:16]

    def format(self, last: int | None = None) -> str:
        return format_events(self.events if last is None else self.events[-last:])


def format_events(events: Iterable[TraceEvent]) -> str:
    return "\n".join(str(event) for event in events)


def parse_line(line: str) -> tuple[str, dict[str, int | str]] | None:
    """Read a structured console line, `@event key=value ...`, as (event, details); None for any other line."""
    event, *words = line[1:].split() or [""]
    if not line.startswith("@") or not event:
        return None
    detail: dict[str, int | str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            return None
        detail[key] = int(value) if _INTEGER.match(value) else value
    return event, detail


def _time(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{fraction:06}"


def part_suffix(name: str) -> str:
    """Return the suffix that tells the parts of several bracelets apart in the trace: led, led2, led of spare."""
    return name.removeprefix("bracelet") if name.startswith("bracelet") else f" of {name}"
