"""`relay init`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from relay.commands.common import errors_in_words, json_option
from relay.config import E164
from relay.datadir import DEFAULT, ENVIRONMENT, DataDir
from relay.pki import is_name


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name or address by which bracelets reach the broker; repeatable. The first goes into offers.",
)
@click.option(
    "--listen",
    default="0.0.0.0",
    show_default=True,
    metavar="ADDRESS",
    help="Address that the embedded broker listens on.",
)
@click.option(
    "--port", default=8883, show_default=True, type=click.IntRange(1, 65535), help="Port of the embedded broker."
)
@click.option("--sms-port", metavar="DEVICE", help="Serial port of the relay's modem, for example /dev/ttyUSB2.")
@click.option("--sms-number", metavar="+NUMBER", help="The modem's own number; goes into offers.")
@json_option
@errors_in_words
def init(
    directory: Path | None,
    names: tuple[str, ...],
    listen: str,
    port: int,
    sms_port: str | None,
    sms_number: str | None,
    as_json: bool,
) -> None:
    """Make a data folder: keys, certificates, passwords, configuration, database.

    DIR is ./tocsin-data (or $TOCSIN_DATA) if left out. Nothing that exists is overwritten. Back up the folder: without
    keys/ what it holds can't be read, and bracelets would have to be provisioned again.
    """
    from relay import initial

    if sms_number is not None and not E164.match(sms_number):
        raise click.BadParameter("a number is + and 7 to 15 digits", param_hint="--sms-number")
    if not all(is_name(name) for name in names):
        raise click.BadParameter("is a host name in ASCII (xn--… for others) or an IP address", param_hint="--name")
    data = DataDir(directory or os.environ.get(ENVIRONMENT, DEFAULT))
    # The relay connects to its own broker by "localhost", so the certificate always has it.
    listed = tuple(dict.fromkeys((*names, "localhost", "127.0.0.1")))
    made = initial.init(data, initial.Options(listed, listen, port, sms_port, sms_number))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "data": str(data.path),
                    "relay_id": made.relay_id,
                    "relay_key": made.relay_key,
                    "ca_sha256": made.ca_sha256,
                }
            )
        )
        return
    flag = "" if data.path == DataDir().path else f" --data {data.path}"
    click.echo(
        f"{data.path}: made.\n\n"
        f"  relay id   {made.relay_id}\n"
        f"  relay key  {made.relay_key}   publish this: who has it can check your alarms with `relay verify`\n\n"
        f"Next: look at {data.config.name} in it, then\n"
        f"  relay run{flag}\n"
        f"  relay bracelet add CODE_NAME --offer FILE{flag}"
    )
