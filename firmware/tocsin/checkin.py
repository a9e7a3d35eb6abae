# sans-I/O
# hwsim: no-float
"""The check-in timer: the wearer starts and renews it; it reminds, and when nobody answers it says "missed".

Pure: times in milliseconds since boot go in, events come out: "remind" three times before the end, then "missed". It
outlives a reset by its deadline in seconds since 1970; while nobody knows the time, a reset starts it over. After a
reset at least one reminder is felt before it is missed: a wearer without supply for a while can still answer.
"""

MINUTES = 30  # unless the settings say otherwise
MINUTES_MAX = 1440
REMIND_MS = (180000, 60000, 20000)  # before the deadline
AFTER_RESET_MS = 30000  # not missed sooner than that
LATE_MS = 5000  # a start takes time, and seconds are rounded: a reminder that was due meanwhile is felt all the same


class CheckIn:
    def __init__(self, least_ms=AFTER_RESET_MS):
        """Begin stopped. `least_ms`: after a reset it is not missed sooner; after a sleep it needs no such grace."""
        self._least = least_ms
        self.minutes = 0  # with which it was started; 0: it does not run
        self._at = 0  # deadline
        self._reminded = 0  # so many reminders are over
        self._end = 0  # deadline in s since 1970 as it was on flash; 0: started since the reset

    def start(self, minutes, now):
        """Start it, or renew it: so many minutes from now."""
        self.minutes, self._end = minutes, 0
        self._set(now + minutes * 60000, now)

    def stop(self):
        self.minutes = 0

    def time(self, now):
        """Return "remind", "missed" or None. A missed timer no longer runs."""
        if not self.minutes or now < self.deadline():
            return None
        if now >= self._at:
            self.stop()
            return "missed"
        self._set(self._at, now + 1)
        return "remind"

    def deadline(self):
        """Return when time() has something to say, or None."""
        if not self.minutes:
            return None
        return self._at - (REMIND_MS + (0,))[self._reminded]

    def state(self, now, seconds):
        """Return, for the journal, [deadline in s since 1970 or 0 while the time is unknown, minutes]."""
        if not self.minutes:
            return [0, 0]
        if self._end or not seconds:
            return [self._end, self.minutes]
        return [seconds + (self._at - now) // 1000, self.minutes]

    def restore(self, state, now, seconds):
        """Go on after a reset."""
        end, minutes = state
        if 0 < minutes <= MINUTES_MAX:
            self.start(minutes, now)
            self._end = end
            self.clock(now, seconds)

    def clock(self, now, seconds):
        """Compare a deadline from before the reset with the time, which is better known now. A wrong clock can't put
        the deadline off for longer than a new start would."""
        if self.minutes and self._end and seconds:
            left = (self._end - seconds) * 1000
            reminded = 0 if self._least else self._reminded  # asleep the clock was a bit fast: a felt one stays felt
            self._set(now + max(self._least, min(left, self.minutes * 60000)), now - LATE_MS)
            self._reminded = max(self._reminded, reminded)

    def _set(self, at, now):
        self._at = at
        self._reminded = 0
        while self._reminded < len(REMIND_MS) and at - REMIND_MS[self._reminded] < now:
            self._reminded += 1
