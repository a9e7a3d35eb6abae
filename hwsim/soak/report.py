"""The figures of a soak, for people and as JSON, always in the order of the seeds, whichever life ended first."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hwsim.soak.life import Life
from hwsim.soak.play import Outcome


def digest(outcomes: Sequence[Outcome]) -> str:
    """Return a digest over the traces of all lives."""
    whole = hashlib.sha256()
    for outcome in outcomes:
        whole.update(f"{outcome.seed} {outcome.digest}\n".encode())
    return whole.hexdigest()[:16]


def figures(outcomes: Sequence[Outcome], wall_s: float, interrupted: bool = False) -> dict[str, Any]:
    """Return the figures that `--json` prints, without the failures. Times are in seconds."""
    waits = [wait for outcome in outcomes for wait in outcome.waits]
    simulated = sum(outcome.simulated_s for outcome in outcomes)
    checks = _sum(outcome.checks for outcome in outcomes)
    return {
        "seeds": len(outcomes),
        "interrupted": interrupted,
        "alarms_raised": sum(outcome.raised for outcome in outcomes),
        "called_back": sum(outcome.called_back for outcome in outcomes),
        "delivered": sum(outcome.delivered for outcome in outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "duplicated": sum(outcome.duplicated for outcome in outcomes),
        "first_by_path": dict(sorted(_sum(outcome.paths for outcome in outcomes).items())),
        "sms_could_leave_for_30_s": {"sms": 0, "receipt": 0, "late": 0, "excepted": 0}
        | _sum(outcome.sms_ways for outcome in outcomes),
        "sms_excepted_seeds": [outcome.seed for outcome in outcomes if outcome.sms_ways["excepted"]],
        "refused_by_relay": dict(sorted(_sum(outcome.refused for outcome in outcomes).items())),
        "press_to_receipt_median_s": round(statistics.median(waits), 3) if waits else None,
        "press_to_receipt_worst_s": round(max(waits), 3) if waits else None,
        "actions": dict(sorted(_sum(outcome.actions for outcome in outcomes).items())),
        "invariants_checked": checks.total(),
        "invariants": dict(sorted(checks.items())),
        "failed_seeds": [outcome.seed for outcome in outcomes if outcome.failures],
        "simulated_s": round(simulated),
        "wall_s": round(wall_s, 1),
        "simulated_s_per_wall_s": round(simulated / wall_s) if wall_s else None,
        "seeds_per_s": round(len(outcomes) / wall_s, 2) if wall_s else None,
        "digest": digest(outcomes),
    }


def _sum(counters: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def text(figures: Mapping[str, Any]) -> str:
    """Format the figures for a terminal."""
    median, worst = figures["press_to_receipt_median_s"], figures["press_to_receipt_worst_s"]
    waits = "no alarm got its receipt" if worst is None else f"median {median:.1f} s, worst {worst:.1f} s"
    paths = ", ".join(f"{count} first by {path}" for path, count in figures["first_by_path"].items())
    ways = figures["sms_could_leave_for_30_s"]
    excepted = ", ".join(map(str, figures["sms_excepted_seeds"]))
    lines = [
        f"lives      {figures['seeds']}{' (interrupted)' if figures['interrupted'] else ''}, "
        f"{figures['simulated_s'] / 3600:.1f} h in {figures['wall_s']:.1f} s: "
        f"{figures['simulated_s_per_wall_s']} s per second, {figures['seeds_per_s']} lives per second",
        f"alarms     {figures['alarms_raised']} raised, {figures['called_back']} called back, "
        f"{figures['delivered']} delivered{f' ({paths})' if paths else ''}",
        f"           {figures['lost']} lost, {figures['duplicated']} duplicated",
        f"SMS        could leave for 30 s from the press in {sum(ways.values())} cases: {ways['sms']} did, "
        f"{ways['receipt']} had their receipt before, {ways['late']} did not; {ways['excepted']} excepted "
        f"(the start of their modem ended the chip's{', seeds ' if excepted else ''}{excepted})",
        f"receipt    after the press: {waits}",
        f"invariants {figures['invariants_checked']} checked by {len(figures['invariants'])} rules; "
        f"{sum(figures['actions'].values())} actions",
        f"digest     {figures['digest']}",
    ]
    return "\n".join(lines)


def listing(life: Life) -> str:
    """Format a life for a person to read."""
    told = "Wi-Fi and SMS" if life.wifi else "SMS alone"
    place = "stays where it is" if len(life.track) == 1 else f"moves through {len(life.track)} places"
    lines = [f"seed {life.seed}: {life.board}; {told}; {place}", *(str(step) for step in life.steps)]
    return "\n".join([*lines, f"everything works again after {life.calm_at:.0f} s"])
