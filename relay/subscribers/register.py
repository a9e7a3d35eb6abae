# sans-I/O, but for the store
"""The subscribers in the store: who they are, what they may read, and the epochs of their audiences.

An epoch ends after a day, and at once when a subscriber joins an audience or leaves it: a new member reads nothing
earlier, a former one nothing later. Each change raises the registry's version in the same transaction, so that a
running relay takes it up before it stores anything more.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from relay import registry
from relay.broker.passwords import verifier
from relay.store import AtRestError, roster, schema
from relay.store.atrest import Box
from relay.store.database import Store
from relay.subscribers import epoch_keys
from relay.subscribers.audiences import CHANNEL, EPOCH_KEY, PERMISSION, Permission, key_topic, name, open_epoch
from relay.subscribers.coarse import KM
from relay.subscribers.sealing import EPOCH_OCTETS, KEY_OCTETS, Epoch
from relay.verify.keys import RelayKeys

PROFILE = "subscriber.profile"
LOCAL = "watch"  # the subscriber that `relay init` makes, for this machine
NAME_MAX = 64
DAY_MS = 86_400_000
KEPT_MS = 8 * DAY_MS  # a subscriber may be away for so long and still read what waited for it
KEPT_AT_LEAST = 8  # epochs, whatever a clock says
_S, _E, _A = schema.subscriber.c, schema.epoch.c, schema.audience.c


class SubscriberError(Exception):
    """A request that can't be done; the message says why and what to do."""


class Entry(NamedTuple):
    """A subscriber. `permission` is None where the stored one is damaged; then the subscriber is told nothing. The
    password is empty where the profile is damaged."""

    id: int
    name: str
    account: str
    password: str
    audience: str
    permission: Permission | None
    added_ms: int
    public: bytes

    def __repr__(self) -> str:
        return f"Entry({self.account})"


class Retained(NamedTuple):
    """The message that the broker is to keep for a subscriber: its epoch keys, or nothing any more."""

    id: int
    topic: str
    octets: bytes
    epochs: tuple[bytes, ...]


class Subscribers:
    """The subscribers of one relay. Changes are on disk when a call returns."""

    def __init__(self, store: Store, actor: str = "operator") -> None:
        self.store = store
        self.actor = actor

    def add(self, called: str, public: bytes, permission: Permission, *, now: float) -> Entry:
        """Add a subscriber, for the owner of this X25519 key."""
        called = _checked_name(called)
        _check_permission(permission)
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            if any(entry.name == called for entry in self._entries(connection)):
                raise SubscriberError(f"{called}: there is a subscriber of this name; remove it first, or rotate it")
            _check_bracelets(connection, permission)
            _check_key(public)
            audience = self._audience(connection, permission, now_ms)
            joined = self._begin_epoch(connection, audience, now_ms)
            number = _unused(connection, schema.subscriber, 32)
            row = {
                "id": number,
                "audience": audience,
                "joined": joined,
                "added_ms": now_ms,
                "public": public,
                "account": account(number),
                **self._profile(number, called),
            }
            connection.execute(insert(schema.subscriber).values(row))
            if called == LOCAL:  # take over what an earlier version promised to the one account that all shared
                kept = update(schema.outbox).where(schema.outbox.c.channel == "mqtt", schema.outbox.c.done_ms.is_(None))
                connection.execute(kept.values(channel=CHANNEL + name(audience)))
            self._changed(connection, "subscriber.added", now_ms)
        return self.get(called)

    def remove(self, called: str, *, now: float) -> Entry:
        """Remove a subscriber, which may read nothing from now on. Its row stays until the broker has let go of its
        keys."""
        if called == LOCAL:
            raise SubscriberError(f"{LOCAL} is this relay's own, which `relay watch` needs; rotate it instead")
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            entry = self._get(connection, called)
            change = update(schema.subscriber).where(_S.id == entry.id).values(removed_ms=now_ms)
            connection.execute(change)
            self._begin_epoch(connection, int(entry.audience, 16), now_ms)
            self._changed(connection, "subscriber.removed", now_ms)
        return entry

    def rotate(self, called: str, public: bytes, *, now: float) -> Entry:
        """Give a subscriber a new password and another public key, and begin a new epoch."""
        _check_key(public)
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            entry = self._get(connection, called)
            change = {"public": public, **self._profile(entry.id, entry.name)}
            connection.execute(update(schema.subscriber).where(_S.id == entry.id).values(change))
            self._begin_epoch(connection, int(entry.audience, 16), now_ms)
            self._changed(connection, "subscriber.rotated", now_ms)
        return self.get(called)

    def new_epochs(self, *, now: float, only_due: bool = False) -> int:
        """Begin an epoch for every audience with members, or only for those whose newest is a day old; return the
        number of epochs begun."""
        now_ms = int(now * 1000)
        with self.store.read() as connection:
            if only_due and not _due(connection, now_ms):
                return 0
        with self.store.write() as connection:
            audiences = _due(connection, now_ms if only_due else None)
            for audience in audiences:
                self._begin_epoch(connection, audience, now_ms)
            if audiences:
                self._changed(connection, "subscriber.new_epoch", now_ms)
        return len(audiences)

    def list(self) -> Sequence[Entry]:
        """List all subscribers, oldest first, without removed ones."""
        with self.store.read() as connection:
            return list(self._entries(connection))

    def get(self, called: str) -> Entry:
        with self.store.read() as connection:
            return self._get(connection, called)

    # ---- for the running relay ----

    def prepare_accounts(self) -> None:
        """Hash the passwords of subscribers from before there were hashes. Call this before the broker starts."""
        table = schema.subscriber
        with self.store.read() as connection:
            unhashed = connection.execute(select(_S.id, _S.profile_sealed).where(_S.account_hash.is_(None))).all()
        if not unhashed:
            return
        with self.store.write() as connection:
            for number, sealed in unhashed:
                try:
                    kept = verifier(json.loads(self.store.box.open(PROFILE, number, sealed))["password"])
                except AtRestError:  # damaged: it alone can't connect
                    continue
                connection.execute(update(table).where(_S.id == number).values(account_hash=kept))

    def retained(
        self, keys: RelayKeys, now: float, left: Mapping[int, tuple[bytes, ...]] | None = None
    ) -> Sequence[Retained]:
        """List the message that the broker is to keep for each subscriber, an empty one for removed subscribers. Leave
        out those for whom it has the keys of the same epochs already (`left`, by subscriber)."""
        messages, opened, left = [], dict[bytes, Epoch | None](), left or {}
        with self.store.read() as connection:
            for row in connection.execute(select(schema.subscriber).order_by(_S.id)).all():
                topic = key_topic(name(row.audience), account(row.id))
                found: Sequence[Any] = ()
                if row.removed_ms is None:
                    query = select(_E.id, _E.key_sealed).where(_E.audience == row.audience, _E.n >= row.joined)
                    found = connection.execute(query.order_by(_E.n.desc()).limit(epoch_keys.MOST_EPOCHS)).all()
                for number, sealed in found:
                    if number not in opened:
                        opened[number] = _opened(self.store.box, number, sealed)
                epochs = [epoch for number, _ in found if (epoch := opened[number]) is not None]
                ids = tuple(epoch.id for epoch in epochs)
                if left.get(row.id) == ids:
                    continue
                octets = b""
                if row.removed_ms is None:
                    try:
                        octets = epoch_keys.seal(keys, topic, row.public, epochs, int(now * 1000))
                    except ValueError:  # a key from before there was `_check_key`: nobody could read the message
                        continue
                messages.append(Retained(row.id, topic, octets, ids))
        return messages

    def version(self) -> int:
        """Return a number that rises with every change of the registry."""
        with self.store.read() as connection:
            return roster.version(connection)

    def forget(self, number: int) -> None:
        """Forget a removed subscriber, after the broker has let go of its keys."""
        with self.store.write() as connection:
            gone = delete(schema.subscriber).where(_S.id == number, _S.removed_ms.is_not(None))
            connection.execute(gone)

    # ---- parts ----

    def _entries(self, connection: Connection) -> Iterable[Entry]:
        query = (
            select(schema.subscriber, _A.permission_sealed)
            .join(schema.audience, _A.id == _S.audience)
            .where(_S.removed_ms.is_(None))
            .order_by(_S.added_ms, _S.id)
        )
        for row in connection.execute(query).all():
            box = self.store.box
            try:
                profile = json.loads(box.open(PROFILE, row.id, row.profile_sealed))
            except AtRestError:  # an operator finds it by its account, to rotate or remove it
                profile = {"name": account(row.id), "password": ""}
            permission = _permission(box, row.audience, row.permission_sealed)
            yield Entry(
                row.id,
                profile["name"],
                account(row.id),
                profile["password"],
                name(row.audience),
                permission,
                row.added_ms,
                row.public,
            )

    def _get(self, connection: Connection, called: str) -> Entry:
        for entry in self._entries(connection):
            if called in (entry.name, entry.account):
                return entry
        raise SubscriberError(f"{called}: there is no such subscriber; `relay subscriber list` shows them")

    def _audience(self, connection: Connection, permission: Permission, now_ms: int) -> int:
        """Return the audience with this permission; make it if there is none."""
        box = self.store.box
        for number, sealed in connection.execute(select(_A.id, _A.permission_sealed)).all():
            if _permission(box, number, sealed) == permission:
                return int(number)
        number = _unused(connection, schema.audience, 48)
        row = {
            "id": number,
            "created_ms": now_ms,
            "newest": 0,
            "permission_sealed": box.seal(PERMISSION, number, permission.encode()),
        }
        connection.execute(insert(schema.audience).values(row))
        return number

    def _begin_epoch(self, connection: Connection, audience: int, now_ms: int) -> int:
        """Begin an epoch, under whose key everything is sealed from now on; forget keys that nobody needs any more."""
        number = os.urandom(EPOCH_OCTETS)
        newest = connection.execute(select(_A.newest).where(_A.id == audience).with_for_update()).scalar_one()
        last = connection.execute(select(func.max(_E.n)).where(_E.audience == audience)).scalar_one()
        newest = (newest if last is None else last) + 1  # `newest` may be damaged; no epoch begins twice
        sealed = self.store.box.seal(EPOCH_KEY, int.from_bytes(number, "big"), os.urandom(KEY_OCTETS))
        row = {"audience": audience, "n": newest, "id": number, "began_ms": now_ms, "key_sealed": sealed}
        connection.execute(insert(schema.epoch).values(row))
        connection.execute(update(schema.audience).where(_A.id == audience).values(newest=newest))
        old = (_E.began_ms < now_ms - KEPT_MS) | (_E.n <= newest - epoch_keys.MOST_EPOCHS)
        connection.execute(delete(schema.epoch).where(_E.audience == audience, _E.n <= newest - KEPT_AT_LEAST, old))
        return int(newest)

    def _profile(self, number: int, called: str) -> dict[str, bytes]:
        """Draw a new password, and make its columns: the sealed password, and a hash to check it by."""
        password = secrets.token_urlsafe(registry.PASSWORD_OCTETS)
        profile = json.dumps({"name": called, "password": password}).encode()
        return {"profile_sealed": self.store.box.seal(PROFILE, number, profile), "account_hash": verifier(password)}

    def _changed(self, connection: Connection, action: str, now_ms: int) -> None:
        registry.changed(self.store, connection, self.actor, action, None, now_ms)


def _opened(box: Box, number: bytes, key_sealed: bytes) -> Epoch | None:
    """Open an epoch's key; return None for a damaged key, which must not keep the others from their subscribers."""
    try:
        return open_epoch(box, number, key_sealed)
    except AtRestError:
        return None


def _permission(box: Box, audience: int, sealed: bytes) -> Permission | None:
    """Open an audience's permission; return None for a damaged one."""
    try:
        return Permission.decode(box.open(PERMISSION, audience, sealed))
    except AtRestError:
        return None


def account(number: int) -> str:
    """Name a subscriber's account at the broker; the name tells nobody whose it is."""
    return f"sub-{number:08x}"


def _due(connection: Connection, now_ms: int | None) -> Sequence[int]:
    """List audiences with members whose newest epoch is missing or did not begin within the last day; with None, all
    with members."""
    query = (
        select(_A.id)
        .outerjoin(schema.epoch, (_E.audience == _A.id) & (_E.n == _A.newest))
        .where(_A.id.in_(select(_S.audience).where(_S.removed_ms.is_(None))))
    )
    if now_ms is not None:  # an epoch that began in the future was begun by a wrong clock
        query = query.where(_E.n.is_(None) | (_E.began_ms <= now_ms - DAY_MS) | (_E.began_ms > now_ms + DAY_MS))
    return list(connection.execute(query).scalars())


def _unused(connection: Connection, table: Table, bits: int) -> int:
    while True:
        number = secrets.randbits(bits)
        if number and connection.execute(select(table.c.id).where(table.c.id == number)).first() is None:
            return number


def _checked_name(called: str) -> str:
    called = called.strip()
    if not 1 <= len(called) <= NAME_MAX or not called.isprintable():
        raise SubscriberError(f"a subscriber's name has 1 to {NAME_MAX} printable characters")
    return called


def _check_permission(permission: Permission) -> None:
    if permission.coarse_km is not None and not KM[0] <= permission.coarse_km <= KM[1]:
        raise SubscriberError(f"{permission.coarse_km}: a square has {KM[0]} to {KM[1]} km")


def _check_key(public: bytes) -> None:
    try:
        epoch_keys.check_public(public)
    except ValueError:
        raise SubscriberError(
            "this is no public key that anything can be sealed for; `relay subscribe --new-key` prints one"
        ) from None


def _check_bracelets(connection: Connection, permission: Permission) -> None:
    wanted = permission.only or frozenset()
    kid = schema.bracelet.c.kid
    known = set(connection.execute(select(kid).where(kid.in_(wanted))).scalars()) if wanted else set()
    if wanted - known:
        missing = ", ".join(f"{number:08x}" for number in sorted(wanted - known))
        raise SubscriberError(f"{missing}: there is no such bracelet; `relay bracelet list` shows them")
