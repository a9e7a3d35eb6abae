"""What two fixes say: has she moved, and can it be true?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import movement, nmea

E7_PER_METRE = 89.832  # of latitude, at the equator's radius of WGS 84
LAT, LON = 480000000, 110000000
HOUR, T = 3600, 1767225600


def fix(north_m=0, accuracy=5, age=0, speed=0, lat=LAT, lon=LON):
    """As Gnss.fix() says it."""
    return lat + round(north_m * E7_PER_METRE), lon, accuracy, age, 400, speed, None, 0, T


def received(north_m=0, seconds=0, theirs=None, accuracy=5, doubt=0):
    """As the driver keeps it: `seconds` after the first by our clock, `theirs` by the receiver's."""
    made = nmea.Fix(LAT + round(north_m * E7_PER_METRE), LON, 0, 0)
    made.accuracy, made.doubt = accuracy, doubt
    made.at, made.time = 5000 + seconds * 1000, T + (seconds if theirs is None else theirs)
    return made


def run(*fixes):
    """The doubt of each, in a row, with what the driver keeps between them."""
    last = sure = fixes[0]
    doubts = []
    for following in fixes[1:]:
        following.doubt = movement.doubt(sure, last, following)
        doubts.append(following.doubt)
        last = following
        sure = sure if following.doubt else following
    return doubts


# -- how far


@given(st.integers(-840, 840), st.integers(-1799, 1799), st.integers(0, 359), st.integers(100, 100_000))
def test_distances_are_good_to_two_per_cent(lat, lon, bearing, metres):
    here = lat * 10**6, lon * 10**6
    north, east = metres * math.cos(math.radians(bearing)), metres * math.sin(math.radians(bearing))
    there_lat = here[0] + round(north * E7_PER_METRE)
    middle = math.radians((here[0] + there_lat) / 2e7)
    there_lon = here[1] + round(east * E7_PER_METRE / math.cos(middle))
    there_lon = (there_lon + 1800000000) % 3600000000 - 1800000000  # over the date line
    assert movement.farther(*here, there_lat, there_lon, metres * 97 // 100 - 2)
    assert not movement.farther(*here, there_lat, there_lon, metres * 103 // 100 + 2)


def test_the_ends_of_the_world_are_far_apart():
    assert movement.farther(900000000, 0, -900000000, 0, 19_000_000)
    assert not movement.farther(LAT, 1800000000, LAT, -1800000000, 0)
    assert not movement.farther(900000000, 0, 900000000, 1800000000, 1000)  # the pole is one place


# -- has she moved


@pytest.mark.parametrize(
    ("told", "now", "moved"),
    [
        (fix(), fix(0), False),
        (fix(), fix(45), False),  # some tens of metres are noise
        (fix(), fix(60), True),
        (fix(), fix(-60), True),
        (fix(accuracy=20), fix(70, accuracy=20), False),  # within what both may be wrong
        (fix(accuracy=20), fix(90, accuracy=20), True),
        (fix(accuracy=200), fix(300, accuracy=20), None),  # too poor to say
        (fix(accuracy=200), fix(500, accuracy=20), True),  # too far even for that
        (fix(), fix(0, accuracy=65535), None),
        (fix(), fix(0, age=60), False),
        (fix(), fix(0, age=61), None),  # the sky is gone
        (fix(), fix(70, age=61), True),  # but she had moved before
        (fix(), fix(10, speed=2), False),  # on foot, around a table
        (fix(), fix(10, speed=3), True),  # a car drives off
        (fix(accuracy=30), fix(10, accuracy=30, speed=9), None),  # such a fix supports no speed
        (fix(), fix(10, speed=None), False),
        (None, fix(), None),
        (fix(), None, None),
        (None, None, None),
    ],
)
def test_moved(told, now, moved):
    assert movement.moved(told, now) is moved


# -- can it be true


@pytest.mark.parametrize("speed", [0, 2, 40, 250, 369])
def test_nobody_travels_too_fast_to_be_believed(speed):
    assert run(*[received(speed * s, s) for s in range(60)]) == [0] * 59
    assert run(received(), received(speed * 900, 900)) == [0]


def test_farther_in_a_second_than_any_aircraft_is_doubtful():
    assert run(received(), received(400, 1)) == [0]
    assert run(received(), received(500, 1)) == [HOUR]
    assert run(received(), received(500_000, 900)) == [HOUR]


def test_accuracy_is_taken_off_before():
    assert run(received(accuracy=100), received(700, 1, accuracy=100)) == [0]
    assert run(received(accuracy=100), received(900, 1, accuracy=100)) == [HOUR]
    assert run(received(accuracy=65535), received(5000, 1)) == [0]


def test_a_spoofer_that_settles_is_doubted_for_an_hour():
    doubts = run(received(), *[received(5000, s) for s in range(1, HOUR + 20)])
    assert doubts[:3] == [HOUR, HOUR - 1, HOUR - 2]
    assert doubts[HOUR - 1] == 1
    assert doubts[HOUR:] == [0] * 19


def test_what_jumps_on_stays_doubtful():
    assert run(received(), received(5000, 1), received(500_000, 600), received(500_000, 700))[-1] == HOUR - 100


def test_back_where_it_could_be_by_road_it_is_sure_again():
    assert run(received(), received(5000, 1), received(3, 2)) == [HOUR, 0]
    assert run(received(), received(80_000, 1), received(80_000, 300), received(9000, 301))[-1] == 0


def test_the_right_fix_after_a_wrong_first_one_is_doubted_too():
    """Nobody can tell which of the two was right."""
    assert run(received(80_000), received(0, 1), received(0, 2)) == [HOUR, HOUR - 1]


def test_a_receiver_whose_clock_jumps_is_doubtful_wherever_it_says_it_is():
    for theirs in (-5, 3600, 86400 * 7168):
        assert run(received(), received(0, 2, theirs=theirs + 60)) == [HOUR if abs(theirs + 58) > 60 else 0]
    assert run(received(), received(0, 10, theirs=13)) == [0]  # it has heard of the leap seconds
    assert run(received(), received(0, 10, theirs=-100)) == [HOUR]
    assert run(received(), received(0, 10, theirs=-100), received(0, 20)) == [HOUR, 0]  # and back


def test_a_clock_that_was_asleep_may_be_wrong_by_some_per_cent():
    assert run(received(), received(0, 4 * HOUR, theirs=4 * HOUR * 95 // 100)) == [0]
    assert run(received(), received(0, 4 * HOUR, theirs=4 * HOUR * 80 // 100)) == [HOUR]


def test_after_a_sleep_the_last_sure_place_is_forgotten_and_the_doubt_is_not():
    last = received(5000, 1, doubt=3000)
    assert movement.doubt(last, last, received(5000, 901)) == 2100
    assert movement.doubt(last, last, received(400_000, 601)) == HOUR
