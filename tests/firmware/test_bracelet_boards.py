"""Every board of ours boots, raises an alarm and tells where it is, with the chip, modem and receiver that it has."""

from dataclasses import replace

import pytest

from hwsim.board import CONFIGS
from hwsim.rig import APN
from hwsim.world.gnss import Track

HERE = {"track": Track.still(1.0, 2.0)}
IN_THE_MODEM = "lilygo-t-sim7000g"
UNKNOWN_IF_ON = "makerfabs-s3-sim7670g"


def arrives(bench, world, within=6):
    """The Alert, delivered; the counter."""
    counter = world.expect("firmware", "raised", within=6).detail["counter"]
    world.expect("firmware", "delivered", within=within, counter=counter)
    return counter


@pytest.mark.parametrize("board", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_an_alarm_with_its_place(make_bench, world, board):
    bench = make_bench(board=board, **HERE)
    bench.boot()
    world.expect("gnss", "fix", within=60)
    world.run(2)
    world.call(bench.bracelet.button.press)
    counter = arrives(bench, world)
    world.call(bench.bracelet.button.release)
    assert bench.documents()[counter]["position"] is not None
    assert not [event for event in world.trace if event.what in ("missing", "crashed", "nothing is wired there")]


@pytest.mark.parametrize("board", [IN_THE_MODEM, "lilygo-t-a7670"])
def test_asleep_everything_is_off_and_a_touch_brings_it_back(make_bench, world, board):
    bench = make_bench(board=board, **HERE)
    bench.boot()
    world.expect("firmware", "asleep", within=180)
    assert not bench.bracelet.modem.on and not bench.bracelet.gnss.on
    world.call(bench.bracelet.button.press)
    arrives(bench, world, 12)
    world.call(bench.bracelet.button.release)
    world.expect("gnss", "fix", within=60)


def test_a_data_session_makes_room_for_a_position(make_bench, world):
    """The line is either PPP's or the receiver's. The Alert goes first, by data; a fix follows, and data again."""
    bench = make_bench(board=IN_THE_MODEM, wifi=False, apn=APN, **HERE)
    bench.boot()
    world.expect("firmware", "link", within=90, path="ppp", up=1)
    world.expect("firmware", "heartbeat", within=20)
    bench.press()
    world.expect("firmware", "delivered", within=2)
    assert bench.alarms()[0].relay_path == "mqtt"
    world.expect("modem", "data session over", within=130)
    fix = world.expect("firmware", "update", within=10)
    world.expect("firmware", "delivered", within=30, counter=fix.detail["counter"])
    assert bench.documents()[fix.detail["counter"]]["position"]["age_s"] < 10
    world.expect("firmware", "link", within=60, path="ppp", up=1)


def test_a_receiver_that_falls_silent_is_told_again(make_bench, world):
    bench = make_bench(board=IN_THE_MODEM, **HERE)
    bench.boot()
    world.expect("firmware", "gnss", within=60, fix=1)
    bench.press()
    world.expect("firmware", "delivered", within=5)
    bench.bracelet.modem.receiver.switch(False)  # by itself
    world.expect("firmware", "gnss", within=120, silent=1)
    world.expect("gnss", "on", within=5)
    world.expect("gnss", "fix", within=60)


def test_a_modem_that_refuses_its_receiver_still_sends(make_bench, world):
    bench = make_bench(board=IN_THE_MODEM, wifi=False, **HERE)
    bench.bracelet.modem.receiver.commands.clear()
    bench.boot()
    world.expect("firmware", "gnss", within=90, refused=1)
    bench.press()
    world.expect("firmware", "delivered", within=30)
    assert bench.alarms()[0].relay_path == "sms"


def test_a_modem_that_knows_only_lte_is_asked_in_its_way(make_bench, world):
    """A GM02SP: its radio is off until it is told, and +CREG tells nothing."""
    bench = make_bench(board="walter", wifi=False, **HERE)
    bench.boot()
    world.expect("firmware", "link", within=60, path="sms", up=1)
    bench.press()
    world.expect("firmware", "delivered", within=30)
    assert bench.alarms()[0].relay_path == "sms"
    assert bench.bracelet.modem.registration("CREG") == 0


@pytest.mark.parametrize(
    "board", [IN_THE_MODEM, *(pytest.param(b, marks=pytest.mark.long) for b in ("lilygo-t-a7670", "walter"))]
)
def test_a_receiver_that_forgets_is_given_the_time_it_needs_while_an_alarm_is_open(make_bench, world, board):
    """Without a backup supply each start is a cold one: half a minute, and in a modem that starts itself before."""
    bench = make_bench(board=board, **HERE)
    bench.boot()
    world.expect("gnss", "fix", within=60)
    bench.press()
    world.expect("firmware", "asleep", within=4000)
    world.expect("gnss", "fix", within=2000)
    world.expect("firmware", "asleep", within=100)
    document = list(bench.documents().values())[-1]
    assert document["position"]["age_s"] < 60


def test_at_peace_it_searches_less_often_but_long_enough(make_bench, world):
    bench = make_bench(board=IN_THE_MODEM, **HERE)
    bench.boot()
    world.expect("firmware", "asleep", within=180)
    start = world.now_us
    world.run(3 * 3600)
    ons = [event for event in world.trace if event.who == "gnss" and event.what == "on" and event.t_us > start]
    fixes = [event for event in world.trace if event.who == "gnss" and event.what == "fix" and event.t_us > start]
    assert len(ons) == len(fixes) and len(ons) in (2, 3)
    assert not bench.bracelet.modem.on and not bench.bracelet.gnss.on  # asleep


@pytest.mark.parametrize("asleep", [False, True])
def test_a_chip_that_hung_before_its_modem_was_on_texts_in_time(make_bench, world, asleep):
    """Press a key that would switch off a modem that is on: no line shows whether it is, but no key was pressed yet."""
    bench = make_bench(board=UNKNOWN_IF_ON, **HERE)
    bench.set_broker(False)
    bench.boot()
    if asleep:
        world.expect("firmware", "asleep", within=400)
        world.call(bench.bracelet.button.press)
        world.expect("firmware", "armed", within=6)
    assert not bench.bracelet.modem.on
    bench.bracelet.hang()
    world.expect("bracelet", "watchdog", within=20)
    world.call(bench.bracelet.button.release)
    world.expect("firmware", "armed", within=6)
    bench.press()
    world.expect("firmware", "sms", within=30, ok=1)


def test_a_modem_that_starts_while_the_chip_hangs_is_not_switched_off(make_bench, world):
    bench = make_bench(board=UNKNOWN_IF_ON, **HERE)
    modem = bench.bracelet.modem
    modem.habits = replace(modem.habits, boot_s=20)  # longer than the watchdog waits
    bench.boot()
    world.expect("modem", "on", within=20)
    bench.bracelet.hang()
    hung = len(world.trace)
    world.expect("bracelet", "watchdog", within=20)
    world.expect("firmware", "modem", within=20, ready=1)
    assert not [event for event in world.trace[hung:] if (event.who, event.what) == ("modem", "off")]
