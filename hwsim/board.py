"""Read and check board files: which peripheral is wired to which pin of which chip (board_configs/README.md).

The firmware reads the wiring as /board.json; `Board.to_json` makes it. This module knows the pins of the chip
(chips.py) and the modem (modems.py), so a board that can't work is refused with the file, the line and the key.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.chips import FAMILIES, Family
from hwsim.currents import DEFAULT, Currents
from hwsim.modems import MODELS

CONFIGS = Path(__file__).resolve().parent.parent / "board_configs"

# The sections that the firmware gets, as /board.json; the others are for people and for tools.
_FIRMWARE = ("button", "strap", "led", "haptic", "battery", "gnss", "modem")


class BoardError(ValueError):
    """A board file that can't be used; the text names the file, the line and the key."""


@dataclass(frozen=True)
class Key:
    kind: str  # output, input, wake, adc, outputs (a list), pins (of this section), bool, text, int, sha256, table
    required: bool = False
    low: int = 0
    high: int = 1 << 31


_SCHEMA: dict[str, dict[str, Key]] = {
    "board": {"name": Key("text", True), "note": Key("text")},
    "chip": {"family": Key("text", True), "flash_mb": Key("int", True, 2, 16), "psram_mb": Key("int", False, 0, 16)},
    "image": {
        "micropython": Key("text", True),
        "file": Key("text", True),
        "url": Key("text"),
        "recipe": Key("text"),
        "sha256": Key("sha256", True),
        "offset": Key("int", True),
    },
    "partitions": {"vfs_offset": Key("int", True), "journal_offset": Key("int", True), "note": Key("text")},
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
        "modem": Key("bool"),
        "antenna_on": Key("text"),
        "antenna_off": Key("text"),
        "uart": Key("int", False, 1, 2),
        "tx": Key("output"),
        "rx": Key("input"),
        "baud": Key("int", False, 1200, 921600),
        "power": Key("output"),
        "power_active_low": Key("bool"),
        "hold": Key("pins"),
        "backup": Key("bool"),
        "ublox_aiding": Key("bool"),
    },
    "modem": {
        "model": Key("text", True),
        "uart": Key("int", True, 1, 2),
        "tx": Key("output", True),
        "rx": Key("input", True),
        "rts": Key("output"),
        "cts": Key("input"),
        "baud": Key("int", True, 1200, 921600),
        "power_key": Key("output"),
        "power_key_active_low": Key("bool"),
        "power_key_ms": Key("int", False, 10, 10000),
        "power_off_ms": Key("int", False, 10, 10000),
        "reset": Key("output"),
        "reset_active_low": Key("bool"),
        "reset_ms": Key("int", False, 10, 10000),
        "status": Key("input"),
        "supply": Key("output"),
        "held_high": Key("outputs"),
        "held_low": Key("outputs"),
        "hold": Key("pins"),
    },
}
_SCHEMA["power"] = {
    "capacity_mah": Key("int", True, 10, 100_000),
    "usb_replaces_cell": Key("bool"),
    "asleep_ua": Key("int", False, 0, 3_000_000),
} | {f"{part}_{state}_ua": Key("int", False, 0, 3_000_000) for part, states in DEFAULT.items() for state in states}
_REQUIRED = ("board", "chip", "button", "led", "haptic", "battery", "gnss", "modem")
_ABOUT = ("source", "unverified")  # sections about the others: "section" or "section.key" = text
_RECEIVER = ("uart", "tx", "rx", "baud")  # what a receiver of its own needs
_PIN_KINDS = ("output", "input", "wake", "adc", "outputs", "pins")
_SECTOR = 4096
_JOURNAL = 6 * _SECTOR  # firmware/flash.md


@dataclass(frozen=True)
class Board:
    name: str
    sections: dict[str, dict[str, Any]]

    def __getitem__(self, section: str) -> dict[str, Any]:
        return self.sections[section]

    @property
    def currents(self) -> Currents:
        """The currents of its parts in microamperes: those of its [power] section, else the defaults."""
        own = self.sections.get("power", {})
        return {
            part: {state: own.get(f"{part}_{state}_ua", ua) for state, ua in states.items()}
            for part, states in DEFAULT.items()
        }

    @property
    def capacity_mah(self) -> int | None:
        """The capacity of its cell; None when the file doesn't say."""
        capacity: int | None = self.sections.get("power", {}).get("capacity_mah")
        return capacity

    @property
    def asleep_ua(self) -> int | None:
        """The current of the whole board, chip and modem asleep, as its maker measured; None when the file doesn't
        say."""
        ua: int | None = self.sections.get("power", {}).get("asleep_ua")
        return ua

    @property
    def family(self) -> Family:
        """The pins of its chip."""
        return FAMILIES[self["chip"]["family"]]

    @property
    def unverified(self) -> dict[str, str]:
        """The entries that nobody could check, by "section.key", each with what is not known of it."""
        return dict(self.sections.get("unverified", {}))

    @property
    def unsourced(self) -> list[str]:
        """Pins that the file has no source for, as "section.key"."""
        known = self.sections.get("source", {})
        return [
            f"{section}.{key}"
            for section, keys in self.sections.items()
            for key in keys
            if section not in _ABOUT
            and _SCHEMA[section][key].kind in _PIN_KINDS
            and section not in known
            and f"{section}.{key}" not in known
        ]

    @property
    def pulled_on(self) -> list[str]:
        """The switches that the chip's own pulls turn on in a reset or asleep, because nothing holds their pins, as
        "section.key"."""
        family, found = self.family, []
        for name in ("modem", "gnss"):
            section = self[name]
            for key in ("power_key", "reset", "supply", "power"):
                pin = section.get(key)
                if pin is None or pin in section.get("hold", []):
                    continue
                if _switched(name, section)[pin]:
                    pulled = family.reset_up | family.sleep_up
                else:
                    pulled = family.reset_down | family.sleep_down
                if pin in pulled:
                    found.append(f"{name}.{key}")
        return found

    def to_json(self) -> str:
        """Return what the firmware reads as /board.json: the wiring, and the commands that its modem needs."""
        told = {name: dict(self.sections[name]) for name in _FIRMWARE if name in self.sections}
        modem, gnss = told["modem"], told["gnss"]
        model = MODELS[modem.pop("model")]
        if "supply" in modem:
            modem["held_high"] = [modem.pop("supply"), *modem.get("held_high", [])]
        if model.registration != "+CREG":
            modem["registration"] = model.registration
        if model.init:
            modem["init"] = list(model.init)
        if model.habits.network_time:
            modem["time"] = [f"AT{model.habits.network_time}=1"]
        if gnss.pop("modem", False):
            on, off = gnss.pop("antenna_on", None), gnss.pop("antenna_off", None)
            gnss["on"] = ([on] if on else []) + list(model.gnss_on)
            gnss["off"] = list(model.gnss_off[:1]) + ([off] if off else []) + list(model.gnss_off[1:])
        return json.dumps(told, indent=1, sort_keys=True)

    def to_millivolt(self, percent: int) -> int:
        """The cell's voltage at a state of charge, from the board's table."""
        table: list[list[int]] = self["battery"]["table"]
        percent = max(table[0][1], min(table[-1][1], percent))
        for (low_mv, low), (high_mv, high) in itertools.pairwise(table):
            if low <= percent <= high:
                return low_mv + (high_mv - low_mv) * (percent - low) // (high - low)
        return table[-1][0]


def load(board: str | Path) -> Board:
    """Load a board by its name in `board_configs/` or by the path of its file. Raises BoardError."""
    path = Path(board)
    if path.suffix != ".toml":
        path = CONFIGS / f"{board}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise BoardError(f"{path.name}: no such board; there is {known}") from None
    except OSError as error:
        raise BoardError(f"{path.name}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BoardError(f"{path.name}: is no text (TOML is UTF-8)") from None
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
        self._family: Family
        self._psram_mb = 0

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
            elif key and inside == section and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return number
        return found

    def document(self, document: dict[str, Any]) -> None:
        self._chip(document)
        for section, content in document.items():
            if section in _ABOUT:
                continue
            if section not in _SCHEMA:
                raise self._refuse(f"unknown section; known are {', '.join([*_SCHEMA, *_ABOUT])}", section)
            if not isinstance(content, dict):
                raise self._refuse("must be a section", section)
            for key, value in content.items():
                if key not in _SCHEMA[section]:
                    raise self._refuse(f"unknown key; known are {', '.join(_SCHEMA[section])}", section, key)
                self._value(section, key, value, _SCHEMA[section][key])
        for section in _REQUIRED:
            if section not in document:
                raise self._refuse("section is missing", section)
        for section, content in document.items():
            for key, rule in _SCHEMA.get(section, {}).items():
                if rule.required and key not in content:
                    raise self._refuse("key is missing", section, key)
        self._together(document)
        for section in _ABOUT:
            self._about(section, document)

    def _chip(self, document: dict[str, Any]) -> None:
        """Check the chip before all else: it decides which pins there are."""
        chip = document.get("chip")
        if not isinstance(chip, dict):
            raise self._refuse("section is missing", "chip")
        if not isinstance(chip.get("family"), str) or chip["family"] not in FAMILIES:
            raise self._refuse(f"must be one of {', '.join(FAMILIES)}", "chip", "family")
        self._family = FAMILIES[chip["family"]]
        psram = chip.get("psram_mb", 0)
        self._psram_mb = psram if isinstance(psram, int) else 0  # a wrong value is refused later, in its turn

    def _together(self, document: dict[str, Any]) -> None:
        """Check the sections that must fit together."""
        gnss, modem = document["gnss"], document["modem"]
        if modem["model"] not in MODELS:
            raise self._refuse(f"unknown modem; known are {', '.join(MODELS)}", "modem", "model")
        if gnss.get("modem"):
            for key in (*_RECEIVER, "power", "power_active_low", "backup", "ublox_aiding"):
                if key in gnss:
                    raise self._refuse("a receiver in the modem has none of its own", "gnss", key)
            if not MODELS[modem["model"]].gnss_on:
                raise self._refuse(f"none that the firmware can use is in a {modem['model']}", "gnss", "modem")
        else:
            for key in ("antenna_on", "antenna_off"):
                if key in gnss:
                    raise self._refuse("only for a receiver in the modem", "gnss", key)
            for key in _RECEIVER:
                if key not in gnss:
                    raise self._refuse("key is missing; or is the receiver in the modem: modem = true?", "gnss", key)
            if gnss["uart"] == modem["uart"]:
                raise self._refuse("the same UART as [gnss]", "modem", "uart")
        for section in ("modem", "gnss"):
            for pin in document[section].get("hold", []):
                if pin not in _switched(section, document[section]):
                    raise self._refuse(f"GPIO{pin} is no output of this section", section, "hold")
        for section in ("button", "strap"):
            pin = document.get(section, {}).get("pin")
            if pin in self._family.strapping:
                raise self._refuse(f"GPIO{pin} decides how the chip starts: low then, it may not start", section, "pin")
        image = document.get("image")
        if image and image["offset"] != self._family.image_offset:
            raise self._refuse(f"must be {self._family.image_offset:#x} on an {self._family.name}", "image", "offset")
        if image and ("url" in image) == ("recipe" in image):
            raise self._refuse("needs either url or recipe", "image")
        if "partitions" in document:
            self._partitions(document["partitions"], document["chip"]["flash_mb"] << 20)

    def _partitions(self, content: dict[str, Any], flash: int) -> None:
        for key in ("vfs_offset", "journal_offset"):
            if content[key] % _SECTOR:
                raise self._refuse(f"must be a multiple of {_SECTOR:#x}", "partitions", key)
        if content["journal_offset"] <= content["vfs_offset"]:
            raise self._refuse("must be behind vfs_offset", "partitions", "journal_offset")
        if content["journal_offset"] + _JOURNAL > flash:
            raise self._refuse(
                f"the journal needs {_JOURNAL:#x} octets before the end of the flash", "partitions", "journal_offset"
            )

    def _about(self, section: str, document: dict[str, Any]) -> None:
        for name, text in document.get(section, {}).items():
            of, _, key = name.partition(".")
            if of not in document or of in _ABOUT or (key and key not in document[of]):
                raise self._refuse(f"{name} is not in this file", section, name)
            if not isinstance(text, str) or not text:
                raise self._refuse("must be text", section, name)

    def _value(self, section: str, key: str, value: Any, rule: Key) -> None:
        if rule.kind == "text":
            if not isinstance(value, str) or not value:
                raise self._refuse("must be text", section, key)
        elif rule.kind == "bool":
            if not isinstance(value, bool):
                raise self._refuse("must be true or false", section, key)
        elif rule.kind == "table":
            self._table(section, key, value)
        elif rule.kind == "sha256":
            if not isinstance(value, str) or not re.fullmatch(r"(?:[0-9a-f]{64})?", value):
                raise self._refuse('must be 64 hexadecimal digits, or "" where it is not known', section, key)
        elif rule.kind == "outputs":
            if not isinstance(value, list) or not all(type(pin) is int for pin in value):
                raise self._refuse("must be a list of pins", section, key)
            for pin in value:
                self._pin(section, key, pin, "output")
        elif rule.kind == "pins":
            if not isinstance(value, list) or not all(type(pin) is int for pin in value):
                raise self._refuse("must be a list of pins", section, key)
        elif not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse("must be an integer", section, key)
        elif rule.kind == "int":
            if not rule.low <= value <= rule.high:
                raise self._refuse(f"must be {rule.low} to {rule.high}", section, key)
        else:
            self._pin(section, key, value, rule.kind)

    def _pin(self, section: str, key: str, pin: int, kind: str) -> None:
        family = self._family
        why = family.unusable(pin, self._psram_mb)
        if why:
            raise self._refuse(f"GPIO{pin} {why}", section, key)
        if kind == "output" and pin in family.input_only:
            raise self._refuse(f"GPIO{pin} can only be an input", section, key)
        if kind == "adc" and pin not in family.adc1:
            raise self._refuse(
                f"GPIO{pin} is not on ADC1 ({min(family.adc1)}-{max(family.adc1)}); ADC2 doesn't work beside Wi-Fi",
                section,
                key,
            )
        if kind == "wake" and pin not in family.wake:
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


def _switched(name: str, section: dict[str, Any]) -> dict[int, int]:
    """Return the pins of a section whose levels the firmware sets, each with the level that switches it on. A pin that
    is held low or high is on at that level."""
    found = {}
    for key, value in section.items():
        kind = _SCHEMA[name][key].kind
        if kind == "output" and key not in ("tx", "rts"):
            found[value] = int(not section.get(f"{key}_active_low", key == "reset"))
        elif kind == "outputs":
            found |= dict.fromkeys(value, int(key == "held_high"))
    return found
