"""What the chip's pads do in a reset and asleep (hwsim/world/pads.py), and that button, strap and modem bear it."""

import re

import pytest

from hwsim.board import CONFIGS
from hwsim.world.gnss import Track

HERE = {"track": Track.still(1.0, 2.0)}
S3_BOARDS = ("lilygo-t-sim7670g-s3", "makerfabs-s3-sim7670g", "walter")
ESP32_BOARDS = ("reference", "lilygo-t-a7670")


@pytest.fixture(
    params=[
        board if board in ("walter", "reference") else pytest.param(board, marks=pytest.mark.long)
        for board in S3_BOARDS + ESP32_BOARDS
    ]
)
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


# -- what the modem sees of a reset and of sleep


def went_on(world, start):
    return [event for event in world.trace[start:] if (event.who, event.what) == ("modem", "on")]


def test_a_modem_that_is_off_stays_off_when_the_chip_wakes(make_bench, world):
    """T-A7670: its RESET is GPIO5, which is pulled up in a reset (LilyGo-Modem-Series issues 10, 290)."""
    bench = make_bench(board="lilygo-t-a7670", **HERE)
    bench.boot()
    world.expect("firmware", "asleep", within=400)
    for _ in range(3):
        start = len(world.trace)
        world.expect("firmware", "woke", within=1000, by="timer")
        world.expect("firmware", "asleep", within=100)
        wanted = [event for event in world.trace[start:] if (event.who, event.what) == ("firmware", "modem")]
        assert wanted or not went_on(world, start)
    start = len(world.trace)
    bench.bracelet.button.press(for_s=4)
    world.expect("firmware", "raised", within=10)
    world.run(60)
    assert went_on(world, start)


@pytest.mark.parametrize(("board", "line"), [("lilygo-t-a7670", "hold = [5]"), ("walter", "hold = [45]")])
def test_without_the_hold_each_waking_starts_the_modem(make_bench, world, tmp_path, board, line):
    text = (CONFIGS / f"{board}.toml").read_text()
    text = re.sub(r'(?m)^"modem.hold" = .*\n', "", text).replace(line, "")
    (tmp_path / f"{board}.toml").write_text(text)
    make_bench(board=tmp_path / f"{board}.toml", **HERE).boot()
    world.expect("firmware", "asleep", within=400)
    for _ in range(2):
        start = len(world.trace)
        world.expect("firmware", "woke", within=1000, by="timer")
        world.run(2)
        assert went_on(world, start)


@pytest.mark.parametrize("board", ["lilygo-t-a7670", "walter"])
def test_a_reset_of_the_chip_leaves_the_modem_in_its_network(make_bench, world, board):
    bench = make_bench(board=board, **HERE)
    bench.boot()
    world.expect("modem", "registered", within=60)
    world.run(5)
    start = len(world.trace)
    bench.bracelet.hang()  # the watchdog bites
    world.expect("firmware", "armed", within=60)
    world.run(20)
    if board == "walter":  # the other one's supply goes with the reset
        assert bench.bracelet.modem.on and not went_on(world, start)
    assert bench.bracelet.modem.registered


def test_a_modem_without_a_key_keeps_its_network_through_the_night(make_bench, world):
    """Walter's RESET is GPIO45, pulled down in a reset, and no pad of the RTC (walter_modem/core.py holds it)."""
    bench = make_bench(board="walter", **HERE)
    bench.boot()
    world.expect("firmware", "asleep", within=400)
    start = len(world.trace)
    world.run(4000)
    assert len(wakes(world, start, "timer")) >= 3
    assert bench.bracelet.modem.on and not went_on(world, start)


def test_a_reset_in_the_middle_of_a_modem_reset_lets_go_of_it(make_bench, world):
    """The pad is held, and active."""
    bench = make_bench(board="lilygo-t-a7670", wifi=False, **HERE)
    bench.boot()
    world.expect("modem", "registered", within=60)
    bench.press()  # so that it stays awake
    bench.bracelet.modem.mute = True
    chip = bench.bracelet
    assert world.run_until(lambda: chip.pads.seen(5) == 1 and chip.state not in ("starting", "off"), 200)
    world.run(0.5)
    bench.bracelet.hang()
    world.expect("firmware", "armed", within=60)
    world.run(3)  # the button comes before the modem
    assert bench.bracelet.pads.seen(5) == 0
