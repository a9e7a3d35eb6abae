"""What a broker does that the relay relies on, found out by using it as bracelets, subscribers and the relay do.

`questions` asks one thing after the other over real connections (`client`) and says what came, whether that is good,
and what to do; `report` writes it for people, programs and the README. It asks on topics of its own, which no relay
subscribes to; the few that it must try among the bracelets' own have the key id PROBE_KID, which is none, so that a
running relay lets them go unread (`relay.ingest.intake`). It reads no broker's settings: only what a broker does
counts. `crash` starts brokers that are known, and kills them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How good an answer is."""

    GOOD = "good"
    LESS = "less"  # alarms arrive; something else that README promises is lacking
    LOSES = "loses"  # alarms or answers to them can get lost
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One question and its answer. `came` is a few words, `advice` a sentence, empty when all is well."""

    key: str
    asked: str
    came: str
    verdict: Verdict
    advice: str = ""


def exit_status(findings: Iterable[Finding]) -> int:
    """0 all good, 1 something that loses alarms, 3 something less."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.LOSES in verdicts:
        return 1
    return 3 if Verdict.LESS in verdicts else 0
