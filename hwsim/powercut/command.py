"""`hwsim powercut` cuts each flash operation of each life, cleanly and torn, on all cores, and prints a table or JSON.

It first lives each life whole and counts its operations. It lives each cut life from the beginning, so that any of them
can be replayed alone. With the same seed the same operation comes at the same time; only the keys that the relay draws
are new each time, as in hwsim/rig.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from hwsim.powercut import judge
from hwsim.powercut.life import CLEAN, LIVES, TORN, Cut, Life
from hwsim.soak.workers import work
from hwsim.world import SimulationError
from relay.program import INTERRUPTED

QUICK_STEP = 11  # from one operation to the next; prime, so that no stage's rhythm hides one


@dataclass(frozen=True)
class Job:
    life: str
    cut: Cut | None
    seed: int
    firmware: str | None = None


@dataclass(frozen=True)
class Result:
    life: str
    at: int  # 0: no cut
    how: str
    stage: str
    operations: int
    nvs_operations: int
    failures: list[str]
    worn: int  # erases of the most erased sector


@dataclass
class Report:
    seed: int
    firmware: str | None
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def failed(self) -> list[Result]:
        order = {life: place for place, life in enumerate(LIVES)}
        found = [result for result in self.results if result.failures]
        return sorted(found, key=lambda result: (order[result.life], result.at, result.how))

    def replay(self, result: Result) -> str:
        """Return the command that lives this life again and shows it."""
        words = ["hwsim powercut", "--life", result.life, "--at", str(result.at), "--seed", str(self.seed)]
        words += [f"--{result.how}"] if result.at else []
        heap = os.environ.get("HWSIM_HEAP")
        words += ["--heap", heap] if heap else []
        return " ".join([*words, *(["--firmware", self.firmware] if self.firmware else [])])


def play(job: Job) -> Result:
    """Live one life and judge it."""
    try:
        with Life(job.life, job.cut, seed=job.seed, firmware=job.firmware) as life:
            return _result(job, life)
    except SimulationError as error:
        return _not_judged(job, str(error).splitlines()[0])


def _result(job: Job, life: Life) -> Result:
    course = life.live()
    chip = life.rig.bracelet.flash
    return Result(
        job.life,
        job.cut.at if job.cut else 0,
        job.cut.how if job.cut else "",
        course.stage,
        course.operations,
        course.nvs_operations,
        judge.failures(course, job.life),
        max(*chip.erases.values(), *chip.nvs.erases),
    )


def jobs(life: str, operations: int, *, seed: int, quick: bool, firmware: str | None) -> Iterator[Job]:
    """Yield a clean and a torn cut for every operation; with `quick`, for every eleventh one cut, the kinds in turn."""
    for at in range(1, operations + 1):
        if not quick:
            yield Job(life, Cut(at, CLEAN), seed, firmware)
            yield Job(life, Cut(at, TORN), seed, firmware)
        elif at % QUICK_STEP == 1:
            yield Job(life, Cut(at, TORN if at // QUICK_STEP % 2 else CLEAN), seed, firmware)


def check(
    lives: Iterable[str],
    *,
    seed: int = 1,
    quick: bool = False,
    processes: int | None = None,
    firmware: str | None = None,
) -> Report:
    """Live all lives, whole and cut. A life counts as failed when the simulator can't go on with it."""
    report = Report(seed, firmware)
    started = time.monotonic()
    try:
        _live(report, list(lives), quick, processes or os.cpu_count() or 1)
    except KeyboardInterrupt:
        report.interrupted = True
    report.seconds = time.monotonic() - started
    return report


def _live(report: Report, lives: Sequence[str], quick: bool, processes: int) -> None:
    """Live all lives and put each result into the report as soon as it is there."""
    seed, firmware = report.seed, report.firmware
    whole = [Job(life, None, seed, firmware) for life in lives]
    report.results += [result for _, result in sorted(_played(whole, processes))]
    todo = [
        job
        for result in list(report.results)
        for job in jobs(result.life, result.operations, seed=seed, quick=quick, firmware=firmware)
    ]
    running = _played(todo, processes)
    bar = click.progressbar(running, length=len(todo), label="power cuts", file=sys.stderr)
    with bar if sys.stderr.isatty() else _Plain(running) as results:
        for _, result in results:
            report.results.append(result)


def _played(todo: Sequence[Job], processes: int) -> Iterator[tuple[int, Result]]:
    """Yield the place and result of each job, played by so many processes, or in this one."""
    if processes == 1:
        yield from enumerate(map(play, todo))
        return
    for place, result in work(play, todo, processes):
        yield place, result or _not_judged(todo[place], "the process that played it died")


def _not_judged(job: Job, why: str) -> Result:
    at, how = (job.cut.at, job.cut.how) if job.cut else (0, "")
    return Result(job.life, at, how, "", 0, 0, [why], 0)


class _Plain:
    """Stand-in for a progress bar where there is no terminal."""

    def __init__(self, items: Iterator[tuple[int, Result]]) -> None:
        self._items = items

    def __enter__(self) -> Iterator[tuple[int, Result]]:
        return self._items

    def __exit__(self, *error: object) -> None:
        pass


def main(
    lives: Iterable[str], *, seed: int, quick: bool, processes: int | None, firmware: str | None, as_json: bool
) -> int:
    """Run the command. Return 0 when everything held, 1 when something did not, 130 when interrupted before that."""
    report = check(lives, seed=seed, quick=quick, processes=processes, firmware=firmware)
    if as_json:
        click.echo(json.dumps(as_object(report)))
    else:
        _table(report)
    return 1 if report.failed else INTERRUPTED if report.interrupted else 0


def as_object(report: Report) -> dict[str, object]:
    rows = [_row(report, life) for life in dict.fromkeys(result.life for result in report.results)]
    return {
        "seed": report.seed,
        "seconds": round(report.seconds, 1),
        "lives": rows,
        "cuts": sum(row["clean"] + row["torn"] for row in rows),
        "failed": len(report.failed),
        "interrupted": report.interrupted,
        "failures": [
            {key: value for key, value in asdict(result).items() if key in ("life", "at", "how", "stage", "failures")}
            | {"replay": report.replay(result)}
            for result in report.failed
        ],
    }


def _row(report: Report, life: str) -> dict[str, Any]:
    mine = [result for result in report.results if result.life == life]
    whole = next(result for result in mine if not result.at)
    return {
        "life": life,
        "operations": whole.operations,
        "of_nvs": whole.nvs_operations,
        "clean": sum(result.how == CLEAN for result in mine),
        "torn": sum(result.how == TORN for result in mine),
        "passed": sum(not result.failures for result in mine if result.at),
        "failed": sum(bool(result.failures) for result in mine),
        "most_erases_of_a_sector": whole.worn,
    }


def _table(report: Report) -> None:
    click.echo(f"{'life':6} {'operations':>10} {'of NVS':>7} {'clean':>6} {'torn':>6} {'passed':>7} {'failed':>7}")
    for life in dict.fromkeys(result.life for result in report.results):
        row = _row(report, life)
        click.echo(
            f"{life:6} {row['operations']:10} {row['of_nvs']:7} {row['clean']:6} {row['torn']:6} "
            f"{row['passed']:7} {row['failed']:7}"
        )
    cuts = sum(bool(result.at) for result in report.results)
    early = ", INTERRUPTED: not all were tried" if report.interrupted else ""
    click.echo(f"{cuts} cuts in {report.seconds:.0f} s, {len(report.failed)} failures{early}")
    for result in report.failed:
        where = f"{result.how} cut at operation {result.at} ({result.stage})" if result.at else "not cut at all"
        click.echo(f"\n{result.life}, {where}:")
        for failure in result.failures:
            click.echo(f"  {failure}")
        click.echo(f"  again: {report.replay(result)}")


def replay(job: Job, as_json: bool) -> int:
    """Show one life with its whole trace. Return 0 when everything held, 1 when something did not."""
    with Life(job.life, job.cut, seed=job.seed, firmware=job.firmware) as life:
        result = _result(job, life)
        if as_json:
            click.echo(json.dumps(asdict(result)))
        else:
            click.echo(life.world.format_trace())
            for failure in result.failures or ["all held"]:
                click.echo(failure)
    return 1 if result.failures else 0
