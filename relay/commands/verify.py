"""`relay verify`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import BinaryIO

import click

from relay.commands.common import errors_in_words, json_option

_MOST = 1 << 20


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--relay-key",
    metavar="KEY",
    help="The relay's public key: 64 hexadecimal digits, or a file that holds them. Get it from the relay's operator, "
    "not from whoever sent you the alarm.",
)
@json_option
@errors_in_words
def verify(file: BinaryIO, relay_key: str | None, as_json: bool) -> None:
    """Check an alarm that somebody sent you, offline.

    FILE is the document as it was published ("-" reads standard input). Exit status 0: genuine. 1: not genuine, and the
    reasons are named.
    """
    from relay import rebroadcast

    report = rebroadcast.check(file.read(_MOST + 1), _key(relay_key))
    if as_json:
        findings = [{"code": f.code, "sentence": f.sentence, "field": f.field} for f in report.findings]
        click.echo(
            json.dumps(
                {
                    "genuine": report.ok,
                    "relay_key_given": relay_key is not None,
                    "findings": findings,
                    "confirmed": list(report.confirmed),
                }
            )
        )
    elif report.ok:
        click.echo("GENUINE")
        for sentence in report.confirmed:
            click.echo(f"  {sentence}")
        if relay_key is None:
            click.echo(
                "  But whose relay it was is not proven: "
                "repeat with --relay-key and the key that its operator published."
            )
    else:
        click.echo("NOT GENUINE")
        for finding in report.findings:
            click.echo(f"  {finding.code}: {finding.sentence}" + (f" ({finding.field})" if finding.field else ""))
    raise SystemExit(0 if report.ok else 1)


def _key(given: str | None) -> bytes | None:
    if given is None:
        return None
    text = given.strip()
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        try:
            text = Path(given).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise click.BadParameter(
                "neither 64 hexadecimal digits nor a file that can be read", param_hint="--relay-key"
            ) from None
        if not re.fullmatch("[0-9a-fA-F]{64}", text):
            raise click.BadParameter(f"{given}: does not hold 64 hexadecimal digits", param_hint="--relay-key")
    return bytes.fromhex(text)
