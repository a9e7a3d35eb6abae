"""What `hwsim boards` concludes from a board's file: change the file, and it says something else."""

import re

import pytest
from click.testing import CliRunner

from hwsim import abilities, power
from hwsim.board import CONFIGS, load
from hwsim.cli import main
from hwsim.currents import DEFAULT

MAKERS = {"lilygo-t-sim7000g": 500, "lilygo-t-sim7670g-s3": 497, "lilygo-t-sim7600": 200, "lilygo-t-a7670": 157}


def able(board):
    return {ability.name: ability.able for ability in abilities.of(load(board))}


@pytest.mark.parametrize(
    ("board", "pattern", "name"),
    [
        ("reference", r"\[strap\]\n(?:.+\n)+", "strap"),
        ("reference", r"power_key.*\n", "modem off"),
        ("reference", r"power = .*\n", "receiver off"),
        ("lilygo-t-a7670", r"psram_mb.*\n", "stock image"),
        ("walter", r"(?m)^reset.*\n", "modem restart"),
    ],
)
def test_what_a_file_no_longer_has_a_board_can_no_longer_do(tmp_path, board, pattern, name):
    text = re.sub(r"(?m)^hold = .*\n", "", (CONFIGS / f"{board}.toml").read_text())
    text = re.sub(r'"(?:strap|modem|power)[.a-z_]*" = .*\n|power_active_low.*\n', "", text)
    changed = tmp_path / "changed.toml"
    changed.write_text(re.sub(pattern, "", text))
    assert able(board)[name]
    assert not able(changed)[name]


def test_what_a_modem_has_is_its_models(monkeypatch):
    habits = abilities.MODELS["A7670"].habits
    monkeypatch.setattr(habits, "memories", ())
    monkeypatch.setattr(habits, "registration", ("CREG",))
    assert (able("lilygo-t-a7670")["SMS"], able("lilygo-t-a7670")["data"]) == (False, False)


def test_untried_messages_are_said_to_be(monkeypatch):
    lines = CliRunner().invoke(main, ["boards", "walter", "--details"]).output.splitlines()
    assert next(line for line in lines if "SMS:" in line).endswith("untried")


@pytest.mark.parametrize(("board", "ua"), MAKERS.items())
def test_the_makers_figure_of_sleep_stands_beside_the_data_sheets(board, ua):
    """LilyGo-Modem-Series, examples/DeepSleep/DeepSleep.ino."""
    assert load(board).asleep_ua == ua
    assert f"{ua} uA" in CliRunner().invoke(main, ["boards", board, "--details"]).output


def test_a_day_asleep_costs_what_the_maker_measured():
    hour = 3_600_000_000
    times = dict.fromkeys(power.ASLEEP.items(), 24 * hour)
    asleep = power.cost(times, DEFAULT)
    assert power.with_makers_sleep(asleep, DEFAULT, 500) == pytest.approx(12)
    awake = power.cost(times | {("processor", "deep_sleep"): 0, ("processor", "active"): 24 * hour}, DEFAULT)
    assert power.with_makers_sleep(awake, DEFAULT, 500) == pytest.approx(awake.mah_a_day)
