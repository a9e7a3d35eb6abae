"""A receiver's ways to word what it knows: each by itself, as its source has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwsim.world import Track
from hwsim.world.gnss import Gnss
from hwsim.world.gnss_talk import DATE_LATE_S, FIRST_DATES, RATES_HZ, SENTENCES, TALKERS, Talk

WIRING = {"tx": 27, "rx": 26, "baud": 9600}


def heard(world, basic, seconds=3.0, baud=9600, cold_s=1, before=lambda gnss: None, **talk):
    """(time, sentence without its end) of each sentence after a start."""
    bracelet = world.bracelet(firmware=basic)
    said: list[tuple[int, bytes]] = []
    gnss = Gnss(bracelet, "gnss under test", WIRING | {"baud": baud}, Track.still(10.5, -20.25, 123))
    gnss.line.announce = lambda us, data: said.append((us, data))
    gnss.cold_start_s = cold_s
    gnss.talk = replace(gnss.talk, **talk)
    before(gnss)
    gnss.power(True)
    world.run(seconds)
    return [(us, line) for us, data in said for line in data.split(b"\n") if line]


def kinds(lines, second=2):
    return [line[1:6].decode() for us, line in lines if us // 1_000_000 == second]


def fields(lines, kind, second=2):
    return [line.split(b"*")[0].split(b",") for us, line in lines if us // 1_000_000 == second and line[3:6] == kind]


def test_by_default_it_says_what_u_blox_says(world, basic):
    assert kinds(heard(world, basic)) == ["GPRMC", "GPVTG", "GPGGA", "GPGSA"]


@pytest.mark.parametrize("talkers", TALKERS)
def test_each_talker_says_each_sentence_of_a_second(world, basic, talkers):
    lines = heard(world, basic, talkers=talkers)
    for kind in (b"RMC", b"GGA"):
        said = fields(lines, kind)
        assert [f[0][1:3].decode() for f in said] == list(talkers)
        assert len({tuple(f[1:]) for f in said}) == 1


@pytest.mark.parametrize("order", SENTENCES)
def test_the_sentences_come_in_their_order_and_no_others_hold_a_place(world, basic, order):
    said = [kind[2:] for kind in kinds(heard(world, basic, kinds=order))]
    assert tuple(kind for kind in said if kind not in ("VTG", "GSA")) == order
    assert said[-1] == "GSA"


def test_gns_says_the_mode_of_each_constellation(world, basic):
    lines = heard(world, basic, cold_s=2, kinds=("GNS",))
    assert fields(lines, b"GNS", 1)[0][6:9] == [b"NN", b"00", b"99.99"]
    (gns,) = fields(lines, b"GNS", 2)
    assert gns[2:7] == [b"1030.00000", b"N", b"02015.00000", b"W", b"AN"]
    assert gns[9] == b"123.0"


@pytest.mark.parametrize("hz", RATES_HZ)
def test_as_often_a_second_and_each_instant_says_its_hundredths(world, basic, hz):
    lines = heard(world, basic, baud=115200, hz=hz)
    assert [f[1][-2:] for f in fields(lines, b"RMC")] == [b"%02d" % (100 * n // hz) for n in range(hz)]


def test_what_a_slow_line_does_not_take_is_dropped_whole(world, basic):
    lines = heard(world, basic, hz=10)
    assert set(kinds(lines)) == {"GPRMC"}
    assert all(line[-4:-3] == b"*" for _, line in lines)
    per_second = sum(len(line) + 1 for us, line in lines if us // 1_000_000 == 2)
    assert per_second <= 960


def test_zeros_are_said_with_status_a_before_there_is_a_fix_and_for_as_long_as_asked(world, basic):
    lines = heard(world, basic, 6, cold_s=3, before=lambda gnss: gnss.nowhere(2.5))
    places = [f[2:7] for second in range(1, 6) for f in fields(lines, b"RMC", second)]
    nowhere = [b"A", b"0000.00000", b"N", b"00000.00000", b"E"]
    assert places[:2] == [nowhere] * 2
    assert places[2][0] in (b"V", b"A")
    assert places[-1] == [b"A", b"1030.00000", b"N", b"02015.00000", b"W"]


@pytest.mark.parametrize("year", FIRST_DATES)
def test_the_date_is_wrong_for_some_seconds_after_the_fix(world, basic, year):
    lines = heard(world, basic, DATE_LATE_S + 5, first_date=year)
    dates = [f[9] for second in range(2, DATE_LATE_S + 4) for f in fields(lines, b"RMC", second)]
    wrong = FIRST_DATES[year].encode()
    assert dates[0] == wrong
    assert wrong.endswith(b"%02d" % (year % 100))
    assert dates[-1] == b"010126"
    assert dates.count(wrong) in (DATE_LATE_S - 2, DATE_LATE_S - 1, DATE_LATE_S)


def test_satellites_that_are_never_counted(world, basic):
    (gga,) = fields(heard(world, basic, uncounted=True), b"GGA")
    assert gga[6:8] == [b"1", b"00"]


@pytest.mark.parametrize(("shared", "qualities"), [(1, [b"0", b"1"]), (2, [b"1", b"0"])])
def test_a_constellation_with_too_few_satellites_has_no_fix_of_its_own(world, basic, shared, qualities):
    lines = heard(world, basic, shared=shared)
    assert [f[6] for f in fields(lines, b"GGA")] == qualities
    assert [f[0] for f in fields(lines, b"GGA")][qualities.index(b"0")] == b"$GLGGA"


def test_lines_that_end_twice(world, basic):
    lines = heard(world, basic, extra_cr=True)
    assert all(line.endswith(b"\r\r") for _, line in lines)


def test_another_talk_begins_at_once_and_costs_no_second(world, basic):
    bracelet = world.bracelet(firmware=basic)
    said: list[tuple[int, bytes]] = []
    gnss = Gnss(bracelet, "gnss under test", WIRING | {"baud": 115200}, Track.still(10.5, -20.25))
    gnss.line.announce = lambda us, data: said.append((us, data))
    gnss.cold_start_s = 1
    gnss.power(True)
    world.run(3.5)
    gnss.talk = Talk(hz=5)
    world.run(2)
    gnss.talk = Talk()
    world.run(3)
    times = [us for us, _ in said]
    assert times == sorted(set(times))
    assert {us // 1_000_000 for us in times} == set(range(1, 9))
