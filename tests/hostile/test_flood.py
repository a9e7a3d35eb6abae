"""One account that sends junk without pause: the others don't wait for it, and the operator learns who it is."""

from __future__ import annotations

import json
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from relay.ingest.mqtt import client_tls
from relay.store import records
from tests.hostile.flooding import send_junk
from tests.relay.service.rig import TIMEOUT, Bracelet, Rig, eventually, rig

FLOOD = 4500  # less than the embedded broker keeps of one topic


@pytest.fixture
def on_broker(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def refusals(made: Rig) -> dict[str, int]:
    with made.relay.store.read() as connection:
        return {reason: count for (reason, _), count in records.refusals(connection).items()}


@pytest.mark.long
def test_an_alarm_behind_a_flood_is_answered_before_the_flood_is_worked_off(on_broker: Rig) -> None:
    config = on_broker.data.config
    config.write_text(config.read_text() + "\n[limits]\nflood_per_s = 20\nflood_s = 10\nqueue = 2000\n")
    thief, honest = on_broker.bracelet("thief"), on_broker.bracelet("honest")
    on_broker.start_broker()
    first = on_broker.start()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0

    ca = on_broker.data.ca_cert
    assert send_junk(on_broker.port, ca, (thief.kid, thief.account, thief.password), most=FLOOD, seconds=60) == FLOOD
    device = honest.connect()
    device.publish(f"{honest.base}/alarm", honest.alarm())
    relay = on_broker.start()
    device.next()
    verified = sum(count for reason, count in refusals(on_broker).items() if reason != "flood")
    assert verified < FLOOD // 2

    (told,) = relay.wait_for("flood")
    assert (told["level"], told["kid"]) == ("error", thief.kid)
    assert "relay bracelet revoke" in told["hint"]
    assert told["messages"] >= told["let_go"] > 0
    # Not just as many: what is not acknowledged within 2 s the broker sends again.
    eventually(lambda: sum(refusals(on_broker).values()) >= FLOOD, "every message is counted", timeout=60)
    assert refusals(on_broker)["bad_tag"] > 0
    assert refusals(on_broker)["flood"] > FLOOD // 3
    assert on_broker.count("alarm") == 1
    # The flood's own lines don't keep the honest bracelet's out of the log.
    stages = [e["event"] for e in relay.events() if e.get("kid") == honest.kid]
    assert stages[:3] == ["alarm.received", "alarm.verified", "alarm.committed"]


@pytest.mark.long
def test_a_flood_that_goes_on_is_to_be_cut_off_and_the_honest_part_of_it_is_kept(on_broker: Rig) -> None:
    """A sender of junk may have sent an alarm before: that one is answered, as long as its account is not over."""
    config = on_broker.data.config
    config.write_text(config.read_text() + "\n[limits]\nflood_per_s = 20\nflood_s = 10\n")
    thief = on_broker.bracelet("thief")
    on_broker.start_broker()
    relay = on_broker.start()
    device = thief.connect()
    device.publish(f"{thief.base}/alarm", thief.alarm())
    device.next()
    device.close()
    on_broker.clients.remove(device)
    who = thief.kid, thief.account, thief.password
    assert send_junk(on_broker.port, on_broker.data.ca_cert, who, most=2000, seconds=60) == 2000
    (cut,) = relay.wait_for("flood.cut_off")
    assert (cut["kid"], cut["done"], cut["for_s"]) == (thief.kid, False, 600.0)
    eventually(lambda: sum(refusals(on_broker).values()) >= 2000, "every message is counted", timeout=60)
    assert len(relay.events("flood")) == 1
    assert "AAAA" not in json.dumps(relay.events("flood"))


@pytest.mark.long
def test_the_embedded_broker_lets_a_flooding_account_in_no_more(tmp_path: Path) -> None:
    with rig(tmp_path, own_broker=False) as made:
        config = made.data.config
        config.write_text(config.read_text() + "\n[limits]\nflood_per_s = 20\nflood_s = 10\n")
        thief, honest = made.bracelet("thief"), made.bracelet("honest")
        relay = made.start()
        victim = honest.connect()
        who = thief.kid, thief.account, thief.password
        # However much it has to send, its connection ends.
        assert send_junk(made.port, made.data.ca_cert, who, most=10**9, seconds=120) > 0
        (cut,) = relay.wait_for("flood.cut_off")
        assert (cut["kid"], cut["done"]) == (thief.kid, True)
        assert refused(made, thief)
        assert victim.connected
        victim.publish(f"{honest.base}/alarm", honest.alarm())
        victim.next()


def refused(made: Rig, bracelet: Bracelet) -> bool:
    answers: queue.Queue[bool] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, bracelet.account, reconnect_on_failure=False)
    client.username_pw_set(bracelet.account, bracelet.password)
    client.tls_set_context(client_tls(made.data.ca_cert))
    client.on_connect = lambda _c, _u, _f, reason, _p: answers.put(reason.is_failure)
    client.connect("localhost", made.port)
    client.loop_start()
    try:
        return answers.get(timeout=TIMEOUT)
    finally:
        client.disconnect()
        client.loop_stop()
