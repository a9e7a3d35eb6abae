"""The work of `hwsim soak`: play the lives of many seeds, report on them, and shrink lives that failed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hwsim import toolchain
from hwsim.board import BoardError, load
from hwsim.scenario.actions import ACTIONS
from hwsim.soak import life as lives
from hwsim.soak import report
from hwsim.soak.draw import ANY_BOARD, draw
from hwsim.soak.judge import Failure
from hwsim.soak.life import Argument, Life
from hwsim.soak.play import Outcome, play
from hwsim.soak.shrink import TRIALS, Shrinker
from hwsim.soak.workers import work

SHRINK_MAX = 3  # lives; the report gives the seeds of the others, and most of them failed for the same reason

FAILURES_MAX = 5  # printed for one life


@dataclass(frozen=True)
class Options:
    seeds: int
    first: int
    hours: float
    jobs: int
    firmware: Path | None = None
    board: str = "reference"
    trials: int = TRIALS


def options(*, seeds: int, first: int, hours: float, jobs: int | None, firmware: str | None, board: str) -> Options:
    """Return the options of a command line. Raises ToolchainError when there is no interpreter to run the firmware,
    UsageError when there is no such board."""
    toolchain.find_micropython()
    if board != ANY_BOARD:
        try:
            load(board)
        except BoardError as error:
            raise click.UsageError(f"--board: {error}") from error
    return Options(seeds, first, hours, jobs or _cores(), Path(firmware).resolve() if firmware else None, board)


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Soak:
    """The result of a soak; `outcomes` is in the order of the seeds."""

    outcomes: list[Outcome] = field(default_factory=list)
    wall_s: float = 0.0
    interrupted: bool = False
    shrunk: dict[int, Life] = field(default_factory=dict)  # by seed

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failures]


def soak(options: Options) -> Soak:
    """Play every life, then shrink some that failed. An interrupt ends the soak early and keeps its results so far."""
    done: dict[int, Outcome] = {}
    result = Soak()
    started = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    call = functools.partial(_play_seed, options=options)
    try:
        with _progress(len(seeds)) as advance:
            for place, outcome in work(call, seeds, options.jobs):
                seed = seeds[place]
                dead = Failure("simulation", "the process that played it died")
                done[seed] = outcome or Outcome(seed, failures=[dead])
                advance(done[seed])
    except KeyboardInterrupt:
        result.interrupted = True
    result.wall_s = time.monotonic() - started
    result.outcomes = [done[seed] for seed in sorted(done)]
    if not result.interrupted:
        _shrink_some(result, options)
    return result


def _shrink_some(result: Soak, options: Options) -> None:
    chosen: dict[str, Outcome] = {}
    for outcome in result.failed:
        chosen.setdefault(outcome.failures[0].rule, outcome)
    failed = list(chosen.values())[:SHRINK_MAX]
    if failed:
        for outcome in result.failed:
            click.echo(f"seed {outcome.seed} failed: {outcome.failures[0]}", err=True)
        click.echo(f"shrinking {len(failed)} of {len(result.failed)} lives that failed; Ctrl-C ends that", err=True)
    call = functools.partial(_shrink_seed, options=options)
    with contextlib.suppress(KeyboardInterrupt):
        tasks = [(outcome.seed, outcome.failures[0].rule) for outcome in failed]
        for place, life in work(call, tasks, options.jobs):
            if life is not None:
                result.shrunk[failed[place].seed] = life


def _play_seed(seed: int, options: Options) -> Outcome:
    return play(draw(seed, options.hours, options.board), options.firmware)


def _shrink_seed(task: tuple[int, str], options: Options) -> Life:
    seed, rule = task
    return shrink(draw(seed, options.hours, options.board), rule, options.firmware, options.trials)


def shrink(life: Life, rule: str, firmware: Path | None = None, trials: int = TRIALS) -> Life:
    """Return the shortest life found that breaks the same rule."""

    def fails(candidate: Life) -> bool:
        return any(failure.rule == rule for failure in play(candidate, firmware).failures)

    return Shrinker(fails, plainer, trials).shrink(life)


def plainer(action: str, name: str, value: Argument) -> list[Argument]:
    """List simpler values for an argument: its default, then half its value."""
    parameter = ACTIONS[action].parameters[name]
    values: list[Argument] = []
    if parameter.default is not None and value != parameter.default:
        values.append(parameter.default)
        if not isinstance(value, bool | str):
            half = value // 2 if isinstance(value, int) else round(value / 2, 2)
            if parameter.low <= half <= parameter.high and abs(half) < abs(value):
                values.append(half)
    return values


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Any]:
    """Show a bar with the rate on a terminal; elsewhere show nothing."""
    if not sys.stderr.isatty():
        yield lambda outcome: None
        return
    started, simulated, failed = time.monotonic(), 0.0, 0

    def tell(outcome: Outcome | None) -> str:
        rate = simulated / max(time.monotonic() - started, 0.001)
        return f"{rate:.0f} s per second, {failed} failed" if outcome else ""

    with click.progressbar(length=count, label="lives", file=sys.stderr, show_pos=True, item_show_func=tell) as bar:

        def advance(outcome: Outcome) -> None:
            nonlocal simulated, failed
            simulated += outcome.simulated_s
            failed += bool(outcome.failures)
            bar.update(1, outcome)

        yield advance


def main(options: Options, as_json: bool) -> int:
    """Soak and report. Return 0 when nothing failed, 1 when something did, 130 when interrupted before anything did."""
    result = soak(options)
    told = report.figures(result.outcomes, result.wall_s, result.interrupted)
    told |= {"first": options.first, "hours": options.hours, "board": options.board, "jobs": options.jobs}
    if as_json:
        click.echo(json.dumps(told | {"failures": [_failure(o, result, options) for o in result.failed]}, indent=2))
    else:
        click.echo(report.text(told))
        for outcome in result.failed:
            _tell_failure(outcome, result, options)
    return 1 if result.failed else 130 if result.interrupted else 0


def _command(seed: int, options: Options) -> str:
    hours = f" --hours {options.hours:g}"
    board = "" if options.board == "reference" else f" --board {options.board}"
    firmware = f" --firmware {options.firmware}" if options.firmware else ""
    heap = f" --heap {size}" if (size := os.environ.get("HWSIM_HEAP")) else ""
    return f"hwsim soak --replay {seed}{hours}{board}{firmware}{heap}"


def _failure(outcome: Outcome, result: Soak, options: Options) -> dict[str, Any]:
    shrunk = result.shrunk.get(outcome.seed)
    broken = [
        {
            "rule": failure.rule,
            "why": failure.why,
            "at_s": None if failure.at_us is None else failure.at_us / 1e6,
            "times": failure.times,
        }
        for failure in outcome.failures
    ]
    return {
        "seed": outcome.seed,
        "broken": broken,
        "replay": _command(outcome.seed, options),
        "shrunk": shrunk.to_toml() if shrunk else None,
    }


def _tell_failure(outcome: Outcome, result: Soak, options: Options) -> None:
    click.echo(f"\nseed {outcome.seed} failed; play it again with: {_command(outcome.seed, options)}")
    for failure in outcome.failures[:FAILURES_MAX]:
        click.echo(f"  {failure}")
    if len(outcome.failures) > FAILURES_MAX:
        click.echo(f"  and {len(outcome.failures) - FAILURES_MAX} more")
    shrunk = result.shrunk.get(outcome.seed)
    if shrunk:
        click.echo("the shortest life found that fails so:")
        _tell_life(shrunk)


def _tell_life(life: Life) -> None:
    click.echo("".join(f"  {line}\n" for line in report.listing(life).splitlines()), nl=False)
    click.echo("as a file for `hwsim soak --replay FILE`:\n")
    click.echo(life.to_toml())


def replay(which: str, options: Options, as_json: bool) -> int:
    """Play one life, of a seed or of a file, and show its whole trace. Return 0 when nothing failed, 1 when something
    did."""
    life = draw(int(which), options.hours, options.board) if which.isdigit() else _read(which)
    outcome = play(life, options.firmware, keep_trace=True)
    told = report.figures([outcome], outcome.wall_s)
    if as_json:
        broken = [str(failure) for failure in outcome.failures]
        click.echo(json.dumps(told | {"life": life.to_toml(), "broken": broken}, indent=2))
    else:
        click.echo(f"{report.listing(life)}\n\n{outcome.trace}\n\n{report.text(told)}")
        for failure in outcome.failures:
            click.echo(f"FAILED  {failure}")
    return 1 if outcome.failures else 0


def _read(path: str) -> Life:
    try:
        return lives.from_toml(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--replay {path}: neither a seed nor a file with a life: {error}") from error
