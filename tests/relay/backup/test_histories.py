"""Random lives of a relay that is backed up, restored, copied back, interrupted: no two texts under one key and nonce,
no wipe that is confirmed and did not happen, and in the end every bracelet is answered.

A capture keeps all that ever left. Its keys are worked out from the bracelet's root, as nobody but these two can.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from relay import store as stores
from relay.backup.restore import begin_anew
from relay.downlink import Desk, Downlink, Outbound
from relay.pipeline import Pipeline
from relay.registry import Registry
from relay.rollback import Lead
from relay.store import Store
from relay.verify import Heartbeat, Refused, open_down, parse
from relay.verify.down import Kind
from relay.verify.envelope import nonce
from relay.verify.keys import message_key, next_chain_key, salted_key
from relay.verify.payload import USED
from relay.verify.ratchet import ChainState
from tests.relay.support import KEYS, NETWORK_TIME, NOW, STORE_KEY, Bracelet, provision, subscribed

KEPT, LEAP = 64, 128  # firmware, ratchet


class Wrist:
    """A bracelet as firmware/tocsin has it: what it opens, what it misses, what it reports."""

    def __init__(self, bracelet: Bracelet) -> None:
        self.bracelet = bracelet
        self.root = bracelet.down.key
        self.used = False
        self.wiped = False
        self.pending: dict[int, bytes] = {}
        self.known: set[bytes] = set()

    def raise_alarm(self) -> None:
        octets = self.bracelet.alarm()
        self.pending[parse(octets).counter] = octets

    def take(self, octets: bytes) -> None:
        before = self.bracelet.down
        envelope = parse(octets)
        strange = octets not in self.known
        self.known.add(octets)
        try:
            (kind, content), after = open_down(envelope, before, 0)
        except Refused:
            self.used |= envelope.counter < before.next and strange
            return
        leapt = envelope.counter - before.next >= LEAP
        first = envelope.counter - envelope.counter % LEAP if leapt else 0
        kept = dict(sorted((n, key) for n, key in after.skipped.items() if n >= first)[-KEPT:])
        self.bracelet.down = ChainState(after.next, after.key, kept)
        if kind is Kind.RECEIPT:
            assert isinstance(content, int)
            self.pending.pop(content, None)
        self.wiped |= kind is Kind.REVOKE

    def beat(self) -> bytes:
        state = self.bracelet.down
        down = state.next if self.used or self.wiped else min(state.skipped, default=state.next)
        flags = NETWORK_TIME | (USED if self.used else 0)
        self.used = False
        return self.bracelet.sealer.heartbeat(Heartbeat(flags, int(NOW), 80, len(self.pending), down))


class Life:
    """One relay with one bracelet, a dice, and whoever listens."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.url = f"sqlite:///{folder / 'relay.db'}"
        self.file = folder / "relay.db"
        self.now = NOW
        self.store = stores.open(self.url, STORE_KEY)
        subscribed(self.store)
        self.wrist = Wrist(provision(self.store))
        self.capture: dict[tuple[bytes, bytes], bytes] = {}
        self.counters: dict[int, set[bytes]] = {}
        self.chain_keys = [self.wrist.root]
        self.copies: list[bytes] = [self.keep()]
        self.revoked = False
        self.start()

    def start(self) -> None:
        self.pipeline = Pipeline(self.store, KEYS, lead=Lead(self.dice.randrange))
        self.downlink = Downlink(self.store, KEYS, self.pipeline.roster.drop, self.pipeline.lead)
        self.desk = Desk(self.store, Registry(self.store, KEYS))

    def keep(self) -> bytes:
        with self.store.read() as connection:
            kept: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
        return kept

    def put_back(self, kept: bytes, *, restore: bool) -> None:
        self.store.close()
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        self.file.write_bytes(kept)
        self.store = stores.open(self.url, STORE_KEY)
        if restore:
            begin_anew(self.store, KEYS, int(self.now * 1000))
        self.start()

    def leaves(self, octets: bytes, *, lost: bool) -> None:
        """A message goes down: captured, and perhaps it arrives."""
        found = parse(octets)
        while len(self.chain_keys) <= found.counter:
            self.chain_keys.append(next_chain_key(self.chain_keys[-1]))
        assert found.salt is not None
        key = salted_key(message_key(self.chain_keys[found.counter]), found.salt)
        pair = key[:16], nonce(key, found.counter)
        assert self.capture.setdefault(pair, octets) == octets, "two texts under one key and nonce"
        self.counters.setdefault(found.counter, set()).add(octets)
        if not lost:
            self.wrist.take(octets)

    def loses(self) -> bool:
        return self.dice.random() < 0.2

    def comes(self, octets: bytes, *, beat: bool = False, lose: bool = True) -> None:
        """A message comes up, and what the relay answers goes down."""
        bracelet = self.wrist.bracelet
        message = bracelet.beat(octets) if beat else bracelet.by_mqtt(octets)
        (item,) = self.pipeline.process([message], self.now).items
        for answer in (item.receipt, *item.also):
            if answer is not None:
                self.leaves(answer, lost=lose and self.loses())
        if beat and self.revoked and self.desk.registry.get(bracelet.kid).state == "revoked":
            assert self.wrist.wiped, "a wipe was confirmed that never happened"

    def orders(self, *, lose: bool = True) -> None:
        commands: list[Outbound] = self.downlink.due(self.now)
        for command in commands:
            self.leaves(command.octets, lost=lose and self.loses())
            self.downlink.sent(command, self.now)

    def step(self) -> None:
        self.now += self.dice.choice([1, 20, 100, 4000])
        what = self.dice.randrange(12)
        if what < 4:
            self.wrist.raise_alarm()
            self.repeat()
        elif what < 6:
            self.comes(self.wrist.beat(), beat=True)
        elif what == 6:
            self.desk.configure(self.wrist.bracelet.kid, {"hold_ms": self.dice.randrange(1000, 10000)}, now=self.now)
            self.orders()
        elif what == 7:
            self.copies.append(self.keep())
        elif what == 8:
            self.put_back(self.dice.choice(self.copies), restore=True)
        elif what == 9:
            self.put_back(self.dice.choice(self.copies), restore=False)
        elif what == 10:
            self.crash()
        else:
            self.start()
            self.repeat()
            self.orders()

    def repeat(self, *, lose: bool = True) -> None:
        for octets in list(self.wrist.pending.values()):
            self.comes(octets, lose=lose)

    def crash(self) -> None:
        """The process ends between sealing and the end of the transaction."""
        self.wrist.raise_alarm()
        with breaking(self.store, self.dice.randrange(12)), pytest.raises(Broken):
            try:
                self.comes([*self.wrist.pending.values()][-1])
            finally:
                raise Broken  # there may be fewer statements than that
        self.start()


class Broken(Exception):
    """The power went off."""


@contextmanager
def breaking(store: Store, at: int) -> Iterator[None]:
    ran = 0

    def execute(*_: Any) -> None:
        nonlocal ran
        ran += 1
        if ran > at:
            raise Broken

    event.listen(store.engine, "before_cursor_execute", execute)
    try:
        yield
    finally:
        event.remove(store.engine, "before_cursor_execute", execute)


def live(folder: Path, seed: int) -> Life:
    life = Life(folder, seed)
    for _ in range(life.dice.randrange(10, 40)):
        life.step()
    # In the end all that is lost is lost, and whatever she raises is answered at once: alarm, report, answer.
    life.wrist.raise_alarm()
    life.repeat(lose=False)
    for _ in range(4):
        life.now += 15
        life.comes(life.wrist.beat(), beat=True, lose=False)
        life.repeat(lose=False)
    newest = max(parse(octets).counter for octets in life.wrist.pending.values()) if life.wrist.pending else -1
    assert newest == -1, f"seed {seed}: alarm message {newest} was never answered"
    life.desk.revoke(life.wrist.bracelet.kid, now=life.now)
    life.revoked = True
    if life.dice.randrange(2):
        kept = life.keep()
        life.orders()
        life.put_back(kept, restore=False)
    for _ in range(6):
        life.now += 100
        life.orders(lose=False)
        life.comes(life.wrist.beat(), beat=True, lose=False)
    assert life.wrist.wiped, f"seed {seed}: never wiped"
    assert life.desk.registry.get(life.wrist.bracelet.kid).state == "revoked"
    life.store.close()
    return life


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (0, 4),
        *(pytest.param(first, 30, marks=pytest.mark.long) for first in (4, 34)),
        *(pytest.param(first, 50, marks=pytest.mark.soak) for first in (64, 114, 164)),
    ],
)
def test_histories(tmp_path: Path, first: int, count: int) -> None:
    reused = 0
    for seed in range(first, first + count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        life = live(folder, seed)
        reused += sum(len(texts) > 1 for texts in life.counters.values())
    assert reused, "counters were used again, so that salts were needed"


@pytest.mark.parametrize("lives", [2, pytest.param(20, marks=pytest.mark.long)])
def test_restores_alone_use_no_counter_twice(tmp_path: Path, lives: int) -> None:
    """What `relay restore` moves forward is enough for a day of alarms, without the salts."""
    for seed in range(lives):
        folder = tmp_path / str(seed)
        folder.mkdir()
        life = Life(folder, seed)
        for _ in range(life.dice.randrange(4)):
            life.wrist.raise_alarm()
            life.repeat()
        kept = life.keep()
        for _ in range(life.dice.randrange(1, 300)):
            life.wrist.raise_alarm()
            life.repeat(lose=False)
        life.put_back(kept, restore=True)
        life.wrist.raise_alarm()
        life.repeat(lose=False)
        assert not life.wrist.pending, "answered at once"
        assert all(len(texts) == 1 for texts in life.counters.values())
        life.store.close()
