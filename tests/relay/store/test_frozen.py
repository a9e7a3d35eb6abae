"""A process that is frozen in the middle of a transaction stops the others for seconds, and not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from relay.backup import contents as backup
from relay.backup import restore
from relay.store import Store, schema
from relay.verify.ratchet import ChainState
from tests.relay.conftest import ENGINES
from tests.relay.support import KEYS, provision

WRITES = update(schema.registry).values(version=schema.registry.c.version + 1)
FROZEN_S = 4.0

pytestmark = [pytest.mark.long, pytest.mark.parametrize("store_url", ENGINES[1:], indirect=True)]


def test_who_waits_for_a_frozen_one_gets_its_turn(store: Store, open_store: Callable[[], Store]) -> None:
    written = threading.Event()

    def write() -> None:
        with open_store().write() as connection:
            connection.execute(WRITES)
        written.set()

    with pytest.raises(DBAPIError), store.write() as connection:
        connection.execute(WRITES)
        threading.Thread(target=write, daemon=True).start()
        assert written.wait(60), "the other waits for one that never goes on"
    with store.write() as connection:
        connection.execute(WRITES)  # on a new connection


def test_nobody_waits_long_for_a_lock_of_one_that_works(store: Store, open_store: Callable[[], Store]) -> None:
    other, refused = open_store(), threading.Event()

    def write() -> None:
        try:
            with other.write() as connection:
                connection.execute(WRITES)
        except DBAPIError:
            refused.set()

    with store.write() as connection:
        connection.execute(WRITES)
        waiting = threading.Thread(target=write, daemon=True)
        waiting.start()
        end = time.monotonic() + 60
        while waiting.is_alive() and time.monotonic() < end:
            connection.execute(text("SELECT pg_sleep(0.5)"))  # never idle
    assert refused.is_set()


def test_a_backup_may_take_its_time(store: Store) -> None:
    with backup._one_moment(store) as connection:
        before = connection.execute(schema.registry.select()).one()
        time.sleep(FROZEN_S)
        assert connection.execute(schema.registry.select()).one() == before


def test_so_may_the_steps_of_a_restore(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    provision(store, "wren")
    leapt = restore.chains.leapt

    def slowly(state: ChainState, least: int) -> ChainState:
        time.sleep(FROZEN_S)
        return leapt(state, least)

    monkeypatch.setattr(restore.chains, "leapt", slowly)
    assert restore.begin_anew(store, KEYS, 0)[0] == 1
