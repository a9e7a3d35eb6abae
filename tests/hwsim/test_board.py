"""Board files: those in the repository, and what is wrong with others, named by file, line and key."""

from __future__ import annotations

import json

import pytest

from hwsim import board
from hwsim.board import CONFIGS, BoardError, load

REFERENCE = (CONFIGS / "reference.toml").read_text()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_boards_of_the_repository(path):
    loaded = load(path)
    assert loaded.name == path.stem
    assert json.loads(loaded.to_json())["button"]["pin"] == loaded["button"]["pin"]


def test_every_key_is_described():
    text = (CONFIGS / "README.md").read_text()
    missing = [f"{s}.{k}" for s, keys in board._SCHEMA.items() for k in keys if f"`{k}`" not in text]
    assert missing == []
    assert all(f"`[{section}]`" in text for section in board._SCHEMA)


def test_charge_and_voltage():
    reference = load("reference")
    assert reference.to_millivolt(0) == 3300
    assert reference.to_millivolt(50) == 3820
    assert reference.to_millivolt(55) == 3845
    assert reference.to_millivolt(100) == reference.to_millivolt(120) == 4200


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("pin = 33 ", "pin = 50 ", "[button] pin: GPIO50 does not exist on an ESP32"),
        ("pin = 33 ", "pin = 7 ", "[button] pin: GPIO7 drives the module's flash chip"),
        ("pin = 33 ", "pin = 3 ", "[button] pin: GPIO3 belongs to the console"),
        ("pin = 33 ", "pin = 23 ", "[button] pin: GPIO23 can't wake the chip"),
        ("pin = 25 ", "pin = 34 ", "[haptic] pin: GPIO34 can only be an input"),
        ("pin = 25 ", "pin = 33 ", "[haptic] pin: GPIO33 is already used by [button] pin"),
        ("pin = 35 ", "pin = 12 ", "[battery] pin: GPIO12 is not on ADC1"),
        ("active_low = true", 'active_low = "yes"', "[button] active_low: must be true or false"),
        ("baud = 9600", "baud = 96", "[gnss] baud: must be 1200 to 921600"),
        ("baud = 9600", "baud = true", "[gnss] baud: must be an integer"),
        ("uart = 2", "uart = 1", "[modem] uart: the same UART as [gnss]"),
        ("[led]", "[lamp]", "[lamp]: unknown section"),
        ("power_key_ms", "power_key_s", "[modem] power_key_s: unknown key"),
        ("active_low = true\n", "", "[button] active_low: key is missing"),
        ('family = "esp32"', 'family = "z80"', "[chip] family: only esp32 is supported"),
        ('name = "reference"', "name = 7", "[board] name: must be text"),
        ("[3500, 5]", "[3200, 5]", "[battery] table: millivolt and percent must both rise"),
        ("[4200, 100]", "[4200, 99]", "[battery] table: must run from 0 to 100 percent"),
        ("[3500, 5]", '"x"', "[battery] table: must be at least two pairs"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, complaint):
    text = REFERENCE.replace(old, new, 1)
    assert text != REFERENCE
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BoardError) as error:
        load(file)
    place, _, what = str(error.value).partition(": ")
    assert what.startswith(complaint)
    name, line = place.split(":")
    assert name == "mine.toml"
    key = complaint.split("]")[1].split(":")[0].strip()
    found = text.splitlines()[int(line) - 1]
    assert found.startswith((key, complaint.split("]")[0] + "]"))


def test_a_section_that_is_missing(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(REFERENCE.split("[modem]")[0])
    with pytest.raises(BoardError, match=r"mine.toml: \[modem\]: section is missing"):
        load(file)


def test_broken_toml_and_unknown_boards(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[board\n")
    with pytest.raises(BoardError, match=r"mine.toml: .*line 1"):
        load(file)
    with pytest.raises(BoardError, match="there is devkit, reference"):
        load("nosuch")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("modem_registered_ua = -1", "must be 0 to 3000000"),
        ("modem_flying_ua = 1", "unknown key"),
    ],
)
def test_power_is_checked_too(tmp_path, line, why):
    path = tmp_path / "mine.toml"
    path.write_text(REFERENCE + line + "\n")
    with pytest.raises(BoardError, match=why):
        load(path)
