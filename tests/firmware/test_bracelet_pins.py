"""What the chip's pads do in a reset and asleep (hwsim/world/pads.py), and that button, strap and modem bear it."""

import pytest

from hwsim.world.gnss import Track

HERE = {"track": Track.still(1.0, 2.0)}
S3_BOARDS = ("lilygo-t-sim7670g-s3", "makerfabs-s3-sim7670g", "walter")
ESP32_BOARDS = ("reference", "lilygo-t-a7670")


@pytest.fixture(params=S3_BOARDS + ESP32_BOARDS)
def worn(request, make_bench, world):
    """A bench whose bracelet is worn and asleep."""
    bench = make_bench(board=request.param, **HERE)
    bench.bracelet.strap.close()
    bench.boot()
    world.expect("firmware", "asleep", within=400)
    world.run(2)
    return bench


def wakes(world, start, by):
    return [event.t_us for event in world.trace[start:] if event.what == "woke" and event.detail["by"] == by]


def test_nothing_wakes_it_by_itself_and_a_cut_does_within_a_second(worn, world):
    start = len(world.trace)
    for pause in (7, 300, 1200):  # soon after it fell asleep, between two wakings, after one
        world.run(pause)
        world.run_until(lambda: worn.bracelet.state == "asleep", 120)
    assert not wakes(world, start, "touch")
    cut_us = world.now_us
    world.call(worn.bracelet.strap.open)
    woke = world.expect("firmware", "woke", within=1.5, by="touch")
    assert woke.t_us - cut_us <= 1_000_000
    world.expect("firmware", "raised", within=2, by="strap")


def test_a_press_wakes_it_within_a_second_worn_or_not(worn, world):
    for worn_now in (True, False):
        if not worn_now:
            world.call(worn.bracelet.strap.open)
            world.expect("firmware", "raised", within=2, by="strap")
            world.expect("firmware", "asleep", within=1200)
            world.run(5)
        pressed_us = world.now_us
        world.call(worn.bracelet.button.press)
        assert world.expect("firmware", "woke", within=1.5, by="touch").t_us - pressed_us <= 1_000_000
        world.call(worn.bracelet.button.release)
        world.expect("firmware", "asleep", within=1200)
        world.run(5)
        start = len(world.trace)
        world.run(100)
        assert not wakes(world, start, "touch")
