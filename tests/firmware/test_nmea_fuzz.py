"""The receiver's line at its worst: every talker, damaged checksums, lines too long, cut, doubled, glued together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import nmea
from tocsin.nmea import LINE_MAX, TALKERS

from tests.firmware.test_nmea import fixes, gga, gns, rmc, sentence

PAIR = rmc() + gga()
OTHERS = [  # what receivers send beside the two sentences that are read
    sentence(b"GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00"),
    sentence(b"GNGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1"),
    sentence(b"GPVTG,054.7,T,034.4,M,005.5,N,010.2,K"),
    sentence(b"GNGLL,4807.03810,N,01131.00012,W,123519.00,A,A"),
    sentence(b"PUBX,00,123519.00,4807.03810,N,01131.00012,W,545.4,G3,2.1,2.0"),
    b"$GNTXT,01,01,02,ANTSTATUS=OK*25\r\n",
]
talkers = st.sampled_from([talker.decode() for talker in TALKERS])


def plain(events):
    return [(event[0], vars(event[1]) if event[0] == "fix" else event[1]) for event in events]


def within_the_wire(fix):
    """What envelope.py would send as it is."""
    assert -900000000 <= fix.lat <= 900000000
    assert -1800000000 <= fix.lon <= 1800000000
    assert 0 <= fix.accuracy <= 65535
    assert fix.speed is None or 0 <= fix.speed <= 255
    assert fix.heading is None or 0 <= fix.heading < 360
    assert fix.altitude is None or isinstance(fix.altitude, int)


@given(talkers, talkers, st.booleans(), st.lists(st.sampled_from(OTHERS), max_size=4))
def test_any_talker_may_say_either_half_with_anything_between(first, second, swapped, between):
    halves = [rmc(talker=first), gga(talker=second)]
    if swapped:
        halves.reverse()
    (fix,) = fixes(halves[0] + b"".join(between) + halves[1])
    assert (fix.lat, fix.lon, fix.altitude) == (481173017, -115166687, 545)


@pytest.mark.parametrize("talker", ["GX", "ZQ", "P", "", "gp"])
def test_other_talkers_are_not_read(talker):
    assert nmea.Parser().feed(rmc(talker=talker) + gga(talker=talker)) == []


@pytest.mark.parametrize("good", [rmc(), gga()])
def test_every_flipped_bit_is_noticed(good):
    """The checksum is an exclusive or: it finds every single flip. A flip in its own digits may give the same digit in
    lower case."""
    truth = plain(nmea.Parser().feed(good + rmc(time="123520.00")))
    for bit in range(len(good) * 8):
        damaged = (int.from_bytes(good, "big") ^ 1 << bit).to_bytes(len(good), "big")
        for event in plain(nmea.Parser().feed(damaged + b"\r\n" + rmc(time="123520.00"))):
            assert event in truth or event == ("time", 1774269320)


@pytest.mark.parametrize("check", [b"", b"*", b"*4", b"*ZZ", b"*00", b"*+4", b"* 4", b"*4 ", b"*123", b"*-1", b"**4B"])
def test_a_checksum_that_is_none(check):
    body = rmc().partition(b"*")[0]
    assert nmea.Parser().feed(body + check + b"\r\n" + gga()) == []


@given(st.integers(0, 3 * LINE_MAX), st.integers(1, 50), st.sampled_from([b"x", b",", b"\xff", b"\0", b"*", b"\r"]))
def test_a_line_too_long_is_dropped_and_the_next_one_read(length, chunk, filling):
    """By itself, in front of a sentence, and at every split."""
    data = b"$GNRMC," + filling * (LINE_MAX + length) + b"\r\n" + PAIR
    parser = nmea.Parser()
    events = []
    for at in range(0, len(data), chunk):
        events += parser.feed(data[at : at + chunk])
        assert len(parser._line) <= LINE_MAX
    assert plain(events) == plain(nmea.Parser().feed(PAIR))
    assert parser.bad == 1


def test_the_longest_line_is_still_read():
    head = b"GNRMC,123519.00,A,4807.03810,N,01131.00012,W,022.4,084.4,230326,,,A"
    filled = head + b"," * (LINE_MAX - len(head) - 4)  # checksum and carriage return count
    assert [event[0] for event in nmea.Parser().feed(sentence(filled))] == ["time"]
    assert nmea.Parser().feed(sentence(filled + b",")) == []


@given(st.data())
def test_a_cut_sentence_costs_only_itself(data):
    """The receiver is reset in the middle of a sentence, or octets are lost in an overrun."""
    first, second = rmc(), rmc(time="123520.00") + gga(time="123520.00")
    cut = data.draw(st.integers(0, len(first)))
    resumed = data.draw(st.integers(cut, len(first)))
    stream = first[:cut] + first[resumed:] + second
    events = plain(nmea.Parser().feed(stream))
    assert plain(nmea.Parser().feed(second))[-1] in events


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "double", "swap"]), st.integers(0, 2000), st.binary(max_size=12)
    ),
    max_size=12,
)


SENTENCES = st.sampled_from([rmc(), gga(), gns(), rmc(time="123520.00"), *OTHERS])


@given(st.lists(SENTENCES, max_size=8), MUTATIONS, st.data())
def test_whatever_comes_it_goes_on_and_what_it_says_fits_the_wire(sentences, mutations, data):
    stream = bytearray(b"".join(sentences))
    for what, place, octets in mutations:
        at = place % (len(stream) + 1)
        if what == "insert":
            stream[at:at] = octets
        elif what == "delete":
            del stream[at : at + len(octets)]
        elif what == "replace":
            stream[at : at + len(octets)] = octets
        elif what == "double":
            stream[at:at] = stream[at : at + 40]
        else:
            stream[:] = stream[at:] + stream[:at]
    parser, at = nmea.Parser(), 0
    while at < len(stream):
        size = data.draw(st.integers(1, 120))
        for event in parser.feed(bytes(stream[at : at + size])):
            if event[0] == "fix":
                within_the_wire(event[1])
        at += size
        assert len(parser._line) <= LINE_MAX
    parser.feed(b"\r\n")
    later = rmc(time="235959.00") + gga(time="235959.00")
    assert [vars(event[1]) for event in parser.feed(later) if event[0] == "fix"][-1]["lat"] == 481173017


FIELDS = st.sampled_from(
    [b"", b"A", b"V", b"N", b"S", b"E", b"W", b"0", b"1", b"123519.00", b"235960.00", b"230326", b"310299", b"4807.038",
     b"9000.00000", b"18000.0", b"-1", b"1e9", b"0.0", b"99999.9", b"9" * 20, b".", b"-", b"+1", b" 1", b"1 ", b"\xb2"]
)  # words, several a line # fmt: skip


@given(st.sampled_from([b"RMC", b"GGA", b"GNS"]), st.lists(FIELDS, max_size=16))
def test_any_fields_under_a_good_checksum(kind, values):
    """A receiver with a broken firmware, or somebody who feeds the line."""
    body = b"GN" + kind + b"," + b",".join(values)
    for event in nmea.Parser().feed(sentence(body) + PAIR):
        if event[0] == "fix":
            within_the_wire(event[1])
