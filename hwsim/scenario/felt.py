"""Read the motor's pulses as the wearer felt them: as patterns on the defender's card (firmware/card.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwsim.world.pins import Pulse

APART_US = 200_000  # a longer silence separates two patterns (within one there are at most 150 ms)


@dataclass(frozen=True)
class Felt:
    at_us: int
    name: str  # "ticks", or one of `PATTERNS`; "broken off" for anything else


# A pulse is short (at most 70 ms), brief (150), middle (under 500), long (under 1 s), else a swell. The patterns are
# those of firmware/tocsin/drivers/haptic.py, each as a row of such lengths.
PATTERNS = {
    "raised": "long",
    "updated": "middle",
    "cancelled": "middle brief middle",
    "heard": "brief brief brief",
    "accepted": "brief brief brief brief middle",
    "closed": "middle middle middle",
    "drill_armed": "short short",
    "drill": "middle middle",
    "may_open": "middle brief",
    "worn": "brief middle",
    "check_in": "brief brief middle",
    "check_in_off": "middle brief brief",
    "reminder": "swell",
    "fault": "short short short short short short",
}
_NAMES = {lengths: name for name, lengths in PATTERNS.items()} | {"short": "ticks"}


def read(pulses: Sequence[Pulse]) -> list[Felt]:
    """List the patterns in their order. A row of ticks, as while a hold ripens, is one "ticks"."""
    groups: list[list[Pulse]] = []
    for pulse in pulses:
        before = groups[-1][-1] if groups else None
        if before and pulse.at_us - before.at_us - before.length_us <= APART_US:
            groups[-1].append(pulse)
        else:
            groups.append([pulse])
    felt: list[Felt] = []
    for group in groups:
        name = _name([pulse.length_us // 1000 for pulse in group])
        if name != "ticks" or not felt or felt[-1].name != "ticks":
            felt.append(Felt(group[0].at_us, name))
    return felt


def _name(lengths: list[int]) -> str:
    return _NAMES.get(" ".join(map(_length, lengths)), "broken off")


def _length(ms: int) -> str:
    limits = {"short": 70, "brief": 150, "middle": 499, "long": 999}
    return next((name for name, limit in limits.items() if ms <= limit), "swell")
