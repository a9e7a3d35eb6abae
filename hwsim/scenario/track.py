"""Read the person's way: from waypoints written by hand, or from a GPX file (GPX 1.1, track points or route points).

Made-up ways only: nobody's real way belongs into a scenario.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field

METRES_PER_DEGREE = 111_319.5  # of a great circle on the WGS 84 equator's radius
WALKING_KMH = 5.0  # for a GPX file without times


Way = list[tuple[float, float, float, int]]  # seconds, latitude, longitude, altitude in metres


class TrackError(ValueError):
    """A way that can't be used; `waypoint` is the number of the waypoint at fault."""

    def __init__(self, text: str, waypoint: int = 0) -> None:
        super().__init__(text)
        self.waypoint = waypoint


class Waypoint(BaseModel):
    """A point, reached at `t` seconds or by going there with `kmh` from the point before."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    alt: Annotated[int, Field(ge=-500, le=9000)] = 0
    t: Annotated[float, Field(ge=0)] | None = None
    kmh: Annotated[float, Field(gt=0, le=1000)] | None = None


def from_waypoints(waypoints: Sequence[Waypoint]) -> Way:
    """Return the way through these points, in straight lines. Raises TrackError."""
    points: Way = []
    for number, waypoint in enumerate(waypoints):
        if (waypoint.t is None) == (waypoint.kmh is None) and (number or waypoint.kmh is not None):
            raise TrackError("needs either t (when) or kmh (how fast from the point before)", number)
        t = waypoint.t or 0.0
        if waypoint.kmh is not None:
            if not points:
                raise TrackError("is the first: there is nowhere to come from, so it has t", number)
            before = points[-1]
            t = before[0] + metres(before[1], before[2], waypoint.lat, waypoint.lon) / (waypoint.kmh / 3.6)
        if points and t <= points[-1][0]:
            raise TrackError(f"is at {t:g} s, not after the one before", number)
        points.append((t, waypoint.lat, waypoint.lon, waypoint.alt))
    return points


def from_gpx(path: Path) -> Way:
    """Read the points of a GPX file, the first at 0 s; a file without times is walked. Raises TrackError."""
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise TrackError(f"{path.name}: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise TrackError(f"{path.name} is not XML: {error}") from error
    waypoints: list[Waypoint] = []
    start: datetime | None = None
    for element in root.iter():
        if element.tag.rpartition("}")[2] not in ("trkpt", "rtept"):
            continue
        values = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
        try:
            time = datetime.fromisoformat(values["time"]) if "time" in values else None
            start = start or time
            after = (time - start).total_seconds() if time and start else None
            first = not waypoints
            waypoints.append(
                Waypoint(
                    lat=float(element.get("lat", "")),
                    lon=float(element.get("lon", "")),
                    alt=round(float(values.get("ele", "0"))),
                    t=0.0 if first else after,
                    kmh=WALKING_KMH if after is None and not first else None,
                )
            )
        except ValueError as error:
            raise TrackError(
                f"{path.name}: point {len(waypoints) + 1} has a latitude, longitude, height or time that is none"
            ) from error
    if not waypoints:
        raise TrackError(f"{path.name} has no track or route point")
    return from_waypoints(waypoints)


def metres(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Return the distance of two points; good to 1 % for some 100 km."""
    north = (other_lat - lat) * METRES_PER_DEGREE
    east = (other_lon - lon) * METRES_PER_DEGREE * math.cos(math.radians((lat + other_lat) / 2))
    return math.hypot(north, east)
