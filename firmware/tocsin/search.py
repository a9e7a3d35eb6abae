# sans-I/O
# hwsim: no-float
"""Decide when to search for a fix at peace, and for how long, by the time that the receiver will probably need.

Pure. A receiver with a backup supply knows the satellites' orbits for some four hours and finds itself within seconds
(hot). After that, and always without such a supply, it must listen for half a minute (warm, cold: NEO-6 data sheet,
table 2), so a receiver without it searches less often. Indoors it finds nothing at all, so searches in vain become
rarer, and the first fix that comes makes them frequent again. During an alarm only the length counts: the receiver
stays on or, asleep, is switched on at each waking, however still she keeps.
"""

HOT_S = 4 * 3600  # orbits are good for so long
HOT_MS = 15000  # some seconds and a margin
COLD_MS = 45000  # half a minute and a margin
EVERY_S = 900  # between two searches while they succeed
COLD_EVERY_S = 3600  # of a receiver without a backup supply
RARE_S = 4 * 3600  # at most, while they don't: in time to refresh the orbits
SETTLED = 3  # fixes in a search: the first is the worst


class Search:
    def __init__(self, fixed=0, tried=0, failed=0):
        """Take times in s since 1970, 0 unknown: of the last fix and of the last search; and searches in vain since."""
        self.fixed = fixed
        self.tried = tried
        self.failed = failed

    def state(self):
        return [self.fixed, self.tried, self.failed]

    def due(self, time, hot=True):
        """Tell whether it is worth searching now. `hot`: does the receiver remember?"""
        if not time or not self.tried or time < self.tried:
            return True
        every = EVERY_S if hot else COLD_EVERY_S
        return time - self.tried >= min(every << min(self.failed, 8), RARE_S) - 60  # timers are not exact

    def limit_ms(self, time, hot=True):
        """Return how long a search that begins now may last."""
        return HOT_MS if hot and self.fixed and 0 <= time - self.fixed < HOT_S else COLD_MS

    def began(self, time):
        self.tried = time

    def ended(self, time, found):
        if found:
            self.fixed, self.failed = time, 0
        else:
            self.failed = min(self.failed + 1, 8)
