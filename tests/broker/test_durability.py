"""What survives: a subscriber's absence on every broker, and the broker's own violent death on the embedded one."""

from __future__ import annotations

import os
import signal
import time

import pytest

from relay.broker import Broker
from relay.broker.nats import NatsBroker

from .conftest import ANNA, Connect

ALARM = f"b/0/{ANNA}/alarm"


def test_what_comes_while_the_relay_is_away_waits_for_it_in_order(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay", clean=False)
    assert relay.subscribe("b/+/+/alarm") == [1]
    relay.close()
    anna = connect(broker, ANNA)
    sent = [b"alarm %d" % number for number in range(20)]
    for payload in sent:
        anna.publish(ALARM, payload)
    back = connect(broker, "relay", clean=False)
    assert back.session_present
    received = [back.receive() for _ in sent]
    assert [message.payload for message in received] == sent


def test_what_was_not_acknowledged_comes_again(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    anna = connect(broker, ANNA)
    for payload in (b"first", b"second"):
        anna.publish(ALARM, payload)
    first = relay.receive()
    assert (first.payload, relay.receive().payload) == (b"first", b"second")
    relay.ack(first)
    time.sleep(0.1)  # let the PUBACK get out
    relay.vanish()
    back = connect(broker, "relay", clean=False)
    again = back.receive()
    assert again.payload == b"second"
    back.ack(again)


@pytest.mark.long
def test_a_burst_while_the_relay_is_away_is_kept_whole(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.close()
    anna = connect(broker, ANNA)
    infos = [anna.paho.publish(ALARM, b"%d" % number, qos=1) for number in range(3000)]
    for info in infos:
        info.wait_for_publish(30)
    back = connect(broker, "relay", clean=False)
    numbers = []
    for _ in infos:
        message = back.receive()
        back.ack(message)
        numbers.append(int(message.payload))
    assert sorted(set(numbers)) == list(range(3000))


def test_acknowledged_messages_survive_the_killing_of_the_embedded_broker(nats: NatsBroker, connect: Connect) -> None:
    relay = connect(nats, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.vanish()
    anna = connect(nats, ANNA)
    for number in range(50):
        anna.publish(ALARM, b"%d" % number)
    assert nats.pid is not None
    os.kill(nats.pid, signal.SIGKILL)
    wait_until(lambda: nats.poll() is not None)
    assert nats.poll() == -signal.SIGKILL
    wait_until(nats.ensure_running)
    nats.wait_ready()
    back = connect(nats, "relay", clean=False)
    assert back.session_present
    assert [back.receive().payload for _ in range(50)] == [b"%d" % number for number in range(50)]


def test_sessions_and_messages_survive_an_orderly_restart(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.close()
    connect(broker, ANNA).publish(ALARM, b"before")
    broker.stop()
    assert broker.pid is None
    broker.start()
    broker.wait_ready()
    assert connect(broker, "relay", clean=False).receive().payload == b"before"


def wait_until(condition, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen in time")
        time.sleep(0.02)
