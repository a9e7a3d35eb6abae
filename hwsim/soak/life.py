"""A life: what happens to one bracelet, as plain data. The same data always gives the same trace.

A life says nothing about how the bracelet should behave (`judge` does), and nothing here is drawn at random (`draw`
does that). As text a life is TOML, in the form of a scenario's events, so that a person can read it, keep it and play
it again.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Argument = int | float | str | bool


@dataclass(frozen=True)
class Step:
    """An action of `hwsim.scenario.actions`, `at` seconds after the bracelet was first switched on."""

    at: float
    do: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    def __str__(self) -> str:
        minutes, seconds = divmod(self.at, 60)
        arguments = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{int(minutes) // 60:4}:{int(minutes) % 60:02}:{seconds:06.3f}  {self.do:<16} {arguments}".rstrip()


@dataclass(frozen=True)
class Life:
    """A life. `seed` also rules every chance in the world; `track` is (seconds, latitude, longitude, altitude in
    metres)."""

    seed: int
    steps: tuple[Step, ...]
    track: tuple[tuple[float, float, float, int], ...]
    wifi: bool = True  # False: the bracelet knows no access point
    calm_at: float = 0.0  # from then on, in seconds, everything works again
    board: str = "reference"  # name in board_configs/, or the path of a file
    apn: bool = False  # True: the bracelet knows the mobile network's access point, so it can send data over it

    def with_steps(self, steps: list[Step]) -> Life:
        """Return the same life with other steps, after which it may calm down sooner."""
        last = steps[-1].at if steps else 0.0
        return replace(self, steps=tuple(steps), calm_at=min(self.calm_at, last + 60.0))

    def to_toml(self) -> str:
        """Return the text that `from_toml` reads."""
        lines = [f"seed = {self.seed}", f"board = {json.dumps(self.board)}", f"wifi = {json.dumps(self.wifi)}"]
        lines.append(f"calm_at = {self.calm_at}")
        lines.append(f"apn = {json.dumps(self.apn)}")
        for t, lat, lon, alt in self.track:
            lines += ["", "[[track]]", f"t = {t}", f"lat = {lat:.7f}", f"lon = {lon:.7f}", f"alt = {alt}"]
        for step in self.steps:
            lines += ["", "[[event]]", f"at = {step.at}", f"do = {json.dumps(step.do)}"]
            lines += [f"{name} = {json.dumps(value)}" for name, value in step.arguments.items()]
        return "\n".join(lines) + "\n"


def from_toml(text: str) -> Life:
    """Return the life that a text describes. Raises ValueError with what is wrong with the text."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
        steps = []
        for event in document.get("event", []):
            rest = dict(event)
            steps.append(Step(float(rest.pop("at")), str(rest.pop("do")), rest))
        track = tuple((float(p["t"]), float(p["lat"]), float(p["lon"]), int(p["alt"])) for p in document["track"])
        return Life(
            int(document["seed"]),
            tuple(steps),
            track,
            bool(document["wifi"]),
            float(document["calm_at"]),
            str(document.get("board", "reference")),
            bool(document.get("apn", False)),
        )
    except KeyError as error:
        raise ValueError(f"a life needs {error.args[0]!r}; `hwsim soak --replay SEED` prints whole ones") from error
