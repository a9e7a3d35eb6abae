# sans-I/O
# hwsim: no-float
"""Turn a receiver's words into fixes and times: find which of them is new, which is for the clock, which is in doubt.

Pure: octets and our own time go in. The newest fix is kept in memory and, while that is doubtful, the last one that was
not; never a track. nmea.py reads the sentences; drivers/gnss.py has the receiver's supply.
"""

from tocsin import log, movement, nmea
from tocsin.clock import EARLIEST, LATEST
from tocsin.nmea import DAY

REPEATS_MS = 5000  # one second may be said for so long: by two talkers, ten times a second, by a clock that is set back
LATE_S = 3  # sentences may be of so many seconds before the last


class Fixes:
    """The receiver's fixes. `on_time(seconds)` is called whenever the receiver says the time, `on_fix()` for a new fix.
    `unsure`: it may repeat a second that it said before it was first heard."""

    def __init__(self, clock, on_time, on_fix, unsure):
        self._parser = nmea.Parser()
        self._frozen = False  # it says the same second again and again
        self._first = -1 if unsure else None  # the first second it says, until there is another
        self._clock = clock
        self._on_time = on_time
        self._on_fix = on_fix
        self._fix = None
        self._sure = None  # the last one without doubt
        self._second = -1  # of the day: the receiver's last
        self._dated = 0  # s since 1970: the last that was told on
        self.heard_at = self._moved_at = clock.ms()  # moved: when it said another second than before
        self.count = 0  # of fixes so far: tells whether there is a newer one

    def listen(self):
        """Note that the receiver can be heard from now on, so its silence counts."""
        self._frozen = False
        self.heard_at = self._clock.ms()

    def remember(self, fix):
        """Take up the fix that fix() returned before the processor slept, its time told by the clock of now."""
        lat, lon, accuracy, _, altitude, speed, heading, doubt, self._dated, at = fix
        self._second = self._dated % DAY
        fix = self._fix = self._sure = nmea.Fix(lat, lon, speed, heading)
        fix.accuracy, fix.altitude, fix.doubt, fix.time = accuracy, altitude, doubt, self._dated
        fix.at = at

    def fix(self):
        """Return (lat, lon, accuracy, age s, altitude, speed, heading, doubt, receiver's time, when it was found, in ms
        of our clock) of the last fix, or None."""
        fix = self._fix
        if fix is None:
            return None
        age = min((self._clock.ms() - fix.at) // 1000, 65535)
        return fix.lat, fix.lon, fix.accuracy, age, fix.altitude, fix.speed, fix.heading, fix.doubt, fix.time, fix.at

    def feed(self, data, heard_at):
        """Take octets from the receiver; the first of them came at `heard_at`."""
        for what, value in self._parser.feed(data, heard_at):
            time = value if what == "time" else value.time
            second = time % DAY
            self._moves(second, heard_at)
            if second == self._first:
                continue
            if what == "fix":
                if not _dated(time):
                    value.time = second
                self._take(value)
            elif time != self._dated and not self._frozen and _dated(time):
                self._dated = time
                self._on_time(time)
        if not self._frozen:
            self.heard_at = heard_at

    def _moves(self, second, now):
        """Check that the receiver's clock goes on: if it does not, the receiver must not be heard."""
        if self._first == -1:
            self._first = second
        if second == self._first or (self._second - second) % DAY <= LATE_S:
            self._frozen = now - self._moved_at > REPEATS_MS
        else:
            self._frozen = False
            self._first = None
            self._second, self._moved_at = second, now

    def _take(self, fix):
        """Take a new fix, unless it is of the same second as the last, or late: a receiver that repeats itself has
        found nothing."""
        last = self._fix
        if last is None:
            log.event("gnss", fix=1)
        elif (last.time - fix.time) % DAY <= LATE_S:
            return
        else:
            fix.doubt = movement.doubt(self._sure, last, fix)
        self._fix = fix
        if not fix.doubt:
            self._sure = fix
        self.count += 1
        self._on_fix()


def _dated(time):
    """Tell whether the receiver knows the date: not if the clock would refuse it, or close to midnight, when it may be
    the other day's."""
    return EARLIEST <= time < LATEST and (time + LATE_S) % DAY >= 2 * LATE_S
