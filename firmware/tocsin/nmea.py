# hwsim: no-float
"""GNSS sentences to integers: RMC and GGA of NMEA 0183 (also 4.x), from any constellation.

Pure and bounded: octets go in by any split, fixes and times come out, garbage is counted and dropped. Degrees are
integers times 10^7, exact to the last digit the receiver sent (rounded half up): a 32-bit float would be metres off.
Not a general NMEA library: satellites in view and the like are of no use here.
"""

LINE_MAX = 120  # the standard says 82; some receivers send more
UERE_M = 5  # metres of 1-sigma ranging error that one unit of HDOP stands for, an open-sky figure of consumer receivers
UNKNOWN_ACCURACY = 65535
WANTED = (b"RMC", b"GGA")
TALKERS = (b"GP", b"GL", b"GA", b"GB", b"GN")


class Fix:
    """One position: all integers, None where the receiver did not say."""

    def __init__(self, lat, lon, speed, heading):
        self.lat = lat  # degrees * 10^7
        self.lon = lon
        self.speed = speed  # m/s
        self.heading = heading  # degrees
        self.accuracy = UNKNOWN_ACCURACY  # m
        self.altitude = None  # m


def days(year, month, day):
    """Days from 1970-01-01 to a Gregorian date (March-based years, so that the leap day comes last)."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469


def scaled(text, digits):
    """A decimal string as an integer times 10^digits, rounded half up: scaled(b"1.25", 1) == 13."""
    whole, _, part = text.partition(b".")
    negative = whole.startswith(b"-")
    if negative:
        whole = whole[1:]
    if not (whole + part).isdigit() or len(whole) > 6 or len(part) > 9:
        raise ValueError
    part = part + b"0" * (digits + 1 - len(part))
    value = int((whole or b"0") + part[:digits]) if digits or whole else 0
    if part[digits] >= 53:  # b"5"
        value += 1
    return -value if negative else value


def degrees(text, hemisphere, limit):
    """dddmm.mmmmm and N/S/E/W as degrees * 10^7."""
    dot = text.find(b".")
    if dot < 0:
        dot = len(text)
    if dot < 3 or dot > 5 or not text[:dot].isdigit():
        raise ValueError
    # minutes * 10^7 / 60, rounded: take two more digits than needed so that the only rounding is this one
    minutes = scaled(text[dot - 2 :], 9)
    if minutes >= 60 * 10**9:
        raise ValueError
    value = int(text[: dot - 2]) * 10**7 + (minutes + 3000) // 6000
    if value > limit * 10**7:
        raise ValueError
    if hemisphere in (b"S", b"W"):
        return -value
    if hemisphere not in (b"N", b"E"):
        raise ValueError
    return value


def _optional(text, digits):
    return scaled(text, digits) if text else None


def _mark(data, at):
    """Where the next "$" or line end is, or the end of `data`. Octets come by the hundred a second for ever, so the
    interpreter's own search looks at them."""
    end = len(data)
    for mark in (b"$", b"\r", b"\n"):
        found = data.find(mark, at, end)
        if found >= 0:
            end = found
    return end


class Parser:
    def __init__(self):
        self._line = bytearray()
        self._skip = True  # until the first "$"
        self._clock = None  # time-of-day text the pending halves belong to
        self._rmc = None
        self._gga = None
        self.bad = 0  # lines dropped

    def feed(self, data):
        """Take octets; return a list of ("fix", Fix) and ("time", seconds since 1970)."""
        events = []
        at = 0
        while True:
            end = _mark(data, at)
            if not self._skip:
                if len(self._line) + end - at > LINE_MAX:
                    self.bad += 1
                    self._skip = True
                else:
                    self._line.extend(data[at:end])
            if end == len(data):
                return events
            if not self._skip and self._line:
                if data[end] == 36:  # "$": a sentence starts here, whatever came before
                    self.bad += 1
                else:
                    self._sentence(bytes(self._line), events)
            self._line = bytearray()
            self._skip = data[end] != 36
            at = end + 1

    def _sentence(self, line, events):
        try:
            if len(line) < 9 or line[-3] != 42:
                raise ValueError
            if line[2:5] not in WANTED:
                return
            check = 0
            for octet in line[:-3]:
                check ^= octet
            if int(line[-2:], 16) != check:
                raise ValueError
            if line[:2] not in TALKERS:
                return
            fields = line[:-3].split(b",")
            if line[2:5] == b"RMC":
                self._on_rmc(fields, events)
            elif line[2:5] == b"GGA":
                self._on_gga(fields, events)
        except (ValueError, IndexError):
            self.bad += 1

    def _on_rmc(self, f, events):
        # $xxRMC,hhmmss.ss,A,ddmm.mm,N,dddmm.mm,E,knots,course,ddmmyy,...
        if f[2] != b"A":  # its time then comes from a clock of its own, which may never have been set
            self._clock = self._rmc = self._gga = None
            return
        events.append(("time", _utc(f[1], f[9])))
        knots = _optional(f[7], 3)
        course = _optional(f[8], 0)
        fix = Fix(
            degrees(f[3], f[4], 90),
            degrees(f[5], f[6], 180),
            None if knots is None else min((knots * 1852 + 1800000) // 3600000, 255),
            None if course is None else course % 360,
        )
        self._epoch(f[1], events)
        self._rmc = fix
        self._pair(events)

    def _on_gga(self, f, events):
        # $xxGGA,hhmmss.ss,ddmm.mm,N,dddmm.mm,E,quality,satellites,hdop,altitude,M,...
        if f[6] in (b"", b"0"):
            return
        hdop = _optional(f[8], 2)
        altitude = _optional(f[9], 0)
        self._epoch(f[1], events)
        self._gga = (hdop, altitude)
        self._pair(events)

    def _epoch(self, clock, events):
        """Sentences of one instant belong together; a new instant closes the old one, complete or not."""
        if clock != self._clock:
            if self._rmc is not None:
                events.append(("fix", self._rmc))
            self._clock, self._rmc, self._gga = clock, None, None

    def _pair(self, events):
        if self._rmc is None or self._gga is None:
            return
        hdop, altitude = self._gga
        fix = self._rmc
        if hdop is not None:
            fix.accuracy = min(max((hdop * UERE_M + 99) // 100, 1), UNKNOWN_ACCURACY)
        if altitude is not None and -32768 <= altitude <= 32767:
            fix.altitude = altitude
        events.append(("fix", fix))
        self._rmc = None
        self._gga = None


def _utc(clock, date):
    if len(date) != 6 or not date.isdigit() or len(clock) < 6 or not clock[:6].isdigit():
        raise ValueError
    day, month, year = int(date[:2]), int(date[2:4]), 2000 + int(date[4:])
    hour, minute, second = int(clock[:2]), int(clock[2:4]), int(clock[4:6])
    if not (1 <= day <= 31 and 1 <= month <= 12 and hour < 24 and minute < 60 and second <= 60):
        raise ValueError
    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
