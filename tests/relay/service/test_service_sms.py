"""Alarms by SMS: the relay as a process, with the simulated modem on a real PTY."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwsim.world import World
from hwsim.world.modem import Modem
from relay import rebroadcast
from tests.relay.service.crashing import BOUNDARIES
from tests.relay.service.rig import Bracelet, Rig, eventually, rig

RELAY, BRACELET = "+10000000009", "+10000000001"


@dataclass
class Field:
    """A relay with a modem, and a phone number that a bracelet's SMS come from."""

    world: World
    rig: Rig
    bracelet: Bracelet
    modem: Modem

    def send(self, octets: bytes) -> None:
        self.world.call(lambda: self.phone.send(RELAY, octets))

    def __post_init__(self) -> None:
        self.phone = self.world.sms.phone(BRACELET)

    def received(self) -> list[bytes]:
        return self.world.call(lambda: [sms.data for sms in self.phone.received])

    def stored_in_sim(self) -> int:
        return self.world.call(lambda: len(self.modem.storage))


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    with World(realtime=True) as world:
        world.sms.delay_us = 20_000
        far = world.relay_modem(RELAY)
        with rig(tmp_path, sms_port=far.port) as made:
            bracelet = made.bracelet()
            field = Field(world, made, bracelet, far.modem)
            world.start_thread()
            made.start_broker()
            yield field
            made.stop_processes()


def test_one_alarm_by_sms_and_the_same_by_mqtt(field: Field) -> None:
    subscriber, device = field.rig.subscriber(), field.bracelet.connect()
    relay = field.rig.start()
    octets = field.bracelet.alarm()
    field.send(octets)
    report = rebroadcast.check(subscriber.next()[1])
    assert report.ok
    assert report.document is not None
    assert report.document["path"] == "sms"
    eventually(lambda: len(field.received()) == 1, "the receipt came by SMS")
    eventually(lambda: field.stored_in_sim() == 0, "the message was deleted")
    (sent,) = relay.wait_for("receipt.sent")
    assert sent["path"] == "sms"

    device.publish(f"{field.bracelet.base}/alarm", octets)
    assert device.next()[1] == field.received()[0], "the identical receipt on the other path"
    assert subscriber.received.empty()
    assert field.rig.count("alarm") == 1
    assert BRACELET not in relay.log_file.read_text()


def test_alarms_by_sms_do_not_wait_for_a_broker_that_is_down(field: Field) -> None:
    subscriber = field.rig.subscriber()
    relay = field.rig.start()
    assert field.rig.broker is not None
    field.rig.broker.stop()
    relay.wait_for("mqtt.disconnected")
    field.send(field.bracelet.alarm())
    eventually(lambda: len(field.received()) == 1, "the receipt came by SMS")
    assert field.rig.unfinished() == 1
    assert relay.events("alarm.waits_for_broker") and not relay.events("alarm.rebroadcast"), "it says what is true"
    field.rig.broker.start()
    assert rebroadcast.check(subscriber.next()[1]).ok
    eventually(lambda: field.rig.unfinished() == 0, "the rebroadcast is done once the broker is back")


@pytest.mark.parametrize(
    "boundary", [b if b == "after-commit" else pytest.param(b, marks=pytest.mark.long) for b in BOUNDARIES]
)
def test_killed_at_a_boundary_the_alarm_by_sms_is_neither_lost_nor_stored_twice(field: Field, boundary: str) -> None:
    subscriber = field.rig.subscriber()
    relay = field.rig.start(crash_at=boundary)
    relay.wait_for("sms.ready")
    octets = field.bracelet.alarm()
    field.send(octets)
    assert relay.wait() == -signal.SIGKILL
    field.rig.start()
    eventually(lambda: field.rig.count("alarm") == 1 and field.rig.unfinished() == 0, "stored and sent")
    eventually(lambda: field.stored_in_sim() == 0, "the message was deleted")
    if not field.received():  # the bracelet has no receipt yet, so it sends again
        field.send(octets)
    eventually(field.received, "the receipt came by SMS")
    assert len(set(field.received())) == 1
    assert field.rig.count("alarm") == field.rig.count("alarm_case") == 1
    assert len(subscriber.distinct(1)) == 1


def test_a_modem_that_restarts_under_a_running_relay(field: Field) -> None:
    relay = field.rig.start()
    relay.wait_for("sms.ready")

    def restart() -> None:
        field.modem.power(False)
        field.modem.power(True)

    field.world.call(restart)
    relay.wait_for("sms.ready", 2)
    field.send(field.bracelet.alarm())
    eventually(lambda: len(field.received()) == 1, "the receipt came by SMS", timeout=60)
    eventually(lambda: field.stored_in_sim() == 0, "the message was deleted")


@pytest.mark.long
def test_a_modem_without_network_is_an_error_in_the_log(field: Field) -> None:
    def lose() -> None:
        field.modem.service = False

    field.world.call(lose)
    relay = field.rig.start()
    eventually(lambda: relay.events("sms.trouble"), "it is told within a minute", timeout=60)
    (told,) = relay.events("sms.trouble")
    assert told["level"] == "error"
    assert "antenna" in told["hint"]


def test_strangers_and_repetitions_cost_no_sms(field: Field) -> None:
    relay = field.rig.start()
    octets = field.bracelet.alarm()
    field.send(b"buy now")
    field.send(octets)
    relay.wait_for("receipt.sent")
    for _ in range(6):
        field.send(octets)
    relay.wait_for("receipt.held_back", 3)
    eventually(lambda: field.stored_in_sim() == 0, "all are deleted")
    eventually(lambda: len(relay.events("receipt.sent")) >= 2, "some repetitions are answered")
    assert len(field.received()) <= 4
    assert [event["reason"] for event in relay.events("alarm.refused")] == ["not_cbor"]


def test_a_modem_that_is_not_there_does_not_stop_the_relay(tmp_path: Path) -> None:
    with rig(tmp_path, sms_port=str(tmp_path / "no-such-port")) as made:
        bracelet = made.bracelet()
        made.start_broker()
        device = bracelet.connect()
        relay = made.start()
        relay.wait_for("sms.port_unavailable")
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
        device.next()
