"""Stores to test on: a fresh database each, on every engine that this machine has."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from relay import store as stores
from relay.pipeline import Pipeline
from relay.store import Store
from tests.relay import postgres
from tests.relay.support import KEYS, STORE_KEY, Bracelet, provision

ENGINES = ["sqlite"]
if postgres.available():
    # One worker runs all of these, so that only one server is started.
    ENGINES.append(pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql")))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/relay.db"
        return
    server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
    name = "t" + secrets.token_hex(8)
    admin = create_engine(server.set(database=server.database or "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


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
