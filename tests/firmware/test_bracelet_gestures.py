"""Gestures on a bracelet on the bench: calling back, saying more, raising again."""

from relay.pipeline import Status


def tap(bench, world):
    bench.bracelet.button.hold(0.15)
    world.run(0.3)


def cancel(bench, world):
    tap(bench, world)
    tap(bench, world)
    bench.bracelet.button.hold(3.3)


def test_calling_back(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.run(5)
    start = world.now_us
    cancel(bench, world)
    world.expect("firmware", "cancelled", within=1)
    world.run(3)
    assert [round(ms, -1) for ms in bench.bracelet.haptic.felt_since(start) if ms > 50] == [300, 80, 300]
    alert, update = bench.accepted()
    assert update == alert + 1
    flags = bench.flags()
    assert not flags[alert]["cancel"]
    assert flags[update]["cancel"]
    world.expect_nothing("firmware", "update", within=300)


def test_a_hold_soon_after_is_an_update(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.run(5)
    start = world.now_us
    bench.bracelet.button.hold(3.3)
    world.expect("firmware", "update", within=1)
    world.run(1)
    assert [round(ms, -1) for ms in bench.bracelet.haptic.felt_since(start) if ms > 60] == [200]
    assert bench.sequences() == [0, 1]


def test_a_hold_later_is_a_new_alert(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.run(31)
    bench.press()
    world.run(2)
    assert bench.sequences()[-1] == 0
    assert len(bench.accepted()) >= 2


def test_cancel_pattern_later_raises(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.run(40)
    cancel(bench, world)
    world.expect("firmware", "raised", within=1)


def test_a_bouncing_button_is_one_press(bench, world):
    bench.bracelet.button.bounce_us = 8000
    bench.boot(settle=20)
    bench.bracelet.button.hold(3.3)
    world.run(5)
    assert [event.what for event in world.trace if event.who == "firmware"].count("pressed") == 1
    assert len(bench.accepted()) == 1


def test_held_while_it_boots(bench, world):
    bench.bracelet.button.press()
    bench.boot()
    world.expect("firmware", "raised", within=4)


def test_heartbeats_carry_no_alarm(bench, world):
    bench.boot()
    world.expect("firmware", "heartbeat", within=70)
    world.expect("firmware", "heartbeat", within=901)
    world.run(1)
    assert [item.status for item in bench.items] == [Status.HEARTBEAT, Status.HEARTBEAT]
