# sans-I/O
"""The document for an audience that may know of an alarm, but only the region: signed by the relay alone.

The document says what a rebroadcast says (`relay.rebroadcast`), with the position moved to the middle of a square of a
fixed grid, and without items that would betray the place all the same: the cell, altitude, speed, heading, and the
bracelet's own signed message. The grid is fixed, so that many positions of one place say no more than one does; a
wearer who crosses from one square into the next was at their border then.
"""

from __future__ import annotations

from math import ceil, cos, hypot, radians
from typing import Any

from relay import case_document
from relay.rebroadcast import b64, canonical, describe
from relay.verify.keys import RelayKeys
from relay.verify.payload import Alarm, Fix

LABEL = b"TCN1 coarse\x00"
KM = (1, 500)  # the side of a square
_KM_PER_DEGREE = 111.195  # of a sphere of 6371 km
_E7 = 10_000_000
_FIELDS = {
    *("tocsin", "type", "kid", "counter", "seq", "alarm", "msg_type", "status", "cause", "flags", "sent", "sent_unix"),
    *("time_quality", "received", "delay_s", "battery", "position", "cell", "path", "coarse_km"),
    *("relay", "relay_key", "signature"),
}


def build(keys: RelayKeys, *, alarm: Alarm, kid: int, counter: int, received_ms: int, path: str, km: int) -> bytes:
    """Build the signed document; the same arguments always give the same octets."""
    document = describe(alarm, kid, counter, received_ms) | {
        "type": "coarse",
        "coarse_km": km,
        "position": None if alarm.fix is None else place(alarm.fix, km),
        "cell": None,
        "path": path,
        "relay": keys.id.hex(),
        "relay_key": b64(keys.public),
    }
    return canonical(document | {"signature": b64(keys.sign(LABEL + canonical(document)))})


def check(octets: bytes, relay_key: bytes) -> dict[str, Any] | None:
    """Return the document if it is this relay's, else None."""
    document = case_document.signed(octets, relay_key, LABEL, _FIELDS)
    return document if document is not None and document["type"] == "coarse" else None


def place(fix: Fix, km: int) -> dict[str, int]:
    """Return the middle of the fix's square, and the radius around it within which the fix and its error lie."""
    height = 180 / max(1, round(180 * _KM_PER_DEGREE / km))  # degrees: whole rows from pole to pole
    row = min(int((fix.lat_e7 / _E7 + 90) / height), round(180 / height) - 1)
    south = row * height - 90
    width = 360 / max(1, int(360 * _KM_PER_DEGREE * cos(radians(south + height / 2)) / km))
    column = min(int((fix.lon_e7 / _E7 + 180) / width), round(360 / width) - 1)
    widest = 1.0 if south < 0 < south + height else max(cos(radians(south)), cos(radians(south + height)))
    radius = hypot(height, width * widest) / 2 * _KM_PER_DEGREE
    return {
        "lat_e7": round((south + height / 2) * _E7),
        "lon_e7": round(((column + 0.5) * width - 180) * _E7),
        "accuracy_m": ceil(radius * 10) * 100 + fix.accuracy_m,
        "age_s": fix.age_s,
    }
