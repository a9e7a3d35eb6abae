"""Board files: which peripheral is wired to which pin of which chip. `board_configs/README.md` describes the schema.

The firmware reads the same content as /board.json; `Board.to_json` makes it. This module knows the pins of the chip, so
a board that can't work is refused with the file, the line and the key. It doesn't know what the firmware does with it.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.currents import DEFAULT, Currents

CONFIGS = Path(__file__).resolve().parent.parent / "board_configs"

# ESP32 data sheet 2.2 and Technical Reference Manual 4.11, 29.3, WROOM modules.
_PINS = frozenset({0, 1, 2, 3, 4, 5, *range(12, 20), 21, 22, 23, 25, 26, 27, *range(32, 40)})
_INPUT_ONLY = frozenset({34, 35, 36, 37, 38, 39})
_CONSOLE = frozenset({1, 3})
_ADC1 = frozenset(range(32, 40))  # ADC2 doesn't work while Wi-Fi is on
_RTC = frozenset({0, 2, 4, 12, 13, 14, 15, 25, 26, 27, *range(32, 40)})  # can wake the chip


class BoardError(ValueError):
    """A board file that can't be used; the text names the file, the line and the key."""


@dataclass(frozen=True)
class Key:
    kind: str  # output, input, wake, adc, bool, text, int, table
    required: bool = False
    low: int = 0
    high: int = 1 << 31


_SCHEMA: dict[str, dict[str, Key]] = {
    "board": {"name": Key("text", True), "note": Key("text")},
    "chip": {"family": Key("text", True), "flash_mb": Key("int", True, 2, 16)},
    "button": {"pin": Key("wake", True), "active_low": Key("bool", True)},
    "strap": {"pin": Key("wake", True), "closed_low": Key("bool", True)},
    "led": {"pin": Key("output", True), "active_low": Key("bool", True)},
    "haptic": {"pin": Key("output", True), "frequency_hz": Key("int", True, 1, 40000)},
    "battery": {
        "pin": Key("adc", True),
        "divider_num": Key("int", True, 1, 1000),
        "divider_den": Key("int", True, 1, 1000),
        "table": Key("table", True),
    },
    "gnss": {
        "uart": Key("int", True, 1, 2),
        "tx": Key("output", True),
        "rx": Key("input", True),
        "baud": Key("int", True, 1200, 921600),
        "power": Key("output"),
        "power_active_low": Key("bool"),
        "backup": Key("bool"),
        "ublox_aiding": Key("bool"),
    },
    "modem": {
        "uart": Key("int", True, 1, 2),
        "tx": Key("output", True),
        "rx": Key("input", True),
        "rts": Key("output"),
        "cts": Key("input"),
        "baud": Key("int", True, 1200, 921600),
        "power_key": Key("output"),
        "power_key_active_low": Key("bool"),
        "power_key_ms": Key("int", False, 10, 10000),
        "reset": Key("output"),
        "reset_active_low": Key("bool"),
        "status": Key("input"),
    },
}
_SCHEMA["power"] = {"capacity_mah": Key("int", True, 10, 100_000)} | {
    f"{part}_{state}_ua": Key("int", False, 0, 3_000_000) for part, states in DEFAULT.items() for state in states
}
_REQUIRED = ("board", "chip", "button", "led", "haptic", "battery", "gnss", "modem")


@dataclass(frozen=True)
class Board:
    name: str
    sections: dict[str, dict[str, Any]]

    def __getitem__(self, section: str) -> dict[str, Any]:
        return self.sections[section]

    @property
    def currents(self) -> Currents:
        """What its parts draw, in microamperes: by its [power] section, and where that is silent by the defaults."""
        own = self.sections.get("power", {})
        return {
            part: {state: own.get(f"{part}_{state}_ua", ua) for state, ua in states.items()}
            for part, states in DEFAULT.items()
        }

    @property
    def capacity_mah(self) -> int | None:
        """Of its cell; None when the board doesn't say."""
        capacity: int | None = self.sections.get("power", {}).get("capacity_mah")
        return capacity

    def to_json(self) -> str:
        return json.dumps(self.sections, indent=1, sort_keys=True)

    def to_millivolt(self, percent: int) -> int:
        """The cell's voltage at a state of charge, from the board's table."""
        table: list[list[int]] = self["battery"]["table"]
        percent = max(table[0][1], min(table[-1][1], percent))
        for (low_mv, low), (high_mv, high) in itertools.pairwise(table):
            if low <= percent <= high:
                return low_mv + (high_mv - low_mv) * (percent - low) // (high - low)
        return table[-1][0]


def load(board: str | Path) -> Board:
    """A board by its name in `board_configs/` or by the path of its file."""
    path = Path(board)
    if path.suffix != ".toml":
        path = CONFIGS / f"{board}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise BoardError(f"{path.name}: no such board; there is {known}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{path.name}: {error}") from None
    _Check(path.name, text).document(document)
    return Board(document["board"]["name"], document)


class _Check:
    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._used: dict[int, str] = {}

    def _refuse(self, message: str, section: str, key: str | None = None) -> BoardError:
        line = self._line(section, key)
        place = f"{self._file}:{line}" if line else self._file
        return BoardError(f"{place}: [{section}]{' ' + key if key else ''}: {message}")

    def _line(self, section: str, key: str | None) -> int | None:
        found = inside = None
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[([^\[\]]+)\]", line)
            if header:
                inside = header.group(1).strip()
                if inside == section:
                    found = number
            elif key and inside == section and re.match(rf"\s*{re.escape(key)}\s*=", line):
                return number
        return found

    def document(self, document: dict[str, Any]) -> None:
        for section, content in document.items():
            if section not in _SCHEMA:
                raise self._refuse(f"unknown section; known are {', '.join(_SCHEMA)}", section)
            if not isinstance(content, dict):
                raise self._refuse("must be a section", section)
            for key, value in content.items():
                if key not in _SCHEMA[section]:
                    raise self._refuse(f"unknown key; known are {', '.join(_SCHEMA[section])}", section, key)
                self._value(section, key, value, _SCHEMA[section][key])
        for section in _REQUIRED:
            if section not in document:
                raise self._refuse("section is missing", section)
            for key, rule in _SCHEMA[section].items():
                if rule.required and key not in document[section]:
                    raise self._refuse("key is missing", section, key)
        if document["chip"]["family"] != "esp32":
            raise self._refuse("only esp32 is supported", "chip", "family")
        if document["gnss"]["uart"] == document["modem"]["uart"]:
            raise self._refuse("the same UART as [gnss]", "modem", "uart")

    def _value(self, section: str, key: str, value: Any, rule: Key) -> None:
        if rule.kind == "text":
            if not isinstance(value, str) or not value:
                raise self._refuse("must be text", section, key)
        elif rule.kind == "bool":
            if not isinstance(value, bool):
                raise self._refuse("must be true or false", section, key)
        elif rule.kind == "table":
            self._table(section, key, value)
        elif not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse("must be an integer", section, key)
        elif rule.kind == "int":
            if not rule.low <= value <= rule.high:
                raise self._refuse(f"must be {rule.low} to {rule.high}", section, key)
        else:
            self._pin(section, key, value, rule.kind)

    def _pin(self, section: str, key: str, pin: int, kind: str) -> None:
        if pin not in _PINS:
            why = "drives the module's flash chip" if 6 <= pin <= 11 else "does not exist on an ESP32"
            raise self._refuse(f"GPIO{pin} {why}", section, key)
        if pin in _CONSOLE:
            raise self._refuse(f"GPIO{pin} belongs to the console", section, key)
        if kind == "output" and pin in _INPUT_ONLY:
            raise self._refuse(f"GPIO{pin} can only be an input", section, key)
        if kind == "adc" and pin not in _ADC1:
            raise self._refuse(f"GPIO{pin} is not on ADC1 (32-39); ADC2 doesn't work beside Wi-Fi", section, key)
        if kind == "wake" and pin not in _RTC:
            raise self._refuse(f"GPIO{pin} can't wake the chip", section, key)
        if pin in self._used:
            raise self._refuse(f"GPIO{pin} is already used by {self._used[pin]}", section, key)
        self._used[pin] = f"[{section}] {key}"

    def _table(self, section: str, key: str, value: Any) -> None:
        def pair(item: Any) -> bool:
            return isinstance(item, list) and len(item) == 2 and all(type(n) is int for n in item)

        if not isinstance(value, list) or len(value) < 2 or not all(map(pair, value)):
            raise self._refuse("must be at least two pairs [millivolt, percent]", section, key)
        for (mv, percent), (next_mv, next_percent) in itertools.pairwise(value):
            if next_mv <= mv or next_percent <= percent:
                raise self._refuse("millivolt and percent must both rise", section, key)
        if value[0][1] != 0 or value[-1][1] != 100:
            raise self._refuse("must run from 0 to 100 percent", section, key)
