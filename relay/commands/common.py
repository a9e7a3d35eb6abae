"""The common parts of several commands: the --data option, errors in words, finding a running relay."""

from __future__ import annotations

import errno
import fcntl
import functools
import getpass
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.datadir import DEFAULT, ENVIRONMENT, DataDir
from relay.output import READER_GONE

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    metavar="DIR",
    envvar=ENVIRONMENT,
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT,
    show_default=True,
    help=f"The relay's data folder (or ${ENVIRONMENT}).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")


def typed(what: str, instead: str) -> str:
    """Ask for a secret on the terminal and do not show it. `instead`: how to give it where nobody can type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", getpass.GetPassWarning)
            answer: str = click.prompt(what, hide_input=True, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise click.UsageError(f"{what}: none was typed; {instead}") from None
        raise  # Ctrl-C
    return answer


STDIN = "@-"
_SAID_MOST = 1 << 16


def said(given: str, what: str) -> list[str]:
    """Read what an option or argument says: the text itself, or the lines of the file in @FILE, or of standard input
    with @- (on a terminal they are asked for). So a secret need not stand in the list of processes. A text that begins
    with @ is written with @@."""
    if not given.startswith("@"):
        return [given]
    if given.startswith("@@"):
        return [given[1:]]
    if given == STDIN and sys.stdin.isatty():
        text = typed(what, f"write it into a file, one a line, and give {STDIN[0]}FILE")
    else:
        try:
            with click.open_file(given[1:], encoding="utf-8") as file:
                text = file.read(_SAID_MOST + 1).removeprefix("\ufeff")  # some editors begin a text with that
        except OSError as error:
            raise click.BadParameter(f"{given}: the file can't be read: {error.strerror}") from None
        except ValueError:
            raise click.BadParameter(f"{given}: is not a text in UTF-8") from None
    if len(text) > _SAID_MOST:
        raise click.BadParameter(f"{given}: is longer than {_SAID_MOST} characters; divide it")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise click.BadParameter(f"{given}: there is nothing in it; write one a line: {what}")
    return lines


def literally(text: str) -> str:
    """Write a text so that `said` returns it and nothing else."""
    return f"@{text}" if text.startswith("@") else text


def said_once(given: str, what: str) -> str:
    """Read what an option or argument says, where only one text can be meant."""
    lines = said(given, what)
    if len(lines) > 1:
        raise click.BadParameter(f"{given}: has {len(lines)} lines, and one is wanted: {what}")
    return lines[0]


NOT_RUNNING = os.linesep + "No relay is running on this folder; it is sent as soon as one does."


class Failure(click.ClickException):
    """An error of the user's world: one or more sentences, exit status 1, no traceback."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        click.echo(f"relay: {self.format_message()}", err=True, file=file)


_ADVICE = {
    errno.EACCES: "; run this as the user whom it belongs to",
    errno.ENOENT: "; is the name right, and does its folder exist?",
    errno.EROFS: "; mount it writable, or use another folder",
    errno.ENOSPC: "; make room there, and repeat",
    errno.EDQUOT: "; make room there, and repeat",
}


def errors_in_words(command: F) -> F:
    """Turn the errors that a user can do something about into a Failure. Anything else is a bug and keeps its
    traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from sqlalchemy.exc import ArgumentError, DBAPIError

        from relay.backup import BackupError
        from relay.broker import BrokerError
        from relay.config import ConfigError
        from relay.datadir import DataDirError
        from relay.downlink import CommandError
        from relay.registry import RegistryError
        from relay.store import AtRestError, StoreError
        from relay.subscribers.file import FileError
        from relay.subscribers.register import SubscriberError

        try:
            return command(*args, **kwargs)
        except (
            BackupError,
            BrokerError,
            CommandError,
            ConfigError,
            DataDirError,
            FileError,
            RegistryError,
            StoreError,
            SubscriberError,
        ) as error:
            raise Failure(str(error)) from None
        except AtRestError as error:
            raise Failure(f"{error}; is keys/store.key the one that this database was made with?") from None
        except ArgumentError:
            raise Failure("store.url in relay.toml is not a database URL, like sqlite:////srv/tocsin/db") from None
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            if type(error.orig).__module__.startswith("psycopg"):
                raise Failure(
                    f"PostgreSQL can't be used: {said}; is it running, and reachable from here, and is store.url in "
                    "relay.toml right?"
                ) from None
            raise Failure(
                f"the database can't be used: {said}; see store.url in relay.toml, whether the file is what the "
                "backup holds, and whether the disk is full"
            ) from None
        except BrokenPipeError:
            raise SystemExit(READER_GONE) from None
        except OSError as error:
            if error.filename is not None:
                raise Failure(f"{error.filename}: {error.strerror}{_ADVICE.get(error.errno or 0, '')}") from None
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise Failure(f"{error.strerror}, where the data folder is; make room there, and repeat") from None
            raise  # not about a file, so nothing that the user could look at

    return wrapper  # type: ignore[return-value]  # the same signature, by functools.wraps


class AlreadyRunning(Exception):
    """A data folder that another process serves already."""


@contextmanager
def sole_relay(data: DataDir) -> Iterator[None]:
    """Hold the data folder's lock: one relay serves it. The file names the process, so that commands can signal it."""
    fd = os.open(data.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def running_relay(data: DataDir) -> int | None:
    """Return the number of the process that serves this data folder, if one does. That process holds the lock, so no
    other process has its number by now."""
    try:
        fd = os.open(data.pid_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        return None
    finally:
        os.close(fd)


def tell_running_relay(data: DataDir) -> bool:
    """Make a running relay read the registry again. Return False when none is running."""
    pid = running_relay(data)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True
