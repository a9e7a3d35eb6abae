"""The common part of this project's command lines: `-h`, `-V`, NO_COLOR (https://no-color.org), a sentence for a file
that can't be used, the exit status after Ctrl-C or where the output can't be written. Click itself says "did you mean".
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.output import guarded

INTERRUPTED = 130  # as shells report a program that SIGINT ended
SETTINGS = {"help_option_names": ["-h", "--help"]}

F = TypeVar("F", bound=Callable[..., Any])


def version_option(name: str) -> Callable[[F], F]:
    """Make the options -V and --version for the program of this name."""
    return click.version_option(None, "-V", "--version", package_name="tocsin", prog_name=name)


@contextmanager
def nothing_begun() -> Iterator[None]:
    """Let Ctrl-C end the process at once while this lasts. Inside an import, Ctrl-C would print a traceback, at times
    of another error than KeyboardInterrupt."""

    def end(*_: object) -> None:
        os.write(2, b"Interrupted.\n")
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # SIGINT is ignored, as in the background, or has a handler: leave it so
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Plain(click.Command):
    """A command without colours where the user wants none, and with a sentence where a file can't be used."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with guarded():
            return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        if os.environ.get("NO_COLOR"):
            extra["color"] = False
        return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None or isinstance(error, BrokenPipeError):
                raise  # not about a file, so nothing that the user could look at
            raise click.ClickException(f"{os.fsdecode(error.filename)}: {error.strerror}") from error
        except (KeyboardInterrupt, click.Abort) as error:  # a command with more to say has caught it
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise  # the user declined, or the input ended at a question
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


class Program(_Plain, click.Group):
    """A program with commands."""


class Single(_Plain):
    """A program that is one command."""


class NewFile(click.Path):
    """A file that is written at the end. The command checks before any work that it can be written."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path.absolute().parent
        if not folder.is_dir():
            self.fail(f"{path}: there is no folder {folder}", param, ctx)
        if not os.access(path if path.exists() else folder, os.W_OK):
            self.fail(f"{path}: can't be written; name a file in a folder of yours", param, ctx)
        return path
