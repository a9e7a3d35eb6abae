"""Check that Wi-Fi, PPP and TLS find their memory beside MicroPython's heap, and show what is free, on each image.

The figures of the firmware are measured (bench_heap.py), those of ESP-IDF are published ones (world/memory.py).
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwsim.bench_heap import HeapMeter
from hwsim.rig import APN, Rig
from hwsim.world import Track, World
from hwsim.world.memory import OWN, SPIRAM, STOCK, UNCOUNTED, Image

IMAGES = {
    OWN: "reference, devkit: TOCSIN_ESP32",
    STOCK: "the same with Bluetooth and a heap that doubles",
    SPIRAM: "boards with PSRAM",
}


@dataclass(frozen=True)
class Moment:
    """A moment of a life. In octets: MicroPython's heap, and how much of it is in use; the memory free beside it,
    in all and in one stretch. `short`: the parts that found no memory since the moment before."""

    name: str
    in_use: int
    python: int
    free: int
    largest: int
    short: tuple[str, ...]


class _Life:
    """A bracelet with an image, looked at from moment to moment."""

    def __init__(self, world: World, folder: Path, image: Image) -> None:
        self._world = world
        self.rig = Rig(world, folder, track=Track.still(1.0, 2.0), apn=APN)
        self._memory = self.rig.bracelet.memory
        self._memory.image = image
        self._memory.reset()
        self._meter = HeapMeter(self.rig)
        self._seen = 0
        self.moments: list[Moment] = []

    def look(self, name: str, peak: bool = False) -> None:
        """Note this moment. `peak`: the free memory is that at the height of the last handshake."""
        in_use = self._meter.used() + UNCOUNTED
        self._memory.uses(in_use)
        events = list(self._world.trace)[self._seen :]
        self._seen += len(events)
        short = tuple(dict.fromkeys(str(each.detail["part"]) for each in events if each.what == "no memory"))
        heap = self._memory.heap
        free, largest = self._memory.peak if peak else (heap.total, heap.largest)
        self.moments.append(Moment(name, in_use, self._memory.python, free, largest, short))

    def live(self) -> None:
        world, rig = self._world, self.rig
        rig.provision()
        rig.bracelet.boot()
        world.expect("firmware", "armed", within=10)
        self.look("armed")
        world.run(30)
        self.look("TLS handshake", peak=True)
        self.look("connected by Wi-Fi")
        rig.press()
        world.run(20)
        self.look("alarm open")
        rig.bracelet.wifi.up = False
        rig.bracelet.modem.service = True
        world.run(90)
        self.look("TLS handshake by PPP", peak=True)
        self.look("alarm open, PPP")


def measure(image: Image) -> list[Moment]:
    with World(seed=1) as world, tempfile.TemporaryDirectory() as folder:
        life = _Life(world, Path(folder), image)
        try:
            life.live()
        finally:
            life.rig.close()
    return life.moments


def as_json() -> dict[str, Any]:
    return {image.name: [asdict(moment) for moment in measure(image)] for image in IMAGES}


def table() -> list[str]:
    """Return the lines of a table for people, in KB of 1024 octets."""
    lines = [f"{'KB':38}{'in use':>8}{'of heap':>9}{'free':>8}{'in one':>8}"]
    for image, name in IMAGES.items():
        lines.append(name)
        for each in measure(image):
            figures = (each.in_use, each.python, each.free, each.largest)
            short = f"   no memory for: {', '.join(each.short)}" if each.short else ""
            lines.append(f"  {each.name:36}" + "".join(f"{octets / 1024:8.1f}" for octets in figures) + short)
    return lines
