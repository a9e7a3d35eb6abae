"""Draw a played scenario as SVG: the way with the reported places, and a time axis with everything that happened.

The map is a plain local projection without any background: no server is asked for tiles. Colours are Okabe and Ito's,
which colour-blind people can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hwsim.scenario.actions import ACTIONS
from hwsim.scenario.judge import Verdict
from hwsim.scenario.play import BEGIN_S, Played
from hwsim.scenario.timeline import FEELS, clock
from hwsim.scenario.track import METRES_PER_DEGREE

WIDTH, MARGIN, LABELS = 1200, 24, 150
MAP_TOP, MAP_SIZE = 84, 330
LANE, MESSAGE = 24, 16
BLACK, GREY, PALE, RED, ORANGE, GREEN, BLUE = "#222", "#888", "#ddd", "#d55e00", "#e69f00", "#009e73", "#0072b2"
CHARACTER = 6.2  # width of one at 11 px, about
MAX_MESSAGES = 30


@dataclass(frozen=True)
class Span:
    """A stretch of time, in the scenario's seconds."""

    start: float
    end: float


def draw(played: Played, verdicts: list[Verdict]) -> str:
    """Return the whole picture, as the text of an SVG file."""
    return _Picture(played, verdicts).draw()


class _Picture:
    def __init__(self, played: Played, verdicts: list[Verdict]) -> None:
        self.played = played
        self.verdicts = verdicts
        self.end = played.seconds(played.end_us)
        self.parts: list[str] = []

    def draw(self) -> str:
        scenario = self.played.scenario
        self._text(MARGIN, 34, scenario.title, 20, weight="bold")
        self._text(MARGIN, 58, scenario.story, 12, GREY)
        self._map()
        self._expectations()
        height = self._axis(MAP_TOP + MAP_SIZE + 48)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" font-family="sans-serif">'
        )
        title = f"<title>{escape(scenario.title)}</title>"
        return "\n".join([head, title, '<rect width="100%" height="100%" fill="white"/>', *self.parts, "</svg>\n"])

    # -- strokes

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 11,
        colour: str = BLACK,
        anchor: str = "start",
        weight: str = "normal",
    ) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(text)}</text>'
        )

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width:g}"{dashed}/>'
        )

    def _box(self, x: float, y: float, width: float, height: float, colour: str, edge: str = "none") -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" fill="{colour}" '
            f'stroke="{edge}"/>'
        )

    def _dot(self, x: float, y: float, radius: float, colour: str, hint: str, edge: str = "white") -> None:
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}" stroke="{edge}">'
            f"<title>{escape(hint)}</title></circle>"
        )

    # -- the map

    def _map(self) -> None:
        self._box(MARGIN, MAP_TOP, MAP_SIZE * 1.5, MAP_SIZE, "none", PALE)
        points = list(self._way())
        reported = [
            (d, p["lon_e7"] / 1e7, p["lat_e7"] / 1e7) for d in self.played.documents if (p := d.content["position"])
        ]
        if not points and not reported:
            self._text(MARGIN + 12, MAP_TOP + 24, "No satellite was ever seen: there is no place to draw.", 12, GREY)
            return
        everywhere = points + [(lon, lat) for _, lon, lat in reported]
        project, metres_per_pixel = _projection(everywhere)
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(project, points))
        self.parts.append(f'<polyline points="{line}" fill="none" stroke="{GREY}" stroke-width="2"/>')
        for document, lon, lat in reported:
            kind = document.content["msg_type"]
            at = clock(self.played.seconds(document.at_us))
            age = document.content["position"]["age_s"]
            x, y = project((lon, lat))
            self._dot(x, y, 5, RED if kind == "Alert" else ORANGE, f"{kind} at {at}, position {age} s old")
        for alarm in self.played.alarms:
            x, y = project(self._true(alarm.raised_us / 1e6))
            self.parts.append(
                f'<path d="M{x - 12:.1f} {y:.1f}h8m8 0h8M{x:.1f} {y - 12:.1f}v8m0 8v8" stroke="{BLACK}" '
                'stroke-width="2"/>'
            )
        self._scale(metres_per_pixel)
        self._legend()

    def _way(self) -> Iterator[tuple[float, float]]:
        if self.played.track is None:
            return
        steps = 200
        for step in range(steps + 1):
            yield self._true(BEGIN_S + self.end * step / steps)

    def _true(self, world_seconds: float) -> tuple[float, float]:
        if self.played.track is None:
            return 0.0, 0.0
        point = self.played.track.at(round(world_seconds * 1e6))
        return point.lon_e7 / 1e7, point.lat_e7 / 1e7

    def _scale(self, metres_per_pixel: float) -> None:
        wanted = 90 * metres_per_pixel
        unit = 10.0 ** math.floor(math.log10(wanted))
        length = max(step * unit for step in (1, 2, 5) if step * unit <= wanted)
        x, y = MARGIN + 12, MAP_TOP + MAP_SIZE - 14
        self._line(x, y, x + length / metres_per_pixel, y, BLACK, 2)
        self._text(x, y - 6, f"{length:g} m" if length < 1000 else f"{length / 1000:g} km")
        self._text(MARGIN + MAP_SIZE * 1.5 - 14, MAP_TOP + 20, "N", 12, anchor="middle", weight="bold")
        self._line(MARGIN + MAP_SIZE * 1.5 - 14, MAP_TOP + 40, MARGIN + MAP_SIZE * 1.5 - 14, MAP_TOP + 25, BLACK, 1.5)

    def _legend(self) -> None:
        x, y = MARGIN + 6.0, MAP_TOP + MAP_SIZE + 18
        for colour, text in ((GREY, "the way"), (RED, "place in an Alert"), (ORANGE, "in an Update")):
            self._dot(x, y - 4, 4, colour, text)
            self._text(x + 8, y, text)
            x += 26 + len(text) * CHARACTER
        self._text(x, y, "+  where an alarm was raised")

    def _expectations(self) -> None:
        x, y = MARGIN + MAP_SIZE * 1.5 + 24, MAP_TOP + 12
        room = int((WIDTH - MARGIN - x - 20) / CHARACTER)
        always = [verdict for verdict in self.verdicts if verdict.wanted.startswith("always: ")]
        shown = [verdict for verdict in self.verdicts if verdict not in always or not verdict.held]
        kept = sum(verdict.held for verdict in always)
        shown.append(Verdict("what must always hold", kept == len(always), f"{kept} of {len(always)}"))
        for verdict in shown:
            if y > MAP_TOP + MAP_SIZE - 30:
                self._text(x + 20, y, "...", colour=GREY)
                break
            self._dot(x + 6, y - 4, 5, GREEN if verdict.held else RED, "held" if verdict.held else "failed")
            self._text(x + 20, y, _cut(verdict.wanted, room), weight="normal" if verdict.held else "bold")
            self._text(x + 20, y + 13, _cut(verdict.found, room), colour=GREY)
            y += 31

    # -- the time axis

    def _x(self, seconds: float) -> float:
        left, right = MARGIN + LABELS, WIDTH - MARGIN
        return left + (right - left) * min(max(seconds, 0.0), self.end) / self.end

    def _axis(self, top: float) -> float:
        """Draw the time axis, and return where it ends."""
        y = self._happenings(top)
        start = y
        y = self._lane(y, "button", self._held(), BLACK)
        y = self._wrist(y)
        y = self._lane(y, "supply on", self._powered(), GREY)
        y = self._lane(y, "satellites: fix", self._spans("gnss", "fix", "fix lost", ends=("off",)), GREEN)
        for path, name in (("net", "Wi-Fi"), ("mqtt", "broker"), ("sms", "mobile network")):
            y = self._lane(y, name, self._linked(path), BLUE)
        y = self._messages(y + 6)
        self._ticks(start, y)
        return y + 44

    def _happenings(self, top: float) -> float:
        """Draw the scenario's own events, in as many rows as the words need."""
        ends: list[float] = []
        marks = []
        for event in self.played.scenario.events:
            text = event.do.replace("_", " ")
            x = self._x(event.at)
            shown = min(x, WIDTH - MARGIN - len(text) * CHARACTER - 3)
            row = next((row for row, end in enumerate(ends) if end < shown), len(ends))
            ends[row : row + 1] = [shown + len(text) * CHARACTER + 10]
            marks.append((x, shown, row, text, ACTIONS[event.do].family == "wearer"))
        bottom = top + len(ends) * 15
        self._text(MARGIN, top + 8, "what happens", weight="bold")
        for x, shown, row, text, wearer in marks:
            y = top + row * 15 + 8
            self._line(x, y - 8, x, bottom + 6, RED if wearer else GREY, 1)
            self._text(shown + 3, y, text, colour=RED if wearer else BLACK)
        return bottom + 10

    def _lane(self, y: float, name: str, spans: list[Span], colour: str) -> float:
        self._text(MARGIN, y + 15, name)
        self._line(self._x(0), y + 20, self._x(self.end), y + 20, PALE)
        for span in spans:
            self._box(self._x(span.start), y + 7, self._x(span.end) - self._x(span.start), 12, colour)
        return y + LANE

    def _wrist(self, y: float) -> float:
        self._text(MARGIN, y + 15, "felt in the wrist")
        self._line(self._x(0), y + 20, self._x(self.end), y + 20, PALE)
        colours = {"heard": GREEN, "raised": RED, "cancelled": ORANGE, "fault": BLACK}
        for felt in self.played.felt:
            seconds = self.played.seconds(felt.at_us)
            if seconds >= 0:
                hint = f"{clock(seconds)} {FEELS[felt.name]}"
                self._dot(self._x(seconds), y + 13, 5, colours.get(felt.name, GREY), hint)
        return y + LANE

    def _messages(self, y: float) -> float:
        """Draw a row for each message: sealed, at the relay, receipt."""
        sealed: dict[int, tuple[float, str]] = {}
        receipts: dict[int, float] = {}
        for event in self.played.trace:
            if event.who == "firmware" and event.what in ("raised", "update"):
                sealed[event.detail["counter"]] = (self.played.seconds(event.t_us), event.what)
            elif event.who == "firmware" and event.what == "receipt":
                receipts.setdefault(event.detail["counter"], self.played.seconds(event.t_us))
        relay: dict[int, tuple[float, str]] = {}
        for document in self.played.documents:
            path = document.content["path"]
            relay.setdefault(document.content["counter"], (self.played.seconds(document.at_us), path))
        if sealed:
            self._text(MARGIN, y + 12, "messages", weight="bold")
        for counter, (at, kind) in list(sealed.items())[:MAX_MESSAGES]:
            colour = RED if kind == "raised" else ORANGE
            came, path = relay.get(counter, (None, ""))
            felt = receipts.get(counter)
            last = felt if felt is not None else came if came is not None else self.end
            dash = "" if felt is not None else "3 3"
            self._line(self._x(at), y + 8, self._x(last), y + 8, colour, 2, dash)
            self._dot(self._x(at), y + 8, 4, colour, f"{clock(at)} sealed")
            if came is not None:
                self._dot(self._x(came), y + 8, 4, BLUE, f"{clock(came)} at the relay by {path}")
            if felt is not None:
                self._dot(self._x(felt), y + 8, 4, GREEN, f"{clock(felt)} receipt")
            late = "" if felt is None else f", receipt after {felt - at:.1f} s"
            text = f"{'Alert' if kind == 'raised' else 'Update'} {counter} {path}{late}"
            after = self._x(last) + 10
            if after + len(text) * CHARACTER > WIDTH - MARGIN:
                after = self._x(at) - 10 - len(text) * CHARACTER
            self._text(after, y + 12, text, 10, GREY)
            y += MESSAGE
        if len(sealed) > MAX_MESSAGES:
            self._text(self._x(0), y + 12, f"and {len(sealed) - MAX_MESSAGES} more", 10, GREY)
            y += MESSAGE
        return y + 6

    def _ticks(self, top: float, bottom: float) -> None:
        steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)
        step = next((step for step in steps if self.end / step <= 12), steps[-1])
        for number in range(int(self.end // step) + 1):
            x = self._x(number * step)
            self.parts.insert(0, f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#eee"/>')
            self._text(x, bottom + 14, clock(number * step).removesuffix(".0"), 10, GREY, "middle")
        names = ((RED, "Alert sealed"), (ORANGE, "Update sealed"), (BLUE, "at the relay"), (GREEN, "receipt"))
        x = self._x(0)
        for colour, text in names:
            self._dot(x, bottom + 30, 4, colour, text)
            self._text(x + 8, bottom + 34, text)
            x += 30 + len(text) * CHARACTER

    # -- spans out of the trace

    def _spans(self, who: str, begins: str, finishes: str, ends: tuple[str, ...] = ()) -> list[Span]:
        changes = [
            (self.played.seconds(event.t_us), event.what == begins)
            for event in self.played.trace
            if event.who == who and event.what in (begins, finishes, *ends)
        ]
        return self._between(changes)

    def _held(self) -> list[Span]:
        return self._spans("button", "pressed", "released")

    def _powered(self) -> list[Span]:
        return self._spans("bracelet", "power on", "power cut")

    def _linked(self, path: str) -> list[Span]:
        """Return the spans in which the firmware says that the link is up; a start of the bracelet ends each."""
        changes = []
        for event in self.played.trace:
            if event.who == "firmware" and event.what == "link" and event.detail["path"] == path:
                changes.append((self.played.seconds(event.t_us), bool(event.detail["up"])))
            elif event.who == "bracelet" and event.what in ("power cut", "boot", "stuck"):
                changes.append((self.played.seconds(event.t_us), False))
        return self._between(changes)

    def _between(self, changes: list[tuple[float, bool]]) -> list[Span]:
        spans: list[Span] = []
        since: float | None = None
        for at, up in [*changes, (self.end, False)]:
            if up and since is None:
                since = at
            elif not up and since is not None:
                spans.append(Span(since, at))
                since = None
        return spans


def _projection(points: list[tuple[float, float]]) -> tuple[Projection, float]:
    """Return the projection of (longitude, latitude) to the map's pixels, north up, the same scale both ways; and
    metres a pixel."""
    west, east = min(lon for lon, _ in points), max(lon for lon, _ in points)
    south, north = min(lat for _, lat in points), max(lat for _, lat in points)
    shrink = math.cos(math.radians((south + north) / 2))
    wide, high = (east - west) * shrink * METRES_PER_DEGREE, (north - south) * METRES_PER_DEGREE
    room = 40
    scale = max(wide / (MAP_SIZE * 1.5 - 2 * room), high / (MAP_SIZE - 2 * room - 20), 0.05)
    return Projection((west + east) / 2, (south + north) / 2, shrink * METRES_PER_DEGREE / scale, scale), scale


@dataclass(frozen=True)
class Projection:
    lon: float
    lat: float
    per_lon: float
    scale: float

    def __call__(self, point: tuple[float, float]) -> tuple[float, float]:
        x = MARGIN + MAP_SIZE * 0.75 + (point[0] - self.lon) * self.per_lon
        return x, MAP_TOP + (MAP_SIZE - 20) / 2 - (point[1] - self.lat) * METRES_PER_DEGREE / self.scale


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."
