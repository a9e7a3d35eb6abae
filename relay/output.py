"""Standard output that can't be written to: a full disk, or a reader that went away.

That ends a command with a status of its own, never with one that says something else: `relay verify` ends with 1 when
a document is not genuine.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO, TypeVar, cast

import click

READER_GONE = 141  # as shells report a program that SIGPIPE ended
UNWRITABLE = 74  # EX_IOERR in sysexits.h

R = TypeVar("R")


class OutputError(click.ClickException):
    """Standard output can't be written. This is no OSError: nothing that handles files must catch it."""

    exit_code = UNWRITABLE


class _ReaderGone(OutputError):
    """Nobody reads standard output any more, which needs no words."""

    exit_code = READER_GONE

    def show(self, file: IO[Any] | None = None) -> None:
        pass


def _output_error(error: OSError) -> OutputError:
    said = f"standard output can't be written: {error.strerror}; send it elsewhere. What the command changed before "
    return (_ReaderGone if _status(error) == READER_GONE else OutputError)(said + "that stays changed.")


class _MessageError(OSError):
    """Standard error can't be written, and nobody can be told. No errno: Click ends with 1 for a closed pipe."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.exit_code = _status(error)


def _status(error: OSError) -> int:
    return READER_GONE if error.errno == errno.EPIPE else UNWRITABLE


class _Guarded:
    """A text stream that raises errors of a kind of their own."""

    def __init__(self, stream: TextIO, error: Callable[[OSError], Exception]) -> None:
        self._stream = stream
        self._error = error

    def write(self, text: str) -> int:
        return self._or_raise(self._stream.write, text)

    def flush(self) -> None:
        self._or_raise(self._stream.flush)

    def _or_raise(self, call: Callable[..., R], *arguments: Any) -> R:
        try:
            return call(*arguments)
        except OSError as error:
            raise self._error(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Have a command end with a status of its own when its output or its messages can't be written."""
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:  # None: the process was started without one
        sys.stdout = cast(TextIO, _Guarded(sys.stdout, _output_error))
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, _Guarded(sys.stderr, _MessageError))
    status: int | None = None
    try:
        yield
    except _MessageError as error:
        status = error.exit_code
    except SystemExit as end:
        if end.code not in (READER_GONE, UNWRITABLE):
            raise
        status = end.code
    finally:
        sys.stdout, sys.stderr = before
    if status is not None:
        _give_up()
        raise SystemExit(status)


def _give_up() -> None:
    """Let what is still to be written go nowhere: Python would write it at its end, fail, and end with status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
