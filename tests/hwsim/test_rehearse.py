"""`hwsim rehearse`: the card is played, drawn, and judged by what is felt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim import rehearse
from hwsim.cli import main
from hwsim.scenario.felt import PATTERNS, Felt
from hwsim.world.pins import Pulse

CARD = Path(rehearse.__file__).resolve().parent.parent / "firmware" / "card.md"


def test_the_firmware_does_what_the_card_says():
    done = CliRunner().invoke(main, ["rehearse", "--json"])
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 0
    assert all(line["as_on_the_card"] for line in lines)
    assert [line["do"] for line in lines] == [line.do for line in rehearse.CARD]


def test_drawn_for_people_and_a_wrong_card_is_seen(monkeypatch):
    card = (rehearse.CARD[0], rehearse.Line("Hold", "press", 10, ("ticks", "heard"), ("Alert",)))
    monkeypatch.setattr(rehearse, "CARD", card)
    done = CliRunner().invoke(main, ["rehearse"])
    assert done.exit_code == 1
    assert "one long pulse: raised" in done.output
    assert "NOT as the card says: ticks, heard" in done.output


def test_a_drawing_has_a_column_for_a_tenth_of_a_second():
    rehearsed = rehearse.Rehearsed(
        rehearse.CARD[1],
        [(0, 300_000)],
        [Pulse(500_000, 65535, 200_000), Pulse(9_000_000, 20_000, 100_000)],
        [Felt(500_000, "updated")],
        ["Update"],
    )
    lines = rehearse.drawn(rehearsed).splitlines()
    assert lines[1] == "  button  ###.... 8 s ."
    assert lines[2] == "  wrist   .....** 8 s :"


DRAWN = {"short": ".", "brief": "o", "middle": "ooo", "long": "ooooooo", "swell": "~~~~~~~~"}


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_drawn_on_the_card(name):
    drawing = " ".join(DRAWN[length] for length in PATTERNS[name].split())
    assert f"`{drawing}`" in CARD.read_text()
