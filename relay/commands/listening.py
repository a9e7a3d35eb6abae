"""A subscriber's connection, as `relay watch` and `relay subscribe` drive it."""

from __future__ import annotations

import fcntl
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import click

from relay import log
from relay.broker import TEMPORARY
from relay.commands.common import Failure
from relay.ingest.mqtt import Endpoint, Message, MqttLink
from relay.subscribers.reader import Heard, Reader

_PATIENCE = 0.25  # seconds


@contextmanager
def sole(path: Path) -> Iterator[None]:
    """Make this process the only one on this machine that reads as this subscriber under the account's own client id:
    two would throw each other off the broker for ever. This locks the same file as `seat`, behind the seats'
    numbers."""
    with path.open("r+b") as file:
        if not _takes(file, TEMPORARY):
            raise Failure(
                f"{path}: another `relay subscribe` reads as this subscriber already; end it first, give this one "
                "--temporary, or have the relay's operator add a second subscriber"
            )
        yield


@contextmanager
def seat(path: Path) -> Iterator[int]:
    """Reserve the number of a temporary client on this machine, for as long as this lasts. Two clients with one client
    id would throw each other off the broker. `path`: the subscriber's file, which is locked for this."""
    with path.open("r+b") as file:
        for number in range(TEMPORARY):
            if _takes(file, number):
                yield number
                return
    raise Failure(f"{path}: {TEMPORARY} temporary clients read as this subscriber already; end one of them first")


def _takes(file: IO[bytes], number: int) -> bool:
    """Lock one octet of the file until it is closed; False when another process has it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return False
    return True


class Listener:
    """A subscriber's connection, as a context manager: it ends in good order, on Ctrl-C too, and reads nothing more
    while `has_room` returns False."""

    def __init__(self, endpoint: Endpoint, reader: Reader, has_room: Callable[[], bool] = lambda: True) -> None:
        self._reader = reader
        self._arrived: list[Message] = []
        self._has_room = has_room
        self._link = MqttLink(
            endpoint,
            log.get(),
            filters=reader.filters,
            on_message=self._arrived.append,
            on_published=lambda _: None,
            has_room=has_room,
        )

    @property
    def hears(self) -> bool:
        """True while the broker is connected and has granted the subscriptions."""
        return self._link.connected

    def turn(self) -> Sequence[Heard]:
        """Wait a moment for messages; return those that could be read."""
        link, now = self._link, time.monotonic()
        link.tick(now)
        link.flush()
        fd = link.fileno()
        patience = max(0.0, min(link.deadline(now) - now, _PATIENCE))
        if fd is None or not self._has_room():
            time.sleep(patience)
        elif link.unread or select.select([fd], [fd] if link.wants_write else [], [], patience)[0]:
            link.readable()
        heard = []
        for message in self._arrived:
            heard += self._reader.take(message.topic, message.octets, message, now)
        self._arrived.clear()
        if self._reader.asks_for_keys(now):
            link.ask_again(self._reader.key_topic)
        for finding in self._reader.overdue(now):
            click.secho(f"waiting for a key: {finding.sentence}", fg="magenta", err=True)
        return heard

    def acknowledge(self, heard: Heard) -> None:
        """Acknowledge a message, so that the broker need not keep it any more."""
        assert isinstance(heard.message, Message)
        self._link.acknowledge(heard.message)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> bool:
        self._link.flush()
        self._link.close()
        return kind is not None and issubclass(kind, KeyboardInterrupt)
