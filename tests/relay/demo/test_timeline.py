"""The timeline of the demo: first occurrence, order, what is missing."""

import pytest

from relay.demo.timeline import REQUIRED, STAGES, Timeline


def test_stages_come_out_in_the_order_of_their_times() -> None:
    timeline = Timeline(pressed_at=100.0)
    timeline.add("felt", 103.5)
    timeline.add("sealed", 103.0, octets=127)
    assert [s.line() for s in timeline.stages()] == [
        "   0.000 s  pressed      the button goes down",
        "   3.000 s  sealed       signed and encrypted: 127 octets, kept in flash",
        "   3.500 s  felt         three short buzzes on the wrist: the relay has it",
    ]


def test_only_the_first_of_a_stage_counts_and_nothing_from_before_the_press() -> None:
    timeline = Timeline(pressed_at=100.0)
    assert timeline.add("puback", 99.0) is None
    assert timeline.add("puback", 101.0) is not None
    assert timeline.add("puback", 102.0) is None
    assert timeline.as_json("mqtt")["stages"] == [{"stage": "pressed", "at_s": 0.0}, {"stage": "puback", "at_s": 1.0}]


@pytest.mark.parametrize("path", REQUIRED)
def test_complete_only_when_every_stage_of_the_path_was_seen(path: str) -> None:
    timeline = Timeline(pressed_at=0.0)
    for name in REQUIRED[path][1:]:
        assert not timeline.complete(path)
        assert name in timeline.missing(path)
        timeline.add(name, 1.0)
    assert timeline.complete(path)
    assert timeline.as_json(path)["ok"] is True


def test_an_unknown_stage_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such stage"):
        Timeline(0.0).add("teleported", 1.0)


def test_every_required_stage_has_a_sentence() -> None:
    assert {name for names in REQUIRED.values() for name in names} <= set(STAGES)
