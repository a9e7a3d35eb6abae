"""Updates over the air: ordered by the relay, fetched in pieces, with whatever comes between."""

from __future__ import annotations

from statistics import median

import pytest

from hwsim import bundle
from hwsim.powercut.release import KEY
from tests.firmware.updates import either, firmware, flip, march


def keyed(make_bench, **options):
    bench = make_bench(**options)
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.boot(settle=20)
    return bench


def test_a_bundle_is_fetched_by_mqtt_installed_and_kept(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    firmware(world, "fetched", within=300)
    firmware(world, "kept", version=2)
    world.run(20)
    assert {"/update.get", "/update.part", "/update.bin"} & bench.bracelet.files.everything().keys() == set()
    subscribed = bench.broker.sessions[bench.offer["mqtt"]["user"]].subscriptions
    assert list(subscribed) == [f"b/{bench.kid[0]}/{bench.kid}/ack"]


def test_it_goes_on_after_a_reset_and_waits_for_an_alarm(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(4)
    before = pieces_asked(world)
    assert before > 5
    bench.press()
    world.expect("firmware", "delivered", within=5)
    world.run(2)
    during = pieces_asked(world)
    world.run(60)
    assert pieces_asked(world) == during
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    bench.close_alarm()
    firmware(world, "fetched", within=2000)  # it may sleep once in between
    asked = pieces_asked(world)
    assert asked <= -(-len(release_size(bench)) // 448) + 3  # none twice but those on their way
    firmware(world, "kept", version=2)


def release_size(bench):
    return b"".join(bench.broker.retained.values())


def pieces_asked(world):
    return sum(event.what == "subscribe" and event.detail["topic"].startswith("fw/") for event in world.trace)


def test_pieces_that_are_not_the_bundles_are_found(make_bench, release, world):
    bench = keyed(make_bench)
    octets = release(2)
    bench.update(octets)
    topic = next(topic for topic in bench.broker.retained if topic.endswith("/9"))
    bench.broker.retain(topic, flip(bench.broker.retained[topic], 100))
    world.expect("firmware", "refused", within=300, what="update", reason="digest")
    world.run(30)
    bench.press()
    world.expect("firmware", "delivered", within=10)


@pytest.mark.long
def test_without_pieces_it_gives_up_until_the_next_start(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    kept = dict(bench.broker.retained)
    bench.broker.retained.clear()
    world.run(200)
    bench.broker.retained.update(kept)
    bench.bracelet.reset()
    firmware(world, "fetched", within=300)


def test_an_older_one_is_not_even_fetched(make_bench, world):
    bench = keyed(make_bench)
    bench.update(bundle.sign(1, bundle.processor(march()), b"older", KEY))
    world.expect("firmware", "refused", within=20, what="update", reason="version")
    assert pieces_asked(world) == 0


def awake_s(world, since_us):
    """How long each waking from deep sleep lasted."""
    found, woke = [], None
    for event in world.trace:
        if event.t_us < since_us or event.who != "firmware":
            continue
        if event.what == "woke":
            woke = event.t_us
        elif event.what == "asleep" and woke is not None:
            found.append((event.t_us - woke) / 1e6)
            woke = None
    return found


@pytest.mark.long
def test_an_alarm_that_goes_on_sleeps_as_if_no_bundle_waited(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    bench.press()
    world.run(1200)
    start = world.now_us
    world.run(2400)
    assert median(awake_s(world, start)) < 60
    assert not bench.bracelet.files.exists("/update.bin")
    bench.close_alarm()
    firmware(world, "kept", within=3600)


@pytest.mark.long
def test_without_a_network_nothing_stays_awake_for_a_bundle(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    bench.bracelet.wifi.up = False
    world.run(600)
    start = world.now_us
    world.run(4 * 3600)
    assert median(awake_s(world, start)) < 5
    bench.bracelet.wifi.up = True
    firmware(world, "kept", within=3600)


@pytest.mark.long
def test_pieces_that_never_come_are_given_up_for_good(make_bench, world, release):
    bench = keyed(make_bench)
    bench.update(release(2))
    bench.broker.retained.clear()
    world.expect("firmware", "refused", within=10 * 3600, what="update", reason="silent")
    asked = pieces_asked(world)
    assert asked < 200
    world.run(3600)
    assert pieces_asked(world) == asked
    bench.update(release(3))  # once more ordered, it is asked for anew
    firmware(world, "kept", within=3600, version=3)


@pytest.mark.long
def test_another_order_in_the_middle_takes_its_place(make_bench, world, release):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(3)
    bench.update(release(3))
    firmware(world, "kept", within=600, version=3)
    assert not any(event.what == "refused" for event in world.trace if event.who == "firmware")


@either
@pytest.mark.parametrize("freed", [0, 3])
def test_a_full_file_system_refuses_and_loses_nothing(make_bench, world, release, loaded, freed):
    bench = make_bench(loaded=loaded)
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.bracelet.files.fill("/full")
    for number in range(freed):  # 32 KB each
        bench.bracelet.files.remove(f"/full{number}")
    bench.boot(settle=20)
    before = bench.bracelet.files.everything().keys()
    bench.update(release(2))
    world.expect("firmware", "refused", within=60, what="update", reason="room")
    assert bench.bracelet.files.everything().keys() == before
    bench.press()
    world.expect("firmware", "delivered", within=10)


def orders(bench, *releases):
    """The sealed order of each bundle, in turn; the bracelet gets none of them by itself. All pieces are there."""
    bench.set_relay(False)
    found = []
    for octets in releases:
        bench.update(octets)
        found += bench._downlink.due(bench.world.unix_time)
    return found


@pytest.mark.long
def test_an_older_order_that_comes_late_changes_nothing(make_bench, world, release):
    bench = keyed(make_bench)
    older, newer = orders(bench, release(2), release(3))
    bench.tell(newer)
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(3)
    bench.tell(older)  # as when it was lost, and the relay sends it again
    bench.set_relay(True)
    firmware(world, "kept", within=600, version=3)


def test_the_same_bundle_ordered_again_goes_on_where_it_was(make_bench, world, release):
    bench = keyed(make_bench)
    octets = release(2)
    bench.update(octets)
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(5)
    bench.update(octets)
    firmware(world, "fetched", within=600)
    assert pieces_asked(world) <= -(-len(octets) // 448) + 3


@pytest.mark.long
def test_an_order_in_safe_mode_is_carried_out_after_it(make_bench, world, release):
    bench = keyed(make_bench)
    for _ in range(4):
        bench.bracelet.reset()
        world.run(10)
    assert world.trace[-1].t_us and any(e.what == "boot" and e.detail.get("mode") == "safe" for e in world.trace)
    bench.update(release(2))
    world.expect("firmware", "update", within=60, path="mqtt")
    world.expect_nothing("firmware", "firmware", within=600)
    firmware(world, "kept", within=7200, version=2)
