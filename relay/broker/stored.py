"""Read the accounts in the relay's store: the tables that have some, and one indexed read for each look.

It is a module of its own because the gate serves the relay before this has been imported. It only reads;
`relay.registry` makes accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Column, ColumnElement, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from relay.broker import BRACELET_WAITING, SUBSCRIBER_WAITING, bracelet_rules, subscriber_rules, temporary_ids
from relay.broker.accounts import AccountRules
from relay.store import schema

_AT_ONCE = 500  # names in one question; SQLite takes 999 values
_PATIENCE_S = 2


@dataclass(frozen=True)
class Kind:
    """A table with accounts: which of its rows are in force, and how a row becomes rules."""

    name: Column[str]
    in_force: ColumnElement[bool]
    verifier: Column[bytes]
    others: tuple[Column[Any], ...]
    rules: Callable[..., dict[str, Any]]  # of the name and the other columns
    waiting_most: int | None  # as the rules have it
    ids: Callable[[str], Iterable[str]] = lambda _: ()  # client ids beside the name, as the rules have it

    def row(self, *values: Any) -> AccountRules:
        name, kept, *rest = values
        return AccountRules(verifier=bytes(kept), **self.rules(name, *rest))


_bracelet = schema.bracelet.c
BRACELETS = Kind(
    _bracelet.account,
    (_bracelet.state != "revoked") & _bracelet.account_hash.is_not(None),
    _bracelet.account_hash,
    (_bracelet.kid,),
    lambda account, kid: bracelet_rules(account, f"{kid:08x}"),
    BRACELET_WAITING,
)
_subscriber = schema.subscriber.c
SUBSCRIBERS = Kind(
    _subscriber.account,
    _subscriber.removed_ms.is_(None) & _subscriber.account_hash.is_not(None),
    _subscriber.account_hash,
    (_subscriber.audience,),
    lambda account, audience: subscriber_rules(account, f"{audience:012x}"),
    SUBSCRIBER_WAITING,
    temporary_ids,
)
KINDS: tuple[Kind, ...] = (BRACELETS, SUBSCRIBERS)  # a new kind of account is one more line here


class StoreAccounts:
    """The accounts in the relay's store, which is only read, by an index."""

    def __init__(self, url: str, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._engine = read_only(url)
        self._kinds = kinds

    def find_all(self, names: Iterable[str]) -> dict[str, AccountRules]:
        """Return the accounts of these names, those that there are."""
        rows = self._in_force(names, lambda kind: (kind.name, kind.verifier, *kind.others))
        accounts = (kind.row(*row) for kind, row in rows)
        return {account.name: account for account in accounts}

    def among(self, names: Iterable[str]) -> dict[str, bytes]:
        rows = self._in_force(names, lambda kind: (kind.name, kind.verifier))
        return {name: bytes(kept) for _, (name, kept) in rows}

    def _in_force(
        self, names: Iterable[str], columns: Callable[[Kind], Sequence[Any]]
    ) -> Iterator[tuple[Kind, tuple[Any, ...]]]:
        rest = iter(names)
        with self._engine.connect() as connection:
            while some := list(islice(rest, _AT_ONCE)):
                for kind in self._kinds:
                    query = select(*columns(kind)).where(kind.name.in_(some), kind.in_force)
                    yield from ((kind, tuple(row)) for row in connection.execute(query))

    def kept(self) -> Iterator[tuple[str, int | None]]:
        with self._engine.connect() as connection:
            for kind in self._kinds:
                for name in connection.execute(select(kind.name).where(kind.in_force)).scalars():
                    yield from ((client_id, kind.waiting_most) for client_id in (name, *kind.ids(name)))

    def version(self) -> int:
        """Return a number that rises with every change of an account."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(schema.registry.c.version)).scalar_one())


def read_only(url: str) -> Engine:
    """Return an engine that only reads the store at `url`. It makes no store that isn't there, and waits only
    briefly."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
        engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": _PATIENCE_S})

        @event.listens_for(engine, "connect")
        def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            connection.cursor().execute("PRAGMA query_only = ON")

        return engine
    options = f"-c statement_timeout={_PATIENCE_S * 1000} -c default_transaction_read_only=on"
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={"connect_timeout": _PATIENCE_S, "options": options},
    )
