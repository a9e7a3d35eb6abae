"""`hwsim run`: play scenarios, tell what happened, and say of each expectation whether it held."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hwsim.scenario import file, plot, timeline
from hwsim.scenario.judge import Verdict, judge
from hwsim.scenario.play import Played, play
from hwsim.world.trace import format_events
from relay.program import INTERRUPTED

HELD, FAILED, USAGE = 0, 1, 2


def main(
    named: Sequence[str], *, seed: int, as_json: bool, plot_file: Path | None, trace: bool, quiet: bool, listing: bool
) -> int:
    """Run the command. Return its exit status: 0 all expectations held, 1 one did not, 2 a file or an option can't be
    used, 130 interrupted."""
    try:
        if listing:
            return _list(as_json)
        if not named:
            raise file.ScenarioError("name a scenario or a file; hwsim run --list shows ours, --all plays them")
        if plot_file and len(named) > 1:
            raise file.ScenarioError("--plot draws one scenario")
        scenarios = [file.load(file.find(name)) for name in named]
    except file.ScenarioError as error:
        click.echo(f"Error: {error}", err=True)
        return USAGE
    results: list[tuple[Played, list[Verdict]]] = []
    interrupted = False
    try:
        with click.progressbar(
            scenarios, label="Playing", file=sys.stderr, hidden=len(scenarios) == 1 or not sys.stderr.isatty()
        ) as progress:
            for scenario in progress:
                played = play(scenario, seed)
                results.append((played, judge(played)))
    except KeyboardInterrupt:
        interrupted = True
        click.echo(f"Interrupted: {len(results)} of {len(scenarios)} were played.", err=True)
    if plot_file and results:
        plot_file.write_text(plot.draw(*results[0]), encoding="utf-8")
    if as_json:
        objects = [_object(*result) for result in results]
        click.echo(json.dumps(objects[0] if len(scenarios) == 1 and objects else objects, indent=2))
    else:
        for played, verdicts in results:
            _tell(played, verdicts, trace, quiet)
        if len(scenarios) > 1:
            _sum_up(results, len(scenarios))
    if not all(verdict.held for _, verdicts in results for verdict in verdicts):
        return FAILED
    return INTERRUPTED if interrupted else HELD


def _list(as_json: bool) -> int:
    found = {name: file.load(file.find(name)) for name in file.names()}
    if as_json:
        click.echo(json.dumps({name: scenario.title for name, scenario in found.items()}, indent=2))
        return HELD
    width = max(map(len, found))
    for name, scenario in found.items():
        click.echo(f"{name:{width}}  {scenario.title}")
    return HELD


def _tell(played: Played, verdicts: list[Verdict], trace: bool, quiet: bool) -> None:
    scenario = played.scenario
    failed = sum(not verdict.held for verdict in verdicts)
    if not quiet or failed:
        click.secho(scenario.title, bold=True)
        click.echo(f"{scenario.story}\n")
        if trace:
            click.echo(format_events(played.trace))
        else:
            for line in timeline.lines(played):
                click.echo(f"{timeline.clock(line.seconds):>10}  {line.who:<10}  {line.text}")
        click.echo()
    for verdict in verdicts:
        if quiet and not failed:
            break
        mark = click.style("held  ", fg="green") if verdict.held else click.style("FAILED", fg="red", bold=True)
        click.echo(f"{mark}  {verdict.wanted}: {verdict.found}")
    state = f"{failed} of {len(verdicts)} failed" if failed else f"all {len(verdicts)} held"
    click.echo(f"{scenario.name}: {state}  (seed {played.seed}, trace {played.digest})")


def _sum_up(results: list[tuple[Played, list[Verdict]]], of: int) -> None:
    failed = [played.scenario.name for played, verdicts in results if not all(v.held for v in verdicts)]
    count = f"{len(results)} scenarios" if len(results) == of else f"{len(results)} of {of} scenarios"
    click.echo(f"{count}, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")


def _object(played: Played, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "scenario": played.scenario.name,
        "title": played.scenario.title,
        "seed": played.seed,
        "digest": played.digest,
        "held": all(verdict.held for verdict in verdicts),
        "expectations": [
            {"wanted": verdict.wanted, "held": verdict.held, "found": verdict.found} for verdict in verdicts
        ],
        "alarms": [
            {
                "raised_s": round(played.seconds(alarm.raised_us), 3),
                "path": alarm.relay_path,
                "press_to_receipt_s": alarm.receipt_us and round((alarm.receipt_us - alarm.pressed_us) / 1e6, 3),
            }
            for alarm in played.alarms
        ],
        "timeline": [[round(line.seconds, 3), line.who, line.text] for line in timeline.lines(played)],
    }
