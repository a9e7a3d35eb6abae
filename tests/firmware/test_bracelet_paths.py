"""A bracelet on the bench: from the press to the receipt in the wrist, by every path and around every obstacle."""

import datetime

import pytest

from hwsim.rig import HOST, WIFI
from hwsim.world import Track
from relay import pki
from relay.pipeline import Status

HEARD = [120, 120, 120]
UTC = datetime.UTC


def felt(bench, since_us):
    """Pulses in steps of 5 ms, without the ticks of the ripening hold."""
    return [round(ms / 5) * 5 for ms in bench.bracelet.haptic.felt_since(since_us) if ms > 60]


def seconds(event_later, event):
    return (event_later.t_us - event.t_us) / 1e6


def test_press_by_mqtt(bench, world):
    bench.boot(settle=15)
    start = world.now_us
    bench.bracelet.button.press()
    pressed = world.expect("firmware", "pressed", within=1)
    raised = world.expect("firmware", "raised", within=4)
    published = world.expect("firmware", "published", within=1)
    receipt = world.expect("firmware", "receipt", within=1, path="mqtt")
    bench.bracelet.button.release()
    assert 2.9 < seconds(raised, pressed) < 3.1
    assert seconds(published, raised) < 0.1
    assert seconds(receipt, raised) < 1
    world.run(3)
    assert felt(bench, start) == [700, *HEARD]
    assert bench.accepted() == [raised.detail["counter"]]
    assert world.sms.submitted == []


def test_a_press_too_short_raises_nothing(bench, world):
    bench.boot(settle=15)
    bench.bracelet.button.hold(2.8)
    world.expect_nothing("firmware", "raised", within=10)


def test_updates_follow_with_fresh_fixes(make_bench, world):
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.boot(settle=60)
    bench.press()
    raised = world.now_us
    world.run(200)
    times = [round((e.t_us - raised) / 1e6) for e in world.trace if (e.who, e.what) == ("firmware", "update")]
    assert times == [20, 40, 60, 120, 180]
    assert all(item.status == Status.NEW for item in bench.items if item.status != Status.HEARTBEAT)
    assert bench.bracelet.haptic.felt_since(raised + 10_000_000) == []  # Updates are quiet


def test_without_gnss_the_alert_leaves_at_once_and_updates_wait_for_a_fix(make_bench, world):
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.boot()
    world.run(3)
    bench.press()
    world.expect("firmware", "receipt", within=2)
    fix = world.expect("firmware", "gnss", within=60, fix=1)
    update = world.expect("firmware", "update", within=30)
    assert seconds(update, fix) < 1


def test_no_wifi_texts_at_once(make_bench, world):
    bench = make_bench(wifi=False)
    bench.boot(settle=20)
    bench.bracelet.button.press()
    raised = world.expect("firmware", "raised", within=4)
    accepted = world.expect("sms centre", "accepted", within=5, sender="modem")
    world.expect("firmware", "receipt", within=15, path="sms")
    assert seconds(accepted, raised) < 3
    world.run(1)
    assert felt(bench, raised.t_us)[-3:] == HEARD


def test_wifi_that_is_lost_texts_at_once(bench, world):
    bench.boot(settle=20)
    bench.bracelet.wifi.up = False
    world.expect("firmware", "link", within=60, path="net", up=0)
    bench.press()
    world.expect("sms centre", "accepted", within=5, sender="modem")
    world.expect("firmware", "receipt", within=15, path="sms")


def test_broker_down_texts_after_15_s(bench, world):
    bench.boot(settle=20)
    bench.broker.down()
    bench.bracelet.button.press()
    raised = world.expect("firmware", "raised", within=4)
    accepted = world.expect("sms centre", "accepted", within=20, sender="modem")
    assert 15 <= seconds(accepted, raised) <= 18
    world.expect("firmware", "receipt", within=15, path="sms")


def test_broker_that_says_nothing_texts_after_15_s(bench, world):
    bench.boot(settle=20)
    world.net.data_up = False
    bench.press()
    accepted = world.expect("sms centre", "accepted", within=20, sender="modem")
    assert accepted
    world.expect("firmware", "receipt", within=15, path="sms")


def test_relay_down_is_told_again_with_the_same_octets(bench, world):
    bench.boot(settle=20)
    bench.answers = False
    bench.press()
    world.run(200)
    assert bench.bracelet.haptic.felt_since(world.now_us - 150_000_000) == []
    counter = bench.accepted()[0]
    assert len(bench.octets(counter)) == 1
    assert [item.status for item in bench.items if item.counter == counter].count(Status.DUPLICATE) >= 3
    assert len(world.sms.submitted) >= 2
    assert len({sms.data for sms in world.sms.submitted}) == 1
    bench.answers = True
    world.expect("firmware", "receipt", within=310, counter=counter)
    world.expect_nothing("firmware", "sms", within=600)


def test_everything_down_then_delivered_once_in_order_with_its_true_time(make_bench, world):
    bench = make_bench(track=Track.still(48.0, 11.0))
    bench.boot(settle=60)
    bench.broker.down()
    bench.bracelet.modem.service = False
    world.run(10)
    bench.press()
    raised_at = world.unix_time
    world.run(900)
    assert bench.accepted() == []
    bench.broker.up()
    world.expect("firmware", "receipt", within=400, path="mqtt")
    world.run(60)
    accepted = bench.accepted()
    assert accepted == list(range(accepted[0], accepted[0] + len(accepted)))
    assert len(accepted) >= 12
    assert bench.times()[accepted[0]] in (raised_at, raised_at - 1)


def test_a_cut_connection_is_made_again(bench, world):
    bench.boot(settle=20)
    world.net.cut()
    world.expect("firmware", "link", within=5, path="mqtt", up=0)
    world.expect("firmware", "link", within=30, path="mqtt", up=1)
    bench.press()
    world.expect("firmware", "receipt", within=2, path="mqtt")


def test_a_connection_that_died_silently_is_noticed(bench, world):
    bench.boot(settle=20)
    world.net.data_up = False
    world.expect("firmware", "link", within=90, path="mqtt", up=0)
    world.net.data_up = True
    world.expect("firmware", "link", within=60, path="mqtt", up=1)


@pytest.mark.parametrize("fault", ["wrong CA", "wrong name", "expired", "not yet valid"])
def test_a_broker_that_is_not_ours_is_refused_and_the_alarm_texted_at_once(bench, world, fault):
    year = datetime.timedelta(days=365)
    contexts = {
        "wrong CA": lambda: bench.certificate(pki.create_ca(not_before=datetime.datetime(2025, 6, 1, tzinfo=UTC))),
        "wrong name": lambda: bench.certificate(bench.ca, "other.test"),
        "expired": lambda: bench.certificate(bench.ca, not_after=datetime.datetime(2025, 12, 1, tzinfo=UTC)),
        "not yet valid": lambda: bench.certificate(
            bench.ca, not_before=datetime.datetime.now(UTC) + year, not_after=datetime.datetime.now(UTC) + 2 * year
        ),
    }
    bench.broker.present(contexts[fault]())
    bench.boot(settle=20)
    refused = world.expect("firmware", "refused", within=0, what="tls")
    assert refused.detail["reason"] == "certificate"
    bench.bracelet.button.press()
    raised = world.expect("firmware", "raised", within=4)
    accepted = world.expect("sms centre", "accepted", within=5, sender="modem")
    assert seconds(accepted, raised) < 3
    world.expect("firmware", "receipt", within=15, path="sms")
    assert bench.broker.published == []


def test_no_tls_before_the_clock_is_known(make_bench, world):
    bench = make_bench(sends_time=False)
    bench.bracelet.modem.nitz = False
    bench.bracelet.gnss.cold_start_s = 100_000
    bench.boot(settle=20)
    bench.bracelet.button.press()
    raised = world.expect("firmware", "raised", within=4)
    accepted = world.expect("sms centre", "accepted", within=5, sender="modem")
    assert seconds(accepted, raised) < 3
    world.expect("firmware", "receipt", within=15, path="sms")
    assert not any(event.what == "connected" for event in world.trace)
    assert list(bench.times().values()) == [None]


def test_network_time_lets_tls_begin(make_bench, world):
    bench = make_bench(sends_time=False)
    bench.bracelet.gnss.cold_start_s = 100_000
    bench.boot()
    world.expect("firmware", "clock", within=30, quality="network")
    world.expect("firmware", "link", within=5, path="mqtt", up=1)


def test_host_and_network_names_are_the_offers(bench):
    assert bench.offer["mqtt"]["host"] == HOST
    assert bench.offer["wifi"] == [list(WIFI)]
