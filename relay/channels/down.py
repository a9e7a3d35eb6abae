"""Sends bracelets the commands that `relay.downlink` finds due: by MQTT, and where necessary by SMS too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from relay.downlink import Downlink, Outbound
from relay.ingest.sms import Outgoing

LOOK_S = 0.5  # seconds between two looks at the operators' requests
BELIEVE_S = 3600  # seconds after a start; nothing expires in them: a clock may be ahead until the network sets it
BUSY = 40_000  # messages on their way to the broker; it has 65,535 message ids


class Mqtt(Protocol):
    """The MQTT connection, as far as this channel needs it."""

    @property
    def outstanding(self) -> int: ...
    def publish(self, topic: str, octets: bytes, now: float) -> int | None: ...


class Sms(Protocol):
    """The modem, as far as this channel needs it."""

    def send(self, message: Outgoing, now: float) -> bool: ...


class Commands:
    """The sender of commands. It calls `note(command, path)` for each command that it has handed to a path."""

    def __init__(self, downlink: Downlink, mqtt: Mqtt, sms: Sms | None, note: Callable[[Outbound, str], Any]) -> None:
        self._downlink = downlink
        self._mqtt = mqtt
        self._sms = sms
        self._note = note
        self.look_at = 0.0
        self._began: float | None = None

    def send(self, wall: float, now: float) -> None:
        """Send the commands that are due. Raises what the store raises."""
        if now < self.look_at:
            return
        self.look_at = now + LOOK_S
        self._began = now if self._began is None else self._began
        for command in self._downlink.due(wall, may_expire=now - self._began >= BELIEVE_S):
            paths = []
            if self._mqtt.outstanding < BUSY and self._mqtt.publish(command.topic, command.octets, now) is not None:
                paths.append("mqtt")
            number, sms = command.number, self._sms
            if number is not None and sms is not None and sms.send(Outgoing(number, command.octets, command), now):
                paths.append("sms")
            for path in paths:
                self._note(command, path)
            if paths:
                self._downlink.sent(command, wall)


def whose(tag: object) -> tuple[str, dict[str, Any]]:
    """Return the kind of an SMS and its fields for the log, from the tag with which it was sent."""
    if isinstance(tag, Outbound):
        return "command", {"kid": tag.kid, "counter": tag.counter, "command": tag.kind.name.lower()}
    kid, counter = tag if isinstance(tag, tuple) else (None, None)
    return "receipt", {"kid": kid, "counter": counter}
