# sans-I/O
"""Limit how often the same thing is answered again: a token bucket for each bracelet, in bounded memory.

An alarm that arrives for the first time is always answered. The limit is for the copies, which anybody who once saw the
octets can send.
"""

from __future__ import annotations

from collections import OrderedDict


class RateLimit:
    """A limit of `burst` answers at once, then `per_hour`."""

    def __init__(self, per_hour: float, burst: int, *, remember: int = 10_000) -> None:
        self._rate = per_hour / 3600
        self._burst = float(burst)
        self._remember = remember
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, key: str, now: float) -> bool:
        tokens, then = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._remember:
            self._buckets.popitem(last=False)
        return allowed
