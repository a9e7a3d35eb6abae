"""`hwsim starts`: check that nothing stands before a press. Every driver call that starts a part of a board hangs,
browns the chip out or takes its supply, each time, and the button is held at each moment of a start. The alarm must be
raised, and must go out by the parts that are left.

world/driver_calls.py lists the calls. The soak has the faults that come and go, and other faults beside them.
"""

from __future__ import annotations

import functools
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hwsim.board import load
from hwsim.rig import APN, Rig
from hwsim.soak.workers import work
from hwsim.world import SimulationError, Track, World
from hwsim.world.driver_calls import calls_of

FAULTS = {"hangs": None, "browns out": None, "loses its supply": 2.0}  # off for so many seconds
MOMENTS = {"as it is switched on": 0.0, "while it starts": 0.33, "just armed": 0.5, "later": 30.0}  # s
# The button is held until the long pulse, for 3 s. When it is down at power-on, the firmware begins nothing before it;
# later it may have to wait for one call at most (the watchdog's 12 s, and the start after it).
RAISED_S = {moment: 17.0 if at else 4.0 for moment, at in MOMENTS.items()}
SENT_S = 60.0


@dataclass(frozen=True)
class Case:
    call: str  # several with "+" between them
    fault: str
    moment: str

    def __str__(self) -> str:
        return f"{self.call} {self.fault}, held {self.moment}"


@dataclass(frozen=True)
class Result:
    """The times of a case, in seconds from the begin of the hold; None: not within SENT_S. `path`: by which the alarm
    came first."""

    raised_s: float | None
    sent_s: float | None
    path: str | None
    died: str = ""  # why the simulator could not go on

    def failure(self, case: Case) -> str | None:
        if self.died:
            return self.died
        if self.raised_s is None or self.raised_s > RAISED_S[case.moment]:
            return f"not raised within {RAISED_S[case.moment]:.0f} s"
        return None if self.sent_s is not None and self.sent_s <= SENT_S else f"not sent within {SENT_S:.0f} s"


def cases(board: str, call: str | None = None) -> list[Case]:
    """List all cases of a board, or of one of its calls."""
    calls = [each for each in calls_of(load(board)) if call in (None, each)]
    return [Case(*each) for each in itertools.product(calls, FAULTS, MOMENTS)]


def play(case: Case, board: str = "reference", firmware: str | None = None) -> Result:
    """Play one case."""
    with World(seed=1) as world, tempfile.TemporaryDirectory(prefix="hwsim-starts-") as folder:
        wifi = not case.call.startswith("ppp")  # beside Wi-Fi nothing is dialled
        rig = Rig(world, Path(folder), wifi=wifi, apn=APN, track=Track.still(1, 2), board=board, firmware=firmware)
        try:
            rig.provision()
            for call in case.call.split("+"):
                if case.fault == "hangs":
                    rig.bracelet.driver_calls.block(call)
                else:
                    rig.bracelet.driver_calls.kill(call, FAULTS[case.fault])
            return _held(rig, world, MOMENTS[case.moment])
        except (SimulationError, AssertionError) as error:
            return Result(None, None, None, str(error).splitlines()[0])
        finally:
            rig.close()


def _held(rig: Rig, world: World, at: float) -> Result:
    world.run(1)
    if at:
        rig.bracelet.boot()
        world.run(at)
    began = world.now_us
    world.call(rig.bracelet.button.press)
    if not at:
        rig.bracelet.boot()
    raised: float | None = None
    while world.now_us - began < SENT_S * 1e6:
        world.run(0.25)
        if raised is None:
            alarm = next((event for event in world.trace if (event.who, event.what) == ("firmware", "raised")), None)
            if alarm:
                raised = (alarm.t_us - began) / 1e6
                world.run(0.5)  # the long pulse is felt
                world.call(rig.bracelet.button.release)
        sent = [story for story in rig.alarms() if story.relay_us is not None] if raised is not None else []
        if sent:
            return Result(raised, ((sent[0].relay_us or 0) - began) / 1e6, sent[0].relay_path)
    return Result(raised, None, None)


def main(boards: Sequence[str], call: str | None, jobs: int, firmware: str | None, as_json: bool) -> int:
    """Run the command. Return 0 when every alarm was raised and sent in time, 1 when one was not."""
    began = time.monotonic()
    reports = [_board(board, cases(board, call), jobs, firmware, as_json) for board in boards]
    seconds = time.monotonic() - began
    count, failed = sum(report["cases"] for report in reports), sum(len(report["failures"]) for report in reports)
    if as_json:
        click.echo(json.dumps({"seconds": round(seconds, 1), "failed": failed, "boards": reports}))
    else:
        click.echo(f"{count} starts in {seconds:.0f} s, {failed} failures")
    return 1 if failed else 0


def _board(board: str, todo: list[Case], jobs: int, firmware: str | None, as_json: bool) -> dict[str, Any]:
    dead = Result(None, None, None, "the process that played it died")
    found = {
        todo[place]: result or dead
        for place, result in work(functools.partial(play, board=board, firmware=firmware), todo, jobs)
    }
    failures = {case: why for case in todo if (why := found[case].failure(case))}
    if not as_json:
        click.echo(f"{board}: s from the hold until raised and until sent, the worst of {len(MOMENTS)} moments")
        for call, fault in dict.fromkeys((case.call, case.fault) for case in todo):
            mine = [found[case] for case in todo if (case.call, case.fault) == (call, fault)]
            paths = ", ".join(sorted({result.path for result in mine if result.path}))
            worst = _worst(each.raised_s for each in mine) + _worst(each.sent_s for each in mine)
            click.echo(f"  {call:10} {fault:17}{worst}  {paths}")
        for case, why in failures.items():
            click.echo(f"  FAILED: {case}: {why}")
    raised = [result.raised_s for result in found.values() if result.raised_s is not None]
    sent = [result.sent_s for result in found.values() if result.sent_s is not None]
    return {
        "board": board,
        "cases": len(todo),
        "raised_s": {"median": statistics.median(raised), "worst": max(raised)} if raised else None,
        "sent_s": {"median": statistics.median(sent), "worst": max(sent)} if sent else None,
        "failures": [{"case": str(case), "why": why} for case, why in failures.items()],
    }


def _worst(times: Iterable[float | None]) -> str:
    found = list(times)
    return "     -" if None in found else f"{max(each for each in found if each is not None):6.1f}"
