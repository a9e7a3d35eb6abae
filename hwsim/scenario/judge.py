"""Judge a played scenario: compare what must hold with what happened. Every verdict says in words what was found.

Some things must hold in every scenario and need no line in its file: see `ALWAYS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hwsim.rig import AlarmStory
from hwsim.scenario import file
from hwsim.scenario.play import BEGIN_S, Document, Played
from hwsim.scenario.track import metres
from hwsim.world.trace import TraceEvent
from relay.pipeline import Status


@dataclass(frozen=True)
class Verdict:
    """A judgement: what was wanted, in a few words, whether it held, and what was found."""

    wanted: str
    held: bool
    found: str


def judge(played: Played) -> list[Verdict]:
    """Judge the scenario's own expectations in their order, then what must always hold."""
    verdicts = [_check(expectation, played) for expectation in played.scenario.expectations]
    refusals_counted = any(isinstance(e, file.RefusedByRelay) for e in played.scenario.expectations)
    blank = any(isinstance(e, file.Blank) for e in played.scenario.expectations)
    for wanted, find in ALWAYS.items():
        if (find is _refused and refusals_counted) or (find is _unarmed and blank):
            continue
        wrong = find(played)
        verdicts.append(Verdict(f"always: {wanted}", wrong is None, wrong or "yes"))
    return verdicts


# -- what must always hold: None, or what was wrong


def _undelivered(played: Played) -> str | None:
    for number, alarm in enumerate(played.alarms, 1):
        if alarm.relay_us is None:
            return f"alarm {number} never reached the relay"
        if alarm.receipt_us is None:
            return f"the receipt of alarm {number} never reached the bracelet"
    return None


def _repeated(played: Played) -> str | None:
    often = [counter for counter, count in played.copies.items() if count > 1]
    return f"message {often[0]} came {played.copies[often[0]]} times" if often else None


def _refused(played: Played) -> str | None:
    reasons = [str(arrival.item.reason) for arrival in played.arrivals if arrival.item.status == Status.REFUSED]
    return f"{len(reasons)} refused: {', '.join(sorted(set(reasons)))}" if reasons else None


def _failed(played: Played) -> str | None:
    """Find a task that died, a traceback, or a reset by the watchdog that nothing here had asked for."""
    hung = False
    for event in played.trace:
        at = f"at {played.seconds(event.t_us):.1f} s"
        hung = hung or (event.who, event.what) in (("scene", "hang"), ("bracelet", "driver call"))
        if event.who == "firmware" and event.what in ("restarted", "stuck", "crashed"):
            return f"@{event.what} {_details(event)} {at}"
        if event.who == "bracelet" and event.what in ("main.py ended", "interpreter died", "console"):
            return f"{event.what} {_details(event)} {at}"
        if event.who == "bracelet" and event.what in ("watchdog", "stuck") and not hung:
            return f"{event.what} {at}"
    return None


def _comfort(played: Played) -> str | None:
    """Find a false "the relay has it": it may be felt only when the relay has something that it had not before."""
    new = sorted(arrival.t_us for arrival in played.arrivals if arrival.item.status == Status.NEW)
    for count, felt in enumerate((f for f in played.felt if f.name == "heard"), 1):
        if len(new) < count or new[count - 1] > felt.at_us:
            return f"at {played.seconds(felt.at_us):.1f} s, when the relay had nothing new"
    return None


def _unarmed(played: Played) -> str | None:
    return None if played.armed else "it is not at work"


ALWAYS: dict[str, Callable[[Played], str | None]] = {
    "every alarm delivered and its receipt back": _undelivered,
    "no message twice at the subscriber": _repeated,
    "nothing refused by the relay": _refused,
    "no task failed, no traceback, no needless reset": _failed,
    "no false comfort in the wrist": _comfort,
    "armed at the end": _unarmed,
}


# -- what the file expects


@functools.singledispatch
def _check(expectation: Any, played: Played) -> Verdict:
    raise TypeError(f"nothing judges {expectation!r}")


def _alarm(played: Played, number: int) -> AlarmStory | None:
    return played.alarms[number - 1] if number <= len(played.alarms) else None


def _no_alarm(wanted: str, played: Played) -> Verdict:
    return Verdict(wanted, False, f"only {len(played.alarms)} alarms were raised")


@_check.register
def _blank(expectation: file.Blank, played: Played) -> Verdict:
    names = ("wiped", "blank", "armed")
    ends = [event.what for event in played.trace if event.who == "firmware" and event.what in names]
    return Verdict("wiped and blank at the end", ends[-2:] == ["wiped", "blank"], " and ".join(ends[-2:]))


@_check.register
def _delivered(expectation: file.Delivered, played: Played) -> Verdict:
    path = f" by {expectation.path}" if expectation.path else ""
    wanted = f"alarm {expectation.delivered} delivered{path} within {expectation.within:g} s of the press"
    if expectation.not_before:
        wanted += f", not before {expectation.not_before:g} s"
    alarm = _alarm(played, expectation.delivered)
    if alarm is None:
        return _no_alarm(wanted, played)
    if alarm.relay_us is None:
        return Verdict(wanted, False, "it never reached the relay")
    if alarm.receipt_us is None:
        return Verdict(wanted, False, "its receipt never reached the bracelet")
    took = (alarm.receipt_us - alarm.pressed_us) / 1e6
    held = expectation.not_before <= took <= expectation.within and expectation.path in (None, alarm.relay_path)
    return Verdict(wanted, held, f"after {took:.1f} s by {alarm.relay_path}, the receipt by {alarm.receipt_path}")


def _document(played: Played, which: str) -> Document | None:
    """Return the document of the n-th Alert; or that of the message made last, of all or of those that call back."""
    if which in ("cancel", "last"):
        found = [d for d in played.documents if which == "last" or d.content["flags"]["cancel"]]
        return max(found, key=lambda document: document.content["counter"], default=None)
    alarm = _alarm(played, int(which.split()[1]))
    return next((d for d in played.documents if alarm and d.content["counter"] == alarm.counter), None)


@_check.register
def _place(expectation: file.Place, played: Played) -> Verdict:
    wanted = f"{expectation.place}: {expectation.known} known"
    if expectation.known == "position":
        wanted += f" within {expectation.within_m:g} m"
    if expectation.age_s is not None:
        wanted += f", at most {expectation.age_s} s old"
    if expectation.older_s is not None:
        wanted += f", at least {expectation.older_s} s old"
    document = _document(played, expectation.place)
    if document is None:
        return Verdict(wanted, False, "no such message reached the subscriber")
    position, cell = document.content["position"], document.content["cell"]
    if position is None:
        known = "nothing" if cell is None else "cell"
        return Verdict(wanted, known == expectation.known, f"{known} known")
    age = position["age_s"]
    if document.content["sent_unix"] is None:
        return Verdict(wanted, False, "a position without a time")
    true = played.where(document.content["sent_unix"] - age)
    if true is None:
        return Verdict(wanted, False, "a position, but nobody was anywhere")
    off = metres(true.lat_e7 / 1e7, true.lon_e7 / 1e7, position["lat_e7"] / 1e7, position["lon_e7"] / 1e7)
    held = expectation.known == "position" and off <= expectation.within_m
    held = held and (expectation.age_s is None or age <= expectation.age_s)
    held = held and (expectation.older_s is None or age >= expectation.older_s)
    return Verdict(wanted, held, f"{off:.0f} m from where the person was then, {age} s old when sent")


def _inside(played: Played, window: file._Window, us: int) -> bool:
    return window.since <= played.seconds(us) <= window.until


def _span(window: file._Window) -> str:
    since = f" from {window.since:g} s" if window.since else ""
    return since + (f" until {window.until:g} s" if window.until < file.MAX_SECONDS else "")


@_check.register
def _felt(expectation: file.Felt, played: Played) -> Verdict:
    felt = [f.name for f in played.felt if _inside(played, expectation, f.at_us)]
    wanted = f"felt{_span(expectation)}: {', '.join(expectation.felt) or 'nothing'}"
    return Verdict(wanted, felt == expectation.felt, ", ".join(felt) or "nothing")


@_check.register
def _nothing(expectation: file.Nothing, played: Played) -> Verdict:
    signs = {
        "alarm": [("firmware", "raised"), ("firmware", "update")],
        "sms": [("sms centre", "accepted")],
        "connection": [("network", "connected")],
    }[expectation.nothing]
    times = [
        played.seconds(event.t_us)
        for event in played.trace
        if (event.who, event.what) in signs
        and event.detail.get("sender", "modem") == "modem"
        and _inside(played, expectation, event.t_us)
    ]
    wanted = f"no {expectation.nothing}{_span(expectation)}"
    return Verdict(wanted, not times, f"{len(times)}, first at {times[0]:.1f} s" if times else "none")


@_check.register
def _messages(expectation: file.Messages, played: Played) -> Verdict:
    came = [d.content["msg_type"].lower() for d in played.documents if _inside(played, expectation, d.at_us)]
    wanted = f"subscriber got{_span(expectation)}: {', '.join(expectation.messages) or 'nothing'}"
    return Verdict(wanted, came == expectation.messages, ", ".join(came) or "nothing")


@_check.register
def _updates(expectation: file.Updates, played: Played) -> Verdict:
    most = f" to {expectation.at_most}" if expectation.at_most < 65535 else " or more"
    wanted = f"{expectation.at_least}{most} Updates of alarm {expectation.updates}"
    alarm = _alarm(played, expectation.updates)
    if alarm is None:
        return _no_alarm(wanted, played)
    count = sum(
        d.content["alarm"].endswith(f"-{alarm.counter}") and d.content["msg_type"] == "Update" for d in played.documents
    )
    return Verdict(wanted, expectation.at_least <= count <= expectation.at_most, str(count))


@_check.register
def _told(expectation: file.Told, played: Played) -> Verdict:
    wanted = f"alarm {expectation.time} says when it was raised"
    wanted += f", within {expectation.within_s} s" if expectation.known else ": unknown"
    wanted += f", quality {expectation.quality}" if expectation.quality else ""
    alarm = _alarm(played, expectation.time)
    document = _document(played, f"alarm {expectation.time}")
    if alarm is None or document is None:
        return Verdict(wanted, False, "no such alarm reached the subscriber")
    sent, quality = document.content["sent_unix"], document.content["time_quality"]
    held = expectation.quality in (None, quality)
    if sent is None:
        return Verdict(wanted, held and not expectation.known, f"unknown, quality {quality}")
    off = sent - (played.unix_time + alarm.raised_us // 1_000_000 - BEGIN_S)
    return Verdict(
        wanted, held and expectation.known and abs(off) <= expectation.within_s, f"{off:+d} s, quality {quality}"
    )


@_check.register
def _says(expectation: file.Says, played: Played) -> Verdict:
    wanted = {name: value for name in ("cause", "status", "strap", "flags") if (value := getattr(expectation, name))}
    if expectation.flags is not None:
        wanted["flags"] = sorted(expectation.flags)
    document = _document(played, expectation.says)
    words = f"{expectation.says} says {wanted}"
    if document is None:
        return Verdict(words, False, "no such message reached the subscriber")
    content = document.content
    said = {
        "cause": content["cause"],
        "status": content["status"],
        "strap": content["flags"]["strap"],
        "flags": sorted(name for name, value in content["flags"].items() if value is True),
    }
    return Verdict(words, all(said[name] == value for name, value in wanted.items()), str(said))


@_check.register
def _alarms(expectation: file.Alarms, played: Played) -> Verdict:
    count = len(played.alarms)
    return Verdict(f"{expectation.alarms} alarms raised", count == expectation.alarms, str(count))


@_check.register
def _refusals(expectation: file.RefusedByRelay, played: Played) -> Verdict:
    count = sum(arrival.item.status == Status.REFUSED for arrival in played.arrivals)
    return Verdict(f"{expectation.refused} refused by the relay", count == expectation.refused, str(count))


@_check.register
def _boots(expectation: file.Boots, played: Played) -> Verdict:
    return Verdict(f"started {expectation.boots} times", played.boots == expectation.boots, str(played.boots))


@_check.register
def _in_trace(expectation: file.InTrace, played: Played) -> Verdict:
    details = [f"{key}={value}" for key, value in expectation.trace.items() if key not in ("who", "event")]
    words = " ".join(map(str, (expectation.trace.get("who", ""), expectation.trace.get("event", ""), *details)))
    times = [played.seconds(event.t_us) for event in _matching(expectation, played)]
    least, most = min(expectation.at_least, expectation.at_most), expectation.at_most
    often = f"at least {least}" if most == 1_000_000 else f"{least}" if least == most else f"{least} to {most}"
    found = f"{len(times)}, first at {times[0]:.1f} s" if times else "never"
    return Verdict(f"{words}: {often} times{_span(expectation)}", least <= len(times) <= most, found)


def _matching(expectation: file.InTrace, played: Played) -> Iterator[TraceEvent]:
    wanted = dict(expectation.trace)
    who, what = wanted.pop("who", None), wanted.pop("event", None)
    for event in played.trace:
        named = who in (None, event.who) and what in (None, event.what)
        if named and event.matches(None, None, wanted) and _inside(played, expectation, event.t_us):
            yield event


def _details(event: TraceEvent) -> str:
    return " ".join(f"{key}={value}" for key, value in event.detail.items())
