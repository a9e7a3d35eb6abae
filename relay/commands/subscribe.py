"""The command `relay subscribe`, which is the reading end, on a subscriber's own machine."""

from __future__ import annotations

import ipaddress
import shlex
import shutil
import ssl
import time
from contextlib import ExitStack
from pathlib import Path

import click

from relay import log
from relay.broker import temporary_id
from relay.commands.common import Failure, errors_in_words
from relay.commands.listening import Listener, seat, sole
from relay.commands.outlets import MOST, Command, LocalBroker, Outlet
from relay.commands.outlets import Display as Shown
from relay.commands.watch import Display, as_line
from relay.datadir import read_secret
from relay.ingest.mqtt import Endpoint, client_tls
from relay.subscribers import file
from relay.subscribers.reader import Reader

_KEEPALIVE = 30
_REFUSED = (
    "the relay's operator has ended this account, or has written a newer file for it: ask the operator, then start "
    "again with the new file"
)


@click.command()
@click.argument("path", metavar="FILE", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The private key, where the subscriber file has none.",
)
@click.option(
    "--new-key",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Make a key pair: the private half goes into this new file, the public one is printed.",
)
@click.option(
    "--mqtt",
    "broker",
    metavar="HOST:PORT",
    help="Republish in clear on a broker of your own: r/<kid>/alarm and r/<kid>/case.",
)
@click.option("--mqtt-account", metavar="NAME", help="Account at that broker.")
@click.option("--mqtt-password", metavar="@FILE", help="File with its password.")
@click.option("--anyway", is_flag=True, help="Republish in clear although that broker is not on this machine.")
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="Run this for each document, with its JSON on standard input; "
    "no shell. It has 30 s, and is run again twice when it fails.",
)
@click.option("--json", "as_json", is_flag=True, help='One JSON object a line: {"genuine": true, "document": {...}}.')
@click.option("--count", type=click.IntRange(min=1), help="End after this many alarms.")
@click.option("--temporary", is_flag=True, help="Hear only what comes meanwhile, and leave nothing at the broker.")
@errors_in_words
def subscribe(
    path: Path | None,
    key: Path | None,
    new_key: Path | None,
    broker: str | None,
    mqtt_account: str | None,
    mqtt_password: str | None,
    anyway: bool,
    command: str | None,
    as_json: bool,
    count: int | None,
    temporary: bool,
) -> None:
    """Read alarms as the subscriber of FILE, which the relay's operator wrote with `relay subscriber add`.

    Opens what the broker has, checks the relay's signature and the bracelet's, and shows it. Documents that came while
    this was away wait at the broker, for some days. With --mqtt or --exec a document is done when your broker has it or
    your command has ended well (or has failed three times, which is said). Ends on Ctrl-C. Exit status 1 when FILE
    can't be used.
    """
    if new_key is not None:
        if path is not None:
            raise click.UsageError("--new-key stands alone: give the printed key to the relay's operator first")
        click.echo(file.new_key(new_key).hex())
        return
    if path is None:
        raise click.UsageError("name the subscriber file, or make a key with --new-key FILE")
    outlet = _outlet(broker, mqtt_account, mqtt_password, anyway, command)
    try:
        _listen(path, key, outlet, Display(as_json, count), temporary)
    finally:
        outlet.close()


def _listen(path: Path, key: Path | None, outlet: Outlet, display: Display, temporary: bool) -> None:
    own = file.read(path)
    private = file.read_key(key) if key is not None else own.private
    if private is None:
        raise Failure(f"{path}: has no private key; name the file that --new-key wrote with --key")
    log.configure(json=False)
    try:
        tls = client_tls(None, pem=own.ca)
    except (ssl.SSLError, ValueError, TypeError):  # TypeError: it is not even ASCII
        raise Failure(f"{path}: its certificate is damaged; have the relay's operator write the file anew") from None
    reader = Reader(own.audience, own.account, own.relay_key, private)
    with ExitStack() as stack:
        client_id = own.account
        if temporary:
            client_id = temporary_id(own.account, stack.enter_context(seat(path)))
        else:
            stack.enter_context(sole(path))
        account = (own.account, own.password)
        endpoint = Endpoint(own.host, own.port, client_id, *account, tls, _KEEPALIVE, temporary, _REFUSED)
        listener = stack.enter_context(Listener(endpoint, reader, lambda: outlet.busy < MOST))
        while not display.finished():
            for heard in listener.turn():
                if display.finished():
                    break  # this document comes again, next time
                display.show(heard)
                if heard.document is None:
                    listener.acknowledge(heard)
                else:
                    outlet.take(heard)
            _finish(listener, outlet)
        deadline = time.monotonic() + outlet.patience_s
        while outlet.busy and time.monotonic() < deadline:
            listener.turn()
            _finish(listener, outlet)


def _finish(listener: Listener, outlet: Outlet) -> None:
    for heard in outlet.finished():
        listener.acknowledge(heard)


def _outlet(broker: str | None, account: str | None, password: str | None, anyway: bool, command: str | None) -> Outlet:
    if broker is not None and command is not None:
        raise click.UsageError("--mqtt and --exec are one or the other; run `relay subscribe` with two files for both")
    if broker is None and (account is not None or password is not None or anyway):
        raise click.UsageError("--mqtt-account, --mqtt-password and --anyway say how to use --mqtt; give that too")
    if broker is not None:
        host, port = _address(broker)
        if not anyway and not _is_loopback(host):
            raise Failure(
                f"--mqtt {broker}: is not on this machine, and documents would go there in clear; name 127.0.0.1 or "
                "localhost, or add --anyway if the way there is safe"
            )
        return LocalBroker(host, port, _account(account, password), _tell)
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise click.BadParameter(f"{command!r}: {error}", param_hint="--exec") from None
        if not words:
            raise click.BadParameter("is empty; name a program", param_hint="--exec")
        if shutil.which(words[0]) is None:
            raise click.BadParameter(f"{words[0]}: no such program, or one that you may not run", param_hint="--exec")
        return Command(words, as_line, _tell)
    return Shown()


def _tell(said: str) -> None:
    click.secho(f"relay: {said}", fg="red", err=True)


def _account(name: str | None, password: str | None) -> tuple[str, str] | None:
    if name is None and password is None:
        return None
    if name is None or password is None or not password.startswith("@"):
        raise click.UsageError("give both --mqtt-account NAME and --mqtt-password @FILE")
    return name, read_secret(Path(password[1:]), "there is no such file; name the one that holds the password")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is no HOST:PORT, like 127.0.0.1:1883", param_hint="--mqtt")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
