"""The commands `relay subscriber`, which say who may read what the relay publishes."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import click

from relay.assembly import Relay
from relay.commands.common import Failure, data_option, errors_in_words, json_option, said_once, tell_running_relay
from relay.datadir import DataDir
from relay.rebroadcast import iso
from relay.subscribers import file
from relay.subscribers.audiences import Permission
from relay.subscribers.coarse import KM
from relay.subscribers.register import LOCAL, Entry

_KID = re.compile(r"[0-9a-f]{8}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class _Kid(click.ParamType[str]):
    name = "KID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _KID.fullmatch(value):
            self.fail(f"{value!r} is no key id; give 8 lower-case hexadecimal digits", param, ctx)
        return str(value)


class _PublicKey(click.ParamType[bytes]):
    name = "HEX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        if not _HEX64.fullmatch(value):
            self.fail("this is no public key; give the 64 hexadecimal digits that --new-key printed", param, ctx)
        return bytes.fromhex(value)


_key_option = click.option(
    "--public-key",
    type=_PublicKey(),
    help="The subscriber's own key, printed by `relay subscribe --new-key`. Left out: one is made, into the file.",
)
_file_option = click.option(
    "--file",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the subscriber file. Left out: the account's name and .json, here.",
)


class FileNotWritten(Exception):
    """A new subscriber's file that could not be written."""


@click.group()
def subscriber() -> None:
    """Say who may read the alarms, and how exactly.

    Each subscriber has an account at the broker, topics and a key of its own; its documents lie sealed at the broker.
    `relay subscribe FILE` is the reading end.
    """


@subscriber.command()
@click.argument("name")
@click.option("--only", multiple=True, type=_Kid(), help="Only this bracelet; repeatable. Left out: all, later too.")
@click.option("--coarse", metavar="KM", type=click.IntRange(*KM), help="Positions only to a square of so many km.")
@_key_option
@_file_option
@data_option
@json_option
@errors_in_words
def add(
    name: str,
    only: tuple[str, ...],
    coarse: int | None,
    public_key: bytes | None,
    path: Path | None,
    data: Path,
    as_json: bool,
) -> None:
    """Add a subscriber and write its file, which is to be handed over safely.

    NAME is stored encrypted; @FILE: from a file, @-: from standard input, or asked for. The subscriber reads what
    comes from now on, nothing earlier. Exit status 1 when there is one of this name, or no such bracelet.
    """
    relay = Relay(DataDir(data).require())
    _must_be_new(path)
    permission = Permission(frozenset(int(kid, 16) for kid in only) or None, coarse)
    private, public = (None, public_key) if public_key is not None else file.key_pair()
    relay.home()  # raises if something is wrong with the CA, before anything is changed
    entry = relay.subscribers.add(said_once(name, "name"), public, permission, now=time.time())
    try:
        _hand_over(relay, entry, private, path, as_json, "added")
    except FileNotWritten as error:
        relay.subscribers.remove(entry.account, now=time.time())
        raise Failure(f"{error}; nobody was added") from None


@subscriber.command("list")
@data_option
@json_option
@errors_in_words
def list_(data: Path, as_json: bool) -> None:
    """Show the subscribers and what they may read."""
    entries = Relay(DataDir(data).require()).subscribers.list()
    if as_json:
        click.echo(json.dumps([_fields(entry) for entry in entries], ensure_ascii=False))
        return
    for entry in entries:
        click.echo(f"{entry.name:<20} {entry.account}  since {iso(entry.added_ms)[:10]}  {_permission(entry)}")
    if not entries:
        click.echo("No subscribers. Add one: relay subscriber add NAME")


@subscriber.command()
@click.argument("name")
@data_option
@json_option
@errors_in_words
def remove(name: str, data: Path, as_json: bool) -> None:
    """End a subscriber's account, session and access: it can read nothing that comes later.

    What it has read, it has. Exit status 1 when there is no such subscriber.
    """
    relay = Relay(DataDir(data).require())
    entry = relay.subscribers.remove(said_once(name, "name"), now=time.time())
    running = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({**_fields(entry), "relay_running": running}, ensure_ascii=False))
    else:
        click.echo(f"{entry.name}: removed. Others in its audience go on under a new key.{_unless(running)}")


@subscriber.command()
@click.argument("name", required=False)
@_key_option
@_file_option
@data_option
@json_option
@errors_in_words
def rotate(name: str | None, public_key: bytes | None, path: Path | None, data: Path, as_json: bool) -> None:
    """Give a subscriber a new password and key, and write its new file; without NAME, begin new keys for all.

    The old file is of no use from now on. Exit status 1 when there is no such subscriber.
    """
    relay = Relay(DataDir(data).require())
    if name is None:
        if public_key is not None or path is not None:
            raise click.UsageError("--public-key and --file are of one subscriber; give its NAME too")
        began, running = relay.subscribers.new_epochs(now=time.time()), tell_running_relay(relay.data)
        said = f"New keys for {began} audience{'s' * (began != 1)}.{_unless(running)}"
        click.echo(json.dumps({"epochs": began, "relay_running": running}) if as_json else said)
        return
    name = said_once(name, "name")
    private, public = (None, public_key) if public_key is not None else file.key_pair()
    if relay.subscribers.get(name).name == LOCAL:
        if public_key is not None or path is not None:
            raise click.UsageError(f"{LOCAL} keeps its key in the data folder; leave --public-key and --file out")
        path = relay.data.watch
    else:
        _must_be_new(path)
    relay.home()
    entry = relay.subscribers.rotate(name, public, now=time.time())
    try:
        _hand_over(relay, entry, private, path, as_json, "rotated")
    except FileNotWritten as error:
        tell_running_relay(relay.data)
        raise Failure(f"{error}; the old file is of no use any more: repeat this with --file FILE") from None


def _hand_over(relay: Relay, entry: Entry, private: bytes | None, path: Path | None, as_json: bool, done: str) -> None:
    path = path or Path(f"{entry.account}.json")
    content = relay.home().file_for(entry, private)
    try:
        file.write(path, content)
    except OSError as error:
        raise FileNotWritten(f"{path}: can't be written ({error.strerror})") from None
    running = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({**_fields(entry), "file": str(path), "relay_running": running}, ensure_ascii=False))
        return
    if entry.name == LOCAL:
        click.echo(
            f"{LOCAL}: {done}. Leave {path} where it is: `relay watch` reads it. End each `relay watch` that runs, and "
            f"start it again.{_unless(running)}"
        )
        return
    own = "" if private is not None else " --key KEY_FILE"
    click.echo(
        f"{entry.name}: {done}, {_permission(entry)}.\n"
        f"{path} holds its password{'' if private is None else ' and private key'}: hand it over safely, then delete "
        f"it here. It reads with `relay subscribe {path.name}{own}`.{_unless(running)}"
    )


def _must_be_new(path: Path | None) -> None:
    """Refuse a file before the account changes: afterwards the former file is of no use, and no new one could be
    written."""
    if path is not None and path.exists():
        raise click.BadParameter(f"{path} exists already; name a new file", param_hint="--file")
    folder = Path() if path is None else path.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise click.BadParameter(
            f"{folder.absolute()}: there is no such folder, or you may not write to it; name a file in another",
            param_hint="--file",
        )


def _fields(entry: Entry) -> dict[str, Any]:
    only, km = entry.permission or (frozenset(), None)
    return {
        "name": entry.name,
        "account": entry.account,
        "audience": entry.audience,
        "damaged": entry.permission is None,
        "only": None if only is None else [f"{kid:08x}" for kid in sorted(only)],
        "coarse_km": km,
        "added": iso(entry.added_ms),
    }


def _permission(entry: Entry) -> str:
    if entry.permission is None:
        return "nothing: its row is damaged; remove it and add it again, or restore a backup"
    only, km = entry.permission
    who = "all bracelets" if only is None else "only " + ", ".join(f"{kid:08x}" for kid in sorted(only))
    return who if km is None else f"{who}, to a square of {km} km"


def _unless(running: bool) -> str:
    return "" if running else "\nNo relay is running on this folder; it takes this up when it starts."
