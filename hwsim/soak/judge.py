"""Rules that must hold in every life, whatever happens in it. Each rule looks at the trace, the relay and the flash
after the life, never into the firmware.

A broken rule gives a `Failure` with the rule's name. A shrunk life must break the same rule.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hwsim import bundle
from hwsim.soak.facts import BOUNCE_US, Facts, Pulse, Span
from hwsim.world.gnss import Track
from relay.verify import Refused, parse

HOLD_US = 3_000_000  # firmware/tocsin/settings.py: hold_ms
RIPE_US = 2_900_000  # no shorter hold raises
SURE_US = 3_200_000  # every hold of this length raises: with the button's debouncing
SOON_US = 1_500_000  # from ripe to raised: a seal and a write to flash
AT_ONCE_US = 1_000_000  # from raised to MQTT, while that is connected
FIRST_SMS_US = 30_000_000  # from raised to the first SMS at the latest, while there is a way for one
FELT_US = 10_000_000  # until a pattern is felt: four may wait, none lasts more than two seconds
NAPS, NAPS_S = 6, 600  # a bracelet with more short sleeps in so many seconds can't come to rest
SLEEP_DRIFT = 0.0105  # the clock of a sleeping chip is 1 % fast (hwsim/world/rtc.py)
SAVED_S = 3605  # firmware/flash.md: the time in the journal is at most an hour old
PROGRAM = (bundle.FIRST, *bundle.BESIDE)  # of a stock image
FILES = ("answer.json", "board.json", "ca.der", "identity", "identity.2", "settings.json", "settings.json.2")
E7_PER_METRE = 1e7 / 111_319.49  # of latitude: WGS 84's equatorial circumference / 360


@dataclass(frozen=True)
class Failure:
    rule: str
    why: str
    at_us: int | None = None  # the first time
    times: int = 1

    def __str__(self) -> str:
        at = "" if self.at_us is None else f" at {self.at_us / 1e6:.3f} s"
        often = "" if self.times == 1 else f" ({self.times} times)"
        return f"{self.rule}{at}: {self.why}{often}"


@dataclass(frozen=True)
class Evidence:
    """Everything a life leaves behind."""

    facts: Facts
    world_start: int  # s since 1970 at the world's time 0
    track: Track
    documents: Sequence[Mapping[str, Any]]  # the rebroadcast ones, one of each message
    copies: Mapping[tuple[str, int], int]  # (key id, counter): how often a subscriber got it
    stored: Sequence[int]  # counters in the relay's store, each as often as it is there
    refused: Mapping[str, int]  # by the relay, by reason
    alarm_octets: Sequence[bytes]  # every transmission of an alarm message, on any path
    heartbeat_octets: Sequence[bytes]
    files: Sequence[str]  # names on flash
    kept_on_flash: Sequence[tuple[int, int]]  # (counter, kind) of the undelivered messages in the journal
    trace_text: str  # without the times: their digits may match those of a secret
    secrets: Sequence[str]  # words that the trace must not hold
    jump_m: float  # the largest offset that a spoofer gave to the positions
    gnss_offset_s: float  # and to the time
    clock_offset_s: float  # the largest that the network gave to the time
    texted: Mapping[int, int]  # by counter: when the mobile network first took an alarm's message as SMS
    modem_starts: bool  # False: at times the modem's start ended the chip's, so the firmware had to leave it out
    hangs: int  # how often a hang was injected

    def utc(self, at_us: int) -> float:
        return self.world_start + at_us / 1e6


class Verdict:
    """The count of all checks, and those that failed; of equal failures the first stands for all."""

    def __init__(self) -> None:
        self.checks: Counter[str] = Counter()
        self._failures: dict[tuple[str, str], Failure] = {}

    @property
    def failures(self) -> list[Failure]:
        return list(self._failures.values())

    def check(self, rule: str, good: bool, why: Callable[[], str], at_us: int | None = None) -> None:
        self.checks[rule] += 1
        if not good:
            failure = Failure(rule, why(), at_us)
            first = self._failures.setdefault((rule, failure.why), failure)
            if first is not failure:
                self._failures[rule, failure.why] = replace(first, times=first.times + 1)


def judge(evidence: Evidence) -> Verdict:
    verdict = Verdict()
    for rule in RULES:
        rule(evidence, verdict.check)
    return verdict


Check = Callable[..., None]


def withdrawn(facts: Facts) -> set[int]:
    """Return the Alerts that were called back and then gave way to newer messages. The delivery may drop them: the
    Cancel says all that is needed, also that it was forced."""
    gone = set()
    for counter, at in facts.dropped.items():
        for cancel, cancelled_at in facts.cancels.items():
            alarm = max((alert for alert in facts.raised if alert < cancel), default=None)
            if alarm == counter and cancelled_at <= at:
                gone.add(counter)
    return gone


def lost(evidence: Evidence) -> list[int]:
    """Return the counters of alarms and cancels that the wearer felt and the relay does not have."""
    facts = evidence.facts
    promised = {**facts.raised, **facts.cancels}
    return sorted(set(promised) - set(evidence.stored) - withdrawn(facts))


def _delivered(evidence: Evidence, check: Check) -> None:
    gone = set(lost(evidence))
    for counter, at in {**evidence.facts.raised, **evidence.facts.cancels}.items():
        check("nothing is lost", counter not in gone, lambda n=counter: f"the relay never got message {n}", at)
    for counter, kind in evidence.kept_on_flash:
        why = f"message {counter} still waits although everything works"
        check("nothing waits for ever", kind == 1, lambda text=why: text)


def _once(evidence: Evidence, check: Check) -> None:
    for (_, counter), times in evidence.copies.items():
        check("nothing comes twice", times == 1, lambda n=counter, t=times: f"message {n} was rebroadcast {t} times")
    rows = Counter(evidence.stored)
    for counter, times in rows.items():
        check("stored once", times == 1, lambda n=counter, t=times: f"message {n} is stored {t} times")
    published = {d["counter"] for d in evidence.documents}
    check("stored and rebroadcast", published == set(rows), lambda: f"only in one: {sorted(published ^ set(rows))}")


def _counters(evidence: Evidence, check: Check) -> None:
    for at, counter in evidence.facts.reused:
        check("no counter twice", False, lambda n=counter: f"counter {n} was sealed again", at)
    for chain, sent in (("alarm", evidence.alarm_octets), ("heartbeat", evidence.heartbeat_octets)):
        seen: dict[int, set[bytes]] = defaultdict(set)
        for octets in sent:
            try:
                seen[parse(octets).counter].add(octets)
            except Refused as error:
                check("well formed", False, lambda e=error: f"not a message: {e.reason}")
        for counter, forms in seen.items():
            why = f"{len(forms)} different {chain} messages with counter {counter}"
            check("no counter twice", len(forms) == 1, lambda text=why: text)
    for reason, times in evidence.refused.items():
        check("the relay refuses nothing", times == 0, lambda r=reason, t=times: f"refused {t} times: {r}")


def _belongs(evidence: Evidence, check: Check) -> None:
    """Check the kind, flags and sequence number of each message. A message belongs to the newest alarm at the time it
    was sealed. After a drill it may belong to the alarm that was called back before the drill: that alarm's quiet
    Updates go on, and then no more of the drill's follow."""
    facts = evidence.facts
    firsts = {document["counter"]: document["counter"] - document["seq"] for document in evidence.documents}
    for document in evidence.documents:
        counter, first = document["counter"], document["counter"] - document["seq"]
        alert = document["seq"] == 0
        if counter in facts.raised or counter in facts.updates:
            at = facts.sealed_at(counter)
            back = counter in facts.cancels
            forced = back and document["flags"]["duress"]
            kind = "Alert" if counter in facts.raised else "Cancel" if back and not forced else "Update"
            if back:
                why = f"message {counter}, duress: {forced}"
                check("duress as it was pressed", forced >= facts.forced(counter), lambda text=why: text, at)
            drill = document["status"] == "Exercise"
            if counter in facts.raised:
                why = f"alarm {counter} by {facts.by[counter]}, drill: {drill}"
                check("a drill is a drill", drill == (facts.by[counter] == "drill"), lambda text=why: text, at)
            check("kind as it was felt", document["msg_type"] == kind, lambda d=document: f"{d['msg_type']}", at)
            newest = max((n for n in facts.raised if n <= counter), default=None)
            if newest is not None and not _unspoken(facts, newest, counter):
                why = f"message {counter} says that its alarm is {first}, and that was {newest}"
                good = first == newest or (first == _behind(facts, newest) and _is_over(firsts, newest, counter))
                check("sequence", good, lambda text=why: text, at)
        elif alert:  # sealed and stored, and the power went before the firmware said so
            cut_off = {"strap": facts.strap_open, "check-in": facts.check_in}.get(document["cause"])
            unsaid = _interrupted(facts) if cut_off is None else _ended_in(facts, cut_off)
            check("nobody raised it", unsaid, lambda n=counter: f"alarm {n}")


def _behind(facts: Facts, drill: int) -> int | None:
    """Return the alarm that was called back before this drill; None when there is none, or this is no drill."""
    if facts.by[drill] != "drill":
        return None
    alarm = max((n for n in facts.raised if n < drill and facts.by[n] != "drill"), default=None)
    return alarm if alarm is not None and any(alarm < cancel < drill for cancel in facts.cancels) else None


def _is_over(firsts: dict[int, int], drill: int, counter: int) -> bool:
    """Tell whether no message of the drill follows this one."""
    return all(first != drill for later, first in firsts.items() if later > counter)


def _unspoken(facts: Facts, after: int, before: int) -> bool:
    """Tell whether an alarm may have been sealed between two counters without a word, as power was lost just then."""
    return before - after > 1 and _interrupted(facts)


def _ended_in(facts: Facts, spans: Iterable[Span]) -> bool:
    """Tell whether the firmware's work ended in one of these spans, or just after it."""
    ends = [span.end for span in facts.armed if span.end is not None]
    return any(s.start <= end and (s.end is None or end <= s.end + SOON_US) for s in spans for end in ends)


def _interrupted(facts: Facts) -> bool:
    """Tell whether the firmware's work ended just when a hold had become an alarm, counted from the start of the hold
    or of the work."""
    return any(
        RIPE_US <= span.end - start <= SURE_US + SOON_US
        for hold in facts.holds
        for span in facts.armed
        if span.end is not None
        for start in (hold.start, max(hold.start, span.start))
    )


def _presses(evidence: Evidence, check: Check) -> None:
    facts = evidence.facts
    answers = sorted([*facts.raised.values(), *facts.updates.values()])
    for hold in facts.holds:
        for armed in facts.armed:
            start = max(hold.start, armed.start)
            until = start + SURE_US
            if hold.covers(start, until) and armed.covers(start, until + SOON_US):
                # A press that woke it counts from before it was armed. One during which a start died counts at once.
                answered = any(
                    start <= at <= until + SOON_US and (at >= hold.start + RIPE_US or _carried(facts, at))
                    for at in answers
                )
                check("a hold raises", answered, lambda: "held, and nothing was sealed", start)
    for counter, at in facts.raised.items():
        by = facts.by[counter]
        spans = {"strap": facts.strap_open, "check_in": facts.check_in}.get(by)
        if spans is None:
            held = _ripe(facts.holds, at) or _carried(facts, at)
            check("nobody raised it", held, lambda n=counter: f"alarm {n} without a hold", at)
        else:
            true = any(span.start < at and (span.end is None or at <= span.end + SOON_US) for span in spans)
            why = f"alarm {counter} by {by}, and nothing of the kind had happened"
            check("nobody raised it", true, lambda text=why: text, at)


def _ripe(holds: Iterable[Span], at: int) -> bool:
    for hold in holds:
        end = at if hold.end is None else hold.end
        if end - hold.start >= RIPE_US and hold.start + RIPE_US <= at <= max(end, hold.start + SURE_US) + SOON_US:
            return True
    return False


def _carried(facts: Facts, at: int) -> bool:
    """Tell whether the button was down when the chip hung or a part's start ended it, or went down before the next
    start. Nobody knows then for how long, and the button counts as held."""
    for died in (*facts.hung_or_died, *facts.stuck):
        armed = min((span.start for span in facts.armed if span.start > died), default=at)
        down = any(hold.start < armed and (hold.end is None or died - BOUNCE_US < hold.end) for hold in facts.holds)
        if down and armed <= at <= armed + SURE_US + SOON_US:
            return True
    return False


def _promptness(evidence: Evidence, check: Check) -> None:
    """Check that an Alert goes out at once when MQTT is up, and as SMS in half a minute unless its receipt comes by
    then. An Alert behind others is not checked: it may have to wait for its turn; nor is one whose modem fails then."""
    facts = evidence.facts
    for counter, at in facts.raised.items():
        alone = all(other in facts.receipts and facts.receipts[other] < at for other in facts.raised if other < counter)
        for path, wait in (("mqtt", AT_ONCE_US), ("sms", FIRST_SMS_US)):
            until = at + wait
            up = any(span.covers(at, until) for span in facts.links.get(path, []))
            # A modem that fails while it has a message is silent as a busy one is: only a time-out tells them apart.
            up = up and (path != "sms" or any(span.covers(at, until) for span in facts.sms_path))
            answered = facts.receipts.get(counter, until) < until
            if alone and up and not answered and any(span.covers(at, until) for span in facts.armed):
                sent = facts.sent.get((counter, path), until + 1) <= until
                why = f"{wait // 1_000_000} s later alarm {counter} had not gone out by {path}, although that was up"
                check(f"{path} in time", sent, lambda text=why: text, at)


def sms_ways(evidence: Evidence) -> dict[int, str]:
    """Sort the Alerts for which an SMS could have left for half a minute from the alarm on: "sms" when one did, else
    "receipt" when that came within the half minute, else "late". The modem tells whether an SMS could have left,
    whatever the bracelet believes: off, starting and asleep count as a way. An Alert behind others is left out: it
    may have to wait for its turn."""
    facts, found = evidence.facts, {}
    for counter, at in facts.raised.items():
        until = at + FIRST_SMS_US
        alone = all(facts.receipts.get(other, at) < at for other in facts.raised if other < counter)
        ways = (facts.sms_path, facts.armed)
        if alone and all(any(span.covers(at, until) for span in spans) for spans in ways):
            texted = evidence.texted.get(counter, until + 1) <= until
            answered = facts.receipts.get(counter, until) < until
            found[counter] = "sms" if texted else "receipt" if answered else "late"
    return found


def _texted(evidence: Evidence, check: Check) -> None:
    """Check that an SMS left, or the receipt came, when an SMS could have left for half a minute from the alarm on."""
    for counter, became in sms_ways(evidence).items() if evidence.modem_starts else ():
        why = f"{FIRST_SMS_US // 1_000_000} s later no SMS of alarm {counter} had left, although one could have"
        check("an SMS in 30 s", became != "late", lambda text=why: text, evidence.facts.raised[counter])


def _wrist(evidence: Evidence, check: Check) -> None:
    """Check that the wrist feels the truth: a long pulse when an alarm was raised, three short ones when a message is
    stored."""
    facts, stored = evidence.facts, set(evidence.stored)
    for pulse in _patterns(facts, 1, 650, 750):
        true = any(_felt_since(facts, pulse) <= at <= pulse.start for at in facts.raised.values())
        check("felt: raised", true, lambda: "the long pulse, and no alarm was raised", pulse.start)
    for pulse in _patterns(facts, 3, 110, 130):
        near = [counter for at, counter in facts.delivered if _felt_since(facts, pulse) <= at <= pulse.start]
        true = any(counter in stored for counter in near)
        check("felt: the relay has it", true, lambda: "the relay's three pulses, and no receipt", pulse.start)
    for pulse in _patterns(facts, 6, 48, 60):
        check("felt: fault", False, lambda: "the pulses that say: it could not be sealed", pulse.start)
    for counter, at in facts.receipts.items():
        check("receipts for what is stored", counter in stored, lambda n=counter: f"receipt for {n}", at)


def _felt_since(facts: Facts, pulse: Pulse) -> int:
    """Return the earliest time of an event that this pulse may tell of. A motor that was left out tells of the last
    event later."""
    late = any(at <= pulse.start <= at + FELT_US for at in facts.felt_again)
    return 0 if late else pulse.start - FELT_US


def _patterns(facts: Facts, count: int, low: int, high: int) -> Iterator[Pulse]:
    """Yield the first of every `count` strong pulses in close order, each `low` to `high` ms long. A single pulse may
    be something else: a tick that lasts longer because a write to flash held up the firmware, or a pulse that a reset
    cut short."""
    pulses = facts.pulses
    cut_short = {span.end for span in facts.armed}
    at = 0
    while at + count <= len(pulses):
        together = pulses[at : at + count]
        close = all(after.start - before.end < 200_000 for before, after in pairwise(together))
        alike = all(low <= p.ms <= high and p.strength >= 95 and p.end not in cut_short for p in together)
        if close and alike:
            yield together[0]
        at += count if close and alike else 1


def _time(evidence: Evidence, check: Check) -> None:
    facts = evidence.facts
    lost_power_s = sum((span.end - span.start) / 1e6 + SAVED_S for span in facts.power_lost if span.end is not None)
    spoofed = abs(evidence.gnss_offset_s)
    offset = abs(evidence.clock_offset_s) + spoofed
    for document in evidence.documents:
        at, quality = facts.sealed_at(document["counter"]), document["time_quality"]
        if at is None:
            continue
        if quality == "unknown":
            check("true time", document["sent_unix"] is None, lambda: "a time of unknown quality", at)
            continue
        told_us = max((told for told in facts.told_time if told <= at), default=0)
        drift = (at - told_us) / 1e6 * SLEEP_DRIFT
        bounds = {
            "gnss": (-2.0 - spoofed, 2.0 + spoofed),
            "network": (-3.0 - offset, 3.0 + offset),
            "saved": (-3.0 - offset - lost_power_s - SAVED_S, 3.0 + offset + drift),
        }
        error = document["sent_unix"] - evidence.utc(at)
        low, high = bounds[quality]
        why = f"{error:+.0f} s, said to be from {quality}"
        check("true time", low <= error <= high, lambda text=why: text, at)


def _place(evidence: Evidence, check: Check) -> None:
    """Check that each position is where the wearer was at its time, to the metres that the receiver can give."""
    for document in evidence.documents:
        at, fix = evidence.facts.sealed_at(document["counter"]), document["position"]
        if at is None or fix is None:
            continue
        if document["flags"]["doubtful"]:
            spoofed = evidence.jump_m + evidence.gnss_offset_s > 0
            check("doubt has a reason", spoofed, lambda: "a position is called doubtful, and nobody spoofed", at)
        slack = math.ceil(fix["age_s"] * SLEEP_DRIFT)  # the bracelet's clock made the fix older than it is
        away = min(_metres(fix, evidence.track, at - (fix["age_s"] + s) * 1_000_000) for s in range(-slack, 3))
        why = f"{away:.0f} m from where the wearer was {fix['age_s']} s before"
        check("true place", away <= 5 + evidence.jump_m, lambda text=why: text, at)


def _metres(fix: Mapping[str, Any], track: Track, at_us: int) -> float:
    point = track.at(max(at_us, 0))
    following = track.at(max(at_us, 0) + 1_000_000)
    north = (fix["lat_e7"] - point.lat_e7) / E7_PER_METRE
    east = (fix["lon_e7"] - point.lon_e7) / E7_PER_METRE * math.cos(math.radians(point.lat_e7 / 1e7))
    step = math.hypot(following.lat_e7 - point.lat_e7, following.lon_e7 - point.lon_e7) / E7_PER_METRE
    return max(0.0, math.hypot(north, east) - step)  # the fix may be of any moment of that second


def _health(evidence: Evidence, check: Check) -> None:
    facts = evidence.facts
    for at, what in facts.never:
        check("nothing breaks", False, lambda text=what: text, at)
    check("nothing breaks", True, str)
    for seen in (facts.stuck, facts.watchdogs):
        why = f"{len(seen)} times, and {evidence.hangs} hangs"
        check("watchdog", len(seen) <= evidence.hangs, lambda text=why: text, seen[0] if seen else None)
    naps = facts.naps
    restless = [naps[i] for i in range(NAPS, len(naps)) if naps[i] - naps[i - NAPS] < NAPS_S * 1_000_000]
    why = f"{len(restless)} times it had fallen asleep for seconds {NAPS} times in {NAPS_S} s before"
    check("it rests", not restless, lambda text=why: text, restless[0] if restless else None)
    for name in evidence.files:
        check("files", name in FILES or f"/{name}" in PROGRAM, lambda n=name: f"an unknown file {n}")


def _silence(evidence: Evidence, check: Check) -> None:
    """Check that the trace holds no secret. The failure's text does not hold the secret either."""
    for number, secret in enumerate(evidence.secrets):
        check("private", secret not in evidence.trace_text, lambda n=number: f"the trace holds secret number {n}")


RULES = (
    _delivered,
    _once,
    _counters,
    _belongs,
    _presses,
    _promptness,
    _texted,
    _wrist,
    _time,
    _place,
    _health,
    _silence,
)
