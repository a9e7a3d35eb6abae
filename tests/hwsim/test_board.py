"""Board files: those in the repository, and what is wrong with others, named by file, line and key."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwsim import board
from hwsim.board import CONFIGS, BoardError, load
from hwsim.cli import main

REFERENCE = (CONFIGS / "reference.toml").read_text()
S3 = (CONFIGS / "lilygo-t-sim7670g-s3.toml").read_text()
BOARDS = sorted(path.stem for path in CONFIGS.glob("*.toml"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_boards_of_the_repository(path):
    loaded = load(path)
    assert loaded.name == path.stem
    assert loaded.unsourced == []
    if not loaded["image"]["sha256"]:
        assert "image.sha256" in loaded.unverified
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
        ('family = "esp32"', 'family = "z80"', "[chip] family: must be one of esp32, esp32s3"),
        ("pin = 33 ", 'pin = "33" ', "[button] pin: must be an integer"),
        ("pin = 33 ", "pin = 15 ", "[button] pin: GPIO15 decides how the chip starts"),
        ("tx = 17", "tx = 35", "[modem] tx: GPIO35 can only be an input"),
        ("status = 34", "status = 34\nheld_low = [36]", "[modem] held_low: GPIO36 can only be an input"),
        ("status = 34", "status = 34\nheld_low = [33]", "[modem] held_low: GPIO33 is already used by [button] pin"),
        ("status = 34", 'status = 34\nheld_low = ["x"]', "[modem] held_low: must be a list of pins"),
        ("flash_mb = 4", "flash_mb = 4\npsram_mb = 8", "[modem] tx: GPIO17 drives the module's PSRAM"),
        ('"SIM7000G"', '"SIM9000"', "[modem] model: unknown modem"),
        ("backup = true", 'backup = true\nantenna_on = "AT"', "[gnss] antenna_on: only for a receiver in the modem"),
        ("backup = true", "modem = true", "[gnss] uart: a receiver in the modem has none of its own"),
        ("rx = 26\n", "", "[gnss] rx: key is missing"),
        ('sha256 = ""', 'sha256 = "12"', "[image] sha256: must be 64 hexadecimal digits"),
        ("recipe = ", 'url = "x"\nrecipe = ', "[image]: needs either url or recipe"),
        ("backup = true", "modem = true\nublox_aiding = true", "[gnss] uart: a receiver in the modem has none"),
        ("offset = 0x1000", "offset = 0", "[image] offset: must be 0x1000 on an ESP32"),
        ("journal_offset = 0x3fa000", "journal_offset = 0x3fa001", "[partitions] journal_offset: must be a multiple"),
        ("journal_offset = 0x3fa000", "journal_offset = 0x3fb000", "[partitions] journal_offset: the journal needs"),
        ("journal_offset = 0x3fa000", "journal_offset = 0x100000", "[partitions] journal_offset: must be behind"),
        ('"strap.pin" = "ours', '"strep.pin" = "ours', "[source] strep.pin: strep.pin is not in this file"),
        ('"strap.pin" = "ours', '"strap.pim" = "ours', "[source] strap.pim: strap.pim is not in this file"),
        ('"board" = "no such board has been built"', '"board" = 7', "[unverified] board: must be text"),
        ('name = "reference"', "name = 7", "[board] name: must be text"),
        ("[3500, 5]", "[3200, 5]", "[battery] table: millivolt and percent must both rise"),
        ("[4200, 100]", "[4200, 99]", "[battery] table: must run from 0 to 100 percent"),
        ("[3500, 5]", '"x"', "[battery] table: must be at least two pairs"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, complaint):
    refused(tmp_path, REFERENCE, old, new, complaint)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("pin = 1 ", "pin = 24 ", "[button] pin: GPIO24 does not exist on an ESP32-S3"),
        ("pin = 1 ", "pin = 49 ", "[button] pin: GPIO49 does not exist on an ESP32-S3"),
        ("pin = 1 ", 'pin = "1" ', "[button] pin: must be an integer"),
        ("pin = 1 ", "pin = 41 ", "[button] pin: GPIO41 can't wake the chip"),
        ("pin = 1 ", "pin = 3 ", "[button] pin: GPIO3 decides how the chip starts"),
        ("pin = 42 ", "pin = 30 ", "[haptic] pin: GPIO30 drives the module's flash chip"),
        ("pin = 42 ", "pin = 35 ", "[haptic] pin: GPIO35 drives the module's PSRAM"),
        ("pin = 42 ", "pin = 20 ", "[haptic] pin: GPIO20 belongs to USB"),
        ("pin = 42 ", "pin = 43 ", "[haptic] pin: GPIO43 belongs to the console"),
        ("pin = 42 ", "pin = 1 ", "[haptic] pin: GPIO1 is already used by [button] pin"),
        ("pin = 4\n", "pin = 13\n", "[battery] pin: GPIO13 is not on ADC1 (1-10)"),
        ("offset = 0\n", "offset = 0x1000\n", "[image] offset: must be 0x0 on an ESP32-S3"),
        ("modem = true", "modem = true\nuart = 2", "[gnss] uart: a receiver in the modem has none of its own"),
        ('"SIM7670G"', '"GM02SP"', "[gnss] modem: none that the firmware can use is in a GM02SP"),
    ],
)
def test_what_is_wrong_on_an_s3_is_named(tmp_path, old, new, complaint):
    refused(tmp_path, S3, old, new, complaint)


def test_an_s3_has_no_pin_that_is_only_an_input(tmp_path):
    assert not load("lilygo-t-sim7670g-s3").family.input_only
    file = tmp_path / "mine.toml"
    file.write_text(S3.replace("pin = 42 ", "pin = 38 "))
    assert load(file)["haptic"]["pin"] == 38
    file.write_text(S3.replace("psram_mb = 8", "psram_mb = 2").replace("pin = 42 ", "pin = 34 "))
    assert load(file)["haptic"]["pin"] == 34  # with quad PSRAM


def refused(tmp_path, good, old, new, complaint):
    text = good.replace(old, new, 1)
    assert text != good
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BoardError) as error:
        load(file)
    place, _, what = str(error.value).partition(": ")
    assert what.startswith(complaint)
    name, line = place.split(":")
    assert name == "mine.toml"
    key = complaint.split("]")[1].split(":")[0].strip()
    found = text.splitlines()[int(line) - 1].lstrip('"')
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
    with pytest.raises(BoardError, match=f"there is {', '.join(BOARDS)}"):
        load("nosuch")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BoardError, match=r"mine.toml: is no text"):
        load(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(BoardError, match=r"mine.toml: can't be read"):
        load(file)


VALUES = (
    '"";"x";true;-1;0;1;3;34;1.5;nan;[];{};[1];[[1, 2], [3, 4]];[["a"]];{a = 1};"esp32s3";99999999999999999999;'
    "1979-05-27;[[3300, 0], [4200, 100]]"
).split(";")
FAMILY = REFERENCE.split("\n").index('family = "esp32"')


@settings(max_examples=150)
@given(
    st.sampled_from(BOARDS),
    st.integers(0, 200),
    st.sampled_from(VALUES),
    st.integers(0, 200),
    st.one_of(st.none(), st.integers(0, 80)),
    st.sampled_from('"[]=#x0\\\0é'),
)
@example("reference", FAMILY, "[]", 0, 0, "#")
def test_any_mistake_is_a_sentence(tmp_path_factory, name, line, value, other, column, letter):
    """A value of another kind, and a letter that is another, or a line that is there twice."""
    lines = (CONFIGS / f"{name}.toml").read_text().split("\n")
    line, other = line % len(lines), other % len(lines)
    if "=" in lines[line]:
        lines[line] = f"{lines[line].split('=')[0]}= {value}"
    if column is None:
        lines.insert(other, lines[other])
    else:
        lines[other] = lines[other][:column] + letter + lines[other][column + 1 :]
    file = tmp_path_factory.getbasetemp() / "mistaken.toml"
    file.write_text("\n".join(lines))
    try:
        json.loads(load(file).to_json())
    except BoardError as error:
        assert str(error).startswith("mistaken.toml") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("modem_registered_ua = -1", "must be 0 to 3000000"),
        ("modem_flying_ua = 1", "unknown key"),
    ],
)
def test_power_is_checked_too(tmp_path, line, why):
    path = tmp_path / "mine.toml"
    path.write_text(REFERENCE.replace("capacity_mah = 500", f"{line}\ncapacity_mah = 500"))
    with pytest.raises(BoardError, match=why):
        load(path)


def test_the_command_shows_what_is_good_and_what_is_not(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(REFERENCE.replace("pin = 33 ", "pin = 50 "))
    done = CliRunner().invoke(main, ["boards", "walter", str(file)])
    assert done.exit_code == 1
    _, good, bad = done.output.splitlines()
    assert good.split()[:3] == ["walter", "esp32s3", "GM02SP"] and good.endswith("good")
    assert "GPIO50 does not exist on an ESP32" in bad
    (row,) = json.loads(CliRunner().invoke(main, ["boards", "walter", "--json"]).output)
    assert (row["error"], row["unsourced"]) == (None, [])
    assert "modem.model" in row["unverified"] and "AT+LPGNSSFIXPROG" in row["limit"]
    details = CliRunner().invoke(main, ["boards", "walter", "--details"])
    assert details.exit_code == 0
    assert "image.sha256: " in details.output


# -- what the chip's own pulls do to a board's switches


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_nothing_of_ours_is_switched_on_by_a_reset_or_by_sleep(path):
    assert load(path).pulled_on == []


def test_a_pin_that_a_reset_pulls_is_told_unless_it_is_held(tmp_path):
    text = (CONFIGS / "lilygo-t-a7670.toml").read_text()
    (tmp_path / "other.toml").write_text("".join(line for line in text.splitlines(True) if "hold" not in line[:12]))
    assert load(tmp_path / "other.toml").pulled_on == ["modem.reset"]


@pytest.mark.parametrize("hold", ["[12, 35]", "[26]", "5", '["5"]'])
def test_only_pins_that_are_switched_can_be_held(tmp_path, hold):
    text = (CONFIGS / "lilygo-t-a7670.toml").read_text()
    (tmp_path / "other.toml").write_text(text.replace("hold = [5]", f"hold = {hold}"))
    with pytest.raises(BoardError, match=r"\[modem\] hold: "):
        load(tmp_path / "other.toml")
