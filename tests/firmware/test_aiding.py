"""What the receiver is told of the last place and time: honest, and not at all when it is old."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.drivers.aiding import ini

from hwsim.board import CONFIGS
from hwsim.world import Track
from hwsim.world.gnss import fletcher

NOW = 1_767_225_600  # 2026-01-01
GPS_EPOCH, LEAP_S, WEEK_S = 315_964_800, 18, 604_800
FIXES = st.tuples(
    st.integers(-900_000_000, 900_000_000),
    st.integers(-1_800_000_000, 1_800_000_000),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.one_of(st.none(), st.integers(-500, 9000)),
    st.none(),
    st.none(),
)


def fields(message):
    assert message[:6] == b"\xb5\x62\x0b\x01\x30\x00" and len(message) == 56
    assert fletcher(message[2:-2]) == message[-2:]
    return struct.unpack("<iiiIHHIiIIiII", message[6:-2])


@given(FIXES, st.integers(NOW, NOW + 10**9))
def test_it_says_place_and_time_as_uncertain_as_they_are_old(fix, seconds):
    message = ini(fix, seconds)
    lat, lon, accuracy, age, altitude = fix[:5]
    if age > 7200:
        assert message is None
        return
    told = fields(message)
    assert told[:2] == (lat, lon)
    assert told[2] == (altitude or 0) * 100
    assert told[3] >= min(accuracy, 1000) * 100 + age * 3300  # cm: carried off at 120 km/h
    assert GPS_EPOCH - LEAP_S + told[5] * WEEK_S + told[6] // 1000 == seconds
    assert told[8] >= 1000 + age * 33  # ms: a leap second, and the chip's clock asleep at its worst
    assert told[12] == (0x63 if altitude is None else 0x23)


def test_of_what_is_not_known_nothing_is_said():
    assert ini(None, NOW) is None
    assert ini((1, 2, 3, 4, 5, None, None), 0) is None


def test_the_checksum_is_that_of_a_known_frame():
    """CFG-RATE, polled: B5 62 06 08 00 00 0E 30, as u-center sends it."""
    assert fletcher(bytes.fromhex("06080000")) == bytes.fromhex("0E30")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The reference board without a backup supply for its receiver."""
    text = (CONFIGS / "reference.toml").read_text()
    changed = text.replace("backup = true", "ublox_aiding = true")
    assert changed != text
    file = tmp_path / "board.toml"
    file.write_text(changed)
    return file


def test_an_alarm_from_sleep_finds_itself_as_after_a_warm_start(make_bench, world, board):
    bench = make_bench(board=board, track=Track.still(1.0, 2.0))
    bench.bracelet.gnss.cold_start_s = 40
    bench.boot()
    world.expect("firmware", "gnss", within=60, fix=1)
    world.expect("firmware", "asleep", within=300)
    world.run(300)
    bench.press()
    on = world.expect("gnss", "on", within=10).t_us
    world.expect("gnss", "fix", within=60)
    assert [event.detail for event in world.trace if event.what == "aided"] == [{"true": 1}]
    assert 26_000_000 < world.now_us - on < 30_000_000


def test_what_was_never_known_is_not_told_and_a_board_that_does_not_ask_for_it_tells_nothing(make_bench, world, board):
    bench = make_bench(board=board, track=Track.still(1.0, 2.0))
    bench.boot(settle=60)
    assert not [event for event in world.trace if event.what == "aided"]
