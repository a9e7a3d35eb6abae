"""Read and check a scenario file: one TOML file about what happens to one person, checked before anything is played.

Times are seconds since the bracelet was switched on; an event at 0 happens before that. Errors name the file, the line
and the key. README.md says how to write a scenario.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hwsim.scenario import actions, felt
from hwsim.scenario.track import TrackError, Way, Waypoint, from_gpx, from_waypoints

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
MAX_SECONDS = 7 * 86400

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Number = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


Model = TypeVar("Model", bound=BaseModel)


class ScenarioError(ValueError):
    """A file that can't be used; the text says where and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class BraceletSetup(_Strict):
    """The settings that the workshop gave the bracelet, where they differ from usual."""

    wifi: bool = True  # does it know the access point?
    apn: bool = False  # does it know the mobile network's access point for data?
    roaming: bool = False  # and may it use that in foreign networks?
    stock: bool = False  # is its MicroPython a stock image, so that the firmware is a bundle in its file system?
    time: bool = True  # did the offer tell it the time?
    cold_start_s: Annotated[float, Field(ge=1, le=86400)] = 32.0  # until the receiver's first fix


class _Window(_Strict):
    """An expectation for which only the time from `from` until `until` counts."""

    since: Annotated[Seconds, Field(alias="from")] = 0.0
    until: Seconds = MAX_SECONDS


class Delivered(_Strict):
    """Delivery: the n-th alarm is new at the relay and its receipt at the wrist, so many seconds after the press."""

    delivered: Number
    within: Seconds
    not_before: Seconds = 0.0
    path: Literal["mqtt", "sms"] | None = None


class Place(_Strict):
    """The place that a message tells, against the person's true place at the time that it tells."""

    place: Annotated[str, Field(pattern=r"^(alarm [1-9][0-9]*|last)$")]
    known: Literal["position", "cell", "nothing"] = "position"
    within_m: Annotated[float, Field(ge=0)] = 50.0
    age_s: Count | None = None  # at most so old
    older_s: Count | None = None  # and at least


def _pattern(name: str) -> str:
    known = ("ticks", *felt.PATTERNS, "broken off")
    if name not in known:
        raise ValueError(f'no pattern "{name}"; there are {", ".join(known)}')
    return name


class Felt(_Window):
    """The patterns that the wrist felt, in order. A row of ticks is one "ticks"."""

    felt: list[Annotated[str, AfterValidator(_pattern)]]


class Nothing(_Window):
    """Silence: none of these left the bracelet, be it a sealed alarm, an SMS, or a connection to anybody."""

    nothing: Literal["alarm", "sms", "connection"]


class Messages(_Window):
    """The messages that the subscriber got, in the order in which they came."""

    messages: list[Literal["alert", "update", "cancel"]]


class Updates(_Strict):
    """The number of Updates of the n-th alarm that the subscriber got."""

    updates: Number
    at_least: Count = 0
    at_most: Count = 65535


class Told(_Strict):
    """The time at which the n-th alarm says it was raised, against the truth."""

    time: Number
    within_s: Count = 2
    known: bool = True
    quality: Literal["unknown", "saved", "network", "gnss"] | None = None


class Says(_Strict):
    """The content of a message: why it was raised, whether it is a drill, the strap, and every flag that is set."""

    says: Annotated[str, Field(pattern=r"^(alarm [1-9][0-9]*|cancel|last)$")]
    cause: Literal["button", "strap", "check-in"] | None = None
    status: Literal["Actual", "Exercise"] | None = None
    strap: Literal["none", "closed", "open"] | None = None
    flags: list[Literal["cancel", "drill", "duress", "last", "doubtful"]] | None = None


class Alarms(_Strict):
    """The number of alarms that were raised."""

    alarms: Count


class RefusedByRelay(_Strict):
    """The number of messages that the relay refused. Without this expectation it must be none."""

    refused: Count


class Boots(_Strict):
    """The number of the bracelet's starts, the first one included."""

    boots: Number


class Blank(_Strict):
    """A revoked bracelet: at the end it is wiped and blank, instead of armed."""

    blank: Literal[True]


class InTrace(_Window):
    """An event of the trace, by `who`, `event` and its details, that happens so many times (at least once)."""

    trace: dict[str, str | int]
    at_least: Count = 1
    at_most: Count = 1_000_000


Expectation = (
    Delivered
    | Place
    | Felt
    | Nothing
    | Messages
    | Updates
    | Told
    | Says
    | Alarms
    | RefusedByRelay
    | Boots
    | Blank
    | InTrace
)
KINDS: dict[str, type[Expectation]] = {
    "delivered": Delivered,
    "place": Place,
    "felt": Felt,
    "nothing": Nothing,
    "messages": Messages,
    "updates": Updates,
    "time": Told,
    "says": Says,
    "alarms": Alarms,
    "refused": RefusedByRelay,
    "boots": Boots,
    "blank": Blank,
    "trace": InTrace,
}


class _Head(_Strict):
    title: Annotated[str, Field(min_length=5, max_length=100)]
    story: Annotated[str, Field(min_length=20, max_length=400)]
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)]
    bracelet: BraceletSetup = BraceletSetup()
    gpx: str | None = None


@dataclass(frozen=True)
class Event:
    at: float
    do: str
    arguments: dict[str, actions.Value]


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    story: str
    seconds: float
    bracelet: BraceletSetup
    way: Way  # empty: no satellite is ever seen
    events: tuple[Event, ...]
    expectations: tuple[Expectation, ...]


def names() -> list[str]:
    """List the scenarios that come with the simulator."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name_or_path: str) -> Path:
    """Find the file of a scenario of ours, or any file. Raises ScenarioError."""
    ours = FOLDER / f"{name_or_path}.toml"
    if re.fullmatch(r"\w+", name_or_path) and ours.exists():
        return ours
    path = Path(name_or_path)
    if not path.is_file():
        raise ScenarioError(f"{name_or_path}: neither a scenario (see hwsim run --list) nor a file")
    return path


def load(path: Path) -> Scenario:
    """Read and check a file. Raises ScenarioError."""
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown = path.name if path.parent == FOLDER else str(path)
        try:
            self.text = path.read_text(encoding="utf-8")
            self.content = tomllib.loads(self.text)
        except OSError as error:
            raise ScenarioError(f"{self.shown}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{self.shown}: not TOML: {error}") from error

    def read(self) -> Scenario:
        tables = {name: self._tables(name) for name in ("track", "event", "expect")}
        head = self._validate(_Head, {k: v for k, v in self.content.items() if k not in tables}, "", 0)
        way = self._way(head.gpx, tables["track"])
        events = tuple(self._event(table, number) for number, table in enumerate(tables["event"]))
        for number, event in enumerate(events):
            if event.at > head.seconds:
                self._fail("event", number, "at", f"is after the end (seconds = {head.seconds:g})")
            if event.at == 0 and actions.ACTIONS[event.do].family == "power" and event.do != "battery":
                self._fail("event", number, "at", f"is 0, before it is switched on: {event.do} needs more")
        expectations = tuple(self._expectation(table, number) for number, table in enumerate(tables["expect"]))
        if not expectations:
            raise ScenarioError(f"{self.shown}: nothing is expected: add an [[expect]]")
        if not way and any(isinstance(e, Place) and e.known == "position" for e in expectations):
            raise ScenarioError(f"{self.shown}: a place is expected, but there is neither [[track]] nor gpx")
        return Scenario(self.path.stem, head.title, head.story, head.seconds, head.bracelet, way, events, expectations)

    def _tables(self, name: str) -> list[dict[str, Any]]:
        tables = self.content.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._fail("", 0, name, f"is written as [[{name}]], once for each")
        return tables

    def _way(self, gpx: str | None, tables: list[dict[str, Any]]) -> Way:
        if gpx is not None and tables:
            self._fail("", 0, "gpx", "and [[track]] exclude each other")
        waypoints = [self._validate(Waypoint, table, "track", number) for number, table in enumerate(tables)]
        try:
            if gpx is not None:
                return from_gpx(self.path.parent / gpx)
            return from_waypoints(waypoints)
        except TrackError as error:
            if gpx is not None:
                self._fail("", 0, "gpx", str(error))
            self._fail("track", error.waypoint, None, str(error))

    def _event(self, table: dict[str, Any], number: int) -> Event:
        arguments = dict(table)
        at, name = arguments.pop("at", None), arguments.pop("do", None)
        if isinstance(at, bool) or not isinstance(at, int | float) or at < 0:
            self._fail("event", number, "at", "must be given: seconds since the bracelet was switched on")
        if not isinstance(name, str):
            self._fail("event", number, "do", "must be given: what happens")
        try:
            return Event(float(at), name, actions.check(name, arguments))
        except actions.ActionError as error:
            key = next((key for key in arguments if f'"{key}"' in str(error) or f": {key} " in str(error)), "do")
            self._fail("event", number, key, str(error))

    def _expectation(self, table: dict[str, Any], number: int) -> Expectation:
        kinds = [kind for kind in KINDS if kind in table]
        if len(kinds) != 1:
            self._fail("expect", number, None, f"needs exactly one of {', '.join(KINDS)}")
        return self._validate(KINDS[kinds[0]], table, "expect", number)

    def _validate(self, model: type[Model], table: dict[str, Any], name: str, number: int) -> Model:
        try:
            return model.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            unknown = first["type"] == "extra_forbidden"
            keys = ", ".join(field.alias or key for key, field in model.model_fields.items())
            why = f"is not known here (known: {keys})" if unknown else first["msg"]
            self._fail(name, number, str(first["loc"][0]), why)

    def _fail(self, name: str, number: int, key: str | None, why: str) -> NoReturn:
        line = self._line(name, number, key)
        where = f"{name} {number + 1}: " if name else ""
        raise ScenarioError(f"{self.shown}:{line}: {where}{key + ' ' if key else ''}{why}")

    def _line(self, name: str, number: int, key: str | None) -> int:
        """Return the line of a key in the n-th table of a name, or that of the table's head if the key isn't there."""
        head, seen = 1, -1
        inside = name == ""
        for place, line in self._lines():
            header = re.match(r"\s*\[+\s*([\w.]+)\s*\]", line)
            if header:
                if inside and name:
                    break
                seen += header.group(1) == name
                inside = seen == number and header.group(1) == name
                head = place if inside else head
                if not name and header.group(1) == key:
                    return place
            elif inside and key is not None and re.match(rf"\s*{re.escape(key)}\s*=", line):
                return place
        return head

    def _lines(self) -> Iterator[tuple[int, str]]:
        return enumerate(self.text.splitlines(), 1)
