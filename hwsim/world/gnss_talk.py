"""The sentences of a GNSS receiver for one instant, in the forms that published receivers use.

`Talk` is a part of `hwsim.world.gnss.Gnss`, which knows the place and the time. By default it follows u-blox's table
of NMEA flags (ZED-F9P Interface Description, 4.1.7): RMC, VTG, GGA, GSA by GP once a second. Each other form has its
source beside it. Not modelled: GSV, GLL, ZDA, binary protocols, half sentences (a test injects them).
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from datetime import UTC, datetime

# NMEA's list of talker identifiers (2019-03-03) has GP, GL, GA, GB, GI (NavIC), GQ (QZSS) and GN; BD is the A76XX's
# BeiDou (GNSS application note); QZ, IN and PQ are older names of makers (gpsd, "NMEA Revealed"). Receivers that say
# each sentence for each constellation say it twice for one instant (SkyTraq's have `$GPRMC` and `$GARMC`, `$GPGGA` and
# `$GAGGA` beside each other; `$GARMC` in the logs of jclark/satpulse, `$GLRMC` in 107-Arduino-NMEA-Parser#22).
TALKERS = (
    ("GP",),
    ("GP", "GA"),
    ("GP", "GL"),
    ("GN",),
    ("GL",),
    ("GA",),
    ("GB",),
    ("BD",),
    ("GQ",),
    ("QZ",),
    ("GI",),
    ("IN",),
    ("PQ",),
)
# Sentences that hold the place, in their order. Qualcomm's receivers in phones and modems tell GNS beside or instead of
# GGA (a Droid 4's log in linux-omap's thread on its gnss driver); an A9G or an L76 with its default mask begins with
# GGA.
SENTENCES = (("RMC", "GGA"), ("GGA", "RMC"), ("GGA",), ("GNS",), ("RMC",), ("RMC", "GNS"), ("GNS", "GGA", "RMC"))
RATES_HZ = (1, 2, 5, 10)
# Dates of receivers that have not heard the date yet: 1980-01-06 is GPS's epoch (arendst/Tasmota#17896, with a valid
# time; cryologger/ice-tracking-beacon#7), 2007 is 2026 less the 1024 weeks after which GPS's week number starts anew,
# 2013-09-01 is such a start by a firmware's own base week (mstrens/oXs_on_RP2040#71).
FIRST_DATES = {1980: "090180", 2007: "150407", 2013: "010913"}
# Tasmota#17896: the right date came 16 s after the wrong one had been called valid.
DATE_LATE_S = 16
_NOWHERE = "0000.00000,N,00000.00000,E"


@functools.lru_cache(64)
def sentence(body: str) -> bytes:
    checksum = functools.reduce(operator.xor, body.encode("ascii"), 0)
    return f"${body}*{checksum:02X}\r\n".encode("ascii")


def degrees(e7: int, width: int, positive: str, negative: str) -> str:
    """Format degrees as ddmm.mmmmm,N, rounded in integers."""
    value = (abs(e7) * 60 + 50) // 100  # 1/100000 of a minute
    whole, minutes = divmod(value, 60 * 100_000)
    return f"{whole:0{width}}{minutes // 100_000:02}.{minutes % 100_000:05},{positive if e7 >= 0 else negative}"


@dataclass(frozen=True)
class Solution:
    """The receiver's solution for an instant. `place` is latitude and longitude in the form of NMEA."""

    place: str
    knots: str
    course: str
    kmh: str
    altitude_m: int
    satellites: int
    hdop: str
    flat: bool  # a 2D fix
    estimated: bool


@dataclass
class Talk:
    """A form of sentences. `hz`: instants a second. `first_date`: a year of FIRST_DATES, or 0. `uncounted`: GGA says 00
    satellites with a good fix (Xinyuan-LilyGO/LilyGo-Modem-Series#177: an A7670 never counts them). `shared`: each
    constellation has a GGA of its own, and one of them has too few satellites and says that there is no fix: 1 the
    first, 2 the second one. `extra_cr`: lines end in CR CR LF, as in firmwares that translate a line end twice."""

    talkers: tuple[str, ...] = TALKERS[0]
    kinds: tuple[str, ...] = SENTENCES[0]
    hz: int = 1
    first_date: int = 0
    uncounted: bool = False
    shared: int = 0
    extra_cr: bool = False

    def nothing(self, utc: datetime | None) -> list[bytes]:
        """Format the sentences without a place, with the time and its date or without."""
        clock, date = self._time(utc)
        lines = []
        for kind in self.kinds:
            for talker in self.talkers:
                if kind == "RMC":
                    lines += [f"{talker}RMC,{clock},V,,,,,,,{date},,,N", f"{talker}VTG,,,,,,,,,N"]
                elif kind == "GNS":
                    lines.append(f"{talker}GNS,{clock},,,,,NN,00,99.99,,,,")
                else:
                    lines.append(f"{talker}GGA,{clock},,,,,0,00,99.99,,,,,,")
        lines.append(f"{self.talkers[0]}GSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99")
        return self._worded(lines)

    def found(self, utc: datetime, it: Solution, misdated: bool, nowhere: bool) -> list[bytes]:
        """Format the sentences with a place; `misdated`: with the first date; `nowhere`: with 0, 0 and status A, as
        receivers do for some seconds at first or once in a while (traccar/traccar#2326 and #5156,
        Yeraze/meshmonitor#3763)."""
        clock, date = self._time(utc)
        if misdated and self.first_date:
            date = FIRST_DATES[self.first_date]
        place = _NOWHERE if nowhere else it.place
        mode, quality = ("E", 6) if it.estimated else ("A", 1)
        lines = []
        for kind in self.kinds:
            for talker in self.talkers:
                if kind == "RMC":
                    lines.append(f"{talker}RMC,{clock},A,{place},{it.knots},{it.course},{date},,,{mode}")
                    lines.append(f"{talker}VTG,{it.course},T,,M,{it.knots},N,{it.kmh},K,{mode}")
                elif kind == "GNS":
                    rest = f"{it.satellites:02},{it.hdop},{it.altitude_m}.0,0.0,,"
                    lines.append(f"{talker}GNS,{clock},{place},{mode}N,{rest}")
                else:
                    count = 0 if self.uncounted else it.satellites
                    lines.append(
                        f"{talker}GGA,{clock},{place},{quality},{count:02},{it.hdop},{it.altitude_m}.0,M,0.0,M,,"
                    )
            if kind == "GGA" and self.shared:
                without = f"{'GL' if self.talkers[0] != 'GL' else 'GP'}GGA,{clock},,,,,0,00,99.99,,,,,,"
                lines.insert(len(lines) - len(self.talkers) if self.shared == 1 else len(lines), without)
        used = ",".join(f"{n:02}" for n in range(1, it.satellites + 1)) + "," * (12 - it.satellites)
        lines.append(f"{self.talkers[0]}GSA,A,{2 if it.flat else 3},{used},2.00,{it.hdop},1.70")
        return self._worded(lines)

    def _time(self, utc: datetime | None) -> tuple[str, str]:
        if utc is None:
            return "", ""
        return utc.strftime("%H%M%S.") + f"{utc.microsecond // 10_000:02}", utc.strftime("%d%m%y")

    def _worded(self, lines: list[str]) -> list[bytes]:
        worded = [sentence(line) for line in lines]
        return [line[:-2] + b"\r\r\n" for line in worded] if self.extra_cr else worded


def utc(start_s: int, us: int) -> datetime:
    """Return a world's microsecond as a date."""
    return datetime.fromtimestamp(start_s + us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
