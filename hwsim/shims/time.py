"""`time` as on an ESP32: the epoch is 2000, ticks wrap at 2**30, and the clock is the world's."""

import _hw
import utime as _host

_PERIOD = 1 << 30
_TO_2000 = 946684800  # the interpreter's calendar functions count from 1970


def ticks_us():
    _hw.tick()
    return (_hw.now - _hw.boot_us) & (_PERIOD - 1)


def ticks_ms():
    _hw.tick()
    return (_hw.now - _hw.boot_us) // 1000 & (_PERIOD - 1)


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    return (ticks + delta) & (_PERIOD - 1)


def ticks_diff(end, start):
    return ((end - start + (_PERIOD >> 1)) & (_PERIOD - 1)) - (_PERIOD >> 1)


def sleep_us(us):
    _hw.sleep_until(_hw.clock() + us)


def sleep_ms(ms):
    _hw.sleep_until(_hw.clock() + ms * 1000)


def sleep(seconds):
    _hw.sleep_until(_hw.clock() + int(seconds * 1000000))


def time():
    _hw.tick()
    return (_hw.now + _hw.rtc_us) // 1000000


def time_ns():
    _hw.tick()
    return (_hw.now + _hw.rtc_us) * 1000


def gmtime(seconds=None):
    if seconds is None:
        seconds = time()
    return tuple(_host.gmtime(int(seconds) + _TO_2000)[:8])


localtime = gmtime


def mktime(fields):
    return _host.mktime(tuple(fields)[:6] + (0, 0, 0)) - _TO_2000
