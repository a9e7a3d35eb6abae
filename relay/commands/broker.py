"""`relay broker`: for brokers of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from relay.commands.common import data_option, errors_in_words
from relay.datadir import DataDir


@click.group()
def broker() -> None:
    """Accounts for a broker of your own.

    The embedded broker needs none of this: it asks the relay's store who may connect.
    """


@broker.command()
@data_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["mosquitto", "rabbitmq", "json"]),
    default="mosquitto",
    show_default=True,
    help="Which broker's files to write; json has passwords as they are.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files into this folder, readable by you alone; left out: all to standard output.",
)
@errors_in_words
def accounts(data: Path, form: str, out: Path | None) -> None:
    """Write users, passwords and rules of everyone on the broker.

    Repeat it when bracelets were added or revoked, and have the broker read its files again. A relay whose broker is
    not its own says in the log when that is due.
    """
    from relay.assembly import Relay
    from relay.broker.export import FORMATS
    from relay.datadir import write_private

    relay = Relay(DataDir(data).require())
    users = relay.users()
    files = FORMATS[form](users)
    for name, text in files.items():
        if out is None:
            click.echo(text if len(files) == 1 else f"==> {name} <==\n{text}", nl=False)
        else:
            click.echo(write_private(out / name, text.encode()))
    relay.note_exported()
    click.echo(f"{len(users)} accounts.", err=True)
