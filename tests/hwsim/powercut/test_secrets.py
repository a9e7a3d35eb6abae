"""Positions are found in whatever way somebody may have written them."""

from __future__ import annotations

import struct

import cbor2
import pytest

from hwsim.powercut.secrets import dense, readable_positions

PLACES = [(525145731, 133500937), (-338567844, -1512152967)]


@pytest.mark.parametrize("place", PLACES, ids=["north east", "south west"])
@pytest.mark.parametrize(
    "written",
    [
        lambda lat, lon: cbor2.dumps([1, 2, lat, lon, 5]),
        lambda lat, lon: struct.pack(">ii", lat, lon),
        lambda lat, lon: struct.pack("<ii", lat, lon),
        lambda lat, lon: f'{{"lat": {lat / 1e7}, "lon": {lon / 1e7}}}'.encode(),
        lambda lat, lon: f"{lat} {lon}".encode(),
        lambda lat, lon: f"{_dm(lat, 2)},N,{_dm(lon, 3)},E".encode(),
    ],
    ids=["CBOR", "big endian", "little endian", "degrees", "10^-7 degrees", "NMEA"],
)
def test_a_position_is_found(place, written):
    image = b"\xff" * 4096 + written(*place) + b"\xff" * 4096
    assert readable_positions(image, PLACES)
    assert not readable_positions(b"\xff" * 8192, PLACES)
    assert len(dense(image)) < 512
    assert readable_positions(dense(image), PLACES) == readable_positions(image, PLACES)


def test_half_of_it_is_no_position():
    lat, lon = PLACES[0]
    for apart in (100, 10_000):
        image = struct.pack("<i", lat) + bytes(apart) + struct.pack("<i", lon)
        assert not readable_positions(image, PLACES)
        assert not readable_positions(dense(image), PLACES)


def test_nothing_but_long_runs_is_shortened():
    secret = bytes(range(1, 255)) + bytes(127) + b"\xff" * 127 + b"\x01" * 999
    assert dense(bytes(5000) + secret + b"\xff" * 5000) == bytes(128) + secret + b"\xff" * 128


def _dm(e7: int, digits: int) -> str:
    degrees, rest = divmod(abs(e7), 10**7)
    return f"{degrees:0{digits}}{rest * 60 / 1e7:07.4f}"
