"""Opens the store, and runs its transactions.

SQLite has the settings that the relay's promise needs: WAL, synchronous=FULL (a commit has reached the disk when it
returns), and BEGIN IMMEDIATE for every transaction that writes, because a transaction that starts by reading and then
wants to write can't wait for another writer: it just fails.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Engine,
    MetaData,
    Table,
    bindparam,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool
from sqlalchemy.sql import ClauseElement

from relay.store.atrest import Box

HEAD = "0008"
BUSY_S = 10
# libpq reports an error after these times when the server says nothing, or is gone without a word.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# A process that is frozen in the middle of a transaction must not stop the others for as long as it is frozen.
_LIMITS = {"idle_in_transaction_session_timeout": "3s", "lock_timeout": "5s"}
CACHE_KIB = 65536  # keys are random, so the pages of all bracelets are in use at once
SQLITE_AT_LEAST = (3, 37)


class StoreError(Exception):
    """A store that can't be used; the message says why and what to do."""


class StaleState(Exception):
    """A state that someone else has changed since it was read. Forget what is in memory, read again, and repeat."""


class Store:
    """A database and the key of its encrypted columns."""

    def __init__(self, engine: Engine, box: Box) -> None:
        self.engine = engine
        self.box = box
        self.statement = lru_cache(maxsize=None)(self._compile)
        self.replaced = 0  # how often another file has taken the place of SQLite's
        self._told: tuple[int, int] | None = None
        self.on_replaced: Callable[[], None] = lambda: None
        if engine.dialect.name == "sqlite" and engine.url.database:
            self._follow(engine.url.database)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a consistent view; nothing written in it is kept."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction: all of it is on disk when this returns, or none of it when it raises."""
        with self.engine.connect() as connection, connection.execution_options(tocsin_write=True).begin():
            yield connection

    def many(self, connection: Connection, statement: ClauseElement, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement for many rows, values in the order of its bind parameters; return the number of rows touched.

        This is the hot path: the text is compiled once, and the rows go to the driver as they are.
        """
        if not rows:
            return 0
        return connection.exec_driver_sql(self.statement(statement), list(rows)).rowcount

    def _follow(self, path: str) -> None:
        """Use the file that is at `path` now. An administrator who copies a folder back under a running relay puts
        another file there, and alarms written into the former one would be lost. While no file is there, the former one
        is used."""

        @event.listens_for(self.engine, "checkout")
        def _checkout(_connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
            there = _identity(path)
            if there is not None and entry.info.setdefault("file", there) != there:
                if there != self._told:
                    self._told = there
                    self.replaced += 1
                    self.on_replaced()
                raise DisconnectionError("another file is in the place of the database")

        @event.listens_for(self.engine, "do_connect")
        def _do_connect(*_: object) -> None:
            if _identity(path) is None:
                raise StoreError(f"{path}: is missing; restore it from your backup")

    def _compile(self, statement: ClauseElement) -> str:
        compiled = statement.compile(dialect=_positional(self.engine.dialect))
        # A constant in the statement would be a parameter too, and shift the rows' values: write it as literal_column.
        if any(not bind.required for bind in getattr(compiled, "binds", {}).values()):
            raise ValueError("a statement for many rows has bind parameters only")
        return str(compiled)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def values(table: Table, *without: str) -> dict[str, BindParameter[Any]]:
    """Make a bind parameter for each column, in the table's order, as `Store.many` needs them for an INSERT."""
    return {column.name: bindparam(column.name) for column in table.c if column.name not in without}


def open_store(url: str, store_key: bytes, *, create: bool = True) -> Store:
    """Open the database at `url`, and create or upgrade its tables."""
    engine = open_engine(url, create=create)
    try:
        _migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, Box(store_key))


def open_engine(url: str, *, create: bool = True) -> Engine:
    """Open the database at `url`, whatever is in it."""
    parsed = make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        path = parsed.database
        if not path or path == ":memory:":
            raise StoreError("the store is a file: a database in memory would lose what was acknowledged")
        if not create and not os.path.exists(path):
            raise StoreError("there is no store here; `relay init` creates one")
        # Only the relay's user may read it, from the first moment on (SQLite gives its -wal and -shm files the same
        # mode).
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    elif parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    else:
        raise StoreError(
            f"store.url names {parsed.get_backend_name()}; the store is SQLite (sqlite:////srv/tocsin/db) or "
            "PostgreSQL (postgresql://host/name)"
        )
    try:
        # Rows must not reach a log by way of an error.
        engine = create_engine(parsed, hide_parameters=True, connect_args={} if sqlite else _PATIENCE)
    except ImportError:
        raise StoreError("PostgreSQL needs its driver: pip install tocsin[postgres]") from None
    if sqlite:
        _prepare_sqlite(engine)
    else:
        _limit_waits(engine)
    return engine


def scratch() -> Engine:
    """Make an empty database in memory, for a look into a backup. It is never the store: see `open_engine`."""
    engine = create_engine("sqlite://", poolclass=StaticPool, hide_parameters=True)
    _begin_explicitly(engine)
    return engine


def may_idle(connection: Connection) -> Connection:
    """Let a transaction wait longer than `_LIMITS` allow for something other than the database, as a backup waits for
    the file that it writes."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    return connection


def has_tables(engine: Engine) -> bool:
    """Tell whether there is a store in this database already."""
    with engine.connect() as connection:
        return inspect(connection).has_table("alembic_version")


def empty(engine: Engine) -> None:
    """Remove every table; for SQLite, remove the file too."""
    tables = MetaData()
    with engine.connect() as connection, connection.execution_options(tocsin_write=True).begin():
        tables.reflect(connection)
        tables.drop_all(connection)
    if engine.dialect.name == "sqlite" and engine.url.database:
        engine.dispose()
        os.unlink(engine.url.database)


def _prepare_sqlite(engine: Engine) -> None:
    if engine.dialect.dbapi is not None and engine.dialect.dbapi.sqlite_version_info < SQLITE_AT_LEAST:
        raise StoreError("SQLite is too old here: 3.37 or newer is needed")

    _begin_explicitly(engine)

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        if cursor.fetchone() != ("wal",):
            raise StoreError("this file system does not allow SQLite's write-ahead log; use a local disk")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        cursor.execute("PRAGMA trusted_schema = OFF")
        cursor.execute("PRAGMA secure_delete = ON")  # a key that was used up or revoked leaves the file
        cursor.close()


def _limit_waits(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for name, limit in _LIMITS.items():
            cursor.execute(f"SET {name} = '{limit}'")
        cursor.close()
        connection.commit()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_explicitly(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver shall not guess where transactions begin

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("tocsin_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: Engine) -> None:
    """Bring the tables to HEAD. Alembic is imported only when there is something to do: it is slow to load."""
    with engine.connect() as connection:
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found == HEAD:
        return
    from relay.store.migrate import upgrade

    upgrade(engine, found)


def _positional(dialect: Dialect) -> Dialect:
    """Return the same dialect with positional parameters, which both drivers take as tuples."""
    style = {"sqlite": "qmark", "postgresql": "format"}[dialect.name]
    positional: Dialect = type(dialect)(paramstyle=style)  # type: ignore[call-arg]  # every dialect takes it
    return positional
