"""Who gets in, and who may read and write what: the same on every broker."""

from __future__ import annotations

import queue
import random
import ssl
import stat
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from nacl.signing import SigningKey

from hwsim.bundle import sign
from relay import bundles
from relay.broker import INTAKES, Broker, MqttUser, bracelet_user, temporary_id, users_for
from relay.ingest.mqtt import Endpoint, client_tls

from .conftest import ANNA, AUDIENCE, BORIS, PARTNER, PASSWORDS, SECOND, TIMEOUT, Client, Connect, everyone

ALARM = f"b/0/{ANNA}/alarm"
HEARD = f"s/{AUDIENCE}/+/alarm"  # what a subscriber may ask for
REFUSED = {4, 5, 0x86, 0x87}  # bad user name or password, not authorised; paho shows MQTT 5's numbers for them


def test_an_alarm_reaches_the_relay_and_the_receipt_its_bracelet(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay")
    relay.subscribe("b/+/+/alarm")
    relay.subscribe("b/+/+/hb")
    anna = connect(broker, ANNA)
    anna.subscribe(f"b/0/{ANNA}/ack")
    boris = connect(broker, BORIS)
    boris.subscribe(f"b/0/{BORIS}/ack")

    anna.publish(ALARM, b"alarm")
    alarm = relay.receive()
    assert (alarm.topic, alarm.payload, alarm.qos, alarm.retain) == (ALARM, b"alarm", 1, False)
    relay.ack(alarm)
    anna.publish(f"b/0/{ANNA}/hb", b"heartbeat")
    assert relay.receive().payload == b"heartbeat"
    relay.publish(f"b/0/{ANNA}/ack", b"receipt")
    assert anna.receive().payload == b"receipt"
    assert boris.received.empty()


def fetched(client: Client, topic: str) -> mqtt.MQTTMessage:
    """As a bracelet does it: with QoS 0, one topic at a time, asked again when nothing comes."""
    for _ in range(10):
        client.paho.subscribe(topic, qos=0)
        with suppress(queue.Empty):
            message = client.receive(1)
            client.paho.unsubscribe(topic)
            return message
    raise AssertionError(f"the broker does not keep {topic}")


def test_a_bundle_left_by_the_relay_is_there_for_bracelets(broker: Broker, connect: Connect, tls_files: Path) -> None:
    bundle = sign(2, 6, random.Random(1).randbytes(2000), SigningKey(bytes(32)))
    tls = client_tls(tls_files / "ca.pem")
    endpoint = Endpoint("127.0.0.1", broker.port, "relay", "relay", PASSWORDS["relay"], tls)
    bundles.leave(bundle, endpoint)
    anna = connect(broker, ANNA)
    content = b""
    for topic, piece in bundles.pieces(bundle):
        message = fetched(anna, topic)
        assert (message.topic, message.retain, message.payload) == (topic, True, piece)
        content += message.payload
    assert content == bundle

    bundles.remove([bundles.describe(bundle)], endpoint)
    boris = connect(broker, BORIS)
    boris.subscribe("fw/+/+")
    connect(broker, "relay").publish("fw/0123456789abcdef/0", b"after")
    assert boris.receive().payload == b"after"
    assert boris.received.empty()


def test_a_broker_that_refuses_the_relay_is_told_of(broker: Broker, tls_files: Path) -> None:
    tls = client_tls(tls_files / "ca.pem")
    endpoint = Endpoint("127.0.0.1", broker.port, "relay", "relay", "wrong-but-long-enough", tls)
    with pytest.raises(bundles.BundleError, match=r"(?i)not authori|password"):
        bundles.leave(sign(2, 6, bytes(2000), SigningKey(bytes(32))), endpoint)


def test_without_a_broker_a_bundle_is_not_left(tls_files: Path) -> None:
    endpoint = Endpoint("127.0.0.1", 1, "relay", "relay", "", client_tls(tls_files / "ca.pem"))
    with pytest.raises(bundles.BundleError, match="is the relay running"):
        bundles.leave(sign(2, 6, bytes(2000), SigningKey(bytes(32))), endpoint)


def test_subscribers_read_rebroadcasts_and_nothing_else(broker: Broker, connect: Connect) -> None:
    subscriber = connect(broker, PARTNER)
    for topic in (HEARD, "b/#", "s/+/+/alarm", "s/0000c0ffee02/+/alarm", f"s/{AUDIENCE}/key/+"):
        subscriber.subscribe(topic)
    relay = connect(broker, "relay")
    connect(broker, ANNA).publish(ALARM, b"alarm")
    relay.publish(f"s/0000c0ffee02/{ANNA}/alarm", b"another audience's")
    relay.publish(f"s/{AUDIENCE}/key/{SECOND}", b"another's key")
    relay.publish(f"s/{AUDIENCE}/{ANNA}/alarm", b"rebroadcast")
    assert subscriber.receive().payload == b"rebroadcast"
    with pytest.raises(queue.Empty):
        subscriber.receive(0.3)


def test_keys_are_kept_for_a_subscriber_that_comes_later_until_they_are_taken_away(
    broker: Broker, connect: Connect
) -> None:
    relay, topic = connect(broker, "relay"), f"s/{AUDIENCE}/key/{PARTNER}"
    relay.paho.publish(topic, b"keys", qos=1, retain=True).wait_for_publish(TIMEOUT)
    partner = connect(broker, PARTNER, client_id=temporary_id(PARTNER, 1))
    partner.subscribe(topic)
    assert partner.receive().payload == b"keys"
    relay.paho.publish(topic, b"", qos=1, retain=True).wait_for_publish(TIMEOUT)
    assert partner.receive().payload == b""
    other = connect(broker, PARTNER, client_id=temporary_id(PARTNER, 2))
    other.subscribe(topic)
    with pytest.raises(queue.Empty):
        other.receive(0.3)


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        (BORIS, ALARM),
        (BORIS, f"b/0/{ANNA}/hb"),
        (BORIS, f"b/0/{BORIS}/ack"),
        (BORIS, f"s/{AUDIENCE}/{ANNA}/alarm"),
        (BORIS, "fw/0123456789abcdef/0"),
        (PARTNER, ALARM),
        (PARTNER, f"s/{AUDIENCE}/{ANNA}/alarm"),
        (PARTNER, f"s/{AUDIENCE}/key/{SECOND}"),
        ("relay", ALARM),
    ],
    ids="other's-alarm other's-heartbeat own-receipt rebroadcast program alarm as-relay key other".split(),
)
def test_nobody_writes_what_is_not_his(broker: Broker, connect: Connect, user: str, topic: str) -> None:
    filters = {
        INTAKES[0]: ["b/+/+/alarm"],
        INTAKES[1]: ["b/+/+/hb"],
        SECOND: [HEARD, f"s/{AUDIENCE}/key/{SECOND}"],
        **{kid: [f"b/0/{kid}/ack", "fw/+/+"] for kid in (ANNA, BORIS)},
    }
    clients = {name: connect(broker, name) for name in (*filters, "relay", PARTNER)}
    for name, topics in filters.items():
        for each in topics:
            clients[name].subscribe(each)
    clients[user].paho.publish(topic, b"forged", qos=1)
    # What comes later on a permitted way has overtaken nothing: all readers are silent until then.
    after = connect(broker, "relay") if user == "relay" else clients["relay"]
    after.publish(f"s/{AUDIENCE}/{BORIS}/alarm", b"after")
    assert clients[SECOND].receive().payload == b"after"
    with pytest.raises(queue.Empty):
        clients[INTAKES[0]].receive(0.2)
    assert all(client.received.empty() for client in clients.values())


FORBIDDEN = [f"b/0/{ANNA}/ack", ALARM, "b/+/+/ack", "b/#", "s/#", HEARD, f"s/{AUDIENCE}/{ANNA}/alarm", "#", "+/+/+/+"]


@pytest.mark.parametrize("topic", FORBIDDEN)
def test_a_bracelet_reads_nothing_but_its_receipts(broker: Broker, connect: Connect, topic: str) -> None:
    boris = connect(broker, BORIS, clean=False)
    boris.subscribe(topic)
    boris.subscribe(f"b/0/{BORIS}/ack")
    relay = connect(broker, "relay")
    relay.publish(f"b/0/{ANNA}/ack", b"not his")
    relay.publish(f"s/{AUDIENCE}/{ANNA}/alarm", b"not his")
    connect(broker, ANNA).publish(ALARM, b"not his")
    relay.publish(f"b/0/{BORIS}/ack", b"his")
    assert boris.receive().payload == b"his"
    with pytest.raises(queue.Empty):
        boris.receive(0.2)


def test_taking_over_a_session_by_its_client_id_shows_nothing_of_it(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay", client_id="relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.close()
    connect(broker, ANNA).publish(ALARM, b"waiting")
    boris = connect(broker, BORIS, client_id="relay", clean=False)
    with pytest.raises(queue.Empty):
        boris.receive(0.5)


@pytest.mark.parametrize("user", [ANNA, "relay", PARTNER, "admin"])
def test_a_wrong_password_is_refused(broker: Broker, connect: Connect, user: str) -> None:
    assert connect(broker, user, password="wrong-but-long-enough").code in REFUSED


def test_another_authority_is_refused_by_the_client(broker: Broker, connect: Connect) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(broker, ANNA, ca="other.pem")


def test_added_users_come_in_and_removed_ones_go_while_others_stay(broker: Broker, connect: Connect) -> None:
    relay = connect(broker, "relay")
    relay.subscribe("b/+/+/alarm")
    boris = connect(broker, BORIS)
    password = "a-third-bracelet-comes"
    broker.reload([user for user in everyone() if user.name != BORIS] + [bracelet_user("third", "0a000003", password)])
    newcomer = connect(broker, "third", password=password)
    assert newcomer.code == 0
    newcomer.publish("b/0/0a000003/alarm", b"newcomer")
    assert relay.receive().payload == b"newcomer", "the relay's connection did not survive the reload"
    assert connect(broker, BORIS).code in REFUSED
    boris.paho.publish(f"b/0/{BORIS}/alarm", b"revoked", qos=1)
    with pytest.raises(queue.Empty):
        relay.receive(0.5)


def test_what_holds_passwords_is_private(broker: Broker) -> None:
    folder = broker.folder  # type: ignore[attr-defined]  # both kinds have it; the protocol needn't
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    holders = [path for path in folder.rglob("*") if path.is_file() and b"password" in path.read_bytes().lower()]
    assert holders
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}


def test_a_users_password_shows_in_no_message() -> None:
    user = bracelet_user(ANNA, ANNA, PASSWORDS[ANNA])
    assert PASSWORDS[ANNA] not in f"{user} {user!r} {[user]}"


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "a b"},
        {"name": "x\ntopic read #"},
        {"name": ""},
        {"password": "short"},
        {"password": 'quote"quote"quote"quote'},
        {"publish": ("b/../x\n",)},
        {"subscribe": ("r/#/x",)},
        {"subscribe": ("a>b",)},
    ],
    ids=str,
)
def test_a_user_that_could_break_a_configuration_file_is_refused(bad: dict[str, object]) -> None:
    good: dict[str, object] = {"name": ANNA, "password": PASSWORDS[ANNA]}
    with pytest.raises(ValueError, match="broker user"):
        MqttUser(**{**good, **bad})  # type: ignore[arg-type]


def test_users_for_lists_everyone_once() -> None:
    bracelets, partners = [("a", ANNA, "p" * 16), ("b", BORIS, "q" * 16)], [(PARTNER, "s" * 16, AUDIENCE)]
    names = [user.name for user in users_for(bracelets, "r" * 16, partners)]
    assert names == ["relay", *INTAKES, "programs", "probe-bracelet", "probe", PARTNER, "a", "b"]
