"""Tell a played scenario in words: what happened to the person, what the bracelet did, what relay and subscriber saw.

There is one line for an event, with its time in the scenario. No position is ever printed. The full trace has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hwsim.scenario.actions import ACTIONS
from hwsim.scenario.play import Played
from hwsim.world.trace import TraceEvent

Wording = str | Callable[[dict[str, Any]], str | None]

FEELS = {
    "ticks": "ticks",
    "raised": "one long pulse: raised",
    "updated": "one middle pulse: told again",
    "cancelled": "long, short, long: called back",
    "heard": "three short pulses: the relay has it",
    "drill_armed": "two ticks: the next hold is a drill",
    "drill": "two middle pulses: the drill is raised",
    "may_open": "long, short: it may be opened",
    "worn": "short, long: the strap is guarded",
    "check_in": "short, short, long: the check-in timer runs",
    "check_in_off": "long, short, short: it is stopped",
    "reminder": "a slow swell: check in",
    "fault": "six quick pulses: fault",
    "accepted": "four quick pulses that rise, then a long one: a person has accepted it",
    "closed": "three pulses that fade: it is over",
    "broken off": "a pulse that was broken off",
}
MODEM = {
    "ready": "the modem is set up",
    "lost": "the modem does not answer",
    "restarted": "the modem has restarted",
    "off": "the modem is switched off",
}
PATHS = {"net": "Wi-Fi", "ppp": "data over the mobile network", "mqtt": "broker", "sms": "mobile network"}
STRAP = {
    "worn": "the strap is guarded",
    "may_open": "the strap may be opened for a minute",
    "removed": "the strap was taken off",
    "cut": "the strap was cut",
}
CHECK_IN = {"start": "runs anew", "stop": "stopped", "remind": "reminds", "missed": "MISSED"}


@dataclass(frozen=True)
class Line:
    seconds: float
    who: str  # person, wrist, bracelet, world, relay, subscriber
    text: str


def _link(d: dict[str, Any]) -> str:
    return f"{PATHS.get(d['path'], d['path'])}: {'connected' if d['up'] else 'lost'}"


def _raised(d: dict[str, Any]) -> str:
    name = "DRILL" if d["by"] == "drill" else f"ALARM ({d['by']})" if d["by"] in ("strap", "check_in") else "ALARM"
    return f"{name} sealed and stored as message {d['counter']}"


def _item(name: str) -> Wording:
    return lambda d: f"{name}: message {d['counter']} by {d['path']}"


WORDS: dict[tuple[str, str], tuple[str, Wording]] = {
    ("button", "pressed"): ("person", "button down"),
    ("button", "released"): ("person", "button up"),
    ("firmware", "boot"): ("bracelet", lambda d: "in safe mode" if d.get("mode") == "safe" else None),
    ("firmware", "missing"): ("bracelet", lambda d: f"does without its part {d['part']}: {d['reason']}"),
    ("firmware", "battery"): ("bracelet", "the battery is about to end"),
    ("firmware", "armed"): ("bracelet", "armed"),
    ("firmware", "raised"): ("bracelet", _raised),
    ("firmware", "update"): ("bracelet", lambda d: f"Update sealed as message {d['counter']}"),
    ("firmware", "strap"): ("bracelet", lambda d: STRAP[d["state"]]),
    ("firmware", "check_in"): ("bracelet", lambda d: f"check-in timer: {CHECK_IN[d['state']]}"),
    ("strap", "closed"): ("person", "strap fastened"),
    ("strap", "open"): ("person", "strap open"),
    ("firmware", "cancelled"): ("bracelet", "that one calls it back"),
    ("firmware", "published"): ("bracelet", lambda d: f"sends message {d['counter']} by {d['path']}"),
    ("firmware", "sms"): ("bracelet", lambda d: None if d["ok"] else f"SMS of message {d['counter']} was not taken"),
    ("firmware", "receipt"): ("bracelet", lambda d: f"has the receipt of message {d['counter']} by {d['path']}"),
    ("firmware", "accept"): ("bracelet", lambda d: f"is told by {d['path']} that alarm {d['counter']} is accepted"),
    ("firmware", "close"): ("bracelet", lambda d: f"is told by {d['path']} that alarm {d['counter']} is closed"),
    ("firmware", "configure"): ("bracelet", lambda d: "changes its settings" if d["news"] else "has newer settings"),
    ("firmware", "revoke"): ("bracelet", "is told to wipe itself"),
    ("firmware", "wiped"): ("bracelet", "is wiped"),
    ("firmware", "blank"): ("bracelet", "is blank, and waits for an offer"),
    ("firmware", "dropped"): ("bracelet", lambda d: f"gives message {d['counter']} up, to make room"),
    ("firmware", "link"): ("bracelet", _link),
    ("firmware", "refused"): ("bracelet", lambda d: f"refuses {d['what']}: {d['reason']}"),
    ("firmware", "modem"): ("bracelet", lambda d: MODEM[next(iter(d))]),
    ("firmware", "sim"): ("bracelet", lambda d: f"the SIM is {d['state']}"),
    ("firmware", "gnss"): ("bracelet", lambda d: "first fix" if "fix" in d else "the receiver is silent"),
    ("firmware", "clock"): ("bracelet", lambda d: f"knows the time, source: {d['quality']}"),
    ("firmware", "restarted"): ("bracelet", lambda d: f"task {d['task']} failed: {d['reason']}"),
    ("firmware", "crashed"): ("bracelet", lambda d: f"crashed: {d['reason']}"),
    ("bracelet", "boot"): ("bracelet", lambda d: f"starts, cause: {d['cause']}"),
    ("bracelet", "watchdog"): ("bracelet", "the watchdog resets it"),
    ("bracelet", "power cut"): ("bracelet", "without supply"),
    ("bracelet", "stuck"): ("bracelet", "the processor hangs"),
    ("gnss", "fix lost"): ("world", "no satellites any more"),
    ("gnss", "fix"): ("world", "the receiver has a fix"),
    ("sms centre", "lost"): ("world", lambda d: f"an SMS to the {_to(d)} is lost"),
    ("sms centre", "accepted"): ("world", lambda d: f"SMS centre takes a message for the {_to(d)}"),
    ("sms centre", "delivered"): ("world", lambda d: f"SMS centre delivers to the {_to(d)}"),
    ("sms centre", "waits"): ("world", lambda d: f"an SMS waits for the {_to(d)}"),
    ("relay", "new"): ("relay", _item("new")),
    ("relay", "lost"): ("relay", "hears from the broker that the connection has ended"),
    ("relay", "duplicate"): ("relay", _item("known already")),
    ("relay", "command"): ("relay", lambda d: f"tells the bracelet to {d['kind']}, by {d['by']}"),
    ("relay", "refused"): ("relay", lambda d: f"refuses a message by {d['path']}: {d['reason']}"),
}


def _to(detail: dict[str, Any]) -> str:
    return "relay" if detail["recipient"] == "relay" else "bracelet"


def lines(played: Played) -> list[Line]:
    """Return the story of what happened, in the order of time."""
    told = [*_from_trace(played), *_from_wrist(played), *_from_subscriber(played)]
    return sorted(told, key=lambda line: line.seconds)


def _from_trace(played: Played) -> Iterator[Line]:
    for event in played.trace:
        seconds = max(0.0, played.seconds(event.t_us))
        if event.who == "scene":
            yield Line(seconds, _role(event), _scene(event))
            continue
        who, wording = WORDS.get((event.who, event.what), ("", ""))
        text = wording(dict(event.detail)) if callable(wording) else wording
        if text:
            yield Line(seconds, who, text)


def _role(event: TraceEvent) -> str:
    return "person" if ACTIONS[event.what].family == "wearer" else "world"


def _scene(event: TraceEvent) -> str:
    values = ", ".join(f"{key} = {value}" for key, value in event.detail.items())
    return f"* {event.what}{f' ({values})' if values else ''}"


def _from_wrist(played: Played) -> Iterator[Line]:
    for felt in played.felt:
        yield Line(played.seconds(felt.at_us), "wrist", FEELS[felt.name])


def _from_subscriber(played: Played) -> Iterator[Line]:
    for document in played.documents:
        content = document.content
        place = "with the cell" if content["cell"] else "without a place"
        if content["position"]:
            place = f"with a position {content['position']['age_s']} s old"
        delay = "" if content["delay_s"] is None else f", {content['delay_s']} s late" if content["delay_s"] else ""
        text = f"{content['msg_type']} {content['counter']} {place}{delay}"
        yield Line(played.seconds(document.at_us), "subscriber", text)


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, or with hours from an hour on."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02}:{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{text}" if hours else text
