"""The relay's own subscriber, as which `relay watch` reads, and the files that make people subscribers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from relay.subscribers.audiences import Permission
from relay.subscribers.file import SubscriberFile, key_pair, public_of, read, write
from relay.subscribers.register import LOCAL, Entry, SubscriberError, Subscribers


class Home(NamedTuple):
    """The relay's part of every subscriber's file: the broker's address, its CA, and the relay's public key."""

    host: str
    port: int
    ca: str
    relay_key: bytes

    def file_for(self, entry: Entry, private: bytes | None) -> SubscriberFile:
        """Make the file for this subscriber."""
        account = (entry.account, entry.password, entry.audience)
        return SubscriberFile(entry.name, self.host, self.port, self.ca, *account, self.relay_key, private)


def local(subscribers: Subscribers, path: Path, home: Home, now: float) -> tuple[SubscriberFile, bool]:
    """Read the file of the relay's own subscriber, or make it if it is missing or of another database; tell whether it
    was made."""
    if path.exists():
        found = read(path)
        if found.private is not None and any(_is(found, entry) for entry in subscribers.list()):
            return found, False
    private, public = key_pair()
    try:
        entry = subscribers.rotate(LOCAL, public, now=now)
    except SubscriberError:
        entry = subscribers.add(LOCAL, public, Permission(), now=now)
    made = home.file_for(entry, private)
    write(path, made)
    return made, True


def _is(found: SubscriberFile, entry: Entry) -> bool:
    return (
        (found.account, found.password, found.audience) == (entry.account, entry.password, entry.audience)
        and found.private is not None
        and public_of(found.private) == entry.public
    )
