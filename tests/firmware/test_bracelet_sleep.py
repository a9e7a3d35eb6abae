"""A bracelet at peace sleeps: what wakes it, what it does then, and what it must not lose by it."""

import pytest
from tocsin import boots

from hwsim.scenario import wearer
from hwsim.world import Track

HOUR = 3600


def events(world, what, start=0):
    return [event for event in world.trace[start:] if event.what == what]


@pytest.fixture
def asleep(make_bench, world):
    """A bench whose bracelet has settled and sleeps."""
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.boot()
    world.expect("firmware", "asleep", within=300)
    world.run(5)
    assert bench.bracelet.state == "asleep"
    return bench


def test_at_peace_it_wakes_for_heartbeats_only(asleep, world):
    start = len(world.trace)
    world.run(6 * HOUR)
    beats = [event.detail["counter"] for event in events(world, "heartbeat", start) if event.who == "relay"]
    assert 22 <= len(beats) <= 27
    wakes = events(world, "woke", start)
    assert {event.detail["by"] for event in wakes} == {"timer"}
    assert len(wakes) <= len(beats) + 3
    awake_us = asleep.bracelet.meter.times()["processor", "active"]
    assert awake_us < 0.06 * 6 * HOUR * 1e6 + 300e6


@pytest.mark.long
def test_sleeping_uses_up_no_counters_and_hardly_any_flash(asleep, world):
    world.run(HOUR)
    erased = sum(asleep.bracelet.flash.erases.values())
    world.run(24 * HOUR)
    assert sum(asleep.bracelet.flash.erases.values()) - erased < 30
    start = len(world.trace)
    asleep.bracelet.button.hold(4.5)
    raised = world.expect("firmware", "raised", within=5)
    assert raised.detail["counter"] < 64
    world.expect("firmware", "receipt", within=20)
    assert not [event for event in world.trace[start:] if event.what == "refused"]


def test_held_while_it_sleeps_it_raises_with_the_last_fix_and_its_age(asleep, world):
    world.run(400)
    asleep.bracelet.gnss.sky = False
    pressed_us = world.now_us
    asleep.bracelet.button.hold(4.5)
    raised = world.expect("firmware", "raised", within=1)
    assert raised.t_us - pressed_us < 4.5e6
    world.expect("firmware", "receipt", within=20)
    document = next(iter(asleep.documents().values()))
    assert document["position"]["lat_e7"] == pytest.approx(480000000, abs=50)
    waited_s = (raised.t_us - events(world, "asleep")[-1].t_us) / 1e6  # the last fix: until 8 s before that
    assert waited_s - 1 <= document["position"]["age_s"] <= waited_s * 1.011 + 10  # its sleeping clock is 1 % fast


def test_many_short_sleeps_do_not_make_the_last_fix_younger(asleep, world):
    """Each would cost it up to two seconds, were its times rounded."""
    off = next(event for event in reversed(world.trace) if (event.who, event.what) == ("gnss", "off"))
    asleep.bracelet.gnss.sky = False
    for number in range(8):
        asleep.bracelet.button.press(for_s=0.2)
        world.expect("firmware", "asleep", within=90)
        world.run(3 + number * 0.37)
    asleep.bracelet.button.hold(4.5)
    raised = world.expect("firmware", "raised", within=5)
    world.expect("firmware", "receipt", within=60)
    document = next(iter(asleep.documents().values()))
    assert document["position"]["age_s"] >= (raised.t_us - off.t_us) // 1_000_000


@pytest.fixture
def put_right(make_bench, world):
    """A bench whose bracelet has believed and saved a time half an hour ahead, before it heard the true one."""
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.bracelet.gnss.sky = False
    bench.bracelet.modem.nitz_offset_s = 1900
    bench.boot()
    world.expect("firmware", "clock", within=60, quality="network")
    bench.bracelet.strap.close()
    world.expect("firmware", "strap", within=20, state="worn")  # which is stored, and the time with it
    world.run(3)
    bench.bracelet.gnss.sky = True
    world.expect("firmware", "clock", within=120, quality="gnss")
    return bench


@pytest.mark.parametrize("end", ["asleep", "supply"])
def test_a_wrong_time_that_was_saved_and_put_right_does_not_come_back(put_right, world, end):
    """After a sleep the real-time clock is right, and what is saved may be ahead of it; with the supply the clock is
    lost, and what is saved must be right."""
    if end == "asleep":
        world.expect("firmware", "asleep", within=300)
        world.run(5)
    else:
        world.run(10)
        put_right.bracelet.power_cut(restart_after=1)
        world.expect("firmware", "armed", within=10)
    put_right.bracelet.modem.service = put_right.bracelet.gnss.sky = False
    pressed = world.unix_time
    put_right.bracelet.button.hold(4.5)
    world.expect("firmware", "receipt", within=60)
    assert abs(min(put_right.times().values()) - pressed) <= 60


def test_a_touch_wakes_it_and_it_sleeps_again(asleep, world):
    world.run(60)
    asleep.bracelet.button.press(for_s=0.2)
    woke = world.expect("firmware", "woke", within=2, by="touch")
    slept = world.expect("firmware", "asleep", within=60)
    assert 15e6 < slept.t_us - woke.t_us < 40e6
    assert not events(world, "raised")


def test_torn_off_while_it_sleeps(asleep, world):
    asleep.bracelet.strap.close()
    world.run(120)
    world.expect("firmware", "asleep", within=60)
    world.run(300)
    asleep.bracelet.strap.open()
    world.expect("firmware", "raised", within=10, by="strap")
    world.expect("firmware", "receipt", within=30)


def test_an_alarm_keeps_it_awake_and_then_wakes_it_for_each_update(asleep, world):
    asleep.bracelet.button.hold(4.5)
    world.expect("firmware", "receipt", within=20)
    start = len(world.trace)
    world.run(14 * 60)
    assert not events(world, "asleep", start)
    world.run(3 * HOUR)
    assert len(events(world, "asleep", start)) >= 6
    assert len(set(asleep.accepted())) >= 12 + 6
    assert not any(event.what == "refused" for event in world.trace)


@pytest.mark.long
def test_without_any_network_it_tries_again_and_again_for_hours(asleep, world):
    asleep.broker.down()
    asleep.bracelet.wifi.up = False
    asleep.bracelet.modem.service = False
    asleep.bracelet.button.hold(4.5)
    counter = world.expect("firmware", "raised", within=5).detail["counter"]
    world.run(2 * HOUR)
    awake = asleep.bracelet.meter.times()["processor", "active"]
    world.run(2 * HOUR)
    assert counter not in asleep.accepted()
    assert asleep.bracelet.meter.times()["processor", "active"] - awake < 1.1 * HOUR * 1e6
    asleep.bracelet.modem.service = True
    world.expect("firmware", "delivered", within=600)
    assert asleep.accepted()[0] == counter


@pytest.mark.parametrize("after_ms", [50, 400, 1500, 4000])
def test_reset_soon_after_waking_uses_no_counter_twice(asleep, world, after_ms):
    """What the clock's memory held is void as soon as it was read."""
    for _ in range(3):
        world.expect("firmware", "woke", within=1000)
        world.run(after_ms / 1000)
        asleep.bracelet.reset()
        world.expect("firmware", "asleep", within=400)
    asleep.bracelet.button.hold(4.5)
    world.expect("firmware", "receipt", within=30)
    assert not any(event.what == "refused" for event in world.trace)


def test_the_supply_lost_in_sleep_costs_a_reserve_and_nothing_else(asleep, world):
    world.run(2000)
    asleep.bracelet.power_cut(restart_after=5)
    world.run(60)
    asleep.bracelet.button.hold(3.5)
    world.expect("firmware", "receipt", within=30)
    assert not any(event.what == "refused" for event in world.trace)


@pytest.mark.long
def test_pressed_at_any_moment_around_falling_asleep_it_raises(make_bench, world):
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.boot()
    slept = world.expect("firmware", "asleep", within=300).t_us
    for number in range(12):
        world.run(1200 if number % 2 else 900)
        raised = len(events(world, "raised"))
        # a duty is short: press a little later each time after it has begun, so that some presses meet the end of it
        world.expect("firmware", "woke", within=1000)
        world.run(0.4 * number)
        bench.bracelet.button.hold(5.5)
        world.run(20)
        now = len(events(world, "raised")) + len([e for e in events(world, "update") if e.detail.get("by") == "hold"])
        assert now > raised, number
        world.run(1000)
    assert slept


def test_what_the_clock_kept_over_a_sleep_is_gone_before_it_is_armed(asleep, world):
    kept = len(asleep.bracelet.rtc.memory)
    world.expect("firmware", "armed", within=1000)
    left = len(asleep.bracelet.rtc.memory) // 2  # hexadecimal
    assert left <= boots.SIZE < kept // 2  # boots.py's record of starts is all that stays


def test_a_duty_shows_no_light_and_is_not_felt(asleep, world):
    lit, felt = len(asleep.bracelet.led.changes), len(asleep.bracelet.haptic.pulses)
    world.run(2 * HOUR)
    assert (len(asleep.bracelet.led.changes), len(asleep.bracelet.haptic.pulses)) == (lit, felt)


def test_without_wifi_the_modem_is_switched_on_in_every_fourth_duty_only(asleep, world):
    asleep.bracelet.wifi.up = False
    start = len(world.trace)
    world.run(4 * HOUR)
    duties = len(events(world, "woke", start))
    switched = [event for event in events(world, "on", start) if event.who == "modem"]
    assert duties >= 14
    assert duties // 4 - 1 <= len(switched) <= duties // 4 + 2


def test_a_drill_that_nobody_closes_lets_it_sleep(asleep, world):
    wearer.drill(asleep)
    world.expect("firmware", "raised", within=20)
    world.run(1200)
    start = len(world.trace)
    world.run(2 * HOUR)
    wakes = events(world, "woke", start)
    assert len(wakes) <= 12, [event.t_us // 1_000_000 for event in wakes]


def test_a_broker_that_takes_its_time_to_acknowledge_costs_no_further_heartbeat(asleep, world):
    asleep.broker.puback_delay_us = 21_000_000
    start = len(world.trace)
    world.run(2 * HOUR)
    wakes = events(world, "woke", start)
    assert 7 <= len(wakes) <= 10
    assert not [event for event in events(world, "client gone", start) if not event.detail["gracefully"]]
    for woke in wakes[:-1]:
        slept = next(event for event in events(world, "asleep", start) if event.t_us > woke.t_us)
        assert slept.t_us - woke.t_us < 45e6


@pytest.mark.parametrize("delay_us", [50_000_000, pytest.param(None, marks=pytest.mark.long)])
def test_of_a_broker_that_acknowledges_late_or_never_only_every_fourth_puback_is_waited_for(asleep, world, delay_us):
    """Or it would cost half the days of a charge."""
    asleep.broker.puback_delay_us = delay_us
    world.run(HOUR)
    begun_us, start = asleep.bracelet.meter.times()["processor", "active"], len(world.trace)
    world.run(4 * HOUR)
    assert 15 <= len(events(world, "woke", start)) <= 18
    assert asleep.bracelet.meter.times()["processor", "active"] - begun_us < 17 * 30e6
    heard = [event for event in events(world, "heartbeat", start) if event.who == "relay"]
    assert len(heard) >= 15
    asleep.broker.puback_delay_us = 0
    world.run(HOUR)  # it finds out that the broker is a quick one again
    begun_us = asleep.bracelet.meter.times()["processor", "active"]
    world.run(HOUR)
    assert asleep.bracelet.meter.times()["processor", "active"] - begun_us < 4 * 10e6


@pytest.mark.long
def test_heartbeats_that_no_broker_takes_become_rarer_through_deep_sleep(asleep, world):
    """Each connection ends before the broker has taken the heartbeat, so that its last will is what the relay knows."""
    asleep.broker.puback_delay_us = None
    until = world.now_us + 4 * HOUR * 1_000_000
    sent = []
    while world.now_us < until:
        sent.append(world.expect("relay", "heartbeat", within=HOUR).t_us)
        world.net.cut()
    assert sent[1] - sent[0] < 200e6
    assert len(sent) <= 22


def test_in_a_vigil_without_anything_new_it_looks_once_a_minute_at_most(asleep, world):
    """Its slot is past, but with no sky and the same cell there is nothing to tell until ten minutes are over."""
    asleep.bracelet.gnss.sky = False
    asleep.bracelet.button.hold(4.5)
    world.expect("firmware", "raised", within=5)
    world.run(890)
    start = len(world.trace)
    world.run(5 * 60)
    slept = [event.detail["ms"] for event in events(world, "asleep", start)]
    assert len(slept) >= 3
    assert min(slept) >= 30_000
