"""The commands `relay backup` and `relay restore`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.commands.common import Failure, data_option, errors_in_words, json_option, typed
from relay.datadir import DataDir, sync_folder

if TYPE_CHECKING:
    from relay.assembly import Relay
    from relay.backup.save import Saved

SHOW_FROM = 20_000  # rows; fewer are done before anybody wonders


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--new-recovery-key",
    "key_file",
    metavar="KEYFILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Make this backup for a new recovery key, whose private half goes to KEYFILE; once it is made, later ones are "
    "for that key too. Backups that were made before need the former one.",
)
@data_option
@json_option
@errors_in_words
def backup(file: Path, key_file: Path | None, data: Path, as_json: bool) -> None:
    """Write all that this relay is to one encrypted FILE, while it runs.

    FILE holds keys, passwords, certificates, relay.toml and the database, sealed to the recovery key that `relay init`
    gave. FILE is read back and restored in memory before it gets its name; an existing file is never overwritten. Keep
    FILE on another machine, and the recovery key apart from it. FILE does not hold what the embedded broker holds,
    which is sent again.
    """
    from relay.assembly import Relay
    from relay.backup.save import save

    folder = DataDir(data).require()
    relay = Relay(folder)
    now = time.time()
    bar = _Bar(quiet=as_json)
    make = partial(save, file, folder, relay.config, relay.keys, relay.store, now=now, progress=bar.show)
    saved = make() if key_file is None else _with_new_key(make, relay, file, key_file)
    bar.end()
    if as_json:
        said = {"file": str(file), "octets": saved.octets, "rows": saved.rows, "sha256": saved.sha256}
        click.echo(json.dumps(said | {"relay_id": relay.keys.id.hex(), "made": _iso(now)}))
        return
    click.echo(
        f"{file}: made, and found good ({saved.octets} octets, {saved.rows} rows).\n"
        f"  sha256  {saved.sha256}\n"
        f"Only the recovery key opens it: relay restore {file} --recovery-key KEYFILE --data NEW_FOLDER"
    )


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--recovery-key",
    "key_file",
    metavar="KEYFILE",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="File with the private half of the recovery key; - is standard input. Left out, it is asked for.",
)
@data_option
@json_option
@errors_in_words
def restore(file: Path, key_file: Path | None, data: Path, as_json: bool) -> None:
    """Make a relay of the backup in FILE, in a folder that is empty or does not exist.

    The whole backup is checked before the folder is there. Then the relay tells a bracelet nothing under a counter that
    may have been used since the backup. Alarms that came after the backup are missing. Never run the former folder
    beside the new one: two relays would answer the same bracelets.
    """
    from relay.backup import recovery
    from relay.backup.restore import restore as make

    private = recovery.read(_written(key_file))
    target = DataDir(data)
    made = make(file, private, target, now=time.time())
    if as_json:
        said = {"data": str(target.path), "relay_id": made.relay_id.hex(), "made": _iso(made.made_ms / 1000)}
        click.echo(json.dumps(said | {"bracelets": made.bracelets, "alarm_messages": made.alarms, "rows": made.rows}))
        return
    click.echo(
        f"{target.path}: restored, as it was at {_iso(made.made_ms / 1000)}.\n"
        f"  relay id  {made.relay_id.hex()}\n"
        f"  bracelets in use: {made.bracelets}, alarm messages: {made.alarms}\n"
        f"Next: relay run --data {target.path}. See that no other relay runs on a copy of this one."
    )


def _with_new_key(make: Callable[..., Saved], relay: Relay, file: Path, key_file: Path) -> Saved:
    """Make a backup for a new recovery key: the private half to a file, then the backup, and only when that is good the
    public half into the folder. Wherever this ends, each backup that there is has its key."""
    from relay import together
    from relay.backup import recovery

    private, public = recovery.new()
    with apart(relay.data, key_file, private):
        saved = make(new_key=public)
    try:
        together.give_recovery(relay.data, relay.keys, public)
    except OSError as error:  # the backup is there, so its key stays
        raise Failure(
            f"{error.filename or relay.data.keys}: {error.strerror}; {file} was made, and the key in {key_file} opens "
            "it. Backups that are made later may still need the former key: repeat this with two other files"
        ) from None
    return saved


@contextmanager
def apart(folder: DataDir, key_file: Path, private: str) -> Iterator[None]:
    """Write the private half of a recovery key to a new file, for what is done meanwhile. The file is durable before
    that begins, and removed when it raises."""
    if key_file.resolve().is_relative_to(folder.path.resolve()):
        raise Failure(f"{key_file}: lies in the data folder; whoever gets that would open every backup. Name another")
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{key_file}: exists already; name another file, a key is never overwritten") from None
    try:
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(private.encode() + b"\n")
                out.flush()
                os.fsync(out.fileno())
            sync_folder(key_file.parent)
        except OSError as error:
            raise Failure(f"{key_file}: can't be written ({error.strerror}); nothing was made") from None
        yield
    except BaseException:
        with suppress(OSError):
            key_file.unlink()
        raise


def _written(key_file: Path | None) -> str:
    if key_file is None:
        return typed("Recovery key", "name the file that holds it with --recovery-key")
    if str(key_file) == "-":
        return sys.stdin.read()
    return key_file.read_text(encoding="utf-8", errors="replace")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Bar:
    """The progress of a long backup, on a terminal's standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = False

    def show(self, done: int, of: int) -> None:
        if not self._quiet and of >= SHOW_FROM and sys.stderr.isatty():
            self._shown = True
            click.echo(f"\r{done * 100 // of:3} %", nl=False, err=True)

    def end(self) -> None:
        if self._shown:
            click.echo("\r     \r", nl=False, err=True)
