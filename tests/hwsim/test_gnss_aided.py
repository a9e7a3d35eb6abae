"""The receiver under test is told where and when it is, truly and not, by a firmware that sends octets."""

from __future__ import annotations

import struct

import pytest

from hwsim.world import Track, World
from hwsim.world.gnss import fletcher

SENDER = """
    import time
    from machine import UART, Pin
    Pin(14, Pin.OUT, value=1)
    uart = UART(1, baudrate=9600, tx=27, rx=26)
    time.sleep(1)
    uart.write(bytes.fromhex("OCTETS"))
    time.sleep(100)
"""


def frame(world: World, off_s: int = 0, north_m: int = 0, flags: int = 0x23) -> bytes:
    """AID-INI, sure of itself to 60 s and 10 km."""
    gps = world.unix_time + 1 - 315_964_800 + 18 + off_s
    payload = struct.pack(
        "<iiiIHHIiIIiII",
        100_000_000 + round(north_m / 0.0111319),
        200_000_000,
        0,
        1_000_000,
        0,
        gps // 604_800,
        gps % 604_800 * 1000,
        0,
        60_000,
        0,
        0,
        0,
        flags,
    )
    body = b"\x0b\x01\x30\x00" + payload
    return b"\xb5\x62" + body + fletcher(body)


def fixed_after(world: World, firmware, octets: bytes) -> float:
    bracelet = world.bracelet(firmware=firmware(SENDER.replace("OCTETS", octets.hex())), track=Track.still(10.0, 20.0))
    bracelet.gnss.cold_start_s = 40.0
    bracelet.boot()
    on = world.expect("gnss", "on", within=5).t_us
    return (world.expect("gnss", "fix", within=100).t_us - on) / 1e6


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({}, 27),
        ({"off_s": 50, "north_m": -9000}, 27),
        ({"off_s": -70}, 80),  # wrong by more than it says
        ({"north_m": 11_000}, 80),
        ({"flags": 0x03}, 40),  # not by latitude and longitude: not understood here
    ],
)
def test_it_helps_if_it_is_true(world, firmware, change, seconds):
    assert abs(fixed_after(world, firmware, frame(world, **change)) - seconds) < 1.5


def test_garbage_is_ignored_and_the_frame_behind_it_is_not(world, firmware):
    garbage = b"\xb5\x62\xff\xff\x00\xb5\xb5\x62\x06\x08\x00\x00\x0e\x30$GPTXT*00\r\n"
    assert abs(fixed_after(world, firmware, garbage + frame(world)) - 27) < 1.5


def test_a_wrong_checksum_counts_for_nothing(world, firmware):
    octets = bytearray(frame(world))
    octets[10] ^= 1
    assert abs(fixed_after(world, firmware, bytes(octets)) - 40) < 1.5
