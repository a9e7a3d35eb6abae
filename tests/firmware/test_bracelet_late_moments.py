"""A strap that is cut as the chip falls asleep, and a modem that comes up as it is given up."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hwsim.rig import Rig
from hwsim.world import World


@contextmanager
def worn(board: str) -> Iterator[tuple[Rig, World]]:
    """A bracelet that is switched on with its strap closed."""
    with tempfile.TemporaryDirectory() as folder, World(seed=1) as world:
        rig = Rig(world, Path(folder), board=board)
        try:
            rig.provision()
            rig.boot()
            rig.bracelet.strap.close()
            yield rig, world
        finally:
            rig.close()


@functools.cache
def sleeps_at(board: str) -> int:
    """Return when it falls asleep (us)."""
    with worn(board) as (_, world):
        for _ in range(100):
            world.run(5)
            last = [event for event in world.trace if event.who == "bracelet"][-1:]
            if last and last[0].what == "deep sleep" and world.now_us - last[0].t_us > 5_000_000:
                return last[0].t_us
    raise AssertionError("it does not sleep")


@pytest.mark.parametrize("board", ["reference", "lilygo-t-sim7670g-s3"])
@pytest.mark.parametrize("before_ms", [900, 700, 600, 500, 450, 350, 250, 150, 50, 10, -50])
def test_a_strap_that_is_cut_as_it_falls_asleep_is_told_at_once(board, before_ms):
    """EXT1 wakes at a level: armed while the strap is open already, it would wait for the strap to close. And an alarm
    that is raised during the goodbye to the broker is not slept with."""
    cut_us = sleeps_at(board) - before_ms * 1000
    with worn(board) as (rig, world):
        world.after(cut_us - world.now_us, rig.bracelet.strap.open)
        world.run((cut_us - world.now_us) / 1e6 + 5)
        assert [event for event in world.trace if event.what == "raised"]
        assert [event for event in world.trace if (event.who, event.what) == ("firmware", "receipt")]


@pytest.mark.parametrize(
    ("boot_s", "before_s"), [(8.0, 1.5), (8.0, 0.9), (8.0, 0.3), (12.0, 3.0), (12.0, 2.0), (12.0, 0.0)]
)
def test_a_modem_that_comes_up_is_not_taken_for_lost(make_bench, world, boot_s, before_s):
    """Restart the modem so long before the alarm; a SIM7600 needs more than 10 s until AT (T-SIM7600X#41)."""
    bench = make_bench(wifi=False)
    modem = bench.bracelet.modem
    bench.boot(settle=45)
    modem.habits.boot_s, modem.habits.sms_s = boot_s, boot_s + 2
    world.after(int((3.08 - before_s) * 1e6), modem.restart)
    pressed_us = world.now_us
    bench.press()
    world.expect("sms centre", "accepted", within=60, sender="modem")
    assert world.now_us - pressed_us <= 30_000_000
    assert not [e for e in world.trace if e.who == "firmware" and e.what == "modem" and "lost" in e.detail]
