"""A coarse document leads to the region, truthfully, and to nothing nearer."""

from __future__ import annotations

import json
import random
from math import asin, cos, radians, sin, sqrt

import pytest

from relay.rebroadcast import canonical
from relay.subscribers import coarse
from relay.verify.payload import Alarm, Cell, Fix
from tests.relay.support import KEYS, NOW

KID, COUNTER = 0x0A1B2C3D, 7
FIX = Fix(521234567, -1131234567, 12, 3, 34, 14, 87)


def build(fix: Fix | None, km: int = 20) -> dict[str, object]:
    alarm = Alarm(24, 0, 0, int(NOW), 80, fix, Cell(262, 1, 54321, 28471062))
    octets = coarse.build(KEYS, alarm=alarm, kid=KID, counter=COUNTER, received_ms=int(NOW * 1000), path="sms", km=km)
    document = coarse.check(octets, KEYS.public)
    assert document is not None
    return document


def metres(a: tuple[int, int], b: tuple[int, int]) -> float:
    """On a sphere (the haversine formula)."""
    (y1, x1), (y2, x2) = ([radians(part / 1e7) for part in point] for point in (a, b))
    half = sin((y2 - y1) / 2) ** 2 + cos(y1) * cos(y2) * sin((x2 - x1) / 2) ** 2
    return 2 * 6_371_000 * asin(min(1.0, sqrt(half)))


def test_it_tells_the_alarm_and_the_region() -> None:
    document = build(FIX)
    assert (document["alarm"], document["type"], document["coarse_km"]) == ("0a1b2c3d-7", "coarse", 20)
    assert document["position"] == coarse.place(FIX, 20)
    text = json.dumps(document)
    for telling in ("5212345", "11312345", "54321", "28471062", "sign1", "altitude", "heading"):
        assert telling not in text
    assert build(None)["position"] is None


@pytest.mark.parametrize("km", [1, 5, 20, 100, 500])
def test_the_place_is_within_the_radius_everywhere_on_earth(km: int) -> None:
    drawn = random.Random(km)
    edges = [(90, 180), (-90, -180), (0, 0), (89.99, 179.99), (-89.99, 0), (0, 180), (0, -180)]
    places = [(int(y * 1e7), int(x * 1e7)) for y, x in edges]
    places += [(drawn.randint(-900000000, 900000000), drawn.randint(-1800000000, 1800000000)) for _ in range(3000)]
    for y, x in places:
        found = coarse.place(Fix(y, x, 12, 3), km)
        assert abs(found["lat_e7"]) <= 900000000
        assert abs(found["lon_e7"]) <= 1800000000
        away = metres((y, x), (found["lat_e7"], found["lon_e7"]))
        assert away <= found["accuracy_m"] - 12
        assert found["accuracy_m"] - 12 >= km * 1000 / 2, "no square is much smaller than was asked for"
        if abs(y) < 850000000:
            assert found["accuracy_m"] - 12 <= km * 1000, "and none much larger, but at the poles"


def test_all_places_of_a_square_look_the_same() -> None:
    drawn = random.Random(4)
    for _ in range(300):
        y, x = drawn.randint(-800000000, 800000000), drawn.randint(-1790000000, 1790000000)
        middle = coarse.place(Fix(y, x, 0, 0), 10)
        north, east = drawn.randint(-400000, 400000), drawn.randint(-400000, 400000)
        assert coarse.place(Fix(middle["lat_e7"] + north, middle["lon_e7"] + east, 0, 0), 10) == middle


def test_a_changed_or_foreign_one_is_not_genuine() -> None:
    alarm = Alarm(24, 0, 0, int(NOW), 80, FIX)
    octets = coarse.build(KEYS, alarm=alarm, kid=KID, counter=COUNTER, received_ms=int(NOW * 1000), path="mqtt", km=20)
    assert coarse.check(octets, bytes(32)) is None
    document = json.loads(octets)
    for name in document:
        changed = document | {name: document[name] + 1 if type(document[name]) is int else "x"}
        assert coarse.check(canonical(changed), KEYS.public) is None
        less = {key: value for key, value in document.items() if key != name}
        assert coarse.check(canonical(less), KEYS.public) is None
    assert coarse.check(octets + b" ", KEYS.public) is None
    for junk in (b"", b"{}", b"[]", b"7", b"\xff", b"[" * 5000):
        assert coarse.check(junk, KEYS.public) is None
