"""The command `relay init`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from relay.commands.backup import apart
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
@click.option(
    "--recovery-key",
    "key_file",
    metavar="KEYFILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the private half of the recovery key to KEYFILE, instead of showing it. Take the file away.",
)
@json_option
@errors_in_words
def init(
    directory: Path | None,
    names: tuple[str, ...],
    listen: str,
    port: int,
    sms_port: str | None,
    sms_number: str | None,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Make a data folder: keys, certificates, passwords, configuration, database.

    DIR is ./tocsin-data (or $TOCSIN_DATA) if left out. Nothing that exists is overwritten. The recovery key is shown
    once and kept nowhere here: write it down. It opens what `relay backup` makes; without a backup and this key a lost
    folder means that every bracelet has to be provisioned again.
    """
    from relay import initial
    from relay.backup import recovery

    if sms_number is not None and not E164.match(sms_number):
        raise click.BadParameter("a number is + and 7 to 15 digits, country code first", param_hint="--sms-number")
    for name in names:
        if not is_name(name):
            raise click.BadParameter(
                f"{name!r} is neither a host name nor an IP address; use ASCII letters, digits, dots and hyphens, and "
                "xn--… for other letters",
                param_hint="--name",
            )
    data = DataDir(directory or os.environ.get(ENVIRONMENT, DEFAULT))
    # The relay connects to its own broker by "localhost", so the certificate always has it.
    listed = tuple(dict.fromkeys((*names, "localhost", "127.0.0.1")))
    options = initial.Options(listed, listen, port, sms_port, sms_number)
    if key_file is None:
        made = initial.init(data, options)
    else:
        private, public = recovery.new()
        with apart(data, key_file, private):  # before there is a relay that needs it
            made = initial.init(data, options, recovery_key=(private, public))
    if as_json:
        said = {"data": str(data.path), "relay_id": made.relay_id, "relay_key": made.relay_key}
        where = {"recovery_key": made.recovery_key} if key_file is None else {"recovery_key_file": str(key_file)}
        click.echo(json.dumps(said | {"ca_sha256": made.ca_sha256} | where))
        return
    flag = "" if data.path == DataDir().path else f" --data {data.path}"
    click.echo(
        f"{data.path}: made.\n\n"
        f"  relay id   {made.relay_id}\n"
        f"  relay key  {made.relay_key}   publish it: with it anybody can check your alarms (`relay verify`)\n\n"
        f"{_about_recovery(made.recovery_key, key_file)}\n\n"
        f"Next: look at {data.config.name} in it, then\n"
        f"  relay run{flag}\n"
        f"  relay bracelet add CODE_NAME --offer FILE{flag}"
    )


def _about_recovery(private: str, key_file: Path | None) -> str:
    if key_file is not None:
        return f"The recovery key is in {key_file}. Take it to another place: it alone opens the backups of this relay."
    return (
        "Recovery key: write it down now, it is kept nowhere and never shown again. It alone opens the backups of this "
        f"relay.\n  {private}"
    )
