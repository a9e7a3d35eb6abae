# hwsim: no-float
"""What the fingers mean: turns debounced edges of the one button into taps, holds and the cancel pattern.

Pure: edges and a time in milliseconds go in, events come out. It knows nothing of alarms; alarm.py decides what a
hold is worth. Events: ("tick", n) n = 1..4 while a hold ripens, so that a wearer feels an unmeant press and lets go;
("hold",) when it is ripe; ("cancel",) when the hold followed exactly two taps; ("let_go",) when it was not held long
enough.
"""

TICKS = 4
TAP_MS = 600  # longer than this is not a tap
GAP_MS = 1000  # longer than this between two presses starts a new pattern


class Gestures:
    def __init__(self, hold_ms=3000):
        self.hold_ms = hold_ms
        self._down_at = None
        self._up_at = None
        self._ticks = 0
        self._taps = 0
        self._ripe = False

    def edge(self, down, now):
        """A debounced edge. Returns the events it causes (those due before it first)."""
        events = self.time(now)
        if down and self._down_at is None:
            if self._up_at is None or now - self._up_at > GAP_MS:
                self._taps = 0
            self._down_at = now
            self._ticks = 0
            self._ripe = False
        elif not down and self._down_at is not None:
            held = now - self._down_at
            self._down_at = None
            self._up_at = now
            if self._ripe:
                self._taps = 0
            else:
                # Only exactly two taps mean "cancel": hammering the button in panic and then holding must raise.
                self._taps = self._taps + 1 if held <= TAP_MS else 0
                events.append(("let_go",))
        return events

    def time(self, now):
        events = []
        if self._down_at is None or self._ripe:
            return events
        held = now - self._down_at
        while self._ticks < TICKS and held >= self._tick_ms(self._ticks + 1):
            self._ticks += 1
            events.append(("tick", self._ticks))
        if held >= self.hold_ms:
            self._ripe = True
            events.append(("cancel",) if self._taps == 2 else ("hold",))
        return events

    def deadline(self):
        """When time() must be called next, or None."""
        if self._down_at is None or self._ripe:
            return None
        if self._ticks < TICKS:
            return self._down_at + self._tick_ms(self._ticks + 1)
        return self._down_at + self.hold_ms

    def _tick_ms(self, n):
        return self.hold_ms * n // (TICKS + 1)
