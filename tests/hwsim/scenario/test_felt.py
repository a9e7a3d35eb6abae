"""Pulses of the motor, read as the patterns on the defender's card."""

import pytest

from hwsim.scenario.felt import read
from hwsim.world.pins import Pulse


def pulses(*steps):
    """(silence before, length) in milliseconds."""
    at, made = 0, []
    for silence, ms in steps:
        at += silence
        made.append(Pulse(at * 1000, 65535, ms * 1000))
        at += ms
    return made


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([], []),
        ([(0, 30), (570, 35), (565, 40), (560, 45), (555, 700)], ["ticks", "raised"]),
        ([(0, 120), (120, 120), (120, 119)], ["heard"]),
        ([(0, 700), (250, 120), (120, 120), (120, 120)], ["raised", "heard"]),
        ([(0, 300), (150, 80), (150, 300)], ["cancelled"]),
        ([(0, 200)], ["updated"]),
        ([(0, 50)] + [(50, 50)] * 5, ["fault"]),
        ([(0, 120), (120, 120)], ["broken off"]),
        ([(0, 30), (570, 35), (9000, 30)], ["ticks"]),
    ],
)
def test_patterns(steps, names):
    assert [felt.name for felt in read(pulses(*steps))] == names
