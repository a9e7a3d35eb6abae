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
    lat="4807.03810,N",
    lon="01131.00012,W",
    time="123519.00",
    date="230326",
    state="A",
    talker="GN",
    rest="022.4,084.4",
    mode=",,A",
):
    return sentence(f"{talker}RMC,{time},{state},{lat},{lon},{rest},{date},{mode}".encode())


def gga(
    time="123519.00",
    quality=1,
    hdop="0.9",
    altitude="545.4",
    talker="GN",
    satellites="08",
    lat="4807.03810,N",
    lon="01131.00012,W",
):
    place = f"{lat},{lon}"
    return sentence(f"{talker}GGA,{time},{place},{quality},{satellites},{hdop},{altitude},M,46.9,M,,".encode())


def gns(time="123519.00", mode="AN", hdop="0.9", altitude="545.4", talker="GN", satellites="08"):
    place = "4807.03810,N,01131.00012,W"
    return sentence(f"{talker}GNS,{time},{place},{mode},{satellites},{hdop},{altitude},46.9,,".encode())


def fixes(data):
    return [event[1] for event in nmea.Parser().feed(data) if event[0] == "fix"]


@pytest.mark.parametrize("pair", [rmc() + gga(), gga() + rmc()])
def test_rmc_and_gga_make_one_fix_in_any_order(pair):
    (fix,) = fixes(pair)
    assert vars(fix) == {
        "lat": 481173017,
        "lon": -115166687,
        "speed": 12,
        "heading": 84,
        "accuracy": 5,
        "altitude": 545,
        "time": 1774269319,
        "at": 0,
        "doubt": 0,
    }


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


@pytest.mark.parametrize("bad", [{"quality": q} for q in (0, 6, 7, 8, "")] + [{"satellites": n} for n in ("01", "02")])
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


def test_satellites_that_are_not_counted_cost_nothing_that_rmc_or_gns_says():
    """LilyGo-Modem-Series#177: an A7670 says 00 with a good fix."""
    for pair in (rmc() + gga(satellites="00"), gga(satellites="00") + rmc()):
        (fix,) = fixes(pair + rmc(time="123520.00", state="V"))
        assert (fix.lat, fix.accuracy, fix.altitude) == (481173017, 5, 545)
    (fix,) = fixes(gga(satellites="00") + gns() + gga(time="123520.00", satellites="00"))
    assert (fix.lat, fix.time) == (481173017, 45319)
    assert fixes(gga(satellites="00") + gga(time="123520.00", satellites="00")) == []


def test_an_rmc_without_a_status_takes_nothing_from_gga():
    (fix,) = fixes(rmc(state="") + gga() + gga(time="123520.00"))
    assert fix.lat == 481173017


def test_nowhere_is_no_place():
    zeros = {"lat": "0000.00000,N", "lon": "00000.00000,E"}
    assert nmea.Parser().feed(rmc(**zeros) + gga(**zeros) + rmc(time="123520.00", **zeros)) == []
    (fix,) = fixes(rmc(**zeros) + gga() + rmc(time="123520.00", **zeros))  # GGA's own place counts
    assert fix.lat == 481173017
    (fix,) = fixes(rmc(lat="0000.00000,N") + gga())  # the equator is a place
    assert fix.lat == 0


@pytest.mark.parametrize("date", ["", "000000", "310013", "xx0326", "3203", "1503261"])
def test_a_place_without_a_date_is_a_place(date):
    events = nmea.Parser().feed(rmc(date=date) + gga())
    assert [event[0] for event in events] == ["time", "fix"]
    assert events[0][1] == events[1][1].time == 45319


@pytest.mark.parametrize(
    ("rest", "speed", "heading"),
    [("x,084.4", None, 84), ("022.4,-", 12, None), ("-1,084.4", None, 84), ("1e3,", None, None)],
)
def test_an_odd_field_costs_only_itself(rest, speed, heading):
    (fix,) = fixes(rmc(rest=rest) + gga(hdop="?", altitude="x", satellites="-"))
    assert (fix.lat, fix.speed, fix.heading, fix.altitude) == (481173017, speed, heading, None)
    assert fix.accuracy == nmea.UNKNOWN_ACCURACY


def test_gga_or_gns_alone_is_a_fix_when_the_next_instant_begins():
    for kind in (gga, gns):
        (fix,) = fixes(kind() + kind(time="123520.00"))
        assert (fix.lat, fix.lon, fix.accuracy, fix.altitude, fix.time) == (481173017, -115166687, 5, 545, 45319)
        assert (fix.speed, fix.heading) == (None, None)


@pytest.mark.parametrize("mode", ["A", "AN", "NA", "NNA", "AAN", "DDNN", "RR", "F", "P", "ANAAA"])
def test_one_constellation_that_has_measured_is_enough(mode):
    assert len(fixes(rmc() + gns(mode=mode))) == 1


@pytest.mark.parametrize("mode", ["N", "NN", "NNNN", "E", "EE", "M", "S", "NE"])
def test_no_constellation_has_measured(mode):
    for order in (rmc() + gns(mode=mode), gns(mode=mode) + rmc()):
        assert fixes(order + rmc(time="123521.00", state="V")) == []


def test_a_gns_for_one_constellation_without_a_place_takes_nothing_away():
    """NMEA 0183 3.01's own example: GNGNS with the place, GPGNS and GLGNS with satellites and nothing else."""
    share = sentence(b"GPGNS,123519.00,,,,,,7,,,,5.2,23") + sentence(b"GLGNS,123519.00,,,,,,7,,,,3.0,23")
    for data in (rmc() + gns() + share, gns() + share + rmc(), rmc() + share + gns(), share + rmc() + gns()):
        assert fixes(data)[0].accuracy == 5


NO_GGA = sentence(b"GLGGA,123519.00,,,,,0,00,99.99,,,,,,")


@pytest.mark.parametrize("kind", [gga, gns])
def test_one_constellation_without_a_fix_takes_nothing_from_another(kind):
    for data in (
        NO_GGA + rmc() + kind(),
        NO_GGA + kind() + rmc(),
        kind() + NO_GGA + rmc(),
        kind() + rmc() + NO_GGA,
        rmc() + NO_GGA + kind(),
        rmc() + kind() + NO_GGA,
    ):
        (fix,) = fixes(data + rmc(time="123520.00"))
        assert (fix.lat, fix.accuracy, fix.altitude) == (481173017, 5, 545)
    (fix,) = fixes(NO_GGA + kind() + NO_GGA + kind(time="123520.00"))
    assert fix.lat == 481173017


def test_two_constellations_may_share_the_satellites():
    few = gga(talker="GP", satellites="02") + gga(talker="GA", satellites="02")
    (fix,) = fixes(few + rmc())
    assert (fix.accuracy, fix.altitude) == (100, None)  # four between them, but nobody says so
    assert fixes(2 * gga(talker="GN", satellites="02") + rmc() + rmc(time="123521.00", state="V")) == []


def test_a_better_word_of_the_same_instant_betters_the_fix_that_was_told():
    parser = nmea.Parser()
    events = parser.feed(rmc() + gga(talker="GP", satellites="03"))
    assert [event[0] for event in events] == ["time", "fix"]
    assert parser.feed(gga(talker="GA", satellites="05")) == []
    assert (events[1][1].accuracy, events[1][1].altitude) == (5, 545)


def test_a_second_rmc_of_the_same_instant_is_no_second_fix():
    data = rmc(talker="GP") + rmc(talker="GA") + gga(talker="GP") + gga(talker="GA")
    assert len(fixes(data)) == 1
    assert len(fixes(rmc(talker="GL", state="V") + data)) == 1
    assert len(fixes(data + rmc(talker="GL", state="V"))) == 1


@pytest.mark.parametrize("one", ["123519", "123519.0", "123519.00", "123519.000"])
def test_an_instant_is_the_same_however_it_is_written(one):
    assert fixes(rmc(time=one) + gga())[0].accuracy == 5


def test_sentences_of_two_seconds_that_overlap():
    one, two = {"time": "123519.00"}, {"time": "123520.00"}
    told = fixes(rmc(**one) + rmc(**two) + gga(**one) + gga(**two))
    assert [(fix.time % 100, fix.accuracy) for fix in told] == [(19, 5), (20, 5)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b" \r\n", b"\r"])
def test_line_ends(end):
    data = (rmc() + gga() + rmc(time="123520.00")).replace(b"\r\n", end)
    parser = nmea.Parser()
    assert [event[0] for event in parser.feed(data)][:2] == ["time", "fix"]
    assert parser.bad == 0


@pytest.mark.parametrize("fields", [9, 10, 11, 12, 13])
def test_rmc_of_every_edition(fields):
    """NMEA 0183 2.0 ends with the declination, 2.3 adds the mode, 4.1 the state of navigation."""
    whole = b"GNRMC,123519.00,A,4807.03810,N,01131.00012,W,022.4,084.4,230326,3.1,W,A,V".split(b",")
    assert len(fixes(sentence(b",".join(whole[: fields + 1])) + gga())) == 1


def test_time():
    assert nmea.Parser().feed(rmc()) == [("time", 1774269319)]


@pytest.mark.parametrize("talker", ["GP", "GL", "GA", "GB", "BD", "GN", "GQ", "QZ", "GI", "IN", "PQ"])
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
    [
        (b"9000.00001", b"N"),
        (b"4860.0", b"N"),
        (b"48x7.0", b"N"),
        (b"", b"N"),
        (b"4807.0", b""),
        (b"4807.0", b"E" * 2),
        (b"-4807.0", b"N"),
        (b"48-7.0", b"N"),
        (b"4807.0.0", b"N"),
        (b"48071234567.0", b"N"),
    ],
)
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
