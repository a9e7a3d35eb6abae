"""Several Wi-Fi networks, and a driver that keeps the reason of its last failure and takes no orders while it tries
(ports/esp32/network_wlan.c; micropython#17661)."""

import itertools

import pytest

from hwsim.rig import WIFI

ABSENT, FAR, WRONG_KEY = ("not-here", "some-key-1"), ("nor-this-one", "some-key-2"), (WIFI[0], "a-former-key")


def joined(world, within):
    return world.expect("firmware", "link", within=within, path="net", up=1)


@pytest.mark.parametrize(
    "networks", [*itertools.permutations((WIFI, ABSENT)), *itertools.permutations((WIFI, ABSENT, FAR))]
)
def test_whichever_is_in_reach_is_joined(make_bench, world, networks):
    make_bench(networks=networks).boot()
    joined(world, 15 * len(networks))


@pytest.mark.parametrize("networks", [(WRONG_KEY, WIFI), (ABSENT, WRONG_KEY, WIFI)])
def test_one_whose_key_has_changed_keeps_none_of_the_others_away(make_bench, world, networks):
    make_bench(networks=networks).boot()
    joined(world, 45)


@pytest.mark.parametrize("networks", [(WIFI,), (ABSENT, WIFI), (WIFI, ABSENT)])
def test_one_that_goes_is_joined_when_it_comes_back(make_bench, world, networks):
    bench = make_bench(networks=networks)
    bench.boot()
    joined(world, 30)
    bench.press()  # so that it stays awake
    world.run(5)
    bench.bracelet.wifi.up = False
    world.expect("firmware", "link", within=20, path="net", up=0)
    world.run(100)
    bench.bracelet.wifi.up = True
    joined(world, 60)


def test_one_that_comes_into_reach_later(make_bench, world):
    bench = make_bench(networks=(ABSENT, WIFI, FAR))
    bench.bracelet.wifi.up = False
    bench.boot()
    world.run(40)
    bench.press()
    world.run(30)
    bench.bracelet.wifi.up = True
    joined(world, 90)


def test_a_driver_that_is_busy_is_asked_again(make_bench, world):
    bench = make_bench()
    bench.bracelet.wifi.busy_until_us = world.now_us + 4_000_000
    bench.boot()
    joined(world, 15)


def test_none_in_reach_is_said_soon(make_bench, world):
    """An alarm must not wait for a network that isn't there."""
    bench = make_bench(networks=(ABSENT, FAR))
    bench.boot()
    world.expect("firmware", "link", within=20, path="net", up=0)


def test_a_router_that_names_no_server_of_names_may_be_one(make_bench, world, monkeypatch):
    from hwsim.world import wifi

    show = wifi.Wifi._show

    def nameless(self, status, addresses=None):
        show(self, status, [*addresses[:3], "0.0.0.0"] if addresses else addresses)

    monkeypatch.setattr(wifi.Wifi, "_show", nameless)
    bench = make_bench()
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=5, path="mqtt")


@pytest.mark.parametrize("call", ["wifi", "wifi_on", "wifi_join"])
def test_a_driver_that_refuses_with_an_error_that_has_no_name_costs_its_own_path_only(bench, world, call):
    """RuntimeError (hwsim/world/driver_calls.py)."""
    bench.bracelet.driver_calls.refuse(call)
    bench.boot()
    bench.press()
    world.expect("sms centre", "accepted", within=30)
    world.expect("firmware", "delivered", within=20)
    assert not any(event.what in ("restarted", "crashed", "stuck") for event in world.trace)
    bench.bracelet.driver_calls.heal()
    if call == "wifi":  # there is no object to ask again
        bench.bracelet.reset()
    world.expect("firmware", "link", within=400, path="mqtt", up=1)
