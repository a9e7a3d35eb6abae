"""Measure what a day with the unmodified firmware costs, state by state in mAh, and how many days a charge lasts.

A bracelet on the rig, with Wi-Fi, service and a sky, is armed and idle for the given hours; then an alarm is raised and
stays open for an hour. Currents are those of the board and of hwsim/currents.py, and the result is as good as they are.
It ranks the consumers and shows what a change of the firmware is worth; it doesn't replace a measurement.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import click

from hwsim import plot_power
from hwsim.board import load
from hwsim.currents import UAS_PER_MAH, Currents, current, estimated
from hwsim.rig import Rig
from hwsim.world import Track, World

_DAY_US = 86_400_000_000
_STEP_S = 600  # between two looks of the progress bar
Times = Mapping[tuple[str, str], int]  # (part, state) -> us


@dataclass(frozen=True)
class Line:
    """The cost of one part in one state. `mah_a_day`: for a day spent like the time measured."""

    part: str
    state: str
    share: float  # of the time
    ma: float  # while in that state
    mah_a_day: float
    estimate: bool  # no document gives the current


@dataclass(frozen=True)
class Cost:
    lines: list[Line]
    mah_a_day: float
    charge_uas: int  # in the time measured


def cost(times: Times, currents: Currents) -> Cost:
    """Compute the cost of these times, the most expensive first. All parts must have been watched for equally long."""
    whole: Counter[str] = Counter()
    for (part, _), us in times.items():
        whole[part] += us
    lines, charge = [], 0
    for (part, state), us in times.items():
        ua = current(currents, part, state)
        charge += ua * us
        mah_a_day = ua * us * _DAY_US / whole[part] / 1_000_000 / UAS_PER_MAH
        lines.append(Line(part, state, us / whole[part], ua / 1000, mah_a_day, estimated(currents, part, state)))
    lines.sort(key=lambda line: (-line.mah_a_day, line.part, line.state))
    return Cost(lines, sum(line.mah_a_day for line in lines), charge // 1_000_000)


ASLEEP = {"processor": "deep_sleep", "wifi": "off", "modem": "off", "gnss": "off", "led": "off", "haptic": "off"}


def with_makers_sleep(cost: Cost, currents: Currents, asleep_ua: int) -> float:
    """Return the mAh a day when the board takes `asleep_ua` in deep sleep, as its maker measured with the modem off, in
    place of the sum of its parts."""
    asleep = sum(line.share for line in cost.lines if (line.part, line.state) == ("processor", "deep_sleep"))
    more_ua = asleep_ua - sum(current(currents, part, state) for part, state in ASLEEP.items())
    return cost.mah_a_day + asleep * 24 * more_ua / 1000


def _since(before: Times, after: Times) -> dict[tuple[str, str], int]:
    return {key: us - before.get(key, 0) for key, us in after.items() if us > before.get(key, 0)}


def measure(board: str, hours: float, plot: Path | None = None) -> tuple[Cost, Cost, int | None]:
    """Play `hours` at peace, then an hour of an alarm; return both costs, and the capacity of the board's cell in
    mAh."""
    with World(seed=1) as world, tempfile.TemporaryDirectory() as folder:
        rig = Rig(world, Path(folder), track=Track.still(1.0, 2.0), board=board)
        try:
            rig.provision()
            bracelet = rig.bracelet
            begin_us = world.now_us
            rig.boot()
            currents = bracelet.board.currents
            start = bracelet.meter.times()
            with _progress(hours + 1) as steps:
                _run(world, hours * 3600, steps)
                idle = cost(_since(start, bracelet.meter.times()), currents)
                start = bracelet.meter.times()
                rig.press()
                _run(world, 3600, steps)
            alarm = cost(_since(start, bracelet.meter.times()), currents)
            if plot:
                plot.write_text(plot_power.svg(bracelet.meter.history, currents, begin_us, world.now_us))
            return idle, alarm, bracelet.board.capacity_mah
        finally:
            rig.close()


def _progress(hours: float) -> click._termui_impl.ProgressBar[int]:  # the only name click has for it
    return click.progressbar(
        length=round(hours * 3600), label="simulated seconds", file=sys.stderr, hidden=not sys.stderr.isatty()
    )


def _run(world: World, seconds: float, steps: click._termui_impl.ProgressBar[int]) -> None:
    left = seconds
    while left > 0:
        step = min(left, _STEP_S)
        world.run(step)
        steps.update(round(step))
        left -= step


def main(board: str, hours: float, plot: Path | None, json: bool) -> int:
    """Print what a day costs, for people or as one JSON object."""
    idle, alarm, capacity = measure(board, hours, plot)
    days = capacity / idle.mah_a_day if capacity else None
    wired = load(board)
    makers = None if wired.asleep_ua is None else with_makers_sleep(idle, wired.currents, wired.asleep_ua)
    makers_days = capacity / makers if capacity and makers else None
    alarm_mah = alarm.mah_a_day / 24
    if json:
        report = {
            "board": board,
            "hours": hours,
            "idle": {"lines": [vars(line) for line in idle.lines], "mah_a_day": round(idle.mah_a_day, 2)},
            "alarm": {"lines": [vars(line) for line in alarm.lines], "mah_an_hour": round(alarm_mah, 2)},
            "capacity_mah": capacity,
            "days_per_charge": None if days is None else round(days, 2),
            "makers": None
            if makers is None
            else {
                "asleep_ua": wired.asleep_ua,
                "mah_a_day": round(makers, 2),
                "days_per_charge": None if makers_days is None else round(makers_days, 2),
            },
        }
        print(dumps(report))
        return 0
    print(f"{board}: armed and idle for {hours:g} h")
    _table(idle.lines)
    print(f"{'all':26}{'':8}{idle.mah_a_day / 24:>10.2f}{idle.mah_a_day:>12.1f}\n")
    print(f"an alarm, its first hour: {alarm_mah:.1f} mAh")
    _table(alarm.lines)
    if days is not None:
        print(f"\na charge of {capacity} mAh lasts {days:.1f} days without an alarm, by the data sheets of the parts")
    if makers_days is not None:
        sheet = sum(current(wired.currents, part, state) for part, state in ASLEEP.items())
        print(
            f"with the {wired.asleep_ua} uA that its maker measured asleep ({sheet} uA by the data sheets): "
            f"{makers:.1f} mAh a day, {makers_days:.1f} days"
        )
    if plot:
        print(f"plot: {plot}")
    return 0


def _table(lines: Iterable[Line]) -> None:
    print(f"{'part':12}{'state':14}{'time':>8}{'mA':>10}{'mAh a day':>12}")
    for line in lines:
        if line.share > 0:
            note = "  estimate" if line.estimate else ""
            print(f"{line.part:12}{line.state:14}{line.share:>8.2%}{line.ma:>10.3f}{line.mah_a_day:>12.2f}{note}")
