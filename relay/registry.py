"""The registry of bracelets: offer, answer, list, revoke.

An offer is what the relay gives a new bracelet: its key id, its broker account, and the public half of a key made for
this one device. The answer brings back the device's public keys. The relay derives the chains from both, and deletes
its private half. So an old backup of the relay does not open old messages, and an offer can be answered only once.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_core_ed25519_is_valid_point
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from relay.broker.passwords import verifier
from relay.store import chains, commands, records, schema
from relay.store.atrest import AtRestError, Box
from relay.store.database import Store
from relay.store.roster import version
from relay.store.schema import COUNTERS
from relay.verify.down import HEARTBEAT_S
from relay.verify.keys import RelayKeys, agree, roots
from relay.verify.payload import LAST, STRAPS, known

FORMAT = 1
BATCH = "tocsin_batch"  # marks a file of several offers or answers, and is its version
PROFILE = "bracelet.profile"
OFFER_KEY = "bracelet.offer_key"
UNREADABLE = "(damaged: can't be read)"
PASSWORD_OCTETS = 24
ACCOUNT_OCTETS = 8  # 16 characters: every broker takes client ids of up to 23
CODE_NAME_MAX = 64
_HEX8 = re.compile(r"[0-9a-f]{8}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class RegistryError(Exception):
    """An offer, answer or revocation that can't be done; the message says why."""


class Heard(NamedTuple):
    """The newest heartbeat of a bracelet, as `relay.verify.payload` explains its items; None where its firmware doesn't
    report them. `strap`: none, closed or open. `lost_ms`: the time at which its connection ended, if nothing was heard
    since. Times are milliseconds since 1970."""

    at_ms: int
    battery: int | None  # None: the bracelet could not measure it
    last: bool
    strap: str
    pending: int
    down: int | None
    registration: int | None
    signal: int | None
    operator: int | None
    link: int | None
    reset_cause: int | None
    resets: int | None
    crash: int | None
    mode: int | None
    program: int | None
    lost_ms: int | None


class Entry(NamedTuple):
    """A bracelet in the list. Times are milliseconds since 1970. `last_ms`: the time of the newest genuine heartbeat or
    alarm message from it; `heartbeat_s`: seconds between two heartbeats that it should send."""

    kid: str
    code_name: str
    state: str
    offered_ms: int
    completed_ms: int | None
    revoked_ms: int | None
    heard: Heard | None = None
    last_ms: int | None = None
    heartbeat_s: int = HEARTBEAT_S

    def __repr__(self) -> str:
        return f"Entry({self.kid}, {self.state})"


class Account(NamedTuple):
    """A bracelet's account at the broker. The account's name is random, so that no topic tells anybody the client id
    with which the bracelet connects."""

    name: str
    kid: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.kid})"


Entries = list[Entry]
Accounts = list[Account]


class Registry:
    """The bracelets of one relay. Every change raises the registry's version, which a running service notices."""

    def __init__(self, store: Store, keys: RelayKeys, actor: str = "operator") -> None:
        self.store = store
        self.keys = keys
        self.actor = actor

    def offer(
        self,
        code_name: str,
        *,
        now: float,
        host: str,
        port: int,
        ca_der: bytes,
        sms: str | None = None,
        wifi: Sequence[tuple[str, str]] = (),
        apn: Mapping[str, str | bool] | None = None,
    ) -> dict[str, Any]:
        """Register a new bracelet and return its offer. The offer holds a password: give it to the device alone.

        `apn`: the operator's access point for data, with "name", and where they are needed "user", "password" (PAP) and
        "roaming" (true if it may be used in foreign networks). None: no data over the mobile network."""
        code_name = code_name.strip()
        if not 1 <= len(code_name) <= CODE_NAME_MAX or not code_name.isprintable():
            raise RegistryError(f"a code name has 1 to {CODE_NAME_MAX} printable characters")
        account, password = secrets.token_hex(ACCOUNT_OCTETS), secrets.token_urlsafe(PASSWORD_OCTETS)
        profile = json.dumps({"code_name": code_name, "password": password}).encode()
        private = X25519PrivateKey.generate()
        box, now_ms = self.store.box, int(now * 1000)
        with self.store.write() as connection:
            kid = _new_kid(connection)
            row = {
                "kid": kid,
                "state": "offered",
                "offered_ms": now_ms,
                "profile_sealed": box.seal(PROFILE, kid, profile),
                "offer_key_sealed": box.seal(OFFER_KEY, kid, private.private_bytes_raw()),
                "account": account,
                "account_hash": verifier(password),
            }
            connection.execute(insert(schema.bracelet).values(row))
            self._changed(connection, "bracelet.offered", kid, now_ms)
        name = f"{kid:08x}"
        return {
            "tocsin": FORMAT,
            "kid": name,
            "relay_id": self.keys.id.hex(),
            "relay_x25519": private.public_key().public_bytes_raw().hex(),
            "time": int(now),
            "mqtt": {"host": host, "port": port, "user": account, "password": password},
            "sms": sms,
            "ca": base64.b64encode(ca_der).decode(),
            "wifi": [[ssid, key] for ssid, key in wifi],
            **({"apn": dict(apn)} if apn else {}),
        }

    def complete(self, answer: object, *, now: float) -> Entry:
        """Take a bracelet's answer: derive the chains, delete the relay's private key, make the bracelet active."""
        kid, public, device_x25519 = _parse_answer(answer)
        box, now_ms = self.store.box, int(now * 1000)
        table = schema.bracelet
        try:
            with self.store.write() as connection:
                row = connection.execute(select(table).where(table.c.kid == kid).with_for_update()).one_or_none()
                if row is None:
                    raise RegistryError("no offer was made for this key id")
                if row.state != "offered":
                    raise RegistryError("this offer was answered or revoked before; make a new offer")
                private = box.open(OFFER_KEY, kid, row.offer_key_sealed)
                try:
                    shared = agree(private, device_x25519)
                except ValueError:
                    raise RegistryError("the answer's X25519 key is not a usable one") from None
                chains.create(connection, box, kid, roots(shared, kid.to_bytes(4, "big"), self.keys.id))
                change = {"state": "active", "completed_ms": now_ms, "public": public, "offer_key_sealed": None}
                connection.execute(update(table).where(table.c.kid == kid).values(change))
                self._changed(connection, "bracelet.completed", kid, now_ms)
        except IntegrityError:
            raise RegistryError("another bracelet has this Ed25519 key already") from None
        return self.get(f"{kid:08x}")

    def revoke(self, kid: str, *, now: float) -> Entry:
        """End a bracelet for ever: the relay accepts nothing more from it, and deletes its chain keys.
        `relay.downlink.Desk.revoke` has the bracelet wiped first."""
        number = _parse_kid(kid)
        table = schema.bracelet
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            state = connection.execute(
                select(table.c.state).where(table.c.kid == number).with_for_update()
            ).scalar_one_or_none()
            if state is None:
                raise _unknown(kid)
            if state == "revoked":
                raise RegistryError("this bracelet is revoked already")
            waiting = [row.id for row in commands.unfinished(connection, number)]
            commands.finish(connection, waiting, "given up", now_ms)
            end(self.store, connection, self.actor, number, now_ms)
        return self.get(kid)

    def get(self, kid: str) -> Entry:
        """Return one bracelet."""
        number = _parse_kid(kid)
        for entry in self._entries(schema.bracelet.c.kid == number):
            return entry
        raise _unknown(kid)

    def list(self) -> Entries:
        """List all bracelets, oldest offer first, revoked ones too."""
        return self._entries()

    def accounts(self) -> Accounts:
        """List the broker accounts of active bracelets, and of offered ones, which may connect before they are
        completed. This opens each password: use it only for brokers that need a list."""
        table = schema.bracelet.c
        query = select(table.account, table.kid, table.profile_sealed).where(table.state != "revoked")
        with self.store.read() as connection:
            return [
                Account(name, f"{kid:08x}", self._profile(kid, sealed)["password"])
                for name, kid, sealed in connection.execute(query.order_by(table.kid))
            ]

    def account_names(self) -> Sequence[str]:
        """List the names of these accounts; this opens no password."""
        table = schema.bracelet.c
        with self.store.read() as connection:
            query = select(table.account).where(table.state != "revoked").order_by(table.account)
            return connection.execute(query).scalars().all()

    def account_name(self, kid: str) -> str | None:
        """Return the name of the account with which this bracelet connects to the broker."""
        query = select(schema.bracelet.c.account).where(schema.bracelet.c.kid == _parse_kid(kid))
        with self.store.read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def prepare_accounts(self) -> None:
        """Hash the passwords of bracelets from before there were hashes. Call this before the broker starts."""
        table = schema.bracelet
        profiles = select(table.c.kid, table.c.profile_sealed).where(table.c.state != "revoked")
        with self.store.read() as connection:
            unhashed = connection.execute(profiles.where(table.c.account_hash.is_(None))).all()
        if not unhashed:
            return
        with self.store.write() as connection:
            for kid, sealed in unhashed:
                try:
                    kept = verifier(self._profile(kid, sealed)["password"])
                except AtRestError:  # damaged: it alone can't connect
                    continue
                connection.execute(update(table).where(table.c.kid == kid).values(account_hash=kept))

    def version(self) -> int:
        """Return a number that rises with every change."""
        with self.store.read() as connection:
            return version(connection)

    def _entries(self, *where: Any) -> Entries:
        table, beat, alarm = schema.bracelet.c, schema.heartbeat.c, schema.alarm.c
        mine = (alarm.id >= table.kid * COUNTERS, alarm.id < (table.kid + 1) * COUNTERS)
        newest = select(alarm.received_ms).where(*mine).order_by(alarm.id.desc()).limit(1).scalar_subquery()
        query = select(
            *(table.kid, table.profile_sealed, table.state, table.offered_ms, table.completed_ms, table.revoked_ms),
            newest.label("alarmed_ms"),
            *(beat.received_ms, beat.battery, beat.flags, beat.pending),
            *(beat.down, beat.registration, beat.signal, beat.operator, beat.link),
            *(beat.reset_cause, beat.resets, beat.crash, beat.mode, beat.program, beat.lost_ms),
        ).select_from(schema.bracelet.outerjoin(schema.heartbeat, table.kid == beat.kid))
        with self.store.read() as connection:
            revoking, intervals = commands.revoking(connection), commands.heartbeat_intervals(connection)
            rows = connection.execute(query.where(*where).order_by(table.offered_ms, table.kid)).all()
        entries = []
        for kid, sealed, state, offered, completed, revoked, alarmed, at, battery, flags, *rest in rows:
            heard = None if at is None else Heard(at, known(battery), bool(flags & LAST), STRAPS[flags >> 5 & 3], *rest)
            code_name = code_name_of(self.store.box, kid, sealed)
            state = "revoking" if kid in revoking else state
            last_ms = max((ms for ms in (at, alarmed) if ms is not None), default=None)
            known_of = (code_name, state, offered, completed, revoked, heard, last_ms)
            entries.append(Entry(f"{kid:08x}", *known_of, intervals.get(kid, HEARTBEAT_S)))
        return entries

    def _profile(self, kid: int, sealed: bytes) -> dict[str, str]:
        profile: dict[str, str] = json.loads(self.store.box.open(PROFILE, kid, sealed))
        return profile

    def _changed(self, connection: Connection, action: str, kid: int, now_ms: int) -> None:
        changed(self.store, connection, self.actor, action, kid, now_ms)


def code_name_of(box: Box, kid: int, profile_sealed: bytes) -> str:
    """Read a bracelet's code name. Return UNREADABLE for a damaged row, which must hide nothing else."""
    try:
        name: str = json.loads(box.open(PROFILE, kid, profile_sealed))["code_name"]
    except AtRestError:
        return UNREADABLE
    return name


def changed(store: Store, connection: Connection, actor: str, action: str, kid: int | None, now_ms: int) -> None:
    """Note a change of the registry, and let running services notice it."""
    counter = schema.registry.c.version
    connection.execute(update(schema.registry).values(version=counter + 1))
    records.write_audit(store, connection, [(now_ms, actor, action, kid, None)])


def end(store: Store, connection: Connection, actor: str, kid: int, now_ms: int) -> None:
    """Revoke a bracelet for good: delete its keys and its phone number."""
    table = schema.bracelet
    change = {"state": "revoked", "revoked_ms": now_ms, "offer_key_sealed": None}
    connection.execute(update(table).where(table.c.kid == kid).values(change))
    for keyed in (schema.chain, schema.sms_sender):
        connection.execute(delete(keyed).where(keyed.c.kid == kid))
    changed(store, connection, actor, "bracelet.revoked", kid, now_ms)


def _draw() -> bytes:
    return os.urandom(4)


def _new_kid(connection: Connection) -> int:
    """Draw a random key id that no bracelet has or had. Zero is left out: it reads as "none"."""
    while True:
        kid = int.from_bytes(_draw(), "big")
        taken = connection.execute(select(schema.bracelet.c.kid).where(schema.bracelet.c.kid == kid)).first()
        if kid and taken is None:
            return kid


def _unknown(kid: str) -> RegistryError:
    return RegistryError(f"{kid}: there is no bracelet with this key id; `relay bracelet list` shows all")


def _parse_kid(kid: object) -> int:
    if not isinstance(kid, str) or not _HEX8.fullmatch(kid):
        raise RegistryError(
            f"{str(kid)[:40]!r} is no key id; give 8 lower-case hexadecimal digits, as `relay bracelet list` shows them"
        )
    return int(kid, 16)


def _parse_answer(answer: Any) -> tuple[int, bytes, bytes]:
    if not isinstance(answer, Mapping) or set(answer) != {"tocsin", "kid", "ed25519", "x25519"}:
        raise RegistryError("an answer has exactly the fields tocsin, kid, ed25519 and x25519")
    if type(answer["tocsin"]) is not int or answer["tocsin"] != FORMAT:
        raise RegistryError("this answer's format version is not known here")
    keys = []
    for name in ("ed25519", "x25519"):
        if not isinstance(answer[name], str) or not _HEX64.fullmatch(answer[name]):
            raise RegistryError(f"the answer's {name} key is not 64 lower-case hexadecimal digits")
        keys.append(bytes.fromhex(answer[name]))
    public, device_x25519 = keys
    if not crypto_core_ed25519_is_valid_point(public):
        raise RegistryError("the answer's Ed25519 key is not a valid one")
    return _parse_kid(answer["kid"]), public, device_x25519
