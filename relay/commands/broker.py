"""The commands `relay broker`, for an operator who runs a broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from relay.broker import BrokerError
from relay.commands.common import Failure, data_option, errors_in_words, json_option, running_relay, typed
from relay.datadir import DataDir, read_secret

if TYPE_CHECKING:
    from relay.broker.check.examine import Target
    from relay.broker.check.known import Found

_SCHEMES = {"mqtt": 1883, "mqtts": 8883}


@click.group()
def broker() -> None:
    """Check a broker, and write the accounts for one of your own.

    The embedded broker needs no accounts: it asks the relay's store who may connect.
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
    accounts_hash = relay.accounts_hash()  # first: an account that comes in between is written twice rather than never
    users = relay.users()
    files = FORMATS[form](users)
    if out is not None and not out.parent.is_dir():  # mistyped, and passwords would lie where nobody looks for them
        raise Failure(f"{out}: can't be made; there is no folder {out.parent.absolute()}")
    for name, text in files.items():
        if out is None:
            click.echo(text if len(files) == 1 else f"==> {name} <==\n{text}", nl=False)
        else:
            click.echo(write_private(out / name, text.encode()))
    relay.note_exported(accounts_hash)
    click.echo(f"{len(users)} accounts.", err=True)


class _Url(click.ParamType[tuple[str, int, bool]]):
    """A value like mqtts://HOST[:PORT], as (host, port, with TLS)."""

    name = "url"

    def convert(
        self, value: str | tuple[str, int, bool], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int, bool]:
        if isinstance(value, tuple):
            return value
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            self.fail(f"{value!r} has no port from 1 to 65535; give mqtts://HOST or mqtts://HOST:PORT", param, ctx)
        if parts.username is not None or parts.password is not None:
            # The message does not repeat the value, which may hold a password.
            self.fail("must not hold an account; give it by --user NAME and --password @FILE", param, ctx)
        if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or parts.path.strip("/"):
            self.fail(f"{value!r} is no broker; give mqtts://HOST[:PORT], or mqtt:// without TLS", param, ctx)
        return parts.hostname, port or _SCHEMES[parts.scheme], parts.scheme == "mqtts"


class _Known(click.ParamType[str]):
    """A broker that `--crash` knows."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from relay.broker.check.known import KNOWN

        if value not in KNOWN:
            self.fail(f"{value!r} is not known; give one of {', '.join(KNOWN)}", param, ctx)
        return value


@broker.command()
@data_option
@click.option("--url", type=_Url(), metavar="mqtts://HOST[:PORT]", help="Which broker; left out: that of relay.toml.")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The CA of its certificate; left out: that of relay.toml.",
)
@click.option("--user", metavar="NAME", help="Ask everything as this account, which nobody else may be using.")
@click.option("--password", metavar="@FILE", help="File with its password; left out: it is asked for.")
@click.option("--crash", is_flag=True, help="For developers: start brokers that are known, check them, kill them.")
@click.option(
    "--only", "names", multiple=True, type=_Known(), metavar="NAME", help="With --crash: this one. Repeatable."
)
@click.option(
    "--node-modules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --crash: where npm has put aedes.",
)
@click.option(
    "--amqtt-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --crash: the python that has amqtt.",
)
@click.option("--markdown", is_flag=True, help="With --crash: write the table of relay/README.md.")
@json_option
@click.pass_context
@errors_in_words
def check(
    ctx: click.Context,
    data: Path,
    url: tuple[str, int, bool] | None,
    ca: Path | None,
    user: str | None,
    password: str | None,
    crash: bool,
    names: tuple[str, ...],
    node_modules: Path | None,
    amqtt_python: Path | None,
    markdown: bool,
    as_json: bool,
) -> None:
    """Examine a broker for what the relay relies on, by using it.

    The check takes about half a minute, two minutes at most. It does not disturb a running relay, which takes none of
    its messages for an alarm. It removes all that it makes on the broker. One line says what was asked, what came and
    how good that is (good, less, loses, unknown), the next what to do.

    Exit status: 0 all good, 1 something that loses alarms, 3 something less.
    """
    from relay.broker.check import exit_status
    from relay.broker.check.examine import alone
    from relay.broker.check.known import Found
    from relay.broker.check.report import as_json as listed
    from relay.broker.check.report import as_text

    if password is not None and (user is None or not password.startswith("@")):
        raise click.UsageError("give --password @FILE, and --user NAME with it")
    if crash:
        if url or ca or user:
            raise click.UsageError("--crash starts brokers itself; leave out --url, --ca and --user")
        ctx.exit(_crash(names, Found(node_modules, amqtt_python), as_json=as_json, markdown=markdown))
    if names or node_modules or amqtt_python or markdown:
        raise click.UsageError("--only, --node-modules, --amqtt-python and --markdown need --crash")
    folder = DataDir(data).require()
    target = _target(folder, url, ca, user, password)
    with alone(folder):
        findings = target.examine()
    click.echo(json.dumps(listed(findings), indent=1) if as_json else as_text(findings))
    ctx.exit(exit_status(findings))


def _target(
    folder: DataDir, url: tuple[str, int, bool] | None, ca: Path | None, user: str | None, password: str | None
) -> Target:
    from dataclasses import replace

    from relay.assembly import Relay
    from relay.broker.check.client import Account
    from relay.broker.check.examine import target_of
    from relay.broker.check.visit import Roles
    from relay.ingest.mqtt import client_tls
    from relay.ingest.sessions import client_ids

    relay = Relay(folder)
    in_use = running_relay(folder) is not None  # any URL may be the same broker by another name
    target = target_of(relay, sessions=() if in_use else client_ids(relay.config.mqtt.sessions))
    if url is not None:
        host, port, with_tls = url
        target = replace(target, host=host, port=port, tls=target.tls if with_tls else None)
    if ca is not None and target.tls is not None:
        try:
            target = replace(target, tls=client_tls(ca))
        except (OSError, ValueError):
            raise Failure(f"{ca}: is not a certificate in PEM; give the file of the broker's CA") from None
    if user is not None:
        if password:
            secret = read_secret(Path(password[1:]), "there is no such file; name the one that holds the password")
        else:
            secret = typed("Password", "name a file with --password @FILE")
        target = replace(target, roles=Roles.one(Account(user, secret)))
    return target


def _crash(names: tuple[str, ...], found: Found, *, as_json: bool, markdown: bool) -> int:
    from relay.broker.check import exit_status
    from relay.broker.check.crash import examine
    from relay.broker.check.known import KNOWN, Missing
    from relay.broker.check.report import as_json as listed
    from relay.broker.check.report import as_markdown, as_text

    brokers, failed = {}, False
    for name in names or KNOWN:
        try:
            version, findings = examine(name, found, lambda text: click.echo(f"check: {text}", err=True))
        except Missing as error:
            click.echo(f"relay: {name}: left out: {error}", err=True)
            continue
        except BrokerError as error:
            click.echo(f"relay: {name}: {error}", err=True)
            failed = True
            continue
        title = f"{name.partition('-')[0] if name.startswith('mosquitto') else name} {version}"
        brokers[title] = findings
        if not as_json and not markdown:
            click.echo(f"== {title}\n{as_text(findings)}\n")
    if as_json:
        click.echo(json.dumps({title: listed(findings) for title, findings in brokers.items()}, indent=1))
    elif markdown:
        click.echo(as_markdown(brokers))
    return 1 if failed else exit_status(finding for findings in brokers.values() for finding in findings)
