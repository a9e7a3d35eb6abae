"""All or nothing: a transaction that breaks anywhere leaves nothing, on disk or in memory, and can be offered again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from relay.pipeline import Inbound, Pipeline, Status
from relay.rollback import Lead
from relay.store import Store
from tests.relay.support import KEYS, NOW, Bracelet, contents, provision


class Broken(Exception):
    """The disk is full, the server is gone, the power is."""


@contextmanager
def breaking(store: Store, at: int) -> Iterator[list[str]]:
    """Raise at the n-th statement or commit of this store; the list tells which have run."""
    ran: list[str] = []

    def step(name: str) -> None:
        if len(ran) == at:
            raise Broken(name)
        ran.append(name)

    def statement(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        step(text.split("(")[0])

    def commit(_connection: Any) -> None:
        step("COMMIT")

    event.listen(store.engine, "before_cursor_execute", statement)
    event.listen(store.engine, "commit", commit)
    try:
        yield ran
    finally:
        event.remove(store.engine, "before_cursor_execute", statement)
        event.remove(store.engine, "commit", commit)


def batch_of(bracelets: list[Bracelet]) -> list[Inbound]:
    first, second = bracelets
    octets = first.alarm()
    return [
        first.by_mqtt(octets),
        second.by_sms(second.alarm(0)),
        second.by_mqtt(second.alarm(1)),
        first.beat(first.heartbeat()),
        first.by_sms(octets),
        Inbound("sms", b"rubbish"),
    ]


STATUSES = [Status.NEW, Status.NEW, Status.NEW, Status.HEARTBEAT, Status.DUPLICATE, Status.REFUSED]


@pytest.mark.parametrize("warm", [False, True], ids=["cold cache", "warm cache"])
def test_broken_at_every_statement(store: Store, warm: bool) -> None:
    bracelets = [provision(store), provision(store, "heron")]
    pipeline = Pipeline(store, KEYS)
    done = []
    if warm:
        items = pipeline.process(batch_of(bracelets), NOW).items
        done = [delivery.id for item in items for delivery in item.deliveries]
    batch = batch_of(bracelets)
    before = contents(store)
    at = 0
    while True:
        with breaking(store, at) as ran:
            try:
                outcome = pipeline.process(batch, NOW, done=done)
            except Broken:
                at += 1
            else:
                break
        assert contents(store) == before
    assert len(ran) == at
    assert "COMMIT" in ran
    assert len({text for text in ran if text.startswith(("INSERT", "UPDATE"))}) >= 7, "every kind of write was hit"
    assert [item.status for item in outcome.items] == STATUSES
    for bracelet, item in zip([bracelets[0], bracelets[1], bracelets[1]], outcome.items, strict=False):
        # The receipts' chain has no gap and no repetition either.
        assert bracelet.confirmed(item.receipt) == item.counter


def test_a_statement_that_fails_once_refuses_no_message(store: Store) -> None:
    """A server that was restarted answers the next statement: what was asked before must not cost an alarm."""
    bracelets = [provision(store), provision(store, "heron")]
    batch, before = batch_of(bracelets), contents(store)
    failed: set[str] = set()
    for at in range(100):
        pipeline = Pipeline(store, KEYS, lead=Lead(lambda _most: 0))
        seen: list[str] = []

        def statement(*asked: Any, at: int = at, seen: list[str] = seen) -> None:
            seen.append(asked[2])
            if len(seen) == at + 1:
                raise OperationalError(seen[-1], None, Exception("connection lost"))

        event.listen(store.engine, "before_cursor_execute", statement)
        try:
            outcome = pipeline.process(batch, NOW)
        except OperationalError:
            failed.add(seen[-1])
            assert contents(store) == before
            continue
        finally:
            event.remove(store.engine, "before_cursor_execute", statement)
        break
    assert any("FROM audience" in text for text in failed), "it was hit where single messages are judged"
    assert [item.status for item in outcome.items] == STATUSES


def test_a_commit_whose_answer_is_lost(store: Store, bracelet: Bracelet) -> None:
    """The commit happened, but the relay was told it failed. Offered again, the batch is all duplicates."""
    pipeline = Pipeline(store, KEYS)
    batch = [bracelet.by_mqtt(bracelet.alarm()), bracelet.beat(bracelet.heartbeat())]
    reply: dict[str, Exception] = {"error": OperationalError("commit", None, Exception("connection lost"))}
    write = store.write

    @contextmanager
    def lossy() -> Iterator[Any]:
        with write() as connection:
            yield connection
        if reply:
            raise reply.pop("error")

    store.write = lossy  # type: ignore[method-assign]
    with pytest.raises(OperationalError):
        pipeline.process(batch, NOW)
    after = contents(store)
    items = pipeline.process(batch, NOW + 1).items
    assert [item.status for item in items] == [Status.DUPLICATE, Status.DUPLICATE]
    assert bracelet.confirmed(items[0].receipt) == 0
    assert contents(store) == after


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 8), trouble=st.integers(0, 40))
def test_any_history(store: Store, seed: int, batches: int, trouble: int) -> None:
    """Loss, reordering, duplication, damage, broken transactions and restarts: every alarm once, every receipt true."""
    dice = random.Random(seed)
    bracelet = provision(store)
    pipeline = Pipeline(store, KEYS)
    sent: list[bytes] = []
    accepted: dict[bytes, bytes | None] = {}
    for _ in range(batches):
        sent += [bracelet.alarm(dice.randrange(2) and len(sent)) for _ in range(dice.randrange(4))]
        batch = [bracelet.by_mqtt(octets) for octets in dice.sample(sent, dice.randrange(len(sent) + 1))]
        batch += [bracelet.by_sms(dice.choice(sent)) for _ in range(2) if sent]
        if sent:
            damaged = bytearray(dice.choice(sent))
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
            batch.insert(dice.randrange(len(batch) + 1), bracelet.by_mqtt(bytes(damaged)))
        try:
            with breaking(store, dice.randrange(60) if dice.randrange(40) < trouble else 10**6):
                items = pipeline.process(batch, NOW).items
        except Broken:
            if dice.randrange(2):
                pipeline = Pipeline(store, KEYS)
            continue
        for message, item in zip(batch, items, strict=True):
            if message.octets not in sent:
                assert item.status is Status.REFUSED
            elif message.octets in accepted:
                assert (item.status, item.receipt) == (Status.DUPLICATE, accepted[message.octets])
            else:
                assert item.status is Status.NEW
                assert bracelet.confirmed(item.receipt) == item.counter
                accepted[message.octets] = item.receipt
    kid = int(bracelet.kid, 16)
    rows = contents(store)
    assert sum(row[1] == kid for row in rows["alarm"]) == len(accepted)
    assert sum(row[0] >> 24 == kid for row in rows["outbox"]) == len(accepted)
    assert sum(row[5] for row in rows["alarm_case"] if row[1] == kid) == len(accepted)
