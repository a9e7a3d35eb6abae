# sans-I/O
# hwsim: no-float
"""Find what the fingers mean: turn debounced edges of the one button into holds, and taps after a half hold.

Pure: edges and a time in milliseconds go in, events come out. It knows nothing of alarms; alarm.py decides what a
hold is worth. Events: ("tick", n) n = 1..4 while a hold ripens, so that a wearer feels an unmeant press and lets go;
("let_go",) when it was not held long enough; when it is ripe ("hold",), or after exactly two taps ("cancel",), after
exactly three ("duress",), after arming a drill ("drill",); and ("taps", n) for taps that followed a half hold, when
no press followed them for GAP_MS.

Every pattern that weakens the protection (a drill, taking it off, stopping the timer) begins with a half hold, let go
after the second tick: hammering the button in panic gives taps of any number, but no half hold. A half hold is felt, so
it can be done right even while the bracelet wakes from its sleep, when taps would be missed.
"""

TICKS = 4
HALF_FROM, HALF_TO = 2, 4  # ticks: let go from the second on and before the fourth
TAP_MS = 600  # longer than this is not a tap
GAP_MS = 1000  # longer than this between two presses starts a new pattern
DRILL_TAPS = 4
DRILL_MS = 15000  # the next hold that begins in this time is a drill
_BEFORE_HOLD = {2: "cancel", 3: "duress"}


class Gestures:
    def __init__(self, hold_ms=3000):
        self.hold_ms = hold_ms
        self._down_at = None
        self._up_at = -GAP_MS - 1  # long ago
        self._ticks = 0
        self._taps = 0
        self._half = False  # these taps followed a half hold
        self._ripe = False
        self._drill_until = None

    def edge(self, down, now):
        """Take a debounced edge. Returns the events it causes (those due before it first)."""
        events = self.time(now)
        if down and self._down_at is None:
            if now - self._up_at > GAP_MS:
                self._taps, self._half = 0, False
            self._down_at = now
            self._ticks = 0
            self._ripe = False
        elif not down and self._down_at is not None:
            held = now - self._down_at
            self._down_at = None
            self._up_at = now
            if self._ripe:
                self._taps, self._half = 0, False
            else:
                # Only exact numbers of taps mean anything: hammering the button in panic and then holding must raise.
                if self._tick_ms(HALF_FROM) <= held < self._tick_ms(HALF_TO):
                    self._taps, self._half = 0, True
                elif held <= TAP_MS:
                    self._taps += 1
                else:
                    self._taps, self._half = 0, False
                events.append(("let_go",))
        return events

    def time(self, now):
        events = []
        if self._down_at is None:
            if (self._taps or self._half) and now - self._up_at > GAP_MS:
                self._drill_until = None
                if self._half and self._taps:
                    events.append(("taps", self._taps))
                    if self._taps == DRILL_TAPS:
                        self._drill_until = now + DRILL_MS
                self._taps, self._half = 0, False
        elif not self._ripe:
            held = now - self._down_at
            while self._ticks < TICKS and held >= self._tick_ms(self._ticks + 1):
                self._ticks += 1
                events.append(("tick", self._ticks))
            if held >= self.hold_ms:
                self._ripe = True
                events.append((self._meaning(),))
        return events

    def _meaning(self):
        drill = self._drill_until is not None and self._down_at <= self._drill_until
        self._drill_until = None  # whatever was held: a drill is armed for one hold only
        if self._half:
            return "hold"
        return "drill" if drill and not self._taps else _BEFORE_HOLD.get(self._taps, "hold")

    @property
    def ripe(self):
        """Tell whether the button is held, and for so long that it has been answered."""
        return self._down_at is not None and self._ripe

    def begins(self, now):
        """Tell whether a press now would begin a new pattern."""
        return self._down_at is None and now - self._up_at > GAP_MS

    def deadline(self):
        """Return when time() must be called next, or None."""
        if self._down_at is None:
            return self._up_at + GAP_MS + 1 if self._taps or self._half else None
        if self._ripe:
            return None
        if self._ticks < TICKS:
            return self._down_at + self._tick_ms(self._ticks + 1)
        return self._down_at + self.hold_ms

    def busy(self, now):
        """Tell whether the button is held, a pattern half done, or a drill armed."""
        armed = self._drill_until is not None and now <= self._drill_until
        return armed or self._down_at is not None or self._half or self._taps > 0

    def _tick_ms(self, n):
        return self.hold_ms * n // (TICKS + 1)
