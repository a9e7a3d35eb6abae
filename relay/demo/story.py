# sans-I/O
"""Turns events of the parts into stages of one alarm's timeline. Pure; the events come from `relay.demo.stack`."""

from __future__ import annotations

from relay.demo.stack import Happened
from relay.demo.timeline import Stage, Timeline

_RELAY = {
    "alarm.received": "received",
    "alarm.verified": "verified",
    "alarm.committed": "committed",
    "alarm.rebroadcast": "rebroadcast",
    "alarm.at_broker": "rebroadcast",  # of an alarm that had to wait for the broker
    "receipt.sent": "receipt",
}


class Story:
    """The alarm that begins with the press at `pressed_at` (unix seconds): the first message sealed after the press,
    whichever part reports it."""

    def __init__(self, pressed_at: float) -> None:
        self._pressed_at = pressed_at
        self._timeline = Timeline(pressed_at)
        self.counter: int | None = None
        self._receipt_at: float | None = None

    def tell(self, event: Happened) -> list[Stage]:
        """Return the stages that this event brings: none or one."""
        if event.at < self._pressed_at:
            return []
        stage = self._stage(event)
        return [stage] if stage is not None else []

    def _stage(self, event: Happened) -> Stage | None:
        add = self._timeline.add
        detail = event.detail
        if event.source == "haptic" and event.what == "pulse":
            began = event.at - detail["ms"] / 1000
            if self.counter is None:
                return add("tick", began)
            # The trace shows a pulse when the pulse ends; the receipt's own is the first that began after the receipt.
            return add("felt", began) if self._receipt_at is not None and began >= self._receipt_at else None
        if event.source == "firmware" and event.what in ("raised", "update") and self.counter is None:
            self.counter = detail["counter"]
            return add("sealed", event.at, octets=detail["octets"], counter=self.counter)
        if self.counter is None or detail.get("counter") != self.counter:
            return None
        if event.source == "firmware":
            if event.what == "receipt":
                self._receipt_at = event.at
            if event.what == "published" and detail["path"] == "mqtt":
                return add("published", event.at)
            if event.what == "puback":
                return add("puback", event.at)
            if event.what == "sms" and detail["ok"] == 1:  # the network took it; handing it to the modem is no stage
                return add("sms", event.at)
            return None
        if event.source == "relay" and event.what in _RELAY:
            kept = {"path": _WAY.get(detail["path"], detail["path"])} if "path" in detail else {}
            return add(_RELAY[event.what], event.at, **kept)
        if event.source == "subscriber" and detail.get("genuine"):
            return add("subscriber", event.at)
        return None

    @property
    def raised_to_receipt_s(self) -> float:
        """Seconds from the end of the hold to the buzz; NaN before the buzz."""
        at = {stage.name: stage.at_s for stage in self._timeline.stages()}
        return at["felt"] - at["sealed"] if "felt" in at and "sealed" in at else float("nan")

    def missing(self, path: str) -> list[str]:
        return self._timeline.missing(path)

    def complete(self, path: str) -> bool:
        return self._timeline.complete(path)

    def as_json(self, path: str) -> dict[str, object]:
        return self._timeline.as_json(path)


_WAY = {"mqtt": "MQTT", "sms": "SMS"}
