# sans-I/O
"""The list of alarms for people, above all for an operator who comes in late: what is open, since when, who has it.

The functions are pure: they take what is known and the time, and return entries and lines. This list, on the relay's
side, tells a cancel from a cancel under duress; nothing on the bracelet does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from relay import words
from relay.cases.opening import Phase
from relay.cases.reading import DAY_MS, Known
from relay.rebroadcast import iso, name_of_cause
from relay.store.schema import COUNTERS
from relay.verify.payload import known as known_battery

WIDTH = 80
_INDENT = 11


class State(StrEnum):
    """The state of an alarm, for the people who have to act on it."""

    UNANSWERED = "unanswered"
    ACCEPTED = "accepted"
    CANCELLED = "cancelled"  # by the wearer, and not under duress; nobody has closed it
    OVER = "over"  # a drill that nobody closed within a day
    CLOSED = "closed"


OPEN = (State.UNANSWERED, State.ACCEPTED)
_COLOURS = {State.UNANSWERED: "red", State.ACCEPTED: "yellow", State.CANCELLED: "green"}
LATE_COLOUR, DRILL_COLOUR = "bright_magenta", "blue"
_STATE_WORDS = {
    State.UNANSWERED: "NOBODY HAS ANSWERED",
    State.CANCELLED: "cancelled by the wearer",
    State.OVER: "over: a drill that nobody closed",
}


def state(known: Known, now_ms: int) -> State:
    """Return an alarm's state. It is open until somebody closes it, or the wearer cancels it without duress; a drill
    also ends a day after its last message."""
    case = known.case
    if case.closed_ms is not None:
        return State.CLOSED
    if case.phase is Phase.CANCELLED:
        return State.CANCELLED
    if case.drill and case.last_ms < now_ms - DAY_MS:
        return State.OVER
    return State.UNANSWERED if case.accepted_ms is None else State.ACCEPTED


def in_order(alarms: Iterable[Known], now_ms: int, *, only_open: bool = False) -> list[Known]:
    """Sort alarms, open ones first: alarms before drills, unanswered before accepted, the oldest first. Those that are
    over follow, the newest first."""

    def rank(known: Known) -> tuple[bool, bool, bool, int]:
        found = state(known, now_ms)
        if found in OPEN:
            return False, known.case.drill, found is State.ACCEPTED, known.case.opened_ms
        return True, False, False, -known.case.last_ms

    return sorted((k for k in alarms if not only_open or state(k, now_ms) in OPEN), key=rank)


def is_late(known: Known) -> bool:
    """Tell whether the Alert of this alarm was held up on its way."""
    return known.delay_s is not None and known.delay_s >= words.LATE_S


def colour(known: Known, now_ms: int) -> str | None:
    """Return the colour of an alarm's first line. Drills never have an alarm's colour."""
    found = state(known, now_ms)
    if known.case.drill:
        return DRILL_COLOUR if found in OPEN else None
    return LATE_COLOUR if found is State.UNANSWERED and is_late(known) else _COLOURS.get(found)


def lines(known: Known, now_ms: int) -> list[str]:
    """Describe an alarm for people; the first line is its headline."""
    case, found = known.case, state(known, now_ms)
    head = f"{_kind(known):<6} {name(known)}  {known.code_name}  {_STATE_WORDS.get(found, found.value)}"
    rows = [("since", _since(known, now_ms)), ("last word", _last_word(known, now_ms))]
    if case.duress:
        off = "called off UNDER DURESS" if case.cancel_seq is not None else "UNDER DURESS"
        goes_on = ": it goes on" if case.cancel_seq is not None else ""
        todo = f"{goes_on}; treat it as an alarm, and" if found in OPEN else ";"
        rows.append(("duress", f"{off}{todo} let nobody near the wearer know"))
    rows.append(("place", _place(known, now_ms)))
    for word, at_ms, by in (
        ("accepted", case.accepted_ms, known.accepted_by),
        ("closed", case.closed_ms, known.closed_by),
    ):
        if at_ms is not None:
            rows.append((word, f"by {by or 'an operator'}, {_when(at_ms, now_ms)}"))
    if known.bracelet != "active":
        rows.append(("bracelet", f"{known.bracelet}: it can't be told anything"))
    wrapped = [line for row in rows for line in _wrapped(*row)]
    return [*textwrap.wrap(head, WIDTH, subsequent_indent=" " * 7), *wrapped]


def plain(known: Known, now_ms: int) -> dict[str, Any]:
    """Describe an alarm for scripts."""
    case, last, said, place, heard = known.case, known.last, known.last.alarm, known.place, known.heard_in
    found = state(known, now_ms)
    return {
        "alarm": name(known),
        "kid": f"{case.kid:08x}",
        "code_name": known.code_name,
        "bracelet": known.bracelet,
        "state": found.value,
        "open": found in OPEN,
        "drill": case.drill,
        "cause": name_of_cause(case.cause),
        "cancelled": case.phase is Phase.CANCELLED,
        "duress": case.duress,
        "called_off_under_duress": case.duress and case.cancel_seq is not None,
        "raised": words.utc(case.raised * 1000) if case.raised else None,
        "received": _iso(case.opened_ms),
        "delay_s": known.delay_s,
        "late": is_late(known),
        "age_s": (now_ms - (case.raised * 1000 if case.raised else case.opened_ms)) // 1000,
        "messages": case.messages,
        "last_word": {
            "received": _iso(last.received_ms),
            "age_s": (now_ms - last.received_ms) // 1000,
            "seq": last.seq,
            "path": last.path,
            "after_cancel": _after_cancel(known),
            "battery": None if said is None else known_battery(said.battery),
            "last": said is not None and said.last,
            "readable": said is not None,
        },
        "place": None
        if place is None
        else {
            "lat_e7": place.fix.lat_e7,
            "lon_e7": place.fix.lon_e7,
            "accuracy_m": place.fix.accuracy_m,
            "at": words.utc(place.at_ms),
            "age_s": (now_ms - place.at_ms) // 1000,
            "doubtful": place.doubtful,
        },
        "cell": None if heard is None else heard.cell._asdict() | {"at": words.utc(heard.at_ms)},
        "accepted": _said(case.accepted_ms, known.accepted_by),
        "closed": _said(case.closed_ms, known.closed_by),
    }


def name(known: Known) -> str:
    """Name an alarm as the commands take it."""
    return f"{known.case.kid:08x}-{known.case.id % COUNTERS}"


def _kind(known: Known) -> str:
    if not known.case.drill:
        return "ALARM"
    return "TRIAL" if name_of_cause(known.case.cause) == "trial" else "DRILL"


def _since(known: Known, now_ms: int) -> str:
    case = known.case
    cause = f"cause: {name_of_cause(case.cause)}"
    if not case.raised:
        return f"first heard of {_when(case.opened_ms, now_ms)}; when it was raised is not known; {cause}"
    late = f"; its Alert came LATE, after {words.span(known.delay_s or 0)}" if is_late(known) else ""
    ahead = words.sent_ahead(case.raised - case.opened_ms // 1000)
    if ahead:
        return (
            f"first heard of {_when(case.opened_ms, now_ms)}; {ahead}: raised {words.utc(case.raised * 1000)}; {cause}"
        )
    return f"raised {_when(case.raised * 1000, now_ms)}; {cause}{late}"


def _last_word(known: Known, now_ms: int) -> str:
    last, case = known.last, known.case
    if last.seq == case.cancel_seq:
        what = "the cancel"
    elif _after_cancel(known):
        what = f"Update {last.seq}, after the cancel"
    else:
        what = f"Update {last.seq}" if last.seq else "the Alert"
    if last.alarm is None:
        state_of = "its content is damaged here and can't be read"
    else:
        state_of = words.battery(known_battery(last.alarm.battery))
        if last.alarm.strap == "open":
            state_of += ", strap open"
        if last.alarm.last:
            state_of += ", the battery ends: it may be the LAST one"
    return f"{_when(last.received_ms, now_ms)}: {what} by {last.path}, {state_of}"


def _after_cancel(known: Known) -> bool:
    cancel = known.case.cancel_seq
    return cancel is not None and known.last.seq > cancel


def _place(known: Known, now_ms: int) -> str:
    said = []
    if known.place is not None:
        fix, doubtful = known.place.fix, "; DOUBTFUL: it jumped, perhaps it is spoofed" if known.place.doubtful else ""
        where = f"{words.degrees(fix.lat_e7)}, {words.degrees(fix.lon_e7)} within {fix.accuracy_m} m"
        said.append(f"{where}, as of {_when(known.place.at_ms, now_ms)}{doubtful}")
    if known.heard_in is not None:
        said.append(f"{words.cell(known.heard_in.cell._asdict())}, as of {_when(known.heard_in.at_ms, now_ms)}")
    return "; ".join(said) or "not known"


def _when(ms: int, now_ms: int) -> str:
    return f"{words.utc(ms)}, {words.ago((now_ms - ms) // 1000)}"


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {title:<{_INDENT}}", subsequent_indent=" " * (_INDENT + 2))


def _said(at_ms: int | None, by: str | None) -> dict[str, Any] | None:
    return None if at_ms is None else {"at": _iso(at_ms), "by": by}


def _iso(ms: int) -> str:
    try:
        return iso(ms)
    except (ValueError, OverflowError, OSError):
        return words.utc(ms)  # which says that it is damaged
