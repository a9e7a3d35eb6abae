"""What the battery's voltage says, and when it says nothing."""

import pytest

from tests.firmware.test_bracelet_robust import heard

TABLE = [[3300, 0], [3700, 50], [4200, 100]]


@pytest.mark.parametrize("board", ["reference", "walter"])
@pytest.mark.parametrize("broken", [{"calibrated": False}, {"divider": 0}, {"divider": 20}, {"divider": 2000}])
def test_one_that_cannot_be_measured_is_unknown_and_no_alarm_is_the_last(make_bench, world, board, broken):
    """Without calibration fuses read_uv raises OSError -258 (ports/esp32/adc.c)."""
    bench = make_bench(board=board)
    for name, value in broken.items():
        setattr(bench.bracelet.battery, name, value)
    bench.boot()
    bench.press()
    counter = world.expect("firmware", "delivered", within=30).detail["counter"]
    document = bench.documents()[counter]
    assert (document["battery"], document["flags"]["last"]) == (None, False)
    world.expect("relay", "heartbeat", within=1000)
    assert heard(bench).battery is None
    assert not [event for event in world.trace if event.what in ("missing", "restarted", "battery")]


def test_it_is_known_again(bench, world):
    bench.bracelet.battery.calibrated = False
    bench.boot(settle=10)
    bench.bracelet.battery.calibrated = True
    world.run(70)
    bench.press()
    counter = world.expect("firmware", "delivered", within=10).detail["counter"]
    assert 70 < bench.documents()[counter]["battery"] < 90


def test_one_reading_that_says_nothing_does_not_undo_that_it_ends(bench, world):
    """Else it would say so again, with a message and a heartbeat each time that the divider loses contact."""
    bench.boot()
    bench.press()
    world.expect("firmware", "delivered", within=30)
    bench.bracelet.battery.percent = 1
    world.expect("firmware", "battery", within=200)
    for _ in range(3):
        bench.bracelet.battery.calibrated = False
        world.run(15)
        bench.bracelet.battery.calibrated = True
        world.run(200)
    assert len([event for event in world.trace if (event.who, event.what) == ("firmware", "battery")]) == 1
    bench.bracelet.battery.percent = 60
    world.run(90)
    bench.bracelet.battery.percent = 1
    world.expect("firmware", "battery", within=200)
