"""A store of every earlier release is taken up with what is in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from relay.registry import PROFILE, Heard, Registry
from relay.store import Store
from relay.store.atrest import Box
from relay.store.migrate import configuration
from tests.relay.support import KEYS, STORE_KEY


@pytest.fixture
def tables() -> bool:
    return False


def at_revision(url: str, revision: str, *statements: tuple[str, dict[str, object]]) -> None:
    """A store as that release left it."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    config = configuration()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement, values in statements:
            connection.execute(text(statement), values)
    engine.dispose()


def test_heartbeats_of_the_first_release_are_kept(store_url: str, open_store: Callable[[], Store]) -> None:
    profile = Box(STORE_KEY).seal(PROFILE, 7, b'{"code_name": "sparrow", "password": "x"}')
    at_revision(
        store_url,
        "0001",
        (
            "INSERT INTO bracelet (kid, state, offered_ms, public, profile_sealed) VALUES (7, 'active', 1, :p, :f)",
            {"p": bytes(32), "f": profile},
        ),
        (
            "INSERT INTO heartbeat (kid, counter, received_ms, sent, flags, battery, pending, digest) "
            "VALUES (7, 12, 1767225700000, 1767225699, 24, 80, 3, :d)",
            {"d": bytes(32)},
        ),
    )
    store = open_store()
    (entry,) = Registry(store, KEYS).list()
    assert entry.heard == Heard(1767225700000, 80, False, "none", 3, *[None] * 11)
