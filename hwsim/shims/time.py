"""`time` as on an ESP32: the epoch is 2000, ticks wrap at 2**30, and the clock is the world's."""

import _hw
from _hw import ticks_ms  # noqa: F401 - part of this module
from micropython import const

_HALF = const(1 << 29)
_MASK = const((1 << 30) - 1)
_DAYS_TO_2000 = const(730426)  # from 0000-02-29


def ticks_us():
    _hw.tick()
    return (_hw.now - _hw.boot_us) & _MASK


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    return (ticks + delta) & _MASK


def ticks_diff(end, start):
    return ((end - start + _HALF) & _MASK) - _HALF


def sleep_us(us):
    _hw.sleep_until(_hw.clock() + us)


def sleep_ms(ms):
    _hw.sleep_until(_hw.clock() + ms * 1000)


def sleep(seconds):
    _hw.sleep_until(_hw.clock() + int(seconds * 1000000))


def time():
    _hw.tick()
    return _hw.rtc() // 1000000


def time_ns():
    _hw.tick()
    return _hw.rtc() * 1000


def gmtime(seconds=None):
    # The calendar of a chip whose epoch is 2000; the interpreter's own ends in 2038 when its words have 32 bits.
    days, rest = divmod(int(time() if seconds is None else seconds), 86400)
    d = days + _DAYS_TO_2000 - 1  # from 0000-03-01: years begin in March, so that the leap day comes last
    era, d = divmod(d, 146097)
    year = (d - d // 1460 + d // 36524 - d // 146096) // 365
    d -= 365 * year + year // 4 - year // 100
    month = (5 * d + 2) // 153
    day = d - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month < 3)
    yearday = days - _days(year, 1, 1) + 1
    return year, month, day, rest // 3600, rest // 60 % 60, rest % 60, (days + 5) % 7, yearday


localtime = gmtime


def mktime(fields):
    year, month, day, hour, minute, second = fields[:6]
    return _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second


def _days(year, month, day):
    # Count the days since 2000-01-01.
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if month < 3:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - _DAYS_TO_2000
