"""Where she is, as the messages of a whole bracelet say it: moving or still, doubted or sure, old or new."""

import pytest

from hwsim.world import Track

HOUR = 3600
HERE = (48.0, 11.0)
E7_PER_KM = 89832  # of latitude


def updates(world, start=0):
    return [event.t_us / 1e6 for event in world.trace[start:] if event.who == "firmware" and event.what == "update"]


@pytest.fixture
def raised(make_bench, world):
    """A bench that has a fix, with an alarm that the relay has, and when it was raised."""
    bench = make_bench(track=Track.still(*HERE))
    bench.boot()
    world.run(40)
    bench.press()
    world.expect("firmware", "receipt", within=20)
    return bench


def newest(bench):
    return max(bench.documents().items())[1]


@pytest.mark.long
def test_carried_off_while_it_sleeps_she_is_told_of_within_ten_minutes_and_every_ten_from_then_on(raised, world):
    world.run(HOUR + 1500)
    now_s = world.now_us / 1e6
    raised.bracelet.gnss.track = Track([(now_s, *HERE, 0), (now_s + 1800, 48.3, 11.0, 0)])  # 19 m/s
    start = len(world.trace)
    world.run(620)
    assert len(updates(world, start)) >= 1
    assert newest(raised)["position"]["lat_e7"] > 480000000 + E7_PER_KM // 20
    world.run(1180)
    assert 3 <= len(updates(world, start)) <= 4


@pytest.mark.long
def test_in_its_looks_it_does_not_switch_the_modem_on(raised, world):
    world.run(HOUR)
    start = len(world.trace)
    world.run(2 * HOUR)
    sealed = len(updates(world, start))
    switched = sum(event.who == "modem" and event.what == "on" for event in world.trace[start:])
    looks = sum(event.what == "woke" for event in world.trace[start:])
    assert 4 <= sealed <= 5
    assert looks >= 12
    assert switched <= sealed


def test_who_vanishes_from_the_sky_is_told_of_every_ten_minutes(raised, world):
    world.run(1.5 * HOUR)
    raised.bracelet.gnss.sky = False
    start = len(world.trace)
    world.run(HOUR)
    assert 5 <= len(updates(world, start)) <= 7
    document = newest(raised)
    assert document["position"] is None or document["position"]["age_s"] > 2000
    assert document["cell"] is not None


def test_doubt_outlasts_sleep_for_an_hour_and_the_position_goes_out_as_it_is(raised, world):
    world.run(30)
    assert not newest(raised)["flags"]["doubtful"]
    raised.bracelet.gnss.jump_e7 = (5 * E7_PER_KM, 0)
    jumped_s = world.now_us / 1e6
    world.run(2.5 * HOUR)
    at = {e.detail["counter"]: e.t_us / 1e6 - jumped_s for e in world.trace if e.what in ("update", "raised")}
    documents = {counter: document for counter, document in raised.documents().items() if at[counter] > 5}
    assert any(e.what == "woke" for e in world.trace)
    for counter, document in documents.items():
        assert document["flags"]["doubtful"] == (at[counter] < HOUR), (counter, at[counter])
        assert document["position"]["lat_e7"] == pytest.approx(480000000 + 5 * E7_PER_KM, abs=100)
    assert {document["flags"]["doubtful"] for document in documents.values()} == {True, False}


def test_free_of_the_spoofer_it_is_sure_again(raised, world):
    raised.bracelet.gnss.jump_e7 = (5 * E7_PER_KM, 0)
    world.run(100)
    assert newest(raised)["flags"]["doubtful"]
    raised.bracelet.gnss.jump_e7 = (0, 0)
    world.run(100)
    assert not newest(raised)["flags"]["doubtful"]


def test_the_first_fix_after_a_night_elsewhere_is_no_jump(make_bench, world):
    bench = make_bench(track=Track.still(*HERE))
    bench.boot()
    world.expect("firmware", "asleep", within=300)
    bench.bracelet.gnss.sky = False
    world.run(4 * HOUR)
    bench.bracelet.gnss.track = Track.still(52.0, 4.0)
    bench.bracelet.gnss.sky = True
    bench.bracelet.button.hold(4.5)
    world.run(120)
    assert newest(bench)["position"]["age_s"] < 5
    assert not newest(bench)["flags"]["doubtful"]


def test_a_receiver_that_repeats_itself_holds_no_clock_back_and_is_switched_off_and_on(raised, world):
    world.run(1)
    raised.bracelet.gnss.frozen = True
    world.run(50)
    document = newest(raised)
    sealed = [event.t_us for event in world.trace if event.what == "update"][-1]
    assert document["sent_unix"] == pytest.approx(world.unix_time + (sealed - world.now_us) / 1e6, abs=2)
    world.expect("firmware", "gnss", within=60, silent=1)
    raised.bracelet.button.hold(3.5)
    world.run(20)
    assert not raised.bracelet.gnss.frozen
    world.run(60)
    assert newest(raised)["position"]["age_s"] < 3


def test_a_receiver_without_a_switch_that_hung_while_the_chip_slept_tells_neither_place_nor_time(make_bench, world):
    """Nobody has heard that second yet, but a receiver that lives says another one next."""
    bench = make_bench(board="devkit", track=Track.still(*HERE))
    bench.boot()
    world.expect("firmware", "asleep", within=300)
    world.run(30)
    bench.bracelet.gnss.frozen = True
    world.run(300)
    bench.bracelet.button.hold(4.5)
    sealed = world.expect("firmware", "raised", within=5).t_us
    world.expect("firmware", "receipt", within=20)
    document = newest(bench)
    assert document["sent_unix"] == pytest.approx(world.unix_time + (sealed - world.now_us) / 1e6, abs=10)
    assert document["time_quality"] != "gnss"
    assert 320 <= document["position"]["age_s"] <= 400


def test_a_place_by_three_satellites_says_how_good_it_is(raised, world):
    raised.bracelet.gnss.poor = True
    world.run(100)
    position = newest(raised)["position"]
    assert position["accuracy_m"] == 100
    assert position["altitude_m"] is None
