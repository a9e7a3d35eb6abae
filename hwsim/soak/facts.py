"""Facts read from a trace: the button, the alarms, the receipts, the pulses in the wrist, the boots.

This module only reads; `judge` decides what should have happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hwsim.world.trace import TraceEvent

TAP_US = 600_000  # firmware/tocsin/gesture.py: a longer press is no tap
BOUNCE_US = 30_000  # firmware/tocsin/drivers/button.py: a release shorter than three samples is none
NAP_MS = 10_000
# After one of these events a bracelet is not at work until the firmware says that it is armed.
_OUT_OF_WORK = ("power on", "power cut", "reset", "boot", "watchdog", "main.py ended", "deep sleep", "stuck")


@dataclass
class Span:
    """A span of time from `start` to `end`, in microseconds; open while `end` is None."""

    start: int
    end: int | None = None

    def covers(self, start: int, end: int) -> bool:
        return self.start <= start and (self.end is None or end <= self.end)


@dataclass
class Pulse:
    """A vibration that was felt: when it began and ended (microseconds), how long (ms) and strong (%)."""

    start: int
    end: int
    ms: int
    strength: int


@dataclass
class Facts:
    """The facts of a life. Times are microseconds since the world began; counters are those of the alarm chain."""

    holds: list[Span] = field(default_factory=list)
    armed: list[Span] = field(default_factory=list)
    raised: dict[int, int] = field(default_factory=dict)
    by: dict[int, str] = field(default_factory=dict)  # the cause that the firmware names
    strap_open: list[Span] = field(default_factory=list)  # also before the strap is first fastened
    check_in: list[Span] = field(default_factory=list)  # while the timer ran, by the firmware's word
    updates: dict[int, int] = field(default_factory=dict)
    cancels: dict[int, int] = field(default_factory=dict)
    receipts: dict[int, int] = field(default_factory=dict)
    sent: dict[tuple[int, str], int] = field(default_factory=dict)  # (counter, path): when first handed to it
    links: dict[str, list[Span]] = field(default_factory=dict)  # path: while the bracelet took it for up
    sms_path: list[Span] = field(default_factory=list)  # while a message could have left, by the modem's own word
    delivered: list[tuple[int, int]] = field(default_factory=list)  # (time, counter)
    dropped: dict[int, int] = field(default_factory=dict)
    reused: list[tuple[int, int]] = field(default_factory=list)  # (time, counter) of a counter seen before
    pulses: list[Pulse] = field(default_factory=list)
    power_lost: list[Span] = field(default_factory=list)  # without supply
    never: list[tuple[int, str]] = field(default_factory=list)  # what no world should bring about
    stuck: list[int] = field(default_factory=list)
    watchdogs: list[int] = field(default_factory=list)
    hung_or_died: list[int] = field(default_factory=list)  # as a part was started
    felt_again: list[int] = field(default_factory=list)  # when the firmware tried a motor that it had left out
    naps: list[int] = field(default_factory=list)  # deep sleeps of some seconds
    told_time: list[int] = field(default_factory=list)  # when satellites or the network told it the time

    def forced(self, cancel: int) -> bool:
        """Tell whether exactly three taps came before the hold that called an alarm back, and the bracelet saw all."""
        at = self.cancels[cancel]
        presses = [span for span in self.holds if span.start < at]
        hold = presses.pop()
        taps, first = 0, hold.start
        while presses and presses[-1].end is not None and first - presses[-1].end < 1_000_000:
            if presses[-1].end - presses[-1].start > TAP_US:
                break
            first = presses.pop().start
            taps += 1
        return taps == 3 and any(span.covers(first, at) for span in self.armed)

    def sealed_at(self, counter: int) -> int | None:
        for messages in (self.raised, self.updates):
            if counter in messages:
                return messages[counter]
        return None


def read(trace: Iterable[TraceEvent]) -> Facts:
    facts = Facts(strap_open=[Span(0)])
    for event in trace:
        if event.who == "firmware":
            _firmware(facts, event)
        elif event.who == "bracelet":
            _bracelet(facts, event)
        elif event.who == "button":
            _button(facts, event)
        elif event.who == "strap":
            _span(facts.strap_open, event.what == "open", event.t_us)
        elif event.who == "modem" and event.what == "sms path":
            _span(facts.sms_path, bool(event.detail["up"]), event.t_us)
        elif event.who == "haptic" and event.what == "pulse":
            ms = int(event.detail["ms"])
            facts.pulses.append(Pulse(event.t_us - ms * 1000, event.t_us, ms, int(event.detail["strength"])))
    return facts


def _firmware(facts: Facts, event: TraceEvent) -> None:
    at, counter = event.t_us, int(event.detail.get("counter", -1))
    if event.what == "armed":
        facts.armed.append(Span(at))
    elif event.what in ("raised", "update"):
        if facts.sealed_at(counter) is not None:
            facts.reused.append((at, counter))
        (facts.raised if event.what == "raised" else facts.updates)[counter] = at
        facts.by[counter] = str(event.detail["by"])
    elif event.what == "cancelled":  # comes right after the message that carries the cancel
        facts.cancels[max(facts.updates, key=facts.updates.__getitem__)] = at
    elif event.what == "receipt":
        facts.receipts.setdefault(counter, at)
    elif event.what == "published":
        facts.sent.setdefault((counter, event.detail["path"]), at)
    elif event.what == "check_in" and event.detail["state"] != "remind":
        _span(facts.check_in, event.detail["state"] == "start", at)
    elif event.what == "link":
        _link(facts, event.detail["path"], bool(event.detail["up"]), at)
    elif event.what == "clock" and event.detail["quality"] in ("gnss", "network"):
        facts.told_time.append(at)
    elif event.what == "boot" and "killed_by" in event.detail and facts.armed:  # a driver is blamed, rightly or not
        facts.hung_or_died.append(facts.armed[-1].end or at)
    elif event.what == "delivered":
        facts.delivered.append((at, counter))
    elif event.what == "trying" and event.detail["part"] == "haptic":
        facts.felt_again.append(at)
    elif event.what == "dropped":
        facts.dropped[counter] = at
    elif event.what in ("restarted", "stuck", "crashed") or (event.what == "refused" and _own_fault(event)):
        words = " ".join(f"{name}={value}" for name, value in event.detail.items())
        facts.never.append((at, f"@{event.what} {words}".rstrip()))


def _link(facts: Facts, path: str, up: bool, at: int) -> None:
    _span(facts.links.setdefault(path, []), up, at)


def _span(spans: list[Span], up: bool, at: int) -> None:
    if spans and spans[-1].end is None:
        spans[-1].end = at
    if up:
        spans.append(Span(at))


def _own_fault(event: TraceEvent) -> bool:
    """Tell whether the firmware refused something from the bracelet's own flash, not from outside."""
    return event.detail.get("what") in ("journal", "offer")


def _bracelet(facts: Facts, event: TraceEvent) -> None:
    if event.what in _OUT_OF_WORK and facts.armed and facts.armed[-1].end is None:
        facts.armed[-1].end = event.t_us
        for path in facts.links:
            _link(facts, path, False, event.t_us)
    if event.what == "power cut":
        facts.power_lost.append(Span(event.t_us))
    elif event.what == "power on" and facts.power_lost:
        facts.power_lost[-1].end = event.t_us
    elif event.what == "watchdog":
        facts.watchdogs.append(event.t_us)
    elif event.what == "stuck":
        facts.stuck.append(event.t_us)
    elif event.what == "driver call":
        facts.hung_or_died.append(event.t_us)
    elif event.what == "deep sleep" and event.detail["ms"] < NAP_MS:
        facts.naps.append(event.t_us)
    elif event.what in ("main.py ended", "interpreter died"):
        facts.never.append((event.t_us, event.what))
    elif event.what == "console":
        facts.never.append((event.t_us, f"on the console: {event.detail['text']}"))


def _button(facts: Facts, event: TraceEvent) -> None:
    if event.what == "pressed":
        before = facts.holds[-1] if facts.holds else None
        if before and before.end is not None and event.t_us - before.end < BOUNCE_US:
            before.end = None  # held on
        else:
            facts.holds.append(Span(event.t_us))
    elif event.what == "released" and facts.holds:
        facts.holds[-1].end = event.t_us
