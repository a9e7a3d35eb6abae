"""A meter of a bracelet's parts: how long each was in which state, and what that costs by a table of currents.

Times are integers in microseconds, charge in microampere-seconds; hwsim/currents.py has the table. The meter only
counts time, so that one run can be costed with any table. A part's current is an average over its state: a transmit
burst is a state of its own, a phase of a beacon interval isn't.
"""

from __future__ import annotations

from collections.abc import Callable

from hwsim.currents import Currents, current


class Meter:
    """A meter that the models tell each change of state; `history` keeps these changes, for a plot."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._state: dict[str, tuple[str, int]] = {}  # part -> state, since
        self._spent: dict[tuple[str, str], int] = {}
        self.history: list[tuple[int, str, str]] = []
        self.on_change: Callable[[str, str], None] = lambda part, state: None

    def set(self, part: str, state: str) -> None:
        """Count the part in this state from now on."""
        now = self._now_us()
        before = self._state.get(part)
        if before is not None:
            if before[0] == state:
                return
            key = part, before[0]
            self._spent[key] = self._spent.get(key, 0) + now - before[1]
        self._state[part] = state, now
        self.history.append((now, part, state))
        self.on_change(part, state)

    def state(self, part: str) -> str:
        """Return the state of a part; "off" for one that was never set."""
        return self._state[part][0] if part in self._state else "off"

    def times(self) -> dict[tuple[str, str], int]:
        """Return the microseconds that each part has spent in each state so far."""
        times = dict(self._spent)
        for part, (state, since) in self._state.items():
            times[part, state] = times.get((part, state), 0) + self._now_us() - since
        return times

    def charge_uas(self, currents: Currents) -> int:
        """Return the charge that all parts together have taken so far."""
        return sum(us * current(currents, part, state) for (part, state), us in self.times().items()) // 1_000_000
