"""Pulses of the motor, read as the patterns on the defender's card."""

import ast

import pytest

from hwsim.scenario.felt import PATTERNS, read
from hwsim.scenario.timeline import FEELS
from hwsim.world.bracelet import FIRMWARE
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
        ([(0, 40), (100, 40)], ["drill_armed"]),
        ([(0, 1500)], ["reminder"]),
    ],
)
def test_patterns(steps, names):
    assert [felt.name for felt in read(pulses(*steps))] == names


def on_the_bracelet():
    """The patterns of drivers/haptic.py as silences and lengths; strengths that follow each other are one pulse."""
    source = ast.parse((FIRMWARE / "tocsin/drivers/haptic.py").read_text())
    assignments = [node for node in source.body if isinstance(node, ast.Assign)]
    (table,) = [node.value for node in assignments if node.targets[0].id == "PATTERNS"]
    patterns = {
        name: [[int(number) for number in step.split("/")] for step in text.split()]
        for name, text in ast.literal_eval(table).items()
    }
    steps = {}
    for name, pattern in patterns.items():
        joined = []
        for strength, ms in pattern:
            if joined and strength and joined[-1][0]:
                joined[-1][1] += ms
            else:
                joined.append([strength, ms])
        steps[name] = joined
    return steps


def test_every_pattern_of_the_bracelet_is_read_as_itself_and_no_two_as_one():
    known = {}
    for name, steps in on_the_bracelet().items():
        silence, made = 0, []
        for strength, ms in steps:
            if strength:
                made.append((silence, ms))
                silence = 0
            else:
                silence = ms
        (felt,) = read(pulses(*made))
        known[name] = felt.name
    assert known == {name: "ticks" if name.startswith("tick") else name for name in known}
    assert set(PATTERNS) == {name for name in known if not name.startswith("tick")}
    assert set(FEELS) == {*PATTERNS, "ticks", "broken off"}
