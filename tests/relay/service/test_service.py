"""The relay as a process: one alarm through, crashes at every boundary, brokers and disks that fail."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import rebroadcast
from relay.verify import ChainState, open_receipt, parse
from tests.relay.service.crashing import BOUNDARIES
from tests.relay.service.rig import Rig, eventually, rig


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def test_one_alarm_by_mqtt(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    relay = on_broker.start()
    octets = bracelet.alarm()
    device.publish(f"{bracelet.base}/alarm", octets)

    topic, document = subscriber.next()
    assert topic.startswith("s/") and topic.endswith(f"/{bracelet.kid}/alarm")
    assert rebroadcast.check(document, on_broker.relay.keys.public).ok
    topic, receipt = device.next()
    assert topic == f"{bracelet.base}/ack"

    stages = ["alarm.received", "alarm.verified", "alarm.committed", "alarm.rebroadcast", "alarm.at_broker"]
    for stage in [*stages, "receipt.sent"]:
        (event,) = relay.wait_for(stage)
        assert (event["kid"], event["counter"]) == (bracelet.kid, 0)
        assert "drill" not in event
    eventually(lambda: on_broker.unfinished() == 0, "the delivery is recorded as done")

    device.publish(f"{bracelet.base}/alarm", bracelet.alarm(flags=1))
    for stage in stages[1:4]:
        assert relay.wait_for(stage, 2)[1]["drill"] is True, "the log tells it from an alarm"
    device.next()
    subscriber.next()

    device.publish(f"{bracelet.base}/alarm", octets)
    assert device.next()[1] == receipt, "the same receipt again, and no second rebroadcast"
    device.publish(f"{bracelet.base}/hb", bracelet.heartbeat())
    eventually(lambda: on_broker.count("heartbeat") == 1, "a heartbeat is stored")
    assert subscriber.received.empty()
    assert on_broker.count("alarm") == 2

    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0
    assert relay.events("relay.stopped")


@pytest.mark.parametrize(
    "boundary", [b if b == "after-ack" else pytest.param(b, marks=pytest.mark.long) for b in BOUNDARIES]
)
def test_killed_at_a_boundary_nothing_is_lost_and_nothing_stored_twice(on_broker: Rig, boundary: str) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    alarms = [bracelet.alarm(seq) for seq in range(3)]
    relay = on_broker.start(crash_at=boundary)
    for octets in alarms:
        device.publish(f"{bracelet.base}/alarm", octets)
    assert relay.wait() == -signal.SIGKILL
    on_broker.start()

    eventually(lambda: on_broker.count("alarm") == 3 and on_broker.unfinished() == 0, "all alarms stored and sent")
    for octets in alarms:  # a bracelet that has no receipt yet sends again
        device.publish(f"{bracelet.base}/alarm", octets)
    receipts = {device.next()[1] for _ in alarms}
    while len(receipts) < 3:
        receipts.add(device.next()[1])
    assert len(receipts) == 3
    assert on_broker.count("alarm") == on_broker.count("outbox") == 3
    assert on_broker.count("alarm_case") == 1
    counters: set[int] = set()  # the broker has a document before it comes
    eventually(lambda: counters.update(map(rebroadcast_counter, subscriber.drain())) or len(counters) == 3, "all came")


def rebroadcast_counter(document: bytes) -> int:
    report = rebroadcast.check(document)
    assert report.ok
    assert report.document is not None
    return int(report.document["counter"])


def test_an_alarm_raised_while_the_relay_is_down_is_delivered_in_order(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    first = on_broker.start()
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm(0))
    subscriber.next()
    first.signal(signal.SIGKILL)
    first.wait()
    for seq in (1, 2, 3):
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm(seq))
    on_broker.start()
    assert [rebroadcast_counter(subscriber.next()[1]) for _ in range(3)] == [1, 2, 3]


def test_the_broker_goes_and_comes_back(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    broker = on_broker.start_broker()
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    relay = on_broker.start()
    broker.stop()
    relay.wait_for("mqtt.disconnected")
    broker.start()
    relay.wait_for("mqtt.ready", 2)
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    assert rebroadcast_counter(subscriber.next()[1]) == 0


def test_refused_messages_are_counted_and_acknowledged(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    relay = on_broker.start()
    good = bracelet.alarm()
    bad = good[:-1] + bytes([good[-1] ^ 1])
    for octets in (b"", b"noise", bad, bytes(141)):
        device.publish(f"{bracelet.base}/alarm", octets)
    device.publish(f"{bracelet.base}/alarm", good)
    device.next()
    reasons = [event["reason"] for event in relay.wait_for("alarm.refused", 4)]
    assert reasons == ["not_cbor", "not_cbor", "bad_tag", "oversized"]
    assert on_broker.count("alarm") == 1


def test_the_receipt_opens_with_the_bracelets_chain(on_broker: Rig) -> None:
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    device = bracelet.connect()
    on_broker.start()
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    envelope = parse(device.next()[1])
    assert envelope.kid == int(bracelet.kid, 16)
    assert open_receipt(envelope, ChainState(0, bracelet.roots.down), 0)[0] == 0
