"""The gate: who is let in under which client id, what happens when the store is away, who is put out."""

from __future__ import annotations

import os
import queue
import re
import signal
import time

import pytest
from sqlalchemy import text

from relay.broker import TEMPORARY, MqttUser, temporary_id
from relay.broker.nats import NatsBroker
from relay.registry import Registry
from relay.store import Store
from relay.subscribers.audiences import Permission
from relay.subscribers.file import key_pair
from relay.subscribers.register import Entry, Subscribers
from tests.relay.support import NOW

from .conftest import ANNA, BORIS, PARTNER, PASSWORDS, SECOND, Connect, offered
from .test_access import REFUSED
from .test_durability import wait_until
from .test_process import alive


def test_a_bracelet_is_found_in_the_store_with_its_topics(gated: NatsBroker, registry: Registry, come) -> None:
    name, password, kid = offered(registry)
    relay = come("relay", PASSWORDS["relay"])
    relay.subscribe("b/+/+/alarm")
    bracelet = come(name, password)
    assert bracelet.code == 0
    assert bracelet.subscribe(f"b/{kid[0]}/{kid}/ack") == [1]
    bracelet.publish(f"b/{kid[0]}/{kid}/alarm", b"alarm")
    assert relay.receive().payload == b"alarm"
    bracelet.paho.publish("b/0/0a1b2c3d/alarm", b"another's")
    with pytest.raises(queue.Empty):
        relay.receive(0.3)


def test_an_accounts_name_tells_nothing_of_the_key_id(registry: Registry) -> None:
    names = [offered(registry) for _ in range(20)]
    assert len({name for name, _, _ in names}) == 20
    assert not any(kid in name for name, _, kid in names)
    assert [registry.account_name(kid) for _, _, kid in names] == [name for name, _, _ in names]


@pytest.mark.parametrize("client_id", ["other", "relay", "intake-1-a", PARTNER, "x" * 60_000, "A", ""])
def test_only_the_accounts_own_client_id_is_let_in(registry: Registry, come, client_id: str) -> None:
    name, password, _ = offered(registry)
    assert come(name, password, client_id or f"{name}1").code in REFUSED
    assert come(name, password).code == 0


def test_a_wrong_password_and_an_unknown_name(registry: Registry, come) -> None:
    name, password, kid = offered(registry)
    assert come(name, password[:-1]).code in REFUSED
    assert come(kid, password).code in REFUSED
    assert come("", password, name).code in REFUSED


def test_a_revoked_bracelet_is_put_out_and_kept_out(gated: NatsBroker, registry: Registry, come) -> None:
    (name, password, kid), (other, others, _) = offered(registry), offered(registry)
    bracelet, stays = come(name, password), come(other, others)
    registry.revoke(kid, now=NOW)
    gated.reload(gated.users)
    wait_until(lambda: not bracelet.paho.is_connected())
    assert come(name, password).code in REFUSED
    assert stays.paho.is_connected()


def test_one_that_came_before_the_gate_was_restarted_is_put_out_too(
    gated: NatsBroker, registry: Registry, come
) -> None:
    name, password, kid = offered(registry)
    bracelet = come(name, password)
    pid = gated.gate_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gated.ensure_running() and gated.gate_pid != pid)
    gated.wait_ready()
    assert bracelet.paho.is_connected(), "the connections do not end with the gate"
    registry.revoke(kid, now=NOW)
    gated.reload(gated.users)
    wait_until(lambda: not bracelet.paho.is_connected())


@pytest.fixture
def partner(store: Store) -> Entry:
    return Subscribers(store).add("partner", key_pair()[1], Permission(), now=NOW)


def test_a_subscriber_is_found_in_the_store_with_its_topics(gated: NatsBroker, partner: Entry, come) -> None:
    relay, base = come("relay", PASSWORDS["relay"]), f"s/{partner.audience}"
    clients = [come(partner.account, partner.password, one) for one in ("", temporary_id(partner.account, 3))]
    for client in clients:
        assert client.code == 0
        assert client.subscribe(f"{base}/+/alarm") == [1]
        for topic in (f"{base}/key/sub-00000000", "s/+/+/alarm", f"b/0/{ANNA}/ack", "b/+/+/alarm"):
            assert client.subscribe(topic) == [128]
        client.paho.publish(f"{base}/{ANNA}/alarm", b"forged", qos=1)
    relay.publish(f"{base}/{ANNA}/alarm", b"sealed")
    for client in clients:
        assert client.receive().payload == b"sealed"
        assert client.received.empty()
    for another in (f"tmp-{partner.account}-{TEMPORARY}", PARTNER, temporary_id(PARTNER, 3)):
        assert come(partner.account, partner.password, another).code in REFUSED


def test_a_removed_subscriber_is_put_out_and_kept_out(gated: NatsBroker, store: Store, partner: Entry, come) -> None:
    client = come(partner.account, partner.password)
    assert client.code == 0
    Subscribers(store).remove("partner", now=NOW)
    gated.reload(gated.users)
    wait_until(lambda: not client.paho.is_connected())
    assert come(partner.account, partner.password).code in REFUSED


def test_who_has_a_subscribers_old_password_is_put_out_and_kept_out(
    gated: NatsBroker, store: Store, registry: Registry, partner: Entry, come
) -> None:
    client, stays = come(partner.account, partner.password), come(*offered(registry)[:2])
    assert client.code == 0
    rotated = Subscribers(store).rotate("partner", key_pair()[1], now=NOW)
    # The new one comes before the gate is told: the old one goes all the same.
    assert come(rotated.account, rotated.password, temporary_id(rotated.account, 1)).code == 0
    gated.reload(gated.users)
    wait_until(lambda: not client.paho.is_connected())
    assert come(partner.account, partner.password).code in REFUSED
    assert come(rotated.account, rotated.password).code == 0
    assert stays.paho.is_connected()


def test_the_old_password_is_known_to_a_gate_that_was_restarted_too(
    gated: NatsBroker, store: Store, partner: Entry, come
) -> None:
    client = come(partner.account, partner.password)
    pid = gated.gate_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gated.ensure_running() and gated.gate_pid != pid)
    gated.wait_ready()
    assert client.paho.is_connected()

    def put_out() -> bool:
        """Again, because the new gate may not have looked at the old password before the first."""
        Subscribers(store).rotate("partner", key_pair()[1], now=NOW)
        gated.reload(gated.users)
        time.sleep(0.2)
        return not client.paho.is_connected()

    wait_until(put_out)


def test_subscribers_from_before_there_were_hashes_come_in(
    gated: NatsBroker, store: Store, partner: Entry, come
) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE subscriber SET account_hash = NULL"))
    assert come(partner.account, partner.password).code in REFUSED
    Subscribers(store).prepare_accounts()
    assert come(partner.account, partner.password).code == 0


def test_a_barred_account_is_put_out_for_a_while(gated: NatsBroker, registry: Registry, come) -> None:
    name, password, _ = offered(registry)
    bracelet = come(name, password)
    gated.bar(name, 3)
    wait_until(lambda: not bracelet.paho.is_connected())
    assert come(name, password).code in REFUSED
    wait_until(lambda: come(name, password).code == 0)


def test_the_gate_goes_on_with_a_new_broker_after_a_kill(gated: NatsBroker, registry: Registry, come) -> None:
    name, password, _ = offered(registry)
    gate = gated.gate_pid
    assert gated.pid is not None
    os.kill(gated.pid, signal.SIGKILL)
    wait_until(lambda: gated.poll() is not None)
    wait_until(gated.ensure_running)
    gated.wait_ready()
    assert come(name, password).code == 0
    assert gated.gate_pid == gate


def test_whoever_comes_waits_for_the_gate_when_both_were_killed(gated: NatsBroker) -> None:
    """Else the relay is refused after five seconds, and comes again after some more."""
    for pid in (gated.gate_pid, gated.pid):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gated.poll() is not None)
    done = gated.folder / "gate.done"
    left = done.stat().st_mtime_ns
    wait_until(gated.ensure_running)
    assert not done.exists() or done.stat().st_mtime_ns != left
    gated.wait_ready()
    assert gated.serves()


def test_a_gate_whose_settings_were_lost_gets_them_anew(gated: NatsBroker, registry: Registry, come) -> None:
    pid = gated.gate_pid
    assert pid is not None
    (gated.folder / "gate.json").unlink()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gated.ensure_running() and gated.gate_pid != pid)
    gated.wait_ready()
    assert come(*offered(registry)[:2]).code == 0


def test_the_gate_ends_with_the_broker(gated: NatsBroker) -> None:
    pid = gated.gate_pid
    assert pid is not None
    gated.stop()
    wait_until(lambda: not alive(pid))


@pytest.mark.long
def test_a_removed_subscribers_session_goes_soon_and_not_with_the_next_full_look(
    gated: NatsBroker, store: Store, partner: Entry, come
) -> None:
    users, password = gated.users, "a-password-of-its-own"
    gated.reload([*users, MqttUser(name="other", password=password)])
    for name, secret in ((partner.account, partner.password), ("other", password)):
        come(name, secret, clean=False).close()

    def ended() -> int:
        return (gated.folder / "gate.log").read_text().count("broker.sessions_ended")

    gated.reload(users)
    wait_until(lambda: ended() == 1, timeout=60)  # it has read whose sessions stay, the partner's among them
    Subscribers(store).remove("partner", now=NOW)
    gated.reload(users)
    wait_until(lambda: ended() == 2, timeout=60)


def test_a_listed_account_with_further_client_ids(gated: NatsBroker, come) -> None:
    password = "a-password-of-its-own"
    gated.reload([*gated.users, MqttUser(name="load", password=password, ids=("load-1",), publish=("b/+/+/alarm",))])
    assert [come("load", password, one).code for one in ("load", "load-1")] == [0, 0]
    assert come("load", password, "load-2").code in REFUSED


def test_the_brokers_log_has_no_address_with_a_name(gated: NatsBroker, registry: Registry, come) -> None:
    name, password, kid = offered(registry)
    for client_id in (name, "other-id", name):
        client = come(name, password, client_id)
        client.paho.publish("b/0/0a1b2c3d/alarm", b"another's", qos=1)
        client.paho.subscribe("b/#")
        time.sleep(0.1)
        client.vanish()
    for _ in range(2):  # one takes over from the other
        come(name, password)
    assert come(name, "wrong-but-long-enough").code in REFUSED
    come("relay", PASSWORDS["relay"]).subscribe("b/#")
    time.sleep(0.5)
    text = gated.log_file.read_text()
    assert "violation" in text.lower() or "authentication" in text.lower(), "the log says nothing of it at all"
    assert name not in text
    assert kid not in text
    assert "other-id" not in text
    for line in text.splitlines():
        assert "Listening" in line or not re.search(r"\d+\.\d+\.\d+\.\d+", line), line
    assert "127.0.0.1" not in (gated.folder / "gate.log").read_text()
    assert name not in (gated.folder / "gate.log").read_text()


def test_the_same_for_accounts_of_a_list(nats: NatsBroker, connect: Connect) -> None:
    assert connect(nats, ANNA, client_id=BORIS).code in REFUSED
    assert connect(nats, PARTNER, client_id=temporary_id(PARTNER, 7)).code == 0
    for another in (f"tmp-{PARTNER}-{TEMPORARY}", f"tmp-{PARTNER}", temporary_id(SECOND, 7), SECOND):
        assert connect(nats, PARTNER, client_id=another).code in REFUSED
    assert connect(nats, "relay", client_id="any-other").code == 0
