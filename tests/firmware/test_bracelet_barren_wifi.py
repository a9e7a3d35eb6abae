"""A Wi-Fi that is joined and leads nowhere: a login page, or no internet behind it. It keeps no other way from being
tried, is kept away from for a while, and is used again when it works."""

import pytest

from hwsim.rig import APN

BARREN = {
    "a login page": lambda world, on: setattr(world.net, "captive", on),
    "no internet": lambda world, on: setattr(world.net, "data_up", not on),
}


@pytest.fixture(params=BARREN)
def barren(request, world):
    """Switches the fault on or off."""
    return lambda on: BARREN[request.param](world, on)


@pytest.fixture
def both(make_bench):
    """Wi-Fi, and data over the mobile network."""
    return make_bench(apn=APN)


def told(world, what, **detail):
    return [e for e in world.trace if e.what == what and all(e.detail.get(k) == v for k, v in detail.items())]


def test_heartbeats_find_the_mobile_network_and_remember_that_through_sleep(both, world, barren):
    barren(True)
    both.boot()
    world.expect("firmware", "failed", within=60, path="net")
    world.expect("firmware", "link", within=60, path="ppp", up=1)
    world.expect("firmware", "heartbeat", within=10)
    world.run(3 * 3600)
    assert len(told(world, "woke")) >= 11
    assert len(both.arrivals) >= 11  # each duty had its heartbeat
    assert len(told(world, "associated")) <= 7  # at first in each, then in each third


def test_a_press_finds_the_mobile_network_though_wifi_is_up_and_messages_are_lost(both, world, barren):
    both.sms.drop_percent = 100
    both.boot(settle=5)
    barren(True)
    both.press()
    pressed = world.now_us
    world.expect("sms centre", "accepted", within=30)
    assert world.expect("firmware", "receipt", within=60).detail["path"] == "mqtt"
    assert world.now_us - pressed < 60_000_000


def test_it_comes_back_when_that_works_again(both, world, barren):
    barren(True)
    both.boot()
    world.expect("firmware", "failed", within=60, path="net")
    barren(False)
    world.expect("firmware", "asleep", within=300)
    world.run(3 * 900)
    for end in ("link", "asleep"):  # from the next duty on it is there, and nothing is dialled
        world.expect("firmware", end, within=1000, **({"path": "net", "up": 1} if end == "link" else {}))
    sessions = len(told(world, "data session"))
    world.run(3600)
    assert len(told(world, "data session")) == sessions


def test_where_mobile_data_fails_as_well_an_alarm_tries_that_wifi_again(both, world, barren):
    both.sms.drop_percent = 100
    both.bracelet.modem.packet.apn = "another"  # no session is let in
    barren(True)
    both.boot(settle=40)
    assert told(world, "failed", path="net")
    both.press()
    world.run(20)
    barren(False)
    assert world.expect("firmware", "receipt", within=120).detail["path"] == "mqtt"


def test_the_only_way_there_is_is_not_left(make_bench, world, barren):
    bench = make_bench()
    bench.boot(settle=10)
    barren(True)
    bench.press()
    world.run(120)
    assert not told(world, "failed", path="net")
    assert len(told(world, "associated")) == 1


def test_another_wifi_gets_its_turn(make_bench, world, barren):
    bench = make_bench(networks=[("workshop", "hwsim-key"), ("home", "home-key")])
    bench.sms.drop_percent = 100
    bench.boot(settle=10)
    barren(True)
    bench.press()
    world.expect("firmware", "failed", within=70, path="net")
    bench.bracelet.wifi.ssid, bench.bracelet.wifi.key = "home", "home-key"
    barren(False)
    assert world.expect("firmware", "receipt", within=40).detail["path"] == "mqtt"
