"""Another file comes into the place of the database while a relay has it open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from relay import store as stores
from relay.pipeline import Pipeline, Status
from relay.rollback import Lead
from relay.store import Store, StoreError, schema
from relay.store.chains import LEAP
from relay.verify import parse
from tests.relay.support import KEYS, NOW, STORE_KEY, provision, subscribed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def own(file: Path) -> Iterator[Store]:
    store = stores.open(f"sqlite:///{file}", STORE_KEY)
    subscribed(store)
    yield store
    store.close()


def copied(store: Store) -> bytes:
    with store.read() as connection:
        octets: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
    return octets


def put(file: Path, octets: bytes) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    file.with_suffix(".new").write_bytes(octets)
    os.replace(file.with_suffix(".new"), file)


def test_what_comes_is_stored_in_the_file_that_is_there_now(own: Store, file: Path) -> None:
    bracelet = provision(own)
    pipeline, told = Pipeline(own, KEYS, lead=Lead(lambda _most: 0)), []
    own.on_replaced = lambda: told.append(True)
    pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW)
    copy = copied(own)
    for _ in range(3):
        pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW)
    put(file, copy)
    items = [pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items[0] for _ in range(2)]
    assert [item.status for item in items] == [Status.NEW, Status.NEW]
    assert (own.replaced, told) == (1, [True])
    receipts = [parse(item.receipt).counter for item in items if item.receipt is not None]
    assert receipts[0] % LEAP == 0, "the first answer leads, as after a start"
    assert receipts[1] == receipts[0] + 1
    another = stores.open(f"sqlite:///{file}", STORE_KEY)
    with another.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.alarm)).scalar_one() == 3
    another.close()


def test_while_no_file_is_there_none_is_made(own: Store, file: Path) -> None:
    bracelet = provision(own)
    pipeline = Pipeline(own, KEYS)
    octets = copied(own)
    file.unlink()
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    assert item.status is Status.NEW, "people are told of it, whatever becomes of the file"
    own.engine.dispose()
    with pytest.raises(StoreError, match="is missing"):
        pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW)
    assert not file.exists()
    put(file, octets)
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    assert item.status is Status.NEW
