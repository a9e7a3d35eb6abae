"""What the wearer felt: the motor's pulses, read as the patterns on the defender's card (firmware/README.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwsim.world.pins import Pulse

APART_US = 200_000  # a longer silence is between two patterns (within one there are at most 150 ms)


@dataclass(frozen=True)
class Felt:
    at_us: int
    name: str  # ticks, raised, updated, cancelled, heard, fault; "broken off" for anything else


def read(pulses: Sequence[Pulse]) -> list[Felt]:
    """The patterns in their order. A row of ticks, as while a hold ripens, is one "ticks"."""
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
    match ["short" if ms <= 70 else "brief" if ms <= 150 else "middle" if ms < 500 else "long" for ms in lengths]:
        case ["short"]:
            return "ticks"
        case ["long"]:
            return "raised"
        case ["middle"]:
            return "updated"
        case ["middle", "brief", "middle"]:
            return "cancelled"
        case ["brief", "brief", "brief"]:
            return "heard"
        case ["short", "short", "short", "short", "short", "short"]:
            return "fault"
    return "broken off"
