"""Connect to a broker under the check's accounts, and leave nothing there.

The names of these accounts are fixed, so that the next check removes what a killed one has left behind; so only one
check may look at a broker at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.broker import PROBE, PROBE_BRACELET, PROGRAMMER, RELAY
from relay.broker.check.client import Account, Client, Clients, Interrupted

_TIDYING = 15.0  # seconds, beyond the time for the questions


@dataclass(frozen=True)
class Roles:
    """The accounts that the check comes as. `sessions`: the relay's two, by client id; empty when a running relay has
    them. `single`: there is one account for all, so the check can't ask what keeps accounts apart."""

    relay: Account
    probe: Account
    bracelet: Account
    programmer: Account
    sessions: Sequence[tuple[Account, str]] = ()
    subscriber: Account | None = None
    single: bool = False

    @staticmethod
    def of_relay(password: str, *, user: str = RELAY, sessions: Sequence[str] = ()) -> Roles:
        """Return the accounts that the relay's password opens; `user` as in relay.toml."""

        def whose(name: str) -> Account:
            return Account(name if user == RELAY else user, password)

        own = [(whose(name), name) for name in sessions]
        probe, bracelet = Account(PROBE, password), Account(PROBE_BRACELET, password)
        return Roles(whose(RELAY), probe, bracelet, Account(PROGRAMMER, password), own)

    @staticmethod
    def one(account: Account) -> Roles:
        """Use one account for everything."""
        return Roles(account, account, account, account, single=True)


@dataclass
class Visit:
    """A look at one broker."""

    clients: Clients
    roles: Roles
    makes_id_of_name: bool = False  # the broker puts the account's name in the place of every client id
    _kept: list[tuple[Account, str]] = field(default_factory=list)  # sessions that it made
    _retained: list[str] = field(default_factory=list)  # topics under which it may have left something
    _certain: set[str] = field(default_factory=set)  # topics whose message the broker has acknowledged

    def listener(self, *, clean: bool = False) -> Client:
        """Connect the client that hears what the others publish; its session is kept."""
        self.made(self.roles.probe, PROBE)
        return self.clients.enter(self.roles.probe, PROBE, clean=clean)

    def bracelet(self) -> Client:
        return self.clients.enter(self.roles.bracelet, PROBE_BRACELET)

    def relay(self) -> Client:
        """Connect as the relay. A session that the relay has there stays as it is."""
        return self.borrowed(self.roles.relay, RELAY if not self.roles.single else "probe-relay")

    def borrowed(self, account: Account, client_id: str) -> Client:
        """Connect under a client id that may have a session, with messages waiting in it; if it has none, none
        stays."""
        client = self.clients.enter(account, client_id, clean=False)
        if not client.session_present:
            self.made(account, client_id)
        return client

    def made(self, account: Account, client_id: str) -> None:
        if (account, client_id) not in self._kept:
            self._kept.append((account, client_id))

    def leave(self, content: Mapping[str, bytes]) -> None:
        """Make the broker keep these messages, by topic."""
        self._retained = [*content]
        programmer = self.clients.enter(self.roles.programmer, PROGRAMMER)
        for topic, octets in content.items():
            programmer.tell(topic, octets, retain=True)
            self._certain.add(topic)
        programmer.close()

    def remove(self) -> None:
        """Make the broker keep none of this visit's messages any more (3.3.1.3)."""
        programmer = self.clients.enter(self.roles.programmer, PROGRAMMER)
        while self._retained:
            programmer.tell(self._retained[-1], b"", retain=True)
            self._retained.pop()
        programmer.close()

    def tidy_up(self) -> list[str]:
        """Remove what this visit has left and not removed. Return the client ids and topics for which that did not
        work."""
        self.clients.allow(_TIDYING)
        try:
            if self._retained:
                self.remove()
        except Interrupted:
            pass
        left = [client_id for account, client_id in self._kept if not self.clients.end_session(account, client_id)]
        return left + [topic for topic in self._retained if topic in self._certain]
