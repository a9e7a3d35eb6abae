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
    """Be the only one on this machine who reads as this subscriber under the account's own client id: two would throw
    each other off the broker for ever. Locks the same file as `seat`, behind its numbers."""
    with path.open("r+b") as file:
        if not _takes(file, TEMPORARY):
            raise Failure(
                f"{path}: another `relay subscribe` reads as this subscriber already; end it first, give this one "
                "--temporary, or have the relay's operator add a second subscriber"
            )
        yield


@contextmanager
def seat(path: Path) -> Iterator[int]:
    """The number of a temporary client that nobody else on this machine is, for as long as this lasts. Two with one
    client id would throw each other off the broker. `path`: the subscriber's file, which is locked for it."""
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
    """Use as a context manager: it ends in good order, on Ctrl-C too. While not `has_room` nothing more is read."""

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
        """Whether the broker has granted what is to be heard, and is connected."""
        return self._link.connected

    def turn(self) -> Sequence[Heard]:
        """Wait a moment for messages; what could be read of them."""
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
        """The broker need not keep it any more."""
        assert isinstance(heard.message, Message)
        self._link.acknowledge(heard.message)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> bool:
        self._link.flush()
        self._link.close()
        return kind is not None and issubclass(kind, KeyboardInterrupt)
