"""`hwsim bundle`: make the maker's key, make a bundle, look into one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
from nacl.signing import VerifyKey

from hwsim import bundle
from hwsim.world.bracelet import FIRMWARE

_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")


class _Group(click.Group):
    """A group of commands that reports a bad file or key in one sentence, not in a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except bundle.BundleError as error:
            raise click.ClickException(f"{error}.") from error


@click.group("bundle", cls=_Group)
def main() -> None:
    """Signed firmware for updates: what a bracelet installs only from its maker, and only a newer one."""


@main.command("key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_json_option
def make_key(file: Path, as_json: bool) -> None:
    """Make the maker's key in FILE, and its public half in FILE.pub, which bracelets get as /update.key.

    A person who has FILE can make firmware for every bracelet with that public half. Keep FILE off the network, and
    keep a copy of it.
    """
    key = bundle.new_key(file)
    public = bundle.public_file(file)
    _say({"key": str(file), "public": str(public), "public_hex": bytes(key.verify_key).hex()}, as_json)


@main.command("make")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="The maker's key.")
@click.option("--march", default="xtensawin", show_default=True, help="The processor, as mpy-cross calls it.")
@click.option(
    "--firmware",
    default=FIRMWARE,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another firmware's folder.",
)
@_json_option
def make(file: Path, key_file: Path, march: str, firmware: Path, as_json: bool) -> None:
    """Compile the firmware, sign it, and write the bundle to FILE."""
    key = bundle.read_key(key_file)
    octets = bundle.make(firmware, march, key)
    try:
        file.write_bytes(octets)
    except OSError as error:
        raise bundle.BundleError(f"{file} can't be written: {error.strerror}") from error
    _describe(octets, key.verify_key, as_json)


@main.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--public", required=True, type=click.Path(path_type=Path), help="The maker's public key: FILE.pub.")
@_json_option
def check(file: Path, public: Path, as_json: bool) -> None:
    """Check a bundle's signature and hash. Exit status: 0 good, 1 not."""
    _describe(file.read_bytes(), bundle.read_public(public), as_json)


def _describe(octets: bytes, public: VerifyKey, as_json: bool) -> None:
    found = bundle.check(octets, public)
    digest = hashlib.sha256(octets).hexdigest()
    _say({"version": found.version, "march": found.march, "octets": len(octets), "sha256": digest}, as_json)


def _say(facts: dict[str, Any], as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else "\n".join(f"{name:11}{value}" for name, value in facts.items()))
