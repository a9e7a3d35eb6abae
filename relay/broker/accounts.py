"""Look up who may connect to the broker: accounts by name.

The process that answers the broker needs neither the store's key nor any password: it compares with what
`relay.broker.passwords` keeps. The accounts of bracelets and subscribers are in the relay's store:
`relay.broker.stored`. This module knows no broker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from relay.broker import MqttUser, Rules
from relay.broker.passwords import matches, verifier


@dataclass(frozen=True, kw_only=True)
class AccountRules(Rules):
    """An account as it is checked: its rules, and the verifier that its password is compared with."""

    verifier: bytes

    def accepts(self, password: str) -> bool:
        """Tell whether this is the account's password; takes as long for a wrong one."""
        return matches(self.verifier, password)

    def __repr__(self) -> str:
        return f"AccountRules({self.name!r})"


def rules_of(user: MqttUser) -> AccountRules:
    """Return the same account, without its password."""
    fields = {name: value for name, value in vars(user).items() if name != "password"}
    return AccountRules(verifier=verifier(user.password), **fields)


class Accounts(Protocol):
    """A place where accounts are looked up. Any of these methods may raise when the place can't be read now."""

    def find(self, name: str) -> AccountRules | None:
        """Return the account of this name, None when nobody has it or it was ended."""

    def among(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """Return those of the names that accounts have, with the verifier of each one's password."""

    def kept(self) -> Iterator[tuple[str, int | None]]:
        """Yield every client id whose session may stay, with the most messages that may wait for it."""


class ListedAccounts:
    """Accounts in memory."""

    def __init__(self, accounts: Iterable[AccountRules]) -> None:
        self._accounts: Mapping[str, AccountRules] = {account.name: account for account in accounts}

    def find(self, name: str) -> AccountRules | None:
        return self._accounts.get(name)

    def among(self, names: Iterable[str]) -> Mapping[str, bytes]:
        return {name: self._accounts[name].verifier for name in names if name in self._accounts}

    def kept(self) -> Iterator[tuple[str, int | None]]:
        for account in self._accounts.values():
            yield from ((client_id, account.waiting_most) for client_id in (account.name, *account.ids))
