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


def said(board, name):
    return next(ability.how for ability in abilities.of(load(board)) if ability.name == name)


@pytest.mark.parametrize("board", [file.stem for file in CONFIGS.glob("*.toml")])
def test_no_message_is_kept_among_status_reports(board):
    """27.005, 3.1: SR holds status reports; a modem that had nothing else could keep no message."""
    assert "SR" not in said(board, "SMS")


def test_a_modem_with_status_reports_only_keeps_no_message(monkeypatch):
    monkeypatch.setattr(abilities.MODELS["A7670"].habits, "memories", ("SR",))
    assert not able("lilygo-t-a7670")["SMS"]


def test_the_strap_has_no_pull_of_the_chip(tmp_path):
    """drivers/strap.py asks for none; drivers/button.py does, which an ESP32's GPIO34 to 39 don't have."""
    assert "button (its pull), strap (its own resistor)" in said("lilygo-t-a7670", "sleep")
    assert "strap" not in said("devkit", "sleep")
    changed = tmp_path / "changed.toml"
    changed.write_text((CONFIGS / "devkit.toml").read_text().replace("pin = 32 ", "pin = 36 "))
    assert "button (a resistor)" in said(changed, "sleep")


def test_a_receiver_in_a_modem_without_a_key_is_told_to_stop(tmp_path):
    text = re.sub(r"(?m)^power_(?:key|off).*\n", "", (CONFIGS / "lilygo-t-a7670.toml").read_text())
    changed = tmp_path / "changed.toml"
    changed.write_text(re.sub(r'"modem\.power_[a-z_]*" = .*\n', "", text))
    assert said(changed, "receiver off") == "by the modem's command"
    assert said("lilygo-t-a7670", "receiver off").endswith("and with the modem")
