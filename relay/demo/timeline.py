# sans-I/O
"""The stages of one alarm, in the order in which they happened, for people and for scripts.

Pure: a timeline gets events with wall-clock times from the simulator's trace, the relay's log and the subscriber, and
does not know where they came from. It does not judge whether the alarm arrived well; `missing` says which stages have
not happened yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# stage -> what a newcomer reads; {…} are filled from the event's details
STAGES: dict[str, str] = {
    "pressed": "the button goes down",
    "tick": "a tick on the wrist: keep holding, or let go",
    "sealed": "signed and encrypted: {octets} octets, kept in flash",
    "published": "sent by MQTT over TLS",
    "sms": "sent by SMS",
    "puback": "PUBACK: the broker has it (that is not delivery yet)",
    "received": "the relay has read it, by {path}",
    "verified": "decrypted; signature, counter and grammar are good",
    "committed": "on the relay's disk",
    "rebroadcast": "published to subscribers, signed by the relay",
    "subscriber": "a subscriber has it and has checked both signatures",
    "receipt": "the relay answers with a sealed receipt by {path}",
    "felt": "three short buzzes on the wrist: the relay has it",
}
_COMMON = (
    "pressed",
    "tick",
    "sealed",
    "received",
    "verified",
    "committed",
    "rebroadcast",
    "subscriber",
    "receipt",
    "felt",
)
REQUIRED: dict[str, tuple[str, ...]] = {"mqtt": (*_COMMON, "published", "puback"), "sms": (*_COMMON, "sms")}


@dataclass(frozen=True)
class Stage:
    """A stage that happened: its name, seconds since the press, and details for the sentence."""

    name: str
    at_s: float
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return STAGES[self.name].format_map(_Lenient(self.detail))

    def line(self) -> str:
        return f"{self.at_s:8.3f} s  {self.name:<12} {self.sentence}"


class _Lenient(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


class Timeline:
    """The first occurrence of each stage of the alarm that began with the press at `pressed_at` (unix seconds)."""

    def __init__(self, pressed_at: float) -> None:
        self._t0 = pressed_at
        self._stages: dict[str, Stage] = {}
        self.add("pressed", pressed_at)

    def add(self, name: str, at: float, **detail: object) -> Stage | None:
        """Note that stage `name` happened at unix time `at`; return the stage when it is the first of its name, else
        None."""
        if name not in STAGES:
            raise ValueError(f"no such stage: {name}")
        if name in self._stages or at < self._t0:
            return None
        stage = Stage(name, at - self._t0, detail)
        self._stages[name] = stage
        return stage

    def missing(self, path: str) -> list[str]:
        """List the stages that an alarm by `path` ("mqtt" or "sms") must show and this one has not."""
        return [name for name in REQUIRED[path] if name not in self._stages]

    def complete(self, path: str) -> bool:
        return not self.missing(path)

    def stages(self) -> list[Stage]:
        """List the stages in the order of their times; stages of equal time in the order of the chain."""
        order = list(STAGES)
        return sorted(self._stages.values(), key=lambda s: (s.at_s, order.index(s.name)))

    def as_json(self, path: str) -> dict[str, object]:
        """Return the whole timeline as plain values; times are seconds since the press."""
        at = {s.name: s.at_s for s in self._stages.values()}
        took = round(at["felt"] - at["sealed"], 3) if "felt" in at and "sealed" in at else None
        return {
            "ok": self.complete(path),
            "path": path,
            "octets": self._stages["sealed"].detail.get("octets") if "sealed" in self._stages else None,
            "raised_to_receipt_s": took,
            "missing": self.missing(path),
            "stages": [{"stage": s.name, "at_s": round(s.at_s, 3), **s.detail} for s in self.stages()],
        }
