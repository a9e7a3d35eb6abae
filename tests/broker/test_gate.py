"""The gate: who is let in under which client id, what happens when the store is away, who is put out."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from relay import log
from relay.broker import TEMPORARY, MqttUser, gate, own_users, temporary_id
from relay.broker.accounts import AccountRules, ListedAccounts
from relay.broker.gate import Directory, Gate
from relay.broker.nats import NatsBroker
from relay.broker.stored import StoreAccounts
from relay.broker.system import Connection
from relay.registry import Registry
from relay.store import Store
from relay.store.database import open_store
from relay.subscribers.audiences import Permission
from relay.subscribers.file import key_pair
from relay.subscribers.register import Entry, Subscribers
from tests.relay import postgres
from tests.relay.support import KEYS, NOW, STORE_KEY

from .conftest import ANNA, BORIS, PARTNER, PASSWORDS, SECOND, Client, Connect
from .test_access import REFUSED
from .test_durability import wait_until
from .test_process import alive


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'relay.sqlite3'}", STORE_KEY)
    yield made
    made.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, KEYS)


@pytest.fixture
def gated(tmp_path: Path, tls_files: Path, registry: Registry) -> Iterator[NatsBroker]:
    """The embedded broker as the relay starts it: bracelets are in the store, not in a list."""
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    users = own_users(PASSWORDS["relay"])
    broker = NatsBroker(*where, users, store=str(registry.store.engine.url))
    broker.start()
    broker.wait_ready()
    yield broker
    broker.stop()


def offered(registry: Registry) -> tuple[str, str, str]:
    """A new bracelet's account, password and key id."""
    offer = registry.offer("heron", now=NOW, host="h", port=1, ca_der=b"")
    return offer["mqtt"]["user"], offer["mqtt"]["password"], offer["kid"]


@pytest.fixture
def come(gated: NatsBroker, tls_files: Path) -> Iterator:
    clients = []

    def come(name: str, password: str, client_id: str = "", clean: bool = True) -> Client:
        client = Client(gated, tls_files / "ca.pem", name, password, client_id or name, clean)
        clients.append(client)
        return client.connect()

    yield come
    for client in clients:
        client.close()


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


def test_a_removed_subscriber_is_put_out_and_kept_out(
    gated: NatsBroker, store: Store, partner: Entry, come
) -> None:
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


def test_a_store_that_another_program_has_locked_keeps_nobody_out(
    gated: NatsBroker, registry: Registry, store: Store, come
) -> None:
    """SQLite's log lets the gate read beside the writer: even bracelets that it has never seen come in."""
    name, password, _ = offered(registry)
    holder = sqlite3.connect(str(store.engine.url.database), isolation_level=None, timeout=10)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert come(name, password).code == 0
        assert come("relay", PASSWORDS["relay"]).code == 0
    finally:
        holder.close()


@contextmanager
def a_store_url(engine: str, folder: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'store.sqlite3'}"
    else:
        with postgres.server() as url:
            yield url


ENGINES = ["sqlite", "postgresql"] if postgres.available() else ["sqlite"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_name_that_a_store_refuses_keeps_nobody_out(engine: str, tmp_path: Path) -> None:
    """PostgreSQL takes no NUL, and a store that failed is not asked again for a while: anybody could do that."""
    with a_store_url(engine, tmp_path) as url:
        store = open_store(url if "/?" not in url else url.replace("/?", "/postgres?"), STORE_KEY)
        name, _, _ = offered(Registry(store, KEYS))

        async def ask() -> None:
            address = store.engine.url.render_as_string(hide_password=False)
            directory = Directory(ListedAccounts([]), address, log.get())
            for nobody in ("a\0b", "a b", "", "x" * 65_000):
                assert await directory.find(nobody) is None
            found = await directory.find(name)
            assert found is not None and found.name == name

        asyncio.run(ask())
        store.close()


def test_many_who_come_at_once_are_looked_up_together(tmp_path: Path) -> None:
    """After a restart of the broker all come at once, and anybody may come with wrong names: with a question for each
    the patience ended before the last had its answer, and known bracelets were refused."""
    store = open_store(f"sqlite:///{tmp_path / 'relay.sqlite3'}", STORE_KEY)
    registry = Registry(store, KEYS)
    names = [offered(registry)[0] for _ in range(20)]
    questions = []

    class Counting(StoreAccounts):
        def find_all(self, names: Iterable[str]) -> dict[str, AccountRules]:
            questions.append(len(tuple(names)))
            return super().find_all(names)

    async def ask() -> None:
        address = str(store.engine.url)
        directory = Directory(ListedAccounts([]), address, log.get())
        directory._opened = Counting(address)
        come = [*(f"unknown-{number}" for number in range(2000)), *names, *names]
        found = await asyncio.gather(*map(directory.find, come))
        assert [account and account.name for account in found] == [*[None] * 2000, *names, *names]

    asyncio.run(ask())
    assert questions == [2020]
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_locked_table_keeps_out_only_who_is_not_known(engine: str, tmp_path: Path, tls_files: Path) -> None:
    """A table lock of PostgreSQL keeps readers out, the gate too; SQLite has none that does."""
    with a_store_url(engine, tmp_path) as url:
        store = open_store(url if "/?" not in url else url.replace("/?", "/postgres?"), STORE_KEY)
        registry = Registry(store, KEYS)
        (name, password, _), (new, news, _) = offered(registry), offered(registry)
        where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
        users = own_users(PASSWORDS["relay"])
        broker = NatsBroker(*where, users, store=store.engine.url.render_as_string(hide_password=False))
        broker.start()
        clients = []

        def come(name: str, password: str) -> Client:
            clients.append(Client(broker, tls_files / "ca.pem", name, password, name, True))
            return clients[-1].connect()

        try:
            broker.wait_ready()
            assert come(name, password).code == 0
            with store.write() as connection:
                if engine == "postgresql":
                    connection.execute(text("LOCK TABLE bracelet IN ACCESS EXCLUSIVE MODE"))
                assert come(name, password).code == 0
                assert come("relay", PASSWORDS["relay"]).code == 0
                assert (come(new, news).code == 0) is (engine == "sqlite")
            wait_until(lambda: come(new, news).code == 0)
        finally:
            for client in clients:
                client.close()
            broker.stop()
            store.close()


def test_a_store_that_is_away_keeps_out_only_who_is_not_known(
    gated: NatsBroker, registry: Registry, store: Store, come
) -> None:
    (name, password, _), (new, news, _) = offered(registry), offered(registry)
    assert come(name, password).code == 0
    path = Path(str(store.engine.url.database))
    store.close()
    away = path.with_name("away")
    path.rename(away)
    path.mkdir()
    try:
        # The gate's own connection may still reach the file that was moved, so that even a new one may come in.
        assert come(name, password).code == 0
        assert come("relay", PASSWORDS["relay"]).code == 0
    finally:
        path.rmdir()
        away.rename(path)
    wait_until(lambda: come(new, news).code == 0)


def test_a_gate_hears_of_changes_although_who_started_it_had_blocked_the_signal(
    tmp_path: Path, tls_files: Path
) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    users = own_users(PASSWORDS["relay"])
    broker = NatsBroker(*where, users)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        broker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        broker.wait_ready()
        broker.reload([*users, MqttUser(name="late", password="a-password-of-its-own")])
    finally:
        broker.stop()


def test_a_new_list_is_taken_while_the_store_does_not_answer(tmp_path: Path, tls_files: Path) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    users = own_users(PASSWORDS["relay"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It is tried for two seconds at each address: longer in all than a reload may take.
        addresses = "&".join([f"host=127.0.0.1:{silent.getsockname()[1]}"] * 8)
        broker = NatsBroker(*where, users, store=f"postgresql+psycopg://gate@/relay?{addresses}")
        broker.start()
        try:
            broker.wait_ready()
            with silent.accept()[0] as asking:
                assert asking.recv(4096)
                broker.reload([*users, MqttUser(name="late", password="a-password-of-its-own")])
                asking.setblocking(False)
                with pytest.raises(BlockingIOError):  # the gate still waits for the store's answer
                    asking.recv(4096)
                late = Client(broker, tls_files / "ca.pem", "late", "a-password-of-its-own", "late", True)
                assert late.connect().code == 0
                late.close()
        finally:
            broker.stop()


@pytest.mark.parametrize("trouble", ["the broker is busy at first", "the store does not answer"])
def test_a_barred_account_is_put_out_although(
    trouble: str, tmp_path: Path, tls_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    settings = NatsBroker(*where, own_users(PASSWORDS["relay"]))._gate_settings
    settings.barred = {"sub-0000000a": time.monotonic() + 600}
    asked, ended = [], asyncio.Queue[str]()

    async def connections(_system: object, **_which: str) -> AsyncIterator[Connection]:
        asked.append(1)
        if len(asked) == 1 and "busy" in trouble:
            raise TimeoutError
        for nobody in ():
            yield nobody

    async def end_connections(_system: object, *, user: str) -> None:
        ended.put_nowait(user)

    async def never() -> bool:
        await asyncio.sleep(600)
        return False

    async def put_out() -> str:
        made = Gate(tmp_path, settings, log.get(), asyncio.Event())
        made._sweep.set()
        step = made._sweeping
        if "store" in trouble:
            monkeypatch.setattr(made.directory, "changed", never)
            step = made._take_changes
        task = asyncio.create_task(step(None))
        try:
            return await asyncio.wait_for(ended.get(), 30)
        finally:
            task.cancel()

    monkeypatch.setattr(gate, "connections", connections)
    monkeypatch.setattr(gate, "end_connections", end_connections)
    assert asyncio.run(put_out()) == "sub-0000000a"


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
