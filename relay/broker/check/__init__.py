"""Find out what a broker does that the relay relies on, by using it as bracelets, subscribers and the relay do.

`questions` asks one thing after the other over real connections (`client`) and says what came, whether that is good,
and what to do; `report` writes it for people, programs and the README. The check asks on topics of its own, which no
relay subscribes to; the few that it must try among the bracelets' own have the key id PROBE_KID, which is none, so that
a running relay lets them go unread (`relay.ingest.intake`). The check reads no broker's settings: only what a broker
does counts. `crash` starts brokers that are known, and kills them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The quality of an answer."""

    GOOD = "good"
    LESS = "less"  # alarms arrive; something else that README promises is lacking
    LOSES = "loses"  # alarms or answers to them can get lost
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """A question and its answer. `came` is a few words, `advice` a sentence, empty when all is well."""

    key: str
    asked: str
    came: str
    verdict: Verdict
    advice: str = ""


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 0 when all is good, 1 when something loses alarms, 3 when something less is lacking."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.LOSES in verdicts:
        return 1
    return 3 if Verdict.LESS in verdicts else 0
