"""The clock: its sources, their order, and the ticks that wrap."""

import pytest
from tocsin.clock import EARLIEST, GNSS, LASTING, NETWORK, SAVED, UNKNOWN, Clock, datetime

T = 1767225600


class Rtc:
    def __init__(self, year=2000):
        self.value = (year, 1, 1, 5, 0, 0, 0, 0)

    def datetime(self, value=None):
        if value is None:
            return self.value
        self.value = value


class Ticks:
    def __init__(self):
        self.ms = (1 << 30) - 5000  # as on the ESP32, shortly before they wrap

    def __call__(self):
        return self.ms & (1 << 30) - 1

    @staticmethod
    def diff(a, b):
        return ((a - b + (1 << 29)) & ((1 << 30) - 1)) - (1 << 29)


def clock(rtc=None):
    ticks = Ticks()
    return Clock(ticks, ticks.diff, rtc), ticks


def test_unknown_until_told():
    c, _ = clock()
    assert (c.time(), c.quality) == (0, UNKNOWN)
    assert not c.offer(EARLIEST - 1, GNSS)
    assert not c.offer(1 << 32, GNSS)
    assert c.time() == 0


def test_runs_through_the_wrap():
    c, ticks = clock()
    assert c.offer(T, NETWORK)
    for _ in range(100):
        ticks.ms += 100_000_000
        c.ms()
    assert c.ms() == 10_000_000_000
    assert c.time() == T + 10_000_000


def test_a_worse_source_does_not_move_it_until_the_better_is_long_silent():
    c, ticks = clock()
    assert c.offer(T, GNSS)
    assert not c.offer(T + 500, NETWORK)
    assert c.time() == T
    ticks.ms += 86_400_001
    assert c.offer(T + 90_000, NETWORK)
    assert (c.time(), c.quality) == (T + 90_000, NETWORK)


def test_small_differences_are_not_worth_a_change():
    rtc = Rtc()
    c, ticks = clock(rtc)
    assert c.offer(T, GNSS)
    set_to = rtc.value
    ticks.ms += 1500
    assert not c.offer(T + 2, GNSS)
    assert rtc.value == set_to == datetime(T)


def test_a_source_that_is_slightly_ahead_was_heard_late_before():
    c, ticks = clock()
    assert c.offer(T, GNSS)
    ticks.ms += 8000
    assert not c.offer(T + 10, GNSS)  # no news, but better
    assert c.time() == T + 10


@pytest.mark.parametrize("behind", [1, 2])
def test_a_source_that_is_slightly_behind_is_followed_when_it_lasts(behind):
    """A receiver that has not heard of all leap seconds is ahead by 2 or 3 s until it has (jclark/satpulse#175)."""
    c, ticks = clock()
    assert c.offer(T + behind, GNSS)
    for n in range(1, 20):
        ticks.ms += 1000
        assert not c.offer(T + n, GNSS)
        assert c.time() - T - n == (behind if n < LASTING else 0)


def test_one_that_is_heard_late_now_and_then_does_not_move_it():
    c, ticks = clock()
    assert c.offer(T, GNSS)
    for n in range(1, 60):
        ticks.ms += 1000
        assert not c.offer(T + n - (2 if n % LASTING else 0), GNSS)
        assert c.time() == T + n


def test_it_runs_from_the_moment_it_was_told_and_is_never_ahead():
    c, ticks = clock()
    ticks.ms += 900
    assert c.offer(T, GNSS)
    ticks.ms += 999
    assert c.time() == T
    ticks.ms += 1
    assert c.time() == T + 1


def test_a_start_loses_no_part_of_a_second():
    """machine_rtc.c of the ESP32 port: the last item of datetime() is microseconds."""
    rtc = Rtc(2026)
    rtc.value = (*rtc.value[:7], 700_999)
    c, ticks = clock(rtc)
    assert c.start(0)
    assert rtc.value[7] == 700_000
    assert c.time() == T
    ticks.ms += 300
    assert c.time() == T + 1


def test_start_prefers_the_rtc_while_it_has_its_supply():
    c, _ = clock(Rtc(2026))
    assert c.start(T - 1000)
    assert (c.time(), c.quality) == (T, SAVED)
    c, _ = clock(Rtc(2026))
    assert c.start(T + 1900)  # saved while a wrong source was believed
    assert c.time() == T
    c, _ = clock(Rtc())
    assert c.start(T)
    assert c.time() == T
    c, _ = clock(Rtc())
    assert not c.start(0)
    assert c.quality == UNKNOWN
