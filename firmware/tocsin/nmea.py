# sans-I/O
# hwsim: no-float
"""Turn GNSS sentences into integers: RMC, GGA and GNS of NMEA 0183 (2.0 to 4.11), from any constellation.

Pure and bounded: octets go in by any split, fixes and times come out, garbage is counted and dropped. Degrees are
integers times 10^7, exact to the last digit the receiver sent (rounded half up): a 32-bit float would be metres off.
This is no general NMEA library: satellites in view and the like are of no use here.

The sentences of one instant are weighed together. Two talkers may say the same kind of sentence, each of its own
constellation: then one of them that has measured counts, whatever the others lack. One kind (RMC) that has not measured
outweighs the other (GGA, GNS). A field that is odd or missing costs only itself.
"""

LINE_MAX = 120  # the standard says 82; some receivers send more
_ASSUMED_M = 100  # accuracy at best with three satellites: the height is assumed, and its error goes into the place
UERE_M = 5  # metres of 1-sigma ranging error that one unit of HDOP stands for, an open-sky figure of consumer receivers
UNKNOWN_ACCURACY = 65535
DAY = 86400
NOWHERE = 10000  # degrees * 10^7: a receiver that knows no place says one nearer to 0, 0 than that
WANTED = (b"RMC", b"GGA", b"GNS")
# NMEA 0183 4.11 has GP, GL, GA, GB, GQ (QZSS), GI (NavIC), GN. Before it, makers named theirs themselves: BD for BeiDou
# (A76XX, GNSS application note), QZ and IN (gpsd's list of talkers), PQ (Quectel's modems: BeiDou and QZSS).
TALKERS = (b"GP", b"GL", b"GA", b"GB", b"BD", b"GN", b"GQ", b"QZ", b"GI", b"IN", b"PQ")
# Quality of GGA, mode of RMC and GNS: Estimated (dead reckoning: the last position, carried on), Manual, None,
# Simulated. Nothing was measured, and the time comes from a clock of its own, which may never have been set.
_UNMEASURED = b"EMNS0678"
_NO = -1  # 0: has said nothing
_MAYBE = 1
_YES = 2


class Fix:
    """A position: all integers, None where the receiver did not say."""

    def __init__(self, lat, lon, speed, heading):
        self.lat = lat  # degrees * 10^7
        self.lon = lon
        self.speed = speed  # m/s
        self.heading = heading  # degrees
        self.accuracy = UNKNOWN_ACCURACY  # m
        self.altitude = None  # m
        self.time = 0  # s since 1970, by the receiver; of its day (less than 86400) where it does not know the date
        self.at = 0  # ms since boot, by us: when its instant was first heard of
        self.doubt = 0  # s for which positions from this one on are doubtful: movement.doubt()


def days(year, month, day):
    """Return the days from 1970-01-01 to a Gregorian date (March-based years, so that the leap day comes last)."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469


def scaled(text, digits):
    """Return a decimal string as an integer times 10^digits, rounded half up: scaled(b"1.25", 1) == 13.

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
    """Return dddmm.mmmmm and N/S/E/W as degrees * 10^7."""
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
    """Return a decimal string as scaled() does, or None where it is empty, negative or no number."""
    try:
        value = scaled(text, digits)
    except ValueError:
        return None
    return value if value >= 0 else None


def _place(f, at):
    """Return (latitude, longitude) of four fields, or None for 0, 0: by that receivers say that they know no place."""
    lat, lon = degrees(f[at], f[at + 1], 90), degrees(f[at + 2], f[at + 3], 180)
    return None if abs(lat) < NOWHERE and abs(lon) < NOWHERE else (lat, lon)


class Parser:
    def __init__(self):
        self._line = b""  # begun, without its "$"
        self._skip = True  # until the first "$"
        self._heard_at = 0
        self._instant = self._past = None  # hhmmss and ms: the instant of the sentences, and the one before
        self._fix = self._past_fix = None
        self._rmc = self._gga = 0  # has each kind measured? (GNS with GGA)
        self._talker = None  # of a GGA with satellites
        self._told = False
        self.bad = 0  # lines dropped

    def feed(self, data, heard_at=0):
        """Take octets that came at `heard_at`; return a list of ("fix", Fix) and ("time", Fix.time), this again where
        an instant is repeated. Accuracy and height of a fix may still be set when it has been told.

        Octets come by the hundred a second for ever, so the interpreter's own search looks at them."""
        self._heard_at = heard_at
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
                if data[end - 1] == 13:  # some receivers end a line with nothing but "\r"
                    self._sentence(data, at, end, events)
                else:
                    self.bad += 1
            at = end + 1

    def _sentence(self, data, at, end, events):
        kind = data[at + 2 : at + 5]
        if kind not in WANTED:
            return
        try:
            star = data.find(b"*", at, end)
            if star < 0 or data[star + 3 : end].strip():
                raise ValueError
            body = data[at:star]
            check = 0
            for octet in body:
                check ^= octet
            if int(data[star + 1 : star + 3], 16) != check:
                raise ValueError
            talker = body[:2]
            if talker not in TALKERS:
                return
            fields = body.split(b",", 13)  # none behind is of use
            instant = scaled(fields[1], 3) if fields[1] else -1
            if kind == b"RMC":
                self._of(instant, events)
                self._on_rmc(fields, events)
            elif fields[6] or kind == b"GGA":  # a GNS without mode only counts one constellation's satellites
                if instant == self._past:  # late
                    if self._past_fix and fields[6].strip(_UNMEASURED):
                        _judge(self._past_fix, fields)
                    return
                self._of(instant, events)
                self._on_gga(talker, fields, events)
        except (ValueError, IndexError):
            self.bad += 1

    def _of(self, instant, events):
        """Begin an instant, if it is new: it closes the old one, complete or not. Its sentences belong together."""
        if instant != self._instant:
            fix = self._fix
            if fix and fix.lat is not None and not self._told and min(self._rmc, self._gga) >= 0:
                events.append(("fix", fix))
            self._past, self._past_fix = self._instant, fix
            self._instant = instant
            self._fix = self._talker = None
            self._rmc = self._gga = 0
            self._told = False

    def _begun(self):
        """Return the fix of this instant, begun if need be."""
        if self._fix is None:
            fix = Fix(None, None, None, None)
            fix.at, fix.time = self._heard_at, _of_day(self._instant)
            self._fix = fix
        return self._fix

    def _on_rmc(self, f, events):
        # $xxRMC,hhmmss.ss,A,ddmm.mm,N,dddmm.mm,E,knots,course,ddmmyy,declination,E,mode,... (mode: since NMEA 2.3)
        if f[2] != b"A" or (len(f) > 12 and f[12] and not f[12].strip(_UNMEASURED)):
            if f[2]:  # else it says nothing
                self._rmc = self._rmc or _NO
            return
        place = _place(f, 3)
        if place is None:
            return
        fix = self._begun()
        time = _of_day(self._instant)
        day = _date(f[9]) if len(f) > 9 else None
        if day is not None:
            time += day * DAY
        events.append(("time", time))
        if self._rmc == _YES:
            return
        fix.lat, fix.lon = place
        fix.time = time
        knots = _optional(f[7], 3)
        if knots is not None:
            fix.speed = min((knots * 1852 + 1800000) // 3600000, 255)
        course = _optional(f[8], 0)
        if course is not None:
            fix.heading = course % 360
        self._rmc = _YES
        self._pair(events)

    def _on_gga(self, talker, f, events):
        # $xxGGA,hhmmss.ss,ddmm.mm,N,dddmm.mm,E,quality,satellites,hdop,altitude,M,...
        # $xxGNS,hhmmss.ss,ddmm.mm,N,dddmm.mm,E,modes,satellites,hdop,altitude,...
        level = _NO
        if f[6].strip(_UNMEASURED):
            level = _YES
            satellites = _optional(f[7], 0)
            if satellites == 0:
                level = _MAYBE  # some never count them
            elif satellites is not None:
                # A place takes three. Two talkers may have them between them.
                if satellites < 3 and (self._talker in (None, talker) or talker == b"GN"):
                    level = _NO
                self._talker = talker
        if not self._gga or level > self._gga:
            self._gga = level
        if level == _NO:
            return
        fix = self._begun()
        _judge(fix, f)
        self._pair(events)
        if level == _YES and self._rmc != _YES:
            if fix.lat is not None:
                events.append(("time", fix.time))
                return
            place = _place(f, 2)
            if place:
                fix.lat, fix.lon = place

    def _pair(self, events):
        if self._rmc == _YES and self._gga > 0 and not self._told:
            self._told = True
            events.append(("fix", self._fix))


def _judge(fix, f):
    """Set the accuracy and height of a fix, by GGA or GNS."""
    hdop = _optional(f[8], 2)
    altitude = None
    if _optional(f[7], 0) in (1, 2, 3):
        if hdop is not None:
            hdop = max(hdop, _ASSUMED_M * 100 // UERE_M)
    else:
        try:
            altitude = scaled(f[9], 0)
        except ValueError:
            pass
    if hdop is not None and 0 < hdop < 9900:  # 99.99 and 0 stand for "unknown"
        fix.accuracy = min(max((hdop * UERE_M + 99) // 100, 1), fix.accuracy)
    if altitude is not None and -32768 <= altitude <= 32767:
        fix.altitude = altitude


def _of_day(instant):
    """Return the seconds of the day."""
    second, minute, hour = instant // 1000 % 100, instant // 100000 % 100, instant // 10000000
    if instant < 0 or hour > 23 or minute > 59 or second > 60:
        raise ValueError
    return hour * 3600 + minute * 60 + second


def _date(text):
    """Return the days since 1970, or None: receivers say a place before they know the date."""
    if len(text) != 6 or not text.isdigit():
        return None
    date = int(text)
    day, month = date // 10000, date // 100 % 100
    return days(2000 + date % 100, month, day) if 1 <= day <= 31 and 1 <= month <= 12 else None
