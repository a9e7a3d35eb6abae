# sans-I/O
"""Puts times, ages and places into words, the same in every output. Pure: the caller says what time it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LATE_S = 120  # a message that took longer was held up on its way
_CLOCKS_APART_S = 5  # two clocks that are set correctly differ by less
_STEPS = ((86_400, "days"), (3_600, "h"), (60, "min"))


def span(seconds: int) -> str:
    """Write a length of time in the largest unit that fits into it at least twice: "119 s", "2 min", "21 days"."""
    for size, unit in _STEPS:
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def ago(seconds: int) -> str:
    """Say how long ago something was."""
    if seconds < -_CLOCKS_APART_S:
        return f"{span(-seconds)} ahead of this machine's clock, so one of the two clocks is wrong"
    return "just now" if seconds <= _CLOCKS_APART_S else f"{span(seconds)} ago"


def sent_ahead(seconds: int) -> str:
    """Say by how much a message was sent ahead of its arrival; return an empty text where two clocks that are set
    correctly may be the reason."""
    if seconds <= _CLOCKS_APART_S:
        return ""
    return f"sent {span(seconds)} ahead of the relay's clock, so one of the two clocks is wrong"


def utc(ms: int) -> str:
    """Write a time as ISO 8601 in UTC, to the second; words for a damaged one, which must hide nothing else."""
    try:
        return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "(damaged: no time)"


def degrees(e7: int) -> str:
    """Write ten-millionths of a degree as decimal degrees, without a float."""
    whole, part = divmod(abs(e7), 10_000_000)
    return f"{'-' if e7 < 0 else ''}{whole}.{part:07d}"


def position(found: Mapping[str, Any] | None) -> str:
    """Describe a document's position, with its age at the time of the message."""
    if found is None:
        return "no position"
    place = f"{degrees(found['lat_e7'])}, {degrees(found['lon_e7'])} within {found['accuracy_m']} m"
    return f"{place}, {found['age_s']} s old" if found["age_s"] else place


def cell(found: Mapping[str, Any] | None) -> str:
    """Describe a document's cell; return an empty text when there is none."""
    return "" if found is None else f"cell {found['mcc']}-{found['mnc']:02d}-{found['lac']}-{found['cid']}"


def battery(percent: int | None) -> str:
    """Describe the charge that a bracelet reports."""
    return "battery unknown" if percent is None else f"battery {percent} %"
