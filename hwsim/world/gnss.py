"""A GNSS receiver on a serial line: NMEA 0183 from a track, once a second or more often.

Modelled: cold start (first silence, then the time, then a fix that gets better), hot start where the board keeps the
receiver's backup supply, loss of the sky and how long the receiver needs afterwards, the power switch, spoofing by an
offset of place or time, few satellites, dead reckoning, a receiver that hangs and repeats itself, line noise, the time
and place that UBX-AID-INI tells it. `gnss_talk` puts all that into words.
Not modelled: orbits and signal levels, other messages to the receiver. Time and place make a warm
start of a cold one. Without orbits that saves little: the NEO-6 data sheet has 27 s for either (table 2; our cold one
is longer).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.world.clock import Timer
from hwsim.world.gnss_talk import DATE_LATE_S, Solution, Talk, degrees, utc
from hwsim.world.uart import SerialLine

if TYPE_CHECKING:
    from hwsim.world.device import Device
    from hwsim.world.modem_gnss import AtLine

_FIRST_OUTPUT_US = 400_000
_ORBITS_US = 4 * 3600 * 1_000_000  # the ephemerides that satellites broadcast are good for some four hours
_AFTER_SECOND_US = 60_000  # the receiver needs that long for the solution of a full second
_SECOND_US = 1_000_000
# The chip is told so far ahead what it will hear, while nothing can change that. Octets ahead of their time lie in the
# heap of the firmware, where a real chip has none: five times a second, 8 s of them left it none.
_AHEAD_US, _AHEAD_OCTETS = 8 * _SECOND_US, 4096
_METRES_PER_E7 = 0.0111319
_UBX_KEPT = 256  # octets of a frame at most
_GPS_EPOCH, _LEAP_S = 315_964_800, 18  # GPS time begins 1980-01-06 and is ahead of UTC by so much since 2017
_MISLED = 2  # cold starts that a misled start lasts: u-blox says "substantially degraded", and gives no figure


@dataclass(frozen=True)
class Point:
    lat_e7: int
    lon_e7: int
    altitude_m: int
    speed_mps: float = 0.0
    heading: float = 0.0


class Track:
    """The wearer's way: straight lines between (seconds, latitude, longitude, altitude in metres)."""

    def __init__(self, points: Sequence[tuple[float, float, float, int]]) -> None:
        if not points:
            raise ValueError("a track needs a point")
        self._points = [(round(t * 1e6), round(lat * 1e7), round(lon * 1e7), alt) for t, lat, lon, alt in points]

    @classmethod
    def still(cls, lat: float, lon: float, altitude_m: int = 0) -> Track:
        return cls([(0, lat, lon, altitude_m)])

    def at(self, us: int) -> Point:
        before = self._points[0]
        for after in self._points:
            if after[0] > us:
                break
            before = after
        else:
            return Point(*before[1:])
        if after is before or us < before[0]:
            return Point(*before[1:])
        span, part = after[0] - before[0], us - before[0]
        lat, lon, alt = (before[i] + (after[i] - before[i]) * part // span for i in (1, 2, 3))
        north = (after[1] - before[1]) * _METRES_PER_E7
        east = (after[2] - before[2]) * _METRES_PER_E7 * math.cos(math.radians(lat / 1e7))
        speed = math.hypot(north, east) / (span / 1e6)
        return Point(lat, lon, alt, speed, math.degrees(math.atan2(east, north)) % 360)


def fletcher(body: bytes) -> bytes:
    """Return the checksum of a UBX frame (RFC 1145, in octets), over all between its sync characters and the
    checksum."""
    first = second = 0
    for octet in body:
        first = (first + octet) & 255
        second = (second + first) & 255
    return bytes((first, second))


class Gnss:
    def __init__(
        self, device: Device, who: str, wiring: dict[str, Any], track: Track | None, line: AtLine | None = None
    ) -> None:
        """Wire a receiver to `line`, that of the modem it is in, or to a serial line of its own."""
        self._device = device
        self._world = device.world
        self._meter = device.meter
        self._who = who
        self.line = line or SerialLine(device, who, wiring, self._told)
        self.line.on_open = self._changed
        self._track = track
        self.cold_start_s = 32.0
        self.hot_start_s = 2.0  # NEO-6 data sheet, table 2: 1 s under an open sky
        self.warm_start_s = 27.0  # the same table
        self._ubx = b""
        self._backup = bool(wiring.get("backup", False))  # V_BCKP is fed while the main supply is off
        self._orbits_us: int | None = None  # when it last heard the satellites
        self.reacquire_s = 4.0
        self.on = False
        self._talk = Talk()
        self._nowhere_until_us = 0
        self._jump_e7 = (0, 0)
        self._clock_offset_s = 0
        self._poor = False
        self._frozen: list[bytes] | None = None
        self._estimates = False
        self._lost_us: int | None = None  # when the sky was lost
        self._sky = True
        self._since_us = 0  # when it was switched on
        self._fix_at_us = 0  # when the first fix is or was possible
        self._tick: Timer | None = None
        self._had_fix = False

    @property
    def sky(self) -> bool:
        """Tell whether the antenna sees satellites."""
        return self._sky

    @sky.setter
    def sky(self, sees: bool) -> None:
        if sees and not self._sky:
            self._fix_at_us = max(self._fix_at_us, self._world.now_us + round(self.reacquire_s * 1e6))
        if self._sky and not sees:
            self._lost_us = self._world.now_us if self.fix else None
        self._sky = sees
        self._changed()
        self._world.note(self._who, "sky" if sees else "no sky")

    @property
    def track(self) -> Track | None:
        """The track of the antenna; without one the receiver never finds its place."""
        return self._track

    @track.setter
    def track(self, track: Track | None) -> None:
        self._track = track
        self._changed()

    @property
    def jump_e7(self) -> tuple[int, int]:
        """The offset that a spoofer adds to latitude and longitude."""
        return self._jump_e7

    @jump_e7.setter
    def jump_e7(self, jump: tuple[int, int]) -> None:
        self._jump_e7 = jump
        self._changed()

    @property
    def clock_offset_s(self) -> int:
        """The offset that a spoofer adds to the time."""
        return self._clock_offset_s

    @clock_offset_s.setter
    def clock_offset_s(self, seconds: int) -> None:
        self._clock_offset_s = seconds
        self._changed()

    @property
    def poor(self) -> bool:
        """Tell whether there are only three satellites, low in one part of the sky: a 2D fix."""
        return self._poor

    @poor.setter
    def poor(self, poor: bool) -> None:
        self._poor = poor
        self._changed()

    @property
    def frozen(self) -> bool:
        """Tell whether the receiver hangs, and repeats the same second until its supply is cycled."""
        return self._frozen is not None

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._changed()
        self._frozen = self._sentences(self._world.now_us) if frozen and self.on else None

    @property
    def estimates(self) -> bool:
        """Tell whether the receiver carries the last position on when the sky is lost (dead reckoning)."""
        return self._estimates

    @estimates.setter
    def estimates(self, estimates: bool) -> None:
        self._estimates = estimates
        self._changed()

    @property
    def talk(self) -> Talk:
        """The wording of its sentences; to be replaced by another, not changed."""
        return self._talk

    @talk.setter
    def talk(self, talk: Talk) -> None:
        self._changed()
        self._talk = talk
        if self._tick and self._tick.pending:  # the next instant may be another
            self._tick.cancel()
            self._schedule()

    def nowhere(self, for_s: float) -> None:
        """Make the receiver say for so long that it is at 0, 0, as if it had found that place."""
        self._changed()
        self._nowhere_until_us = self._world.now_us + round(for_s * 1e6)

    def power(self, on: bool) -> None:
        if on == self.on:
            return
        if self.fix:
            self._orbits_us = self._world.now_us
        if not on and not self._backup:
            self.forget()
        self.on = on
        self._frozen = self._lost_us = None
        self._meter.set("gnss", "acquisition" if on else "off")
        self._world.note(self._who, "on" if on else "off")
        self._changed()
        if self._tick:
            self._tick.cancel()
        self._ubx = b""
        if on:
            self._since_us = self._world.now_us
            hot = self._orbits_us is not None and self._since_us - self._orbits_us < _ORBITS_US
            self._fix_at_us = self._since_us + round((self.hot_start_s if hot else self.cold_start_s) * 1e6)
            self._had_fix = False
            self._tick = self._world.after(_FIRST_OUTPUT_US, self._schedule)

    def _told(self, data: bytes) -> None:
        """Take octets from the chip: whole UBX frames with the right checksum count, all else is ignored."""
        self._ubx = (self._ubx + data)[-_UBX_KEPT:] if self.on else b""
        while (at := self._ubx.find(b"\xb5\x62")) >= 0 and len(self._ubx) >= at + 6:
            end = at + 8 + int.from_bytes(self._ubx[at + 4 : at + 6], "little")
            if end - at > _UBX_KEPT:
                self._ubx = self._ubx[at + 2 :]
                continue
            if len(self._ubx) < end:
                return
            body, check = self._ubx[at + 2 : end - 2], self._ubx[end - 2 : end]
            good = check == fletcher(body)
            self._ubx = self._ubx[end if good else at + 2 :]
            if good and body[:4] == b"\x0b\x01\x30\x00":
                self._aided(body[4:])

    def _aided(self, payload: bytes) -> None:
        """Take UBX-AID-INI (u-blox 6 Receiver Description), which helps if it is as true as it says, and else
        misleads."""
        lat, lon, _, place_cm, _, week, ms, _, time_ms, *_, flags = struct.unpack("<iiiIHHIiIIiII", payload)
        if self.fix or self._track is None or flags & 0x23 != 0x23:
            return
        point, now_us = self._track.at(self._world.now_us), self._world.now_us
        told_ms = (_GPS_EPOCH - _LEAP_S + week * 604800) * 1000 + ms
        off_ms = abs(told_ms - self._world.start * 1000 - now_us // 1000)
        east = math.cos(math.radians(point.lat_e7 / 1e7))
        off_m = math.hypot(point.lat_e7 - lat, (point.lon_e7 - lon) * east) * _METRES_PER_E7
        true = off_ms <= time_ms and off_m * 100 <= place_cm
        start_s = self.warm_start_s if true else _MISLED * self.cold_start_s
        aided_us = max(self._since_us + round(start_s * 1e6), now_us)
        self._fix_at_us = min(self._fix_at_us, aided_us) if true else max(self._fix_at_us, aided_us)
        self._changed()
        self._world.note(self._who, "aided", true=int(true))

    def forget(self) -> None:
        """Forget the satellites, as the backup supply is gone as well: the next start is a cold one."""
        self._orbits_us = None

    def inject(self, data: bytes) -> None:
        """Put octets on the line that the receiver did not send: noise, or a forged sentence."""
        self._changed()
        self.line.send(data)

    @property
    def fix(self) -> bool:
        return self._fixed(self._world.now_us)

    def _fixed(self, us: int) -> bool:
        return self.on and self._sky and self._track is not None and us >= self._fix_at_us

    @property
    def _every_us(self) -> int:
        return _SECOND_US // self._talk.hz

    def _schedule(self) -> None:
        instant = (self._world.now_us - _AFTER_SECOND_US) // self._every_us + 1
        self._tick = self._world.at(instant * self._every_us + _AFTER_SECOND_US, self._second)

    def _second(self) -> None:
        us = self._world.now_us
        if self.fix != self._had_fix:
            self._had_fix = self.fix
            self._meter.set("gnss", "tracking" if self.fix else "acquisition")
            self._world.note(self._who, "fix" if self.fix else "fix lost")
        if self.fix:
            self._orbits_us = self._world.now_us
        self.line.send(b"".join(self._sentences(us)))
        until = min(self._device.alone_until_us(), us + _AHEAD_US) if self.line.announces else us
        us += self._every_us
        ahead = 0
        while us < until and ahead < _AHEAD_OCTETS and self._fixed(us) == self._had_fix:
            said = b"".join(self._sentences(us))
            self.line.announce(us, said)
            ahead += len(said)
            us += self._every_us
        self._tick = self._world.at(us, self._second)

    def _changed(self) -> None:
        """Take back the announced sentences, as the receiver would say others now, and go on at the next instant."""
        self.line.retract()
        if self._tick and self._tick.pending:
            ahead = (self._tick.at_us - self._world.now_us - 1) // self._every_us
            if ahead > 0:
                self._tick.cancel()
                self._tick = self._world.at(self._tick.at_us - ahead * self._every_us, self._second)

    def _sentences(self, us: int) -> list[bytes]:
        if self._frozen is not None:
            return self._frozen
        instant_us = us // self._every_us * self._every_us
        has_time = self._fix_at_us - us <= (self._fix_at_us - self._since_us) * 6 // 10
        now = utc(self._world.start + self._clock_offset_s, instant_us)
        estimated = self._estimates and not self._sky and self._lost_us is not None
        nowhere = us < self._nowhere_until_us
        if self._track is None or not (self._fixed(us) or estimated or nowhere):
            return self._fitting(self._talk.nothing(now if has_time else None))
        point = self._track.at(self._lost_us if estimated and self._lost_us is not None else instant_us)
        lat = degrees(point.lat_e7 + self._jump_e7[0], 2, "N", "S")
        lon = degrees(point.lon_e7 + self._jump_e7[1], 3, "E", "W")
        settled = max(0, min(20, (us - self._fix_at_us) // _SECOND_US))
        satellites, hdop = (3, 1200) if self._poor else (4 + settled // 4, 250 - 8 * settled)
        it = Solution(
            f"{lat},{lon}",
            f"{point.speed_mps * 1.943844:.3f}",
            f"{point.heading:.2f}" if point.speed_mps >= 0.5 else "",
            f"{point.speed_mps * 3.6:.3f}",
            point.altitude_m,
            satellites,
            f"{hdop // 100}.{hdop % 100:02}",
            self._poor or estimated,
            estimated,
        )
        misdated = us < self._fix_at_us + DATE_LATE_S * _SECOND_US
        return self._fitting(self._talk.found(now, it, misdated, nowhere))

    def _fitting(self, lines: list[bytes]) -> list[bytes]:
        """Keep the messages that the line takes until the next instant. Those for which the buffer has no room are
        dropped (ZED-F9P Interface Description, UBX-MON-TXBUF: "TX buffer full")."""
        room = (self.line.baud or 115_200) // 10 * self._every_us // _SECOND_US
        fitting = []
        for line in lines:
            room -= len(line)
            if room >= 0:
                fitting.append(line)
        return fitting
