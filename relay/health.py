# sans-I/O
"""Puts a bracelet's newest heartbeat into words. Silence is never good health: an attacker who has taken a bracelet, or
its network, makes it silent. Pure: the caller says what time it is.
"""

from __future__ import annotations

import textwrap

from relay import words
from relay.registry import Entry
from relay.verify.payload import REGISTRATIONS, UNKNOWN_DBM

SILENT_INTERVALS = 3
WIDTH = 80
GOOD = "good"
_CLOCK_SET_BACK_MS = 60_000  # a clock that was right is set back by less
_INDENT = " " * 10


def silent_since_ms(entry: Entry, now_ms: int) -> int | None:
    """Return the time at which a bracelet was last heard, or was made if never heard, when it has been silent for too
    long; else None."""
    if entry.state not in ("active", "revoking"):
        return None
    last_ms = entry.last_ms if entry.last_ms is not None else entry.completed_ms
    silent = last_ms is not None and now_ms - last_ms > SILENT_INTERVALS * entry.heartbeat_s * 1000
    return last_ms if silent else None


def words_of(entry: Entry, now_ms: int) -> list[str]:
    """List what is not well. The list is `GOOD` alone when all is well, and empty when nothing is known or the bracelet
    is no longer in use."""
    heard, silent_ms = entry.heard, silent_since_ms(entry, now_ms)
    found = []
    if silent_ms is not None:
        never = ", never heard" if entry.last_ms is None else ""
        found.append(f"SILENT since {words.utc(silent_ms)}, for {words.span((now_ms - silent_ms) // 1000)}{never}")
    elif (entry.last_ms or 0) - now_ms > _CLOCK_SET_BACK_MS:
        found.append("perhaps SILENT: heard last at a time that this machine's clock, which is or was wrong, has ahead")
    if heard is None:
        return found
    if heard.lost_ms is not None:
        found.append(f"connection lost {words.utc(heard.lost_ms)}")
    if heard.last:
        found.append("battery ends")
    if heard.pending:
        found.append(f"{heard.pending} unanswered")
    if heard.mode:
        found.append("safe mode")
    if heard.resets and heard.resets > 1:
        found.append(f"{heard.resets} starts")
    if heard.crash:
        found.append(f"crash {heard.crash}")
    return found or ([GOOD] if entry.state in ("active", "revoking") else [])


def lines(entry: Entry, now_ms: int) -> list[str]:
    """Describe a bracelet for people; the first line says which bracelet, the others how it is."""
    since = entry.revoked_ms or entry.completed_ms or entry.offered_ms
    head = f"{entry.kid}  {entry.state:<8}  {entry.code_name}  since {words.utc(since)}"
    rows = textwrap.wrap(head, WIDTH, subsequent_indent=_INDENT)
    health = ", ".join(words_of(entry, now_ms))
    told = "; ".join(part for part in (health, _heard(entry, now_ms)) if part)
    return [*rows, *textwrap.wrap(told, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)]


def _heard(entry: Entry, now_ms: int) -> str:
    heard = entry.heard
    if heard is None and entry.state == "offered":
        return "the bracelet's answer is missing; complete with: relay bracelet add --answer FILE"
    if heard is None:
        return "no heartbeat was ever heard"
    facts = [
        f"heard {words.utc(heard.at_ms)}, {words.ago((now_ms - heard.at_ms) // 1000)}",
        words.battery(heard.battery),
        f"strap {heard.strap}",
    ]
    if heard.registration is not None:
        signal = "" if heard.signal in (None, UNKNOWN_DBM) else f" -{heard.signal} dBm"
        facts.append(f"network {REGISTRATIONS[heard.registration]}{signal}")
    if heard.program is not None:
        facts.append(f"version {heard.program}")
    return ", ".join(facts)
