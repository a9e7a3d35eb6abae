"""Strap, check-in, drill and duress on the bench, beyond what is felt (that is in hwsim's scenarios)."""

import pytest

from hwsim.scenario import actions
from relay.pipeline import Status


@pytest.fixture
def worn(bench, world):
    bench.boot()
    bench.bracelet.strap.close()
    world.expect("firmware", "strap", within=6, state="worn")
    world.run(20)
    return bench


def felt(bench, since):
    return [round(ms, -1) for ms in bench.bracelet.haptic.felt_since(since) if ms > 50]


def test_every_message_says_how_the_strap_is(worn, world):
    worn.press()
    (raised,) = [event.detail["counter"] for event in world.trace if event.what == "raised"]
    world.run(2)
    worn.bracelet.strap.open()
    world.expect("firmware", "update", within=1, by="strap", alarm=raised)
    world.run(2)
    assert [flags["strap"] for flags in worn.flags().values()] == ["closed", "open"]
    assert len(worn.alarms()) == 1


def test_a_board_without_a_strap_says_so_and_does_all_else(make_bench, world):
    bench = make_bench(board="devkit")
    assert bench.bracelet.strap is None
    bench.boot(settle=20)
    with pytest.raises(actions.ActionError):
        actions.do(bench, "strap_cut")
    actions.do(bench, "ask_to_take_off")
    world.run(6)
    bench.press()
    world.run(3)
    assert bench.flags()[bench.accepted()[0]]["strap"] == "none"
    world.expect_nothing("firmware", "strap", within=1)


def test_a_bouncing_contact_raises_once(worn, world):
    worn.bracelet.strap.chatter(0.3)
    worn.bracelet.strap.open()
    world.run(60)
    assert len(worn.alarms()) == 1


def test_torn_off_twice_within_the_hour_is_one_alarm_and_later_another(worn, world):
    for _ in range(2):
        worn.bracelet.strap.open()
        world.run(10)
        worn.bracelet.strap.close()
        world.run(10)
    assert len(worn.alarms()) == 1
    world.run(3600)
    worn.bracelet.strap.open()
    world.run(10)
    assert len(worn.alarms()) == 2


def test_an_alarm_of_the_strap_is_called_back_like_any_other(worn, world):
    worn.bracelet.strap.open()
    world.expect("firmware", "raised", within=1, by="strap")
    world.run(3)
    actions.do(worn, "call_back")
    world.expect("firmware", "cancelled", within=6)
    world.expect_nothing("firmware", "update", within=300)


def test_call_back_and_duress_are_felt_and_said_alike(make_bench, world):
    """Every pulse and every word on the console, until the first Update of the one that goes on."""
    bench = make_bench()
    bench.boot(settle=40)
    traces = []
    for back in ("call_back", "duress_call_back"):
        bench.press()
        world.run(5)
        actions.do(bench, back)
        event = world.expect("firmware", "cancelled", within=7)
        start = event.t_us - 3_200_000  # the hold, whatever taps came before
        world.run(2)
        traces.append(felt(bench, start))
        world.run(60)
    assert traces[0] == traces[1]
    flags = list(bench.flags().values())
    assert sum(each["cancel"] for each in flags) == 2
    forced = next(each for each in flags if each["cancel"] and each["duress"])
    assert not forced["drill"]
    assert bench.documents()[bench.accepted()[-1]]["msg_type"] == "Update"


def test_the_check_in_goes_on_over_a_reset(bench, world):
    bench.boot(settle=20)
    actions.do(bench, "check_in")
    world.expect("firmware", "check_in", within=5, state="start")
    started = world.now_us
    world.run(600)
    bench.bracelet.reset()
    event = world.expect("firmware", "raised", within=1800, by="check_in")
    assert 1790 <= (event.t_us - started) / 1e6 <= 1804  # asleep its clock is up to 1 % fast
    assert bench.documents() == {} or bench.documents()[bench.accepted()[-1]]["cause"] == "check-in"


def test_stopped_it_is_stopped_after_a_reset_too(bench, world):
    bench.boot(settle=20)
    actions.do(bench, "check_in")
    world.run(10)
    actions.do(bench, "check_out")
    world.run(10)
    bench.bracelet.reset()
    world.expect_nothing("firmware", "check_in", within=2000)


def test_a_drill_that_nobody_closes_ends(bench, world):
    bench.boot(settle=20)
    actions.do(bench, "drill")
    world.run(900)
    world.expect_nothing("firmware", "update", within=1500)
    assert all(item.status in (Status.NEW, Status.HEARTBEAT, Status.DUPLICATE) for item in bench.items)
    assert {document["status"] for document in bench.documents().values()} == {"Exercise"}
