"""The gate while its store, its broker or whoever started it is in trouble: who is let in, and who is put out."""

from __future__ import annotations

import asyncio
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
from relay.broker import MqttUser, gate, own_users
from relay.broker.accounts import AccountRules, ListedAccounts
from relay.broker.gate import Directory, Gate
from relay.broker.nats import NatsBroker
from relay.broker.stored import StoreAccounts
from relay.broker.system import Connection
from relay.registry import Registry
from relay.store import Store
from relay.store.database import open_store
from tests.relay import postgres
from tests.relay.support import KEYS, STORE_KEY

from .conftest import PASSWORDS, Client, offered
from .test_durability import wait_until


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


def test_a_store_that_answers_late_is_asked_again_before_the_next_sweep(
    tmp_path: Path, tls_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    settings = NatsBroker(*where, own_users(PASSWORDS["relay"]))._gate_settings
    monkeypatch.setattr(gate, "_STORE_REST_S", 0.1)

    async def late() -> bool:
        raise TimeoutError

    async def look() -> bool:
        made = Gate(tmp_path, settings, log.get(), asyncio.Event())
        monkeypatch.setattr(made.directory, "changed", late)
        await made._take_changes(None)
        return await asyncio.wait_for(made._sweep.wait(), 30)  # half of _SWEEP_S

    assert asyncio.run(look())
