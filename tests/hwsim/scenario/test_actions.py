"""The vocabulary: every action can happen at any time, says what it takes, and does what it says."""

import pytest

from hwsim.rig import Rig
from hwsim.scenario.actions import ACTIONS, ActionError, check, do
from relay.pipeline import Status


@pytest.fixture
def rig(world, tmp_path):
    made = Rig(world, tmp_path)
    made.provision()
    yield made
    made.close()


NEEDED = {key for action in ACTIONS.values() for key, p in action.parameters.items() if p.default is None}


def test_every_action_is_described_and_has_defaults():
    assert NEEDED == set()
    for name, action in ACTIONS.items():
        assert action.help
        assert "\n" not in action.help
        assert action.undo is None or action.undo in ACTIONS
        for parameter in action.parameters.values():
            assert parameter.help
            assert parameter.kind is bool or parameter.low <= parameter.default <= parameter.high
        assert check(name, {}) == {key: p.default for key, p in action.parameters.items()}


# Every third with each test command, the others with the long ones.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if place % 3 else []) for place, name in enumerate(ACTIONS)]
)
def test_everything_can_happen_while_it_works_while_it_is_off_and_twice(rig, world, name):
    rig.boot(settle=12)
    do(rig, name)
    world.run(3)
    do(rig, name)
    world.run(3)
    rig.bracelet.power_cut()
    do(rig, name)
    world.run(15)
    if rig.bracelet.state == "off":
        rig.bracelet.boot()
    world.run(2)
    assert [event for event in world.trace if event.who == "scene"][-1].what == name
    assert not any(event.what in ("restarted", "crashed", "main.py ended", "console") for event in world.trace)


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("fly", {}, "no action"),
        ("press", {"until": 3}, 'no argument "until"'),
        ("press", {"for_s": True}, "a number"),
        ("battery", {"percent": 101}, "0 to 100 %"),
        ("battery", {"percent": 10.5}, "a whole number"),
        ("captive_wifi", {"on": 0}, "true or false"),
    ],
)
def test_arguments_that_do_not_fit(name, arguments, why):
    with pytest.raises(ActionError, match=why):
        check(name, arguments)


@pytest.mark.parametrize(
    ("name", "board", "why"),
    [
        ("receiver_wrong", "lilygo-t-sim7000g", "receiver in the modem"),
        ("receiver_right", "lilygo-t-sim7000g", "receiver in the modem"),
        ("strap_cut", "devkit", "no strap"),
    ],
)
def test_what_a_board_does_not_have(world, tmp_path, name, board, why):
    rig = Rig(world, tmp_path, board=board)
    with pytest.raises(ActionError, match=why):
        do(rig, name)
    rig.close()


def test_a_relay_that_was_down_takes_in_order_what_was_kept(rig, world):
    rig.boot(settle=12)
    do(rig, "relay_down")
    rig.press()
    world.run(60)
    assert rig.items == []
    do(rig, "broker_down")
    do(rig, "relay_up")
    assert {arrival.path for arrival in rig.arrivals} == {"sms"}
    do(rig, "broker_up")
    assert {arrival.path for arrival in rig.arrivals} == {"sms", "mqtt"}
    statuses = [item.status for item in rig.items if item.status != Status.HEARTBEAT]
    assert statuses.count(Status.NEW) == len(set(rig.accepted()))
    assert set(rig.rebroadcasts.values()) == {1}


def test_the_story_of_an_alarm(rig, world):
    rig.boot(settle=12)
    do(rig, "press")
    world.run(5)
    (story,) = rig.alarms()
    assert story.relay_path == story.receipt_path == "mqtt"
    assert story.pressed_us < story.raised_us < story.relay_us < story.receipt_us
    assert 3.0 < (story.receipt_us - story.pressed_us) / 1e6 < 3.5


def test_a_processor_that_hangs_is_reset_by_its_watchdog_only_once(rig, world):
    rig.boot(settle=12)
    do(rig, "hang")
    world.expect("bracelet", "watchdog", within=41)
    world.expect("firmware", "boot", within=1, cause="watchdog")
    world.expect_nothing("bracelet", "watchdog", within=60)


def test_a_reset_ends_a_hang_and_its_watchdog(rig, world):
    rig.boot(settle=12)
    do(rig, "hang")
    world.run(5)
    do(rig, "reset")
    world.expect_nothing("bracelet", "watchdog", within=60)


def test_supply_lost_at_an_operation_of_the_flash_comes_back(rig, world):
    rig.boot(settle=12)
    do(rig, "flash_cut", operation=2, restart_s=3)
    world.expect("bracelet", "power cut", within=5)
    world.expect("firmware", "armed", within=5)


def test_sms_faults(rig, world):
    relay = rig.phone
    other = world.sms.phone("+10000000007", "other")
    do(rig, "sms_duplicate", copies=2)
    other.send(relay.number, b"copied")
    do(rig, "sms_duplicate", copies=0)
    do(rig, "sms_drop")
    other.send(relay.number, b"lost")
    do(rig, "sms_drop", percent=0)
    do(rig, "sms_delay", s=60)
    other.send(relay.number, b"late")
    world.run(30)
    assert [sms.data for sms in relay.received] == [b"copied"] * 3
    world.run(40)
    assert relay.received[-1].data == b"late"
    do(rig, "sms_delay", s=1)
    do(rig, "sms_reorder", s=600)
    for number in range(10):
        other.send(relay.number, bytes([number]))
    world.run(601)
    order = [sms.data[0] for sms in relay.received[4:]]
    assert sorted(order) == list(range(10)) != order
