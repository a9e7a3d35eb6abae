"""Measure how much of the heap the firmware takes, in octets of a chip with 32-bit words (`heap_size`, world/link.py).

There are two figures, because one doesn't follow from the other. The octets *in use* at a moment are those that a
collection leaves. The *smallest* heap is one in which a whole life still succeeds: provisioned, armed, connected, an
alarm with Updates over MQTT and one by SMS, with their receipts. It also has room for garbage, in the pieces that are
free. bench_memory.py tells what the ESP32's own libraries take beside the heap, for Wi-Fi and TLS.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Any

import click

from hwsim import toolchain
from hwsim.rig import Rig
from hwsim.world import Track, World
from hwsim.world.device import SimulationError
from hwsim.world.link import heap_used
from hwsim.world.peripheral import Peripheral

AMPLE, STEP = 256 * 1024, 1024  # octets; the smallest heap is less than the first, and found to the second


class HeapMeter(Peripheral):
    """A meter that asks a bracelet's interpreter how much is in use."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.octets = 0  # that the interpreter counted
        self._bits = toolchain.word_bits(tuple(toolchain.micropython()))
        rig.bracelet.wire("heap", self)

    def output(self, device: str, args: list[Any]) -> None:
        self.octets = args[0]

    def reset(self) -> None:
        """Do nothing: a meter is not set up."""

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        raise RuntimeError("nobody asks the meter")

    def used(self) -> int:
        """Return the octets in use on the chip, after a collection."""
        self._rig.bracelet.deliver("heap")
        self._rig.world.run(0.01)
        return heap_used(self.octets, self._bits)


def live(heap: int) -> dict[str, int]:
    """Play the life and return the octets in use at its moments. AssertionError or SimulationError when it fails."""
    used = {}
    with World(seed=1, heap=heap) as world, tempfile.TemporaryDirectory() as folder:
        rig = Rig(world, Path(folder), track=Track.still(1.0, 2.0))
        try:
            meter = HeapMeter(rig)
            rig.provision()
            rig.bracelet.boot()
            world.expect("firmware", "armed", within=10)
            used["armed"] = meter.used()
            world.expect("firmware", "link", within=60, path="mqtt", up=1)
            world.expect("firmware", "gnss", within=60, fix=1)
            used["idle"] = meter.used()
            rig.press()
            world.expect("firmware", "delivered", within=10)
            used["alarm"] = meter.used()
            world.run(90)
            rig.bracelet.wifi.up = False
            world.run(30)
            rig.press()
            used["alarm_sms"] = meter.used()
            world.expect("firmware", "delivered", within=60, counter=rig.alarms()[-1].counter)
            _check(rig)
        finally:
            rig.close()
    return used


def _check(rig: Rig) -> None:
    """Check that everything was delivered, and that nothing failed on the way."""
    assert {story.receipt_path for story in rig.alarms()} == {"mqtt", "sms"}
    assert rig.bracelet.boots == 2  # one to be provisioned
    for event in rig.world.trace:
        assert event.what not in ("restarted", "crashed", "stuck"), event
        assert "MemoryError" not in str(event.detail), event


def succeeds(heap: int) -> bool:
    try:
        live(heap)
    except (AssertionError, SimulationError):
        return False
    return True


def smallest(works: Callable[[int], bool], least: int, most: int, step: int) -> int:
    """Return the least multiple of `step` that works. `least` doesn't work, and `most` does."""
    low, high = least // step, most // step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle * step) else (middle, high)
    return high * step


def measure() -> dict[str, int]:
    """Return the octets in use at each moment, and those of the smallest heap."""
    used = live(AMPLE)
    return used | {"smallest": smallest(succeeds, used["armed"] // 2, AMPLE, STEP)}


def main(json: bool) -> int:
    """Print the figures, for people or as one JSON object."""
    from hwsim import bench_memory

    found = measure()
    if json:
        bits = toolchain.word_bits(tuple(toolchain.micropython()))
        click.echo(dumps(found | {"bits": bits, "images": bench_memory.as_json()}))
    else:
        for name, octets in found.items():
            click.echo(f"{name:10}{octets / 1024:7.1f} KB")
        click.echo()
        for line in bench_memory.table():
            click.echo(line)
    return 0
