"""What a receiver says, second by second: receivers of every habit on one true track, and those that hang."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import fixes, movement
from tocsin.clock import EARLIEST

from tests.firmware.test_nmea import sentence

START = 1795000000  # 2026-11-18, 15:06:40
E7_PER_METRE = 89.832


class Clock:
    def __init__(self):
        self.now = 1000

    def ms(self):
        return self.now


class Bracelet:
    """The fixes as a bracelet gets them, and whether its receiver counts as silent."""

    def __init__(self, unsure=False):
        self.clock = Clock()
        self.times = []
        self.found = []
        self.fixes = fixes.Fixes(self.clock, self.times.append, self._on_fix, unsure)

    def _on_fix(self):
        self.found.append((self.clock.now, self.fixes.fix()))

    def hear(self, at_ms, data, split=0):
        self.clock.now = 1000 + at_ms
        self.fixes.feed(data[:split], self.clock.now)
        self.fixes.feed(data[split:], self.clock.now)

    @property
    def silent_ms(self):
        return self.clock.now - self.fixes.heard_at


def worded(e7, width, letters):
    value = (abs(e7) * 60 + 50) // 100
    whole, minutes = divmod(value, 6_000_000)
    return f"{whole:0{width}}{minutes // 100_000:02}.{minutes % 100_000:05},{letters[e7 < 0]}"


def clock_of(ms):
    second = (START + ms // 1000) % 86400
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}.{ms % 1000 // 10:02}"


def say(kind, talker, ms, lat, date="181126", status="A", satellites="08"):
    place = f"{worded(lat, 2, 'NS')},{worded(110000000, 3, 'EW')}"
    body = {
        "RMC": f"RMC,{clock_of(ms)},{status},{place},0.000,,{date},,,{'A' if status == 'A' else 'N'}",
        "GGA": f"GGA,{clock_of(ms)},{place},{1 if status == 'A' else 0},{satellites},1.0,400.0,M,0.0,M,,",
        "GNS": f"GNS,{clock_of(ms)},{place},{status.replace('V', 'N')}N,{satellites},1.0,400.0,0.0,,",
        "VTG": "VTG,,T,,M,0.000,N,0.000,K,A",
        "GLL": f"GLL,{place},{clock_of(ms)},A,A",
        "ZDA": f"ZDA,{clock_of(ms)},18,11,2026,00,00",
    }[kind]
    return sentence((talker + body).encode())


def north(metres):
    return 480000000 + round(metres * E7_PER_METRE)


TALKERS = st.sampled_from(["GP", "GL", "GA", "GB", "BD", "GN", "GQ", "QZ", "GI", "IN", "PQ"])
KINDS = st.lists(st.sampled_from(["RMC", "GGA", "GNS", "VTG", "GLL", "ZDA"]), min_size=1, max_size=7).filter(
    lambda kinds: {"RMC", "GGA", "GNS"} & set(kinds)
)
NOISE = st.sampled_from(
    [
        b"",
        b"\xb5\x62\x01\x07\x02\x00\xff$\n\x12",
        b"\xd3\x00\x13>\xd0$",
        b"$PMTK010,001*2E\r\n",
        b"$PUBX,00,1*33\r\n",
        b"$GNRMC,1200",
        b"\r\n\r\n",
        b"GN",
    ]
)
DATES = st.sampled_from(["", "090180", "150407", "010913", "000000"])
RECEIVERS = st.fixed_dictionaries(
    {
        "talkers": st.lists(TALKERS, min_size=1, max_size=3, unique=True),
        "kinds": KINDS,
        "hz": st.sampled_from([1, 2, 5, 10]),
        "by_kind": st.booleans(),
        "end": st.sampled_from([b"\r\n", b"\r\r\n", b"\n"]),
        "first_date": DATES,
        "dated_after_s": st.integers(0, 15),
        "zeros_s": st.integers(0, 10),
        "zeros_at": st.sets(st.integers(0, 20), max_size=3),
        "satellites": st.sampled_from(["08", "04", ""]),
        "metres_a_s": st.sampled_from([0, 2, 35, 250]),
        "noise": NOISE,
    }
)


@given(RECEIVERS, st.data())
def test_whatever_its_habits_it_is_believed_never_doubted_and_never_silent(it, data):
    bracelet = Bracelet()
    every_ms = 1000 // it["hz"]
    for ms in range(0, 21_000, every_ms):
        second = ms // 1000
        date = it["first_date"] if second < it["dated_after_s"] else "181126"
        lat = north(it["metres_a_s"] * ms / 1000)
        zeros = second < it["zeros_s"] or second in it["zeros_at"]
        said = [(kind, talker) for kind in it["kinds"] for talker in it["talkers"]]
        if not it["by_kind"]:
            said = [(kind, talker) for talker in it["talkers"] for kind in it["kinds"]]
        lines = [say(kind, talker, ms, lat, date, satellites=it["satellites"]) for kind, talker in said]
        if zeros:
            nowhere = b"0000.00000,N,00000.00000,E"
            lines = [sentence(line[1 : line.index(b"*")].replace(_place(lat), nowhere)) for line in lines]
        stream = it["noise"] + b"".join(line[:-2] + it["end"] for line in lines)
        bracelet.hear(ms + 60, stream, data.draw(st.integers(0, len(stream))) if second < 3 else 0)
        assert bracelet.silent_ms <= fixes.REPEATS_MS
    for at_ms, (lat, _, accuracy, age, _, _, _, doubt, *_) in bracelet.found:
        of_ms = at_ms - 1000 - 60 - age * 1000
        least = min(abs(lat - north(it["metres_a_s"] * (of_ms - back) / 1000)) for back in range(0, 1000, every_ms))
        assert least <= accuracy * E7_PER_METRE + 100
        assert not doubt
    expected = {second for second in range(21) if second >= it["zeros_s"] and second not in it["zeros_at"]}
    assert len(bracelet.found) >= len(expected) - 2
    assert all(EARLIEST <= time <= START + 21 for time in bracelet.times)
    if "RMC" in it["kinds"]:
        last = START + max(second for second in expected if second >= it["dated_after_s"])
        assert abs(bracelet.times[-1] - last) <= 1
        assert bracelet.times == sorted(set(bracelet.times))


def _place(lat):
    return f"{worded(lat, 2, 'NS')},{worded(110000000, 3, 'EW')}".encode()


def second(ms, date="181126", lat=480000000, **more):
    return say("RMC", "GN", ms, lat, date, **more) + say("GGA", "GN", ms, lat)


@pytest.mark.parametrize("talkers", [("GP",), ("GP", "GA")])
@pytest.mark.parametrize("hz", [1, 5])
@pytest.mark.parametrize("kinds", [("RMC", "GGA"), ("GGA",), ("GNS",), ("RMC",)])
def test_one_that_hangs_is_silent_from_then_on_and_holds_no_clock_back(talkers, hz, kinds):
    bracelet = Bracelet()
    for ms in range(0, 90_000, 1000 // hz):
        of_ms = min(ms, 20_000)
        bracelet.hear(ms, b"".join(say(kind, talker, of_ms, 480000000) for kind in kinds for talker in talkers))
        bracelet.hear(ms + 50, say("VTG", talkers[0], of_ms, 480000000))
    assert bracelet.silent_ms > 60_000
    assert bracelet.times[-1:] == ([START + 20] if "RMC" in kinds else [])
    assert bracelet.fixes.fix()[3] >= 68
    bracelet.hear(90_000, second(90_000) + second(91_000))
    assert bracelet.silent_ms == 0


def test_after_its_supply_was_cycled_it_may_search_as_long_as_it_must():
    """Else a receiver that had hung would be cycled for ever where it sees no sky."""
    bracelet = Bracelet()
    for ms in range(0, 70_000, 1000):
        bracelet.hear(ms, second(0))
    assert bracelet.silent_ms > 60_000
    bracelet.fixes.listen()
    for ms in range(70_000, 300_000, 1000):
        bracelet.hear(ms, sentence(b"GPRMC,,V,,,,,,,,,,N"))
    assert bracelet.silent_ms == 0


def test_what_may_have_hung_before_is_believed_from_its_second_second_on():
    bracelet = Bracelet(unsure=True)
    for ms in (0, 200, 400, 600):
        bracelet.hear(ms, say("RMC", "GP", 0, 480000000) + say("RMC", "GA", 0, 480000000) + say("GGA", "GP", 0, 0))
    assert bracelet.found == bracelet.times == []
    bracelet.hear(1000, second(1000))
    assert bracelet.times == [START + 1]
    assert len(bracelet.found) == 1


def test_a_date_that_lags_at_midnight_is_no_jump():
    """ddmmyy changes a second after hhmmss does, or before it."""
    midnight = (86400 - START % 86400) * 1000
    for late_ms in (-1000, 0, 1000, 2000):
        bracelet = Bracelet()
        for ms in range(midnight - 20_000, midnight + 20_000, 1000):
            bracelet.hear(ms, second(ms, "191126" if ms >= midnight + late_ms else "181126"))
        assert not any(fix[7] for _, fix in bracelet.found)
        assert len(bracelet.found) == 40
        assert bracelet.times == sorted(bracelet.times)
        assert {
            time - START - ms // 1000
            for time, ms in zip(bracelet.times[-10:], range(midnight + 10_000, midnight + 20_000, 1000), strict=True)
        } == {0}


def test_one_talker_that_does_not_know_the_date_hides_nothing_from_the_other():
    for dates in (("090180", "181126"), ("181126", "090180")):
        bracelet = Bracelet()
        for ms in range(0, 5000, 1000):
            lines = [say("RMC", talker, ms, 480000000, date) for talker, date in zip(("GP", "GA"), dates, strict=True)]
            bracelet.hear(ms, b"".join(lines) + say("GGA", "GP", ms, 480000000))
        assert bracelet.times == [START + n for n in range(5)]
        assert [fix[7] for _, fix in bracelet.found] == [0] * 5


@pytest.mark.parametrize("off", [-18, -3, -2, -1, 1, 2, 3, 18])
def test_leap_seconds_that_come_later_are_no_jump(off):
    bracelet = Bracelet()
    for ms in range(0, 60_000, 1000):
        bracelet.hear(ms, second(ms + off * 1000 if ms < 30_000 else ms))
    assert not any(fix[7] for _, fix in bracelet.found)
    assert len(bracelet.found) >= 55
    assert bracelet.times[-1] == START + 59
    assert bracelet.silent_ms == 0


def test_a_jump_in_time_or_place_is_still_doubted():
    for odd in ({"ms": 7_200_000}, {"lat": north(20_000)}):
        bracelet = Bracelet()
        for ms in range(0, 10_000, 1000):
            bracelet.hear(ms, second(ms))
        for ms in range(10_000, 20_000, 1000):
            bracelet.hear(ms, second(ms + odd.get("ms", 0), lat=odd.get("lat", 480000000)))
        assert bracelet.found[9][1][7] == 0
        assert bracelet.found[-1][1][7] > 0


def test_without_a_date_a_place_is_doubted_by_our_own_time():
    bracelet = Bracelet()
    for ms in range(0, 5000, 1000):
        bracelet.hear(ms, second(ms, ""))
    bracelet.hear(5000, second(5000, "", lat=north(20_000)))
    assert [fix[7] for _, fix in bracelet.found] == [0] * 5 + [movement._DOUBT_S]


def test_what_it_remembers_is_as_old_as_it_is_and_the_same_second_is_not_new():
    bracelet = Bracelet()
    bracelet.hear(0, second(0))
    kept = bracelet.fixes.fix()
    later = Bracelet()
    later.fixes.remember([*kept[:9], later.clock.now - 600_000])
    assert later.fixes.fix()[3] == 600
    later.hear(0, second(0))
    assert later.found == later.times == []
    later.hear(1000, second(601_000))
    assert later.times == [START + 601]
    assert [fix[7] for _, fix in later.found] == [0]
