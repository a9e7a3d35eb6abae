"""Write findings for people, for programs, and as the README's table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from relay.broker.check import Finding, Verdict, exit_status

_WIDTH = 100
_INDENT = " " * 9
_SUMMARY = {
    0: "All is well.",
    1: "Alarms, or answers to them, can get lost on this broker.",
    3: "Alarms arrive; some of what relay/README.md promises is lacking.",
}


def as_text(findings: Sequence[Finding]) -> str:
    """Write a line for each question, and advice below each answer that is not good."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict.value:<8} {finding.asked}: {finding.came}")
        if finding.advice:
            lines += textwrap.wrap(finding.advice, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    unknown = sum(finding.verdict is Verdict.UNKNOWN for finding in findings)
    rest = f" {unknown} could not be found out." if unknown else ""
    return "\n".join([*lines, "", _SUMMARY[exit_status(findings)] + rest])


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings for programs."""
    listed = [
        {
            "key": finding.key,
            "asked": finding.asked,
            "came": finding.came,
            "verdict": finding.verdict.value,
            "advice": finding.advice,
        }
        for finding in findings
    ]
    worst = {0: Verdict.GOOD, 1: Verdict.LOSES, 3: Verdict.LESS}[exit_status(findings)]
    return {"verdict": worst.value, "findings": listed}


def as_markdown(brokers: Mapping[str, Sequence[Finding]]) -> str:
    """Write a table with a column for each broker; answers that are not good stand out."""
    rows: dict[str, str] = {}
    for findings in brokers.values():
        rows |= {finding.key: finding.asked for finding in findings}
    found = {name: {finding.key: finding for finding in findings} for name, findings in brokers.items()}
    lines = ["| the broker ... | " + " | ".join(brokers) + " |", "| --- " * (len(brokers) + 1) + "|"]
    for key, asked in rows.items():
        cells = [_cell(found[name].get(key)) for name in brokers]
        lines.append(f"| {asked} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return ""
    words = finding.came.replace("|", "/")
    return {Verdict.LOSES: f"**{words}**", Verdict.LESS: f"*{words}*"}.get(finding.verdict, words)
