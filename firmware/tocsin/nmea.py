# hwsim: no-float
"""GNSS sentences to integers: RMC and GGA of NMEA 0183 (also 4.x), from any constellation.

Pure and bounded: octets go in by any split, fixes and times come out, garbage is counted and dropped. Degrees are
integers times 10^7, exact to the last digit the receiver sent (rounded half up): a 32-bit float would be metres off.
Not a general NMEA library: satellites in view and the like are of no use here.
"""

LINE_MAX = 120  # the standard says 82; some receivers send more
_ASSUMED_M = 100  # accuracy at best with three satellites: the height is assumed, and its error goes into the place
UERE_M = 5  # metres of 1-sigma ranging error that one unit of HDOP stands for, an open-sky figure of consumer receivers
UNKNOWN_ACCURACY = 65535
WANTED = (b"RMC", b"GGA")
TALKERS = (b"GP", b"GL", b"GA", b"GB", b"BD", b"GN")  # BD: BeiDou as the A76XX calls it (GNSS application note)


class Fix:
    """One position: all integers, None where the receiver did not say."""

    def __init__(self, lat, lon, speed, heading):
        self.lat = lat  # degrees * 10^7
        self.lon = lon
        self.speed = speed  # m/s
        self.heading = heading  # degrees
        self.accuracy = UNKNOWN_ACCURACY  # m
        self.altitude = None  # m
        self.time = 0  # s since 1970, by the receiver
        self.at = 0  # ms since boot, by us
        self.doubt = 0  # s for which positions from this one on are doubtful: movement.doubt()


def days(year, month, day):
    """Days from 1970-01-01 to a Gregorian date (March-based years, so that the leap day comes last)."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469


def scaled(text, digits):
    """A decimal string as an integer times 10^digits, rounded half up: scaled(b"1.25", 1) == 13.

    Digit by digit: slices would be most of the garbage that a second leaves, and collecting it costs energy."""
    value = whole = part = up = 0
    point = negative = False
    for octet in text:
        if 48 <= octet <= 57:
            if not point:
                whole += 1
                value = value * 10 + octet - 48
            else:
                part += 1
                if part <= digits:
                    value = value * 10 + octet - 48
                elif part == digits + 1 and octet >= 53:  # b"5"
                    up = 1
        elif octet == 46 and not point:  # b"."
            point = True
        elif octet == 45 and not (whole or point or negative):  # b"-"
            negative = True
        else:
            raise ValueError
    if whole > 6 or part > 9 or not (whole or part):
        raise ValueError
    while part < digits:
        value *= 10
        part += 1
    value += up
    return -value if negative else value


def degrees(text, hemisphere, limit):
    """dddmm.mmmmm and N/S/E/W as degrees * 10^7."""
    dot = text.find(b".")
    if dot < 0:
        dot = len(text)
    if dot < 3 or dot > 5 or not text[:dot].isdigit():
        raise ValueError
    # exact for up to 7 digits of a minute's fraction, so that the only rounding is this one
    minutes = scaled(text[dot - 2 :], 7)
    if minutes >= 60 * 10**7:
        raise ValueError
    value = int(text[: dot - 2]) * 10**7 + (minutes + 30) // 60
    if value > limit * 10**7:
        raise ValueError
    if hemisphere in (b"S", b"W"):
        return -value
    if hemisphere not in (b"N", b"E"):
        raise ValueError
    return value


def _optional(text, digits):
    return scaled(text, digits) if text else None


class Parser:
    def __init__(self):
        self._line = b""  # begun, without its "$"
        self._skip = True  # until the first "$"
        self._clock = None  # time-of-day text the pending halves belong to
        self._rmc = None
        self._gga = None
        self.bad = 0  # lines dropped

    def feed(self, data):
        """Take octets; return a list of ("fix", Fix) and ("time", seconds since 1970).

        Octets come by the hundred a second for ever, so the interpreter's own search looks at them."""
        events = []
        at = 0
        if self._line:
            data = self._line + data
            self._line = b""
        while True:
            if self._skip:
                at = data.find(b"$", at) + 1
                if not at:
                    return events
                self._skip = False
            end = data.find(b"\n", at)
            if end < 0:
                end = len(data)
            again = data.find(b"$", at, end)  # a sentence starts here, whatever came before
            if again >= 0:
                end = again
            if end - at > LINE_MAX:
                self.bad += 1
                self._skip = True
                at = end
                continue
            if end == len(data):
                self._line = data[at:]
                return events
            if again < 0:
                self._skip = True
                self._sentence(data, at, end, events)
            elif end > at:
                self.bad += 1
            at = end + 1

    def _sentence(self, data, at, end, events):
        kind = data[at + 2 : at + 5]
        if kind not in WANTED:
            return
        try:
            star = data.find(b"*", at, end)
            if star < 0 or data[star + 3 : end] not in (b"\r", b""):
                raise ValueError
            body = data[at:star]
            check = 0
            for octet in body:
                check ^= octet
            if int(data[star + 1 : star + 3], 16) != check:
                raise ValueError
            if body[:2] not in TALKERS:
                return
            fields = body.split(b",", 13)  # none behind is of use
            if kind == b"RMC":
                self._on_rmc(fields, events)
            else:
                self._on_gga(fields, events)
        except (ValueError, IndexError):
            self.bad += 1

    def _on_rmc(self, f, events):
        # $xxRMC,hhmmss.ss,A,ddmm.mm,N,dddmm.mm,E,knots,course,ddmmyy,declination,E,mode,... (mode: since NMEA 2.3)
        # Not valid, or Estimated (dead reckoning: the last position, carried on), Manual, Simulated: nothing was
        # measured, and the time comes from a clock of its own, which may never have been set.
        if f[2] != b"A" or (len(f) > 12 and f[12] in (b"E", b"M", b"N", b"S")):
            self._clock = self._rmc = self._gga = None
            return
        time = _utc(f[1], f[9])
        events.append(("time", time))
        knots = _optional(f[7], 3)
        course = _optional(f[8], 0)
        fix = Fix(
            degrees(f[3], f[4], 90),
            degrees(f[5], f[6], 180),
            None if knots is None else min((knots * 1852 + 1800000) // 3600000, 255),
            None if course is None else course % 360,
        )
        fix.time = time
        self._epoch(f[1], events)
        self._rmc = fix
        self._pair(events)

    def _on_gga(self, f, events):
        # $xxGGA,hhmmss.ss,ddmm.mm,N,dddmm.mm,E,quality,satellites,hdop,altitude,M,...
        # Quality: 0 none, 6 estimated, 7 manual, 8 simulated. A place takes three satellites.
        satellites = _optional(f[7], 0)
        if f[6] in (b"", b"0", b"6", b"7", b"8") or (satellites is not None and satellites < 3):
            self._rmc = None  # whatever that says of itself
            return
        hdop = _optional(f[8], 2)
        if hdop is not None and not 0 < hdop < 9900:  # 99.99 and 0 stand for "unknown"
            hdop = None
        altitude = _optional(f[9], 0)
        if satellites == 3:
            altitude = None
            if hdop is not None:
                hdop = max(hdop, _ASSUMED_M * 100 // UERE_M)
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
    clock = clock[:6]
    if len(date) != 6 or not date.isdigit() or len(clock) < 6 or not clock.isdigit():
        raise ValueError
    date, clock = int(date), int(clock)
    day, month, year = date // 10000, date // 100 % 100, 2000 + date % 100
    hour, minute, second = clock // 10000, clock // 100 % 100, clock % 100
    if not (1 <= day <= 31 and 1 <= month <= 12 and hour < 24 and minute < 60 and second <= 60):
        raise ValueError
    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
