"""A relay that was put back: the wearer feels all the same that her alarm was heard, and a wipe wipes."""

from __future__ import annotations

import pytest

from relay.receipt import topic
from relay.verify import parse

HEARD_S = 30
AWAKE_S = 1200  # it sleeps from one heartbeat to the next
RESTORED = pytest.mark.parametrize(
    "restore", [True, pytest.param(False, marks=pytest.mark.long)], ids=["restored", "copied back"]
)


def day_of_life(bench, world, alarms=3, commands=2):
    """Alarms with Updates, and commands: all under counters of the down chain that the copy does not know of."""
    for _ in range(alarms):
        bench.press()
        world.expect("firmware", "receipt", within=30)
        world.run(180)
        bench.close_alarm()
        world.run(60)
    for at in range(commands):
        bench.configure(hold_ms=1500 + at)
        world.expect("firmware", "configure", within=AWAKE_S, news=1)
        world.run(30)


def no_text_twice(bench):
    """No two texts under one key: with equal counters, the salts differ or all is equal."""
    seen = {}
    for octets in bench.capture:
        found = parse(octets)
        assert seen.setdefault((found.counter, found.salt), octets) == octets
    return len(seen)


@RESTORED
def test_the_first_alarm_after_it_is_felt_as_heard(bench, world, restore):
    bench.boot(settle=70)
    bench.press()
    world.expect("firmware", "receipt", within=30)
    bench.close_alarm()
    world.run(60)
    kept = bench.keep()
    day_of_life(bench, world)
    bench.put_back(kept, restore=restore)
    bench.press()
    pressed = world.now_us
    world.expect("firmware", "delivered", within=HEARD_S)
    world.run(5)
    assert [ms for ms in bench.bracelet.haptic.felt_since(pressed) if ms > 60], "felt"
    world.run(120)
    assert no_text_twice(bench) > 10
    bench.accept()
    world.expect("firmware", "accept", within=HEARD_S)
    world.run(AWAKE_S)
    assert bench.registry.get(bench.kid).heard.pending == 0


@RESTORED
def test_a_revocation_after_it_wipes_and_is_confirmed_only_then(bench, world, restore):
    bench.boot(settle=70)
    kept = bench.keep()
    day_of_life(bench, world)
    bench.put_back(kept, restore=restore)
    bench.revoke()
    world.run(1)
    assert bench.registry.get(bench.kid).state == "revoking"
    world.expect("firmware", "revoke", within=2 * AWAKE_S)
    world.run(20)
    assert bench.registry.get(bench.kid).state == "revoked"


def test_a_wipe_that_waits_when_the_folder_is_copied_back_is_not_taken_for_done(bench, world):
    """The heartbeats are ahead of the chain that the wipe was sealed on."""
    bench.boot(settle=70)
    bench.bracelet.wifi.up = False
    world.run(15)
    bench.revoke()
    kept = bench.keep()
    bench.put_back(kept, restore=False)
    bench.bracelet.wifi.up = True
    world.expect("firmware", "revoke", within=400)
    world.run(20)
    assert bench.registry.get(bench.kid).state == "revoked"


@pytest.mark.long
def test_who_repeats_old_messages_drains_no_battery(bench, world):
    """A report follows a message under a used counter at once, but not one after each."""
    bench.boot(settle=70)
    day_of_life(bench, world, alarms=9)
    old = list(bench.capture)
    assert len(old) > 20
    bench.bracelet.reset()  # it recognises none of them any more
    world.expect("firmware", "armed", within=5)
    world.run(60)
    before, minutes = len(bench.items), 20
    for at in range(minutes * 6):
        bench.broker.publish(topic(bench.kid), old[at % len(old)])
        world.run(10)
    beats = [item for item in bench.items[before:] if item.status == "heartbeat"]
    assert 1 <= len(beats) <= minutes + 3
    bench.press()
    world.expect("firmware", "delivered", within=HEARD_S)
