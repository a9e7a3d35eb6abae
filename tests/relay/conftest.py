"""Stores to test on: without rows for each test, on every engine that this machine has."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from relay import store as stores
from relay.pipeline import Pipeline
from relay.store import Store
from relay.store.database import HEAD
from relay.store.schema import metadata
from tests.relay import postgres
from tests.relay.support import KEYS, STORE_KEY, Bracelet, contents, provision, subscribed

ENGINES = ["sqlite"]
if postgres.available():
    # One worker runs all of these, so that only one server is started.
    ENGINES.append(pytest.param("postgresql", marks=[pytest.mark.xdist_group("postgresql"), pytest.mark.long]))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    with postgres.server() as url:
        server = make_url(url).set(drivername="postgresql+psycopg")
        yield server.set(database=server.database or "postgres")


@contextmanager
def database(server: URL) -> Iterator[str]:
    """A PostgreSQL database for a while, empty."""
    name = "t" + secrets.token_hex(8)
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def postgres_ready(postgres_server: URL) -> Iterator[Callable[[], str]]:
    """Gives the URL of a PostgreSQL database that has its tables, with the rows of a new store and its subscriber."""
    with database(postgres_server) as url:
        store = stores.open(url, STORE_KEY)
        subscribed(store)
        rows = contents(store)

        def renew() -> str:
            with store.write() as connection:
                left = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                connection.execute(text(f"{left} AND pid <> pg_backend_pid()"))
                for table in reversed(metadata.sorted_tables):
                    connection.execute(table.delete())
                for table in metadata.sorted_tables:
                    for row in rows[table.name]:
                        connection.execute(table.insert().values(row))
                connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
            return url

        yield renew
        store.close()


@pytest.fixture(scope="session")
def sqlite_ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of SQLite that has its tables and its subscriber."""
    file = tmp_path_factory.mktemp("store") / "relay.db"
    store = stores.open(f"sqlite:///{file}", STORE_KEY)
    subscribed(store)
    store.close()
    return file


@pytest.fixture
def tables() -> bool:
    """Whether a test's database has its tables, because making them takes longer than most tests."""
    return True


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path, tables: bool) -> Iterator[str]:
    """The URL of a database without rows, or with those of the local subscriber."""
    if request.param == "sqlite":
        if tables:
            shutil.copyfile(request.getfixturevalue("sqlite_ready"), tmp_path / "relay.db")
        yield f"sqlite:///{tmp_path}/relay.db"
        return
    if tables:
        yield request.getfixturevalue("postgres_ready")()
        return
    with database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens the same database again, as another process would."""
    opened: list[Store] = []

    def opener() -> Store:
        opened.append(stores.open(store_url, STORE_KEY))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def pipeline(store: Store) -> Pipeline:
    return Pipeline(store, KEYS)


@pytest.fixture
def bracelet(store: Store) -> Bracelet:
    return provision(store)
