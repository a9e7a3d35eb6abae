"""NMEA to integers, exactly; garbage to nothing."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import clock, nmea


def sentence(body):
    check = 0
    for octet in body:
        check ^= octet
    return b"$" + body + b"*%02X\r\n" % check


def rmc(
    lat="4807.03810,N", lon="01131.00012,W", time="123519.00", date="230326", state="A", talker="GN",
    rest="022.4,084.4", mode=",,A",
):  # fmt: skip
    return sentence(f"{talker}RMC,{time},{state},{lat},{lon},{rest},{date},{mode}".encode())


def gga(time="123519.00", quality=1, hdop="0.9", altitude="545.4", talker="GN", satellites="08"):
    place = "4807.03810,N,01131.00012,W"
    return sentence(f"{talker}GGA,{time},{place},{quality},{satellites},{hdop},{altitude},M,46.9,M,,".encode())


def fixes(data):
    return [event[1] for event in nmea.Parser().feed(data) if event[0] == "fix"]


@pytest.mark.parametrize("pair", [rmc() + gga(), gga() + rmc()])
def test_rmc_and_gga_make_one_fix_in_any_order(pair):
    (fix,) = fixes(pair)
    assert vars(fix) == {
        "lat": 481173017, "lon": -115166687, "speed": 12, "heading": 84, "accuracy": 5, "altitude": 545,
        "time": 1774269319, "at": 0, "doubt": 0,
    }  # fmt: skip


def test_rmc_alone_is_a_fix_when_the_next_instant_begins():
    assert fixes(rmc()) == []
    (fix,) = fixes(rmc() + rmc(time="123520.00"))
    assert fix.accuracy == nmea.UNKNOWN_ACCURACY
    assert fix.altitude is None


def test_without_a_fix_neither_position_nor_time_is_believed():
    assert nmea.Parser().feed(rmc(state="V") + gga(quality=0)) == []
    assert nmea.Parser().feed(rmc(lat=",", lon=",", state="V", rest=",", time="", date="")) == []


@pytest.mark.parametrize("mode", [",,E", ",,M", ",,S", ",,N", "3.1,W,E", ",,E,V"])
def test_what_was_not_measured_is_no_fix_and_no_time(mode):
    """Dead reckoning carries the last position on; the mode is the twelfth field, and may be followed by another."""
    assert nmea.Parser().feed(rmc(mode=mode) + gga() + rmc(time="123520.00", mode=mode)) == []


@pytest.mark.parametrize("mode", [",,A", ",,D", ",,F", ",,R", ",,A,V", ",", "3.1,E", "3.1,E,A"])
def test_what_was_measured_is_a_fix(mode):
    assert len(fixes(rmc(mode=mode) + gga())) == 1


@pytest.mark.parametrize("bad", [{"quality": q} for q in (0, 6, 7, 8, "")] + [{"satellites": n} for n in ("00", "02")])
def test_when_one_sentence_has_no_fix_the_other_has_none_either(bad):
    for order in (rmc() + gga(**bad), gga(**bad) + rmc() + gga(time="123520.00", **bad)):
        assert fixes(order + rmc(time="123521.00", state="V")) == []


def test_with_three_satellites_the_height_is_assumed_and_the_place_is_as_good_as_that():
    (fix,) = fixes(rmc() + gga(satellites="03", hdop="1.1"))
    assert (fix.accuracy, fix.altitude) == (100, None)
    assert fixes(rmc() + gga(satellites="03", hdop="40"))[0].accuracy == 200
    assert fixes(rmc() + gga(satellites="", hdop="1.1"))[0].accuracy == 6


@pytest.mark.parametrize("hdop", ["99.99", "99.0", "0", "0.00", "-1", ""])
def test_an_hdop_that_stands_for_unknown_is_no_accuracy(hdop):
    assert fixes(rmc() + gga(hdop=hdop))[0].accuracy == nmea.UNKNOWN_ACCURACY


def test_time():
    assert nmea.Parser().feed(rmc()) == [("time", 1774269319)]


@pytest.mark.parametrize("talker", ["GP", "GL", "GA", "GB", "BD", "GN"])
def test_talkers(talker):
    assert len(fixes(rmc(talker=talker) + gga(talker=talker))) == 1


@given(st.integers(0, 89), st.integers(0, 59), st.integers(0, 99999), st.integers(1, 5), st.sampled_from("NS"))
def test_degrees_are_exact(degree, minute, part, digits, hemisphere):
    part %= 10**digits
    text = f"{degree:02d}{minute:02d}.{part:0{digits}d}".encode()
    exact = (degree + Fraction(minute * 10**digits + part, 60 * 10**digits)) * 10**7
    value = nmea.degrees(text, hemisphere.encode(), 90)
    assert abs(abs(value) - exact) <= Fraction(1, 2)
    assert (value <= 0) == (hemisphere == "S" or value == 0)


@pytest.mark.parametrize(
    ("text", "hemisphere"),
    [(b"9000.00001", b"N"), (b"4860.0", b"N"), (b"48x7.0", b"N"), (b"", b"N"), (b"4807.0", b""), (b"4807.0", b"E" * 2),
     (b"-4807.0", b"N"), (b"48-7.0", b"N"), (b"4807.0.0", b"N"), (b"48071234567.0", b"N")],
)  # fmt: skip
def test_no_degrees(text, hemisphere):
    with pytest.raises(ValueError):
        nmea.degrees(text, hemisphere, 90)


def test_ends_of_the_world():
    assert nmea.degrees(b"9000.00000", b"S", 90) == -900000000
    assert nmea.degrees(b"18000.00000", b"W", 180) == -1800000000
    assert nmea.degrees(b"17959.999999", b"E", 180) == 1800000000


def test_hdop_is_rounded_up_and_limited():
    assert fixes(rmc() + gga(hdop="1.21"))[0].accuracy == 7
    assert fixes(rmc() + gga(hdop="0.01"))[0].accuracy == 1
    assert fixes(rmc() + gga(hdop="99999.9"))[0].accuracy == 65535
    assert fixes(rmc() + gga(hdop=""))[0].accuracy == 65535


def test_speed_is_limited_and_may_be_missing():
    assert fixes(rmc(rest="9999.9,360.0") + gga())[0].speed == 255
    assert fixes(rmc(rest="9999.9,360.0") + gga())[0].heading == 0
    assert fixes(rmc(rest=",") + gga())[0].speed is None


def test_bad_checksums_overlong_and_cut_lines_are_dropped_and_the_next_is_read():
    parser = nmea.Parser()
    bad = rmc().replace(b"4807", b"4808")
    data = b"\xff\x00noise\n" + bad + b"$GNRMC,1235" + b"$" + b"x" * 500 + b"\r\n" + rmc() + gga()
    assert [event[0] for event in parser.feed(data)] == ["time", "fix"]
    assert parser.bad == 3


@given(st.lists(st.sampled_from([rmc(), gga(), rmc(time="123520.00"), b"$GPGSV,junk*00\r\n"]), max_size=6), st.data())
def test_the_split_makes_no_difference(lines, data):
    whole = b"".join(lines)
    parser, at, split = nmea.Parser(), 0, []
    while at < len(whole):
        n = data.draw(st.integers(1, 40))
        split += parser.feed(whole[at : at + n])
        at += n
    plain = [(event[0], vars(event[1]) if event[0] == "fix" else event[1:]) for event in nmea.Parser().feed(whole)]
    assert [(event[0], vars(event[1]) if event[0] == "fix" else event[1:]) for event in split] == plain


@given(st.binary(max_size=400))
def test_garbage_gives_nothing_and_keeps_nothing(data):
    parser = nmea.Parser()
    parser.feed(data)
    assert len(parser._line) <= nmea.LINE_MAX + 1


@given(
    st.lists(st.sampled_from([b"A", b"V", b"", b"N", b"123519", b"-1", b"1e9", b"0.0", b"9" * 12, b"."]), max_size=14)
)
def test_garbage_with_a_good_checksum(fields):
    for kind in (b"GNRMC,", b"GNGGA,"):
        nmea.Parser().feed(sentence(kind + b",".join(fields)))


@given(st.integers(0, clock.LATEST))
def test_days_and_datetime_agree(seconds):
    year, month, day, weekday, hour, minute, second, _ = clock.datetime(seconds)
    assert nmea.days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second == seconds
    assert weekday == (seconds // 86400 + 3) % 7  # 1970-01-01 was a Thursday
