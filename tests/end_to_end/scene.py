"""A stack and what was heard of it, with the verbs that the tests read as."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from relay.demo.stack import Happened, Stack

BETWEEN_S = 0.5  # two holds, or the second is the first one's bounce
PATIENCE_S = 150.0  # against a slow machine; no test needs it otherwise


class Scene:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.heard: list[Happened] = []

    def press(self) -> int:
        """Hold the button until the alarm is raised, and let go; returns the message's counter."""
        button = self.stack.bracelet.button
        self.stack.world.call(button.press)
        sealed = self.wait(lambda e: e.source == "firmware" and e.what in ("raised", "update"))
        self.stack.world.call(button.release)
        time.sleep(BETWEEN_S)
        return int(sealed.detail["counter"])

    def wait(self, wanted: Callable[[Happened], bool]) -> Happened:
        events = self.stack.wait_for(wanted, PATIENCE_S, "what the test expects")
        self.heard += events
        return next(event for event in reversed(events) if wanted(event))

    def wait_receipt(self, counter: int) -> None:
        if not any(_is_receipt(event, counter) for event in self.heard):
            self.wait(lambda e: _is_receipt(e, counter))

    def wait_documents(self, count: int) -> list[dict[str, Any]]:
        """What the subscriber got, once there are so many and nothing more has come for a while.

        Brokers may repeat a message whose PUBACK was slow, and the relay one whose PUBACK a crash took: the very same
        octets, which are one document here. Other octets about the same message would be two.
        """
        deadline = time.monotonic() + PATIENCE_S
        while len(set(self.stack.documents)) < count and time.monotonic() < deadline:
            self.heard += self.stack.events()
            time.sleep(0.05)
        time.sleep(1.0)  # another would follow at once
        self.heard += self.stack.events()
        return [json.loads(octets) for octets in dict.fromkeys(self.stack.documents)]

    def rebroadcasts(self) -> list[int]:
        """The counters of what the relay itself published, once for each time it did."""
        return [e.detail["counter"] for e in self.heard if e.source == "relay" and e.what == "alarm.rebroadcast"]


def _is_receipt(event: Happened, counter: int) -> bool:
    return event.source == "firmware" and event.what == "delivered" and event.detail["counter"] == counter
