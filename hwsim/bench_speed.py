"""Measure how many simulated seconds a wall second holds, with the unmodified firmware and a real relay pipeline.

There are two situations: at peace, asleep but for its duties (a heartbeat, a fix), and an open alarm with its Updates,
awake. Beside the speed stands what the time goes into. The two processes take turns, so each second of wall time
belongs to the world (CPython), to the device (MicroPython), or to neither: switching between them, or a machine that is
busy elsewhere. This is a measure of the simulator and not of an ESP32: computing costs no virtual time.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

from hwsim.rig import Rig
from hwsim.world import Track, World

SETTLE_S = 120  # until it has found fix, broker and modem, and sleeps
ALARM_S = 600
ROUNDS = 3  # the fastest counts: other work of the machine can only slow a round down
TARGETS = {"idle": 3000, "alarm": 1000}


@dataclass(frozen=True)
class Speed:
    """The cost of one situation. Times are processor time; "a second" is a simulated one."""

    seconds: float  # simulated
    times_life: float  # simulated seconds in a wall second
    exchanges: float  # a second: the device asked or waited, and the world answered
    one_way: float  # a second: the device told and went on
    events: float  # a second, of the world
    world_us: float  # a second
    device_us: float  # a second
    neither_us: float  # a second of wall time that belongs to no side


def measure(idle_s: float, rounds: int) -> dict[str, Speed]:
    """Return the fastest of some rounds of each situation."""
    found: dict[str, list[Speed]] = {name: [] for name in TARGETS}
    for _ in range(rounds):
        with World(seed=1) as world, tempfile.TemporaryDirectory() as folder:
            rig = Rig(world, Path(folder), track=Track.still(1.0, 2.0))
            try:
                rig.provision()
                rig.boot(settle=SETTLE_S)
                found["idle"].append(_run(rig, idle_s))
                rig.press()
                found["alarm"].append(_run(rig, ALARM_S))
            finally:
                rig.close()
    return {name: max(speeds, key=lambda speed: speed.times_life) for name, speeds in found.items()}


def _run(rig: Rig, seconds: float) -> Speed:
    world = rig.world
    frames, events = world.frames.copy(), world.events
    device, own, wall = _interpreters_s(rig), time.process_time(), time.perf_counter()
    world.run(seconds)
    wall, own, device = time.perf_counter() - wall, time.process_time() - own, _interpreters_s(rig) - device
    sent = world.frames - frames
    return Speed(
        seconds=seconds,
        times_life=round(seconds / wall, 1),
        exchanges=round((sent["i"] + sent["c"]) / seconds, 3),
        one_way=round(sent["o"] / seconds, 3),
        events=round((world.events - events) / seconds, 3),
        world_us=round(own / seconds * 1e6, 1),
        device_us=round(device / seconds * 1e6, 1),
        neither_us=round(max(0.0, wall - own - device) / seconds * 1e6, 1),
    )


def _interpreters_s(rig: Rig) -> float:
    """Return the processor time of all interpreters: of those that have ended (one for each waking), and of the running
    one."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = rig.bracelet.interpreter
    return ended.ru_utime + ended.ru_stime + (running.cpu_s() if running else 0.0)


def main(seconds: float, json: bool) -> int:
    """Print the figures, for people or as one JSON object; return 1 when a target was missed."""
    speeds = measure(seconds, ROUNDS)
    met = {name: speeds[name].times_life >= target for name, target in TARGETS.items()}
    if json:
        report = {name: asdict(speed) | {"target": TARGETS[name], "met": met[name]} for name, speed in speeds.items()}
        print(dumps(report))
    else:
        print(f"{'':8}{'faster than life':>18}{'target':>8}   a simulated second costs")
        for name, speed in speeds.items():
            print(
                f"{name:8}{speed.times_life:>16.0f} x{TARGETS[name]:>8}   world {speed.world_us:.0f} us, "
                f"device {speed.device_us:.0f} us, neither {speed.neither_us:.0f} us; {speed.exchanges:.2f} exchanges, "
                f"{speed.one_way:.2f} one-way frames, {speed.events:.1f} events"
            )
    return 0 if all(met.values()) else 1
