"""A broker that closes on what it forbids: one such message must not keep the relay off for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.closing import ClosingProxy
from tests.relay.service.rig import Rig, eventually, rig


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


@pytest.mark.long
def test_a_broker_without_the_rule_for_rebroadcasts_costs_no_receipt(on_broker: Rig) -> None:
    """What the relay may not publish is set aside; it goes out when the rule is there."""
    data = on_broker.data
    bracelet = on_broker.bracelet()
    on_broker.start_broker()
    proxy = ClosingProxy(on_broker.port, data.server_cert, data.server_key, f"/{bracelet.kid}/alarm")
    data.config.write_text(data.config.read_text().replace(f"port = {on_broker.port}", f"port = {proxy.port}"))
    subscriber, device = on_broker.subscriber(), bracelet.connect()
    relay = on_broker.start()
    count = 10
    for seq in range(count):
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm(seq))
    receipts: set[bytes] = set()  # one that was on its way when a connection ended comes again
    while len(receipts) < count:
        receipts.add(device.next()[1])
    told = relay.wait_for("mqtt.set_aside")[-1]
    assert (told["level"], told["rule"]) == ("error", "s/+/+/alarm")
    assert "let intake-1-a publish s/+/+/alarm" in told["hint"]

    # From now on the relay stays connected, and answers.
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm(count))
    while len(receipts) < count + 1:
        receipts.add(device.next()[1])
    assert on_broker.unfinished() == count + 1
    assert proxy.closed < 12  # not two a message

    proxy.forbidden = None
    eventually(lambda: on_broker.unfinished() == 0, "what was set aside goes out", timeout=60)
    assert relay.events("mqtt.set_aside_passed")
    assert len(subscriber.distinct(count + 1)) == count + 1
    proxy.close()
