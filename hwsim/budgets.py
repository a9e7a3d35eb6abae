"""Measure what the firmware costs, and print it beside what it may cost by firmware/budgets.toml.

Everything is measured on the unmodified firmware: its code compiled for the ESP32, the rest in the simulator. So heap
and seal are the desktop interpreter's, in octets of a chip where that can be told (`heap_used` in world/link.py), and
times are virtual: computing takes no time, reading and writing flash does.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

import click

from hwsim import bench_heap, bench_seal, mpy, power
from hwsim.rig import Rig
from hwsim.world import Track, World
from hwsim.world.bracelet import FILES, FIRMWARE, Loaded

BUDGETS = FIRMWARE / "budgets.toml"
CHIP = "xtensawin"  # mpy-cross's name for the ESP32's processor
IMAGES: dict[str, Loaded] = {"ROMFS": False, "bundle": True, "files": FILES}
_DAY_S, _SETTLED_S = 86400, 3600


@dataclass(frozen=True)
class Item:
    """A measurement and its budget, in `unit`."""

    name: str
    measured: int
    budget: int | None
    unit: str

    @property
    def met(self) -> bool:
        return self.budget is None or self.measured <= self.budget


def code_sizes() -> dict[str, int]:
    """Return the octets of each module of the firmware, compiled for the ESP32."""
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        mpy.compile_folder(FIRMWARE, Path(folder), CHIP)
        for source in mpy.modules(FIRMWARE):
            name = source.relative_to(FIRMWARE)
            built = Path(folder) / name
            sizes[name.as_posix()] = (built if built.exists() else built.with_suffix(".mpy")).stat().st_size
    return sizes


def measure() -> Iterator[Item]:
    """Yield the measurements one after the other: together they take a minute."""
    allowed = tomllib.loads(BUDGETS.read_text())
    sizes = code_sizes()
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1]):
        yield Item(f"code {name}", size, allowed["code"]["largest_module"], "octets")
    yield Item("code, all", sum(sizes.values()), allowed["code"]["octets"], "octets")
    for moment, used in bench_heap.live(bench_heap.AMPLE).items():
        yield Item(f"heap {moment}", used, allowed["heap"].get(moment), "octets")
    measured = bench_seal.measure()
    seal = measured["variants"]["native"]
    room = allowed["seal"]["native_allocated" if measured["word_bits"] == 64 else "native_allocated_32"]
    yield Item("heap allocated by a seal", seal["allocated"], room, "octets")
    yield Item("a typical message", seal["octets"], allowed["message"]["octets"], "octets")
    for image, loaded in IMAGES.items():
        # "files" is a board that was flashed as files earlier. It runs on so, and gets the bundle when flashed again.
        budget = None if loaded == FILES else allowed["start"]["flash_reads"]
        yield Item(f"flash reads until armed, {image}", flash_reads(loaded), budget, "")
    yield from _day(allowed)
    idle, _, _ = power.measure("reference", 24)
    yield Item("charge of a day at peace", round(idle.mah_a_day * 1000), allowed["power"]["day_uah"], "uAh")


def flash_reads(loaded: Loaded) -> int:
    """Count the read commands from reset to armed, in the start after provisioning, for one kind of image."""
    with World(seed=1) as world, tempfile.TemporaryDirectory() as folder:
        rig = Rig(world, Path(folder), loaded=loaded)
        try:
            rig.provision()
            rig.bracelet.boot()
            world.expect("firmware", "armed", within=30)
            return rig.bracelet.flash.reads_until["armed"]
        finally:
            rig.close()


def _day(allowed: dict[str, dict[str, int]]) -> Iterator[Item]:
    """Measure the time from power-on to armed, and the sectors of flash that a day at peace erases."""
    with World(seed=1) as world, tempfile.TemporaryDirectory() as folder:
        rig = Rig(world, Path(folder), track=Track.still(1.0, 2.0))
        try:
            rig.provision()
            start = world.now_us
            rig.bracelet.boot()
            armed = world.expect("firmware", "armed", within=10)
            took = (armed.t_us - start) // 1000
            yield Item("from power-on to armed", took, allowed["start"]["armed_ms"], "virtual ms")
            world.run(_SETTLED_S)
            before = sum(rig.bracelet.flash.erases.values())
            world.run(_DAY_S)
            erases = sum(rig.bracelet.flash.erases.values()) - before
            yield Item("sectors erased in a day", erases, allowed["flash"]["erases_a_day"], "")
        finally:
            rig.close()


def main(json: bool) -> int:
    """Print all of it, for people or as one JSON object; return 1 when a budget is exceeded."""
    items = []
    for item in measure():
        items.append(item)
        if not json:
            budget = "" if item.budget is None else f"of {item.budget:>7}"
            over = "" if item.met else "   EXCEEDED"
            click.echo(f"{item.name:42}{item.measured:>8} {budget:10} {item.unit}{over}")
    if json:
        click.echo(dumps([asdict(item) | {"met": item.met} for item in items]))
    return 0 if all(item.met for item in items) else 1
