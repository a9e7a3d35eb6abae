# sans-I/O
# hwsim: no-float
"""Keep the time, as seconds since 1970 in integers, and how well it is known.

Only this module knows of the ESP32's epoch (2000) and of its ticks, which wrap. Qualities as on the wire: 0 unknown,
1 saved (from flash or kept by the real-time clock), 2 network, 3 GNSS.
"""

UNKNOWN, SAVED, NETWORK, GNSS = 0, 1, 2, 3
NAMES = ("unknown", "saved", "network", "gnss")
EPOCH_2000 = 946684800
EARLIEST = (
    1735689600  # 2025-01-01: no bracelet is older; a source that says so is wrong (GNSS week rollover, unset network)
)
LATEST = 2840140800  # 2060-01-01: some receivers begin in 1980, which two digits make 2080
STALE_MS = 86400000  # a better source silent for so long yields to a worse one
STEP_MS = 2500  # a source that differs by more has another time
# A source that differs by less may be heard late, but never early. So one that is ahead is better, and one that is
# behind must last; a receiver that has not heard of the leap seconds yet may be 2 s ahead.
SLIGHT_MS = 800
LASTING = 8


class Clock:
    """The bracelet's clock. `ticks`, `diff`: time.ticks_ms and time.ticks_diff; `rtc`: machine.RTC() or None."""

    def __init__(self, ticks, diff, rtc=None):
        self._ticks = ticks
        self._diff = diff
        self._rtc = rtc
        self._last = ticks()
        self._ms = 0
        self._base = 0  # s since 1970 at _ms == -_phase, which is a full second of the source
        self._phase = 0
        self._set_at = 0
        self._behind = 0  # so many offers in turn, of the same quality, were slightly earlier than our own clock
        self.quality = UNKNOWN

    def ms(self):
        """Return milliseconds since boot; they don't wrap. Must be called every few days, which every task does."""
        ticks = self._ticks()
        self._ms += self._diff(ticks, self._last)
        self._last = ticks
        return self._ms

    def time(self):
        """Return seconds since 1970, or 0 while unknown."""
        return self._base + (self.ms() + self._phase) // 1000 if self.quality else 0

    def offer(self, seconds, quality, ms=0):
        """Take the time of a source: `seconds` and `ms` now. True when this changed how well the time is known, or
        moved the time by seconds."""
        if not EARLIEST <= seconds < LATEST:
            return False
        now = self.ms()
        if quality < self.quality and now - self._set_at < STALE_MS:
            return False
        ahead = (seconds - self._base) * 1000 + ms - now - self._phase  # of our own clock, ms
        changed = quality != self.quality or abs(ahead) >= STEP_MS
        self._set_at = now
        self.quality = quality
        self._behind = self._behind + 1 if ahead <= -SLIGHT_MS else 0
        if changed or ahead >= SLIGHT_MS or self._behind >= LASTING:
            self._behind = 0
            self._phase = (ms - now) % 1000
            self._base = seconds - (now + self._phase) // 1000
            self._set_rtc(seconds, ms)
        return changed

    def start(self, saved):
        """Begin at boot with the real-time clock if it kept running through the reset, else with the time saved on
        flash. The saved time may be ahead of the clock: a wrong source was believed for a while."""
        seconds = us = 0
        if self._rtc is not None:
            year, month, day, _, hour, minute, second, us = self._rtc.datetime()
            seconds = _seconds(year, month, day, hour, minute, second)
        if seconds < EARLIEST:  # the real-time clock lost its supply
            return self.offer(saved, SAVED)
        return self.offer(seconds, SAVED, us // 1000)  # without the ms each sleep would cost it half a second

    def _set_rtc(self, seconds, ms):
        if self._rtc is not None:
            self._rtc.datetime(datetime(seconds)[:7] + (ms * 1000,))


def _seconds(year, month, day, hour, minute, second):
    from tocsin.nmea import days

    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second


def datetime(seconds):
    """Return what machine.RTC().datetime() takes: (year, month, day, weekday, hour, minute, second, subsecond)."""
    day = seconds // 86400
    rest = seconds % 86400
    # civil date from days, counting years from March (see nmea.days)
    d = day + 719468
    era = d // 146097
    doe = d % 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (1 if month <= 2 else 0)
    return year, month, doy - (153 * mp + 2) // 5 + 1, (day + 3) % 7, rest // 3600, rest // 60 % 60, rest % 60, 0
