"""Settings and wiring: whatever is in the files, a bracelet gets values that it can work with."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import board, settings
from tocsin.settings import Settings

from hwsim import board as boards

# Written by the first firmware and kept as it was: what is in the field must be read for ever. Version 1 has a version.
FROZEN = {
    "without a version": (
        b'{"mqtt": {"host": "relay.example", "port": 8884, "user": "c0ffee01", "password": "pw"}, '
        b'"sms": "+10000000002", "wifi": [["home", "12345678"], ["open", ""]], "hold_ms": 4000, "heartbeat_s": 600}'
    ),
    "1": (
        b'{"version": 1, "mqtt": {"host": "relay.example", "port": 8884, "user": "c0ffee01", "password": "pw"}, '
        b'"sms": "+10000000002", "wifi": [["home", "12345678"], ["open", ""]], "hold_ms": 4000, "heartbeat_s": 600}'
    ),
}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
KEYS = st.sampled_from(
    ["mqtt", "host", "port", "user", "password", "sms", "wifi", "hold_ms", "heartbeat_s", "version", "pin", "table"]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20
)


def fit(found):
    """Can the rest of the firmware work with these?"""
    for text in (found.host, found.user, found.password, found.sms):
        assert text is None or (isinstance(text, str) and 0 < len(text) <= 255)
    for value, low, high in ((found.port, 1, 65535), (found.hold_ms, 1000, 10000), (found.heartbeat_s, 60, 86400)):
        assert type(value) is int
        assert low <= value <= high
    for ssid, key in found.wifi:
        assert isinstance(ssid, str)
        assert ssid
        assert key is None or (isinstance(key, str) and key)


@pytest.mark.parametrize("version", FROZEN)
def test_settings_of_every_version_are_understood(version):
    found = Settings(settings.parse(FROZEN[version]))
    assert (found.host, found.port, found.user, found.password) == ("relay.example", 8884, "c0ffee01", "pw")
    assert (found.sms, found.hold_ms, found.heartbeat_s) == ("+10000000002", 4000, 600)
    assert found.wifi == [("home", "12345678"), ("open", None)]


@given(st.dictionaries(KEYS, JSON, max_size=8))
def test_any_json_gives_settings_that_fit(values):
    fit(Settings(settings.parse(json.dumps(values).encode())))


@given(st.binary(max_size=200))
def test_any_octets_do(octets):
    fit(Settings(settings.parse(octets)))


@pytest.mark.parametrize("version", FROZEN)
@given(data=st.data())
def test_a_damaged_file_gives_settings_that_fit(version, data):
    octets = bytearray(FROZEN[version])
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    fit(Settings(settings.parse(bytes(octets[: data.draw(st.integers(0, len(octets)))]))))


@pytest.mark.parametrize(
    "octets",
    [
        b"[" * 8192,
        b'{"a":' * 1600,
        b'{"hold_ms": 1' + b"0" * 7000 + b"}",
        b'{"hold_ms": 1e400, "port": NaN}',
        b'{"port": true, "heartbeat_s": 900.0, "hold_ms": "3000"}',
        b'{"mqtt": {"port": -1}}',
        b"null",
        b"7",
        b'"x"',
    ],
)
def test_numbers_and_nesting_beyond_measure(octets):
    found = Settings(settings.parse(octets))
    assert (found.port, found.hold_ms, found.heartbeat_s) == (8883, 3000, 900)


# -- the wiring

NAMES = list(board._NEEDS)
SECTIONS = st.dictionaries(
    st.sampled_from(
        ["pin", "uart", "tx", "rx", "baud", "table", "active_low", "power", "power_key_ms", "note", "on", "held_low"]
    ),
    SCALARS | st.lists(st.lists(st.integers(-5, 5000), max_size=3), max_size=4) | st.integers(0, 39),
    max_size=6,
)


@pytest.mark.parametrize("name", sorted(path.stem for path in boards.CONFIGS.glob("*.toml")))
def test_every_board_of_ours_is_usable_whole(name):
    sections = json.loads(boards.load(name).to_json())
    found, missed = board.choose(sections, {})
    assert missed == []
    assert found == {part: sections[part] for part in board._NEEDS if part in sections}
    assert len(json.dumps(found)) < board._KEPT_MAX


def test_what_the_boards_schema_knows_the_firmware_takes():
    """A new key or section of the schema must be known here, or the firmware would refuse the section."""
    example = {"bool": True, "table": [[1, 0], [2, 100]], "outputs": [2, 3], "pins": [2, 3]}
    for_tools = {"modem": {"model", "supply"}, "gnss": {"modem", "antenna_on", "antenna_off"}}
    for section in boards._FIRMWARE:
        keys = {key: rule for key, rule in boards._SCHEMA[section].items() if key not in for_tools.get(section, ())}
        assert board.usable(section, {key: example.get(rule.kind, 1) for key, rule in keys.items()}), section


def test_what_a_board_says_of_its_modem_becomes_pins_and_commands():
    told = json.loads(boards.load("lilygo-t-sim7000g").to_json())
    assert told["gnss"] == {
        "on": ["AT+CGPIO=0,48,1,1", "AT+CGNSPWR=1", "AT+CGNSTST=1"],
        "off": ["AT+CGNSTST=0", "AT+CGPIO=0,48,1,0", "AT+CGNSPWR=0"],
    }
    assert json.loads(boards.load("lilygo-t-a7670").to_json())["modem"]["held_high"] == [12]
    walter = json.loads(boards.load("walter").to_json())["modem"]
    assert (walter["init"], walter["registration"]) == (["AT+CFUN=1"], "+CEREG")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("modem", "held_high", [99]),
        ("modem", "held_low", [True]),
        ("modem", "held_low", 5),
        ("modem", "init", [7]),
        ("modem", "init", "AT"),
        ("modem", "registration", 7),
        ("gnss", "on", [None]),
    ],
)
def test_lists_of_the_wrong_kind_are_not_usable(section, key, value):
    good = json.loads(boards.load("lilygo-t-sim7000g").to_json())[section]
    assert board.usable(section, good)
    assert not board.usable(section, good | {key: value})


@given(st.dictionaries(st.sampled_from([*NAMES, "board", "power"]), SECTIONS | JSON, max_size=7))
def test_any_wiring_is_taken_as_far_as_it_is_usable(written):
    good = json.loads(boards.load("reference").to_json())
    found, missed = board.choose(written, good)
    for name in NAMES:
        if name not in good:
            continue
        assert found[name] == (good[name] if name in missed else written[name])
        assert board.usable(name, found[name])
        for key in board._PINS:
            assert 0 <= found[name].get(key, 0) <= board.PIN_MAX
        for key in board._PIN_LISTS:
            assert all(0 <= pin <= board.PIN_MAX for pin in found[name].get(key, []))
    alone, missed = board.choose(written, {})
    assert missed == []
    assert set(alone) <= set(written)


@given(st.lists(st.lists(st.integers(-5, 5000), max_size=3), max_size=4))
def test_a_table_that_is_taken_rises_and_is_in_percent(table):
    if board.usable("battery", {"pin": 35, "table": table}):
        for low, high in itertools.pairwise(table):
            assert low[0] < high[0]
            assert 0 <= low[1] < high[1] <= 100
