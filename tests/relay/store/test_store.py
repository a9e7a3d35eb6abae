"""The store itself: tables and migrations, encryption at rest, durability settings, and who may write what."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, bindparam, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from relay import store as stores
from relay.pipeline import Pipeline
from relay.registry import Registry
from relay.store import AtRestError, Box, StaleState, Store, StoreError, chains, schema
from relay.store.chains import Replacement
from relay.store.database import HEAD
from relay.store.migrate import configuration
from relay.verify import ChainState, Roots
from tests.relay.support import KEYS, SOMEWHERE, STORE_KEY, Bracelet, contents, provision


def test_migrations_lead_to_the_schema(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        checks = {
            table: {check["name"] for check in inspect(connection).get_check_constraints(table)}
            for table in schema.metadata.tables
        }
    declared = {
        name: {rule.name for rule in table.constraints if isinstance(rule, CheckConstraint)}
        for name, table in schema.metadata.tables.items()
    }
    assert checks == declared


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(configuration()).get_heads() == [HEAD]


def test_opening_again_keeps_everything(store: Store, open_store: Callable[[], Store], bracelet: Bracelet) -> None:
    assert contents(open_store()) == contents(store)


def test_a_newer_store_is_left_alone(store: Store, open_store: Callable[[], Store]) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer version"):
        open_store()


def test_another_store_key_is_told(store: Store, store_url: str, bracelet: Bracelet) -> None:
    other = stores.open(store_url, bytes(32))
    try:
        with other.read() as connection:
            assert set(chains.read(connection, other.box, [int(bracelet.kid, 16)]).values()) == {None}
    finally:
        other.close()


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    before = contents(store)
    with pytest.raises(ZeroDivisionError), store.write() as connection:
        connection.execute(update(schema.registry).values(version=7))
        raise ZeroDivisionError
    assert contents(store) == before


def test_rows_of_one_statement(store: Store) -> None:
    statement = insert(schema.refusal).values({c.name: bindparam(c.name) for c in schema.refusal.c})
    with store.write() as connection:
        assert store.many(connection, statement, [("gap", "mqtt", 1, 2, 3), ("gap", "sms", 4, 5, 6)]) == 2
        assert store.many(connection, statement, []) == 0
    assert contents(store)["refusal"] == [("gap", "mqtt", 1, 2, 3), ("gap", "sms", 4, 5, 6)]


def test_a_constant_in_a_statement_is_told(store: Store) -> None:
    with store.write() as connection, pytest.raises(ValueError, match="bind parameters only"):
        store.many(connection, update(schema.registry).values(version=schema.registry.c.version + 1), [()])


# --- chains ---


def test_chain_states_come_back(store: Store, bracelet: Bracelet) -> None:
    kid = int(bracelet.kid, 16)
    skipped = {3: chains.Skipped(bytes(range(29)), 12), 5: chains.Skipped(bytes(29), 2**40)}
    state = ChainState(2**32 - 1, bytes(range(32)), skipped)
    with store.write() as connection:
        chains.replace(store, connection, [Replacement(kid, "alarm", 0, state)])
    with store.read() as connection:
        assert chains.read(connection, store.box, [kid])[kid, "alarm"] == (1, state, 0)


def test_an_outdated_state_is_not_written(store: Store, bracelet: Bracelet) -> None:
    kid = int(bracelet.kid, 16)
    state = ChainState(1, bytes(32))
    with store.write() as connection:
        chains.replace(store, connection, [Replacement(kid, "alarm", 0, state)])
    before = contents(store)
    with pytest.raises(StaleState), store.write() as connection:
        chains.replace(store, connection, [Replacement(kid, "down", 0, state), Replacement(kid, "alarm", 0, state)])
    assert contents(store) == before


# --- at rest ---


def test_box() -> None:
    box = Box(bytes(32))
    sealed = box.seal("chain.alarm", 7, b"secret")
    assert b"secret" not in sealed
    assert box.open("chain.alarm", 7, sealed) == b"secret"
    assert box.seal("chain.alarm", 7, b"secret") != sealed
    wrong = [
        ("chain.down", 7, sealed),
        ("chain.alarm", 8, sealed),
        ("chain.alarm", 7, b""),
        ("chain.alarm", 7, sealed[:-1]),
    ]
    for place, row, octets in wrong:
        with pytest.raises(AtRestError):
            box.open(place, row, octets)
    with pytest.raises(AtRestError):
        Box(b"\1" * 32).open("chain.alarm", 7, sealed)
    with pytest.raises(ValueError):
        Box(bytes(16))
    assert repr(box) == "Box()"


def test_nothing_secret_is_readable_on_disk(tmp_path: Path) -> None:
    """Names, passwords, positions, keys and what bracelets signed: none of it is in the files."""
    store = stores.open(f"sqlite:///{tmp_path}/relay.db", STORE_KEY)
    bracelet = provision(store, code_name="blue heron")
    pipeline = Pipeline(store, KEYS)
    outcome = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], 1.0)
    assert outcome.items[0].document is not None
    with store.read() as connection:
        kid = int(bracelet.kid, 16)
        stored = chains.read(connection, store.box, [kid])
        sealed = connection.execute(select(schema.alarm.c.id, schema.alarm.c.evidence_sealed)).one()
    evidence = store.box.open("alarm.evidence", *sealed)
    secrets = [b"blue heron", b"password", STORE_KEY, evidence[-64:], SOMEWHERE.lat_e7.to_bytes(4, "big")]
    secrets += [chain.state.key for chain in stored.values() if chain is not None]
    store.close()
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert bracelet.sealer.public in on_disk, "the search works"
    for secret in secrets:
        assert secret not in on_disk


# --- SQLite ---


def test_sqlite_is_set_to_keep_what_it_commits(tmp_path: Path) -> None:
    store = stores.open(f"sqlite:///{tmp_path}/relay.db", STORE_KEY)
    with store.read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
        assert pragma == {"journal_mode": "wal", "synchronous": 2}
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = stores.open(f"sqlite:///{tmp_path}/relay.db", STORE_KEY)
        provision(store)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == {"relay.db": 0o600, "relay.db-wal": 0o600, "relay.db-shm": 0o600}


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    """BEGIN IMMEDIATE: the write lock is taken when the transaction begins, not in the middle of it."""
    store = stores.open(f"sqlite:///{tmp_path}/relay.db", STORE_KEY)
    other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None, timeout=0)
    with store.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with store.read() as connection:
        connection.execute(select(schema.registry)).all()
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
    store.close()


def test_memory_is_no_store() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="a file"):
            stores.open(url, STORE_KEY)


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="relay init"):
        stores.open(f"sqlite:///{tmp_path}/relay.db", STORE_KEY, create=False)
    assert not list(tmp_path.iterdir())


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="postgres"):
        stores.open("postgresql://nobody@/nowhere", STORE_KEY)


def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="names mysql"):
        stores.open("mysql://somewhere/it", STORE_KEY)


def test_secrets_are_not_printed() -> None:
    assert repr(Roots(b"a", b"b", b"c")) == "Roots()"
    assert "0001" not in repr(KEYS)


def test_an_error_of_the_database_does_not_tell_what_was_to_be_written(store: Store, bracelet: Bracelet) -> None:
    with pytest.raises(IntegrityError) as caught, store.write() as connection:
        row = dict.fromkeys(("reason", "path"), "a secret word") | dict.fromkeys(("count", "first_ms", "last_ms"), 1)
        connection.execute(insert(schema.refusal), row)
        connection.execute(insert(schema.refusal), row)
    assert "a secret word" not in str(caught.value).replace(str(caught.value.orig), "")


def test_what_is_deleted_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite3"
    opened = stores.open(f"sqlite:///{path}", STORE_KEY)
    bracelet = provision(opened, "heron")
    with opened.read() as connection:
        sealed = connection.execute(select(schema.chain.c.state_sealed)).scalars().first()
    Registry(opened, KEYS).revoke(bracelet.kid, now=1.0)
    opened.close()  # the write-ahead log goes with the last connection
    assert sealed not in path.read_bytes()
