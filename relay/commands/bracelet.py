"""The commands `relay bracelet add|export|import|list|configure|update|withdraw|revoke`, for the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from relay import bundles, health, words
from relay.assembly import Relay
from relay.commands.common import (
    NOT_RUNNING,
    Failure,
    data_option,
    errors_in_words,
    json_option,
    running_relay,
    said_once,
    tell_running_relay,
)
from relay.commands.offers import (
    access_point,
    export,
    import_,
    make_offers,
    must_be_new,
    network_options,
    networks,
    read_json,
    told_in_words,
    write_offers,
)
from relay.datadir import DataDir
from relay.downlink import Desk
from relay.registry import Entry
from relay.verify.down import SETTINGS, Bundle


def _range(name: str) -> click.IntRange:
    return click.IntRange(SETTINGS[name].low, SETTINGS[name].high)


@click.group()
def bracelet() -> None:
    """Add, list, configure and revoke bracelets; offers and answers by file for a workshop elsewhere."""


bracelet.add_command(export)
bracelet.add_command(import_)


@bracelet.command()
@click.argument("code_name", required=False)
@click.option(
    "--offer",
    "offer_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the offer for a new bracelet to this file.",
)
@click.option(
    "--answer",
    "answer_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Complete with the answer that the bracelet wrote.",
)
@network_options
@data_option
@json_option
@errors_in_words
def add(
    code_name: str | None,
    offer_file: Path | None,
    answer_file: Path | None,
    wifi: tuple[str, ...],
    host: str | None,
    port: int | None,
    apn: str | None,
    apn_user: str | None,
    apn_roaming: bool,
    sms: str | None,
    data: Path,
    as_json: bool,
) -> None:
    """Add a bracelet, in two steps.

    \b
    relay bracelet add CODE_NAME --offer offer.json    make an offer; put it on the bracelet as /offer.json
    relay bracelet add --answer answer.json            complete with what the bracelet wrote to /answer.json

    CODE_NAME is yours, stored encrypted, and never leaves the relay: no real names; @FILE: from a file, @-: from
    standard input, or asked for. The offer holds a password and Wi-Fi keys: delete it once the bracelet has it.
    """
    relay = Relay(DataDir(data).require())
    if answer_file is not None:
        of_an_offer = (code_name, offer_file, host, port, apn, apn_user, sms)
        if wifi or apn_roaming or any(each is not None for each in of_an_offer):
            raise click.UsageError("--answer stands alone: name, network and numbers were given with the offer")
        _complete(relay, answer_file, as_json)
    elif code_name is not None and offer_file is not None:
        access = access_point(apn, apn_user, apn_roaming)
        code_name = said_once(code_name, "code name")
        _offer(relay, code_name, offer_file, networks(wifi), access, host, port, sms, as_json)
    else:
        raise click.UsageError("give CODE_NAME with --offer FILE for a new bracelet, or --answer FILE to complete one")


def _offer(
    relay: Relay,
    code_name: str,
    file: Path,
    wifi: list[tuple[str, str]],
    apn: dict[str, str | bool] | None,
    host: str | None,
    port: int | None,
    sms: str | None,
    as_json: bool,
) -> None:
    must_be_new(file, "an offer is for one bracelet, and is never overwritten")
    (offer,) = make_offers(relay, [code_name], wifi, apn, host, port, sms)
    write_offers(relay, file, [offer], offer)
    told = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({"kid": offer["kid"], "state": "offered", "offer": str(file), "relay_told": told}))
        return
    click.echo(
        f"{offer['kid']}: offered. {file} is for this one bracelet: copy it there as /offer.json and restart it."
    )
    click.echo(f"Then: relay bracelet add --answer FILE, with the bracelet's /answer.json.{told_in_words(told)}")


def _complete(relay: Relay, file: Path, as_json: bool) -> None:
    entry = relay.registry.complete(_read_answer(file), now=time.time())
    told = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({**_plain(entry), "relay_told": told}))
    else:
        click.echo(
            f"{entry.kid}: active. Raise a drill now: a bracelet that was never tried is not ready."
            + told_in_words(told)
        )


@bracelet.command("list")
@data_option
@json_option
@errors_in_words
def list_(data: Path, as_json: bool) -> None:
    """All bracelets, revoked ones too, and what their newest heartbeats say.

    Health is *good* when nothing is known to be wrong, and something was heard within three heartbeat intervals. A
    crash number stands for the type and place of an error: `hwsim crash NUMBER` finds them in the firmware.
    """
    entries = Relay(DataDir(data).require()).registry.list()
    if as_json:
        click.echo(json.dumps([_plain(entry) for entry in entries]))
        return
    if not entries:
        click.echo("No bracelets. Add one: relay bracelet add CODE_NAME --offer FILE")
        return
    now_ms = int(time.time() * 1000)
    for entry in entries:
        head, *more = health.lines(entry, now_ms)
        click.secho(head, bold=True)
        for line in more:
            click.echo(line)


@bracelet.command()
@click.argument("kid", metavar="KEY_ID")
@click.option("--heartbeat", "heartbeat_s", type=_range("heartbeat_s"), metavar="S", help="Seconds between heartbeats.")
@click.option("--hold", "hold_ms", type=_range("hold_ms"), metavar="MS", help="How long a hold must be to raise.")
@click.option("--check-in", "check_in_min", type=_range("check_in_min"), metavar="MIN", help="Check-in timer; 0: off.")
@data_option
@json_option
@errors_in_words
def configure(kid: str, data: Path, as_json: bool, **options: int | None) -> None:
    """Change settings of a bracelet that is in use; what isn't named stays as it is.

    KEY_ID as `relay bracelet list` shows it. A heartbeat confirms that the bracelet was told.
    """
    relay = Relay(DataDir(data).require())
    settings = {name: value for name, value in options.items() if value is not None}
    if not settings:
        raise click.UsageError("name at least one of --heartbeat, --hold, --check-in")
    asked = Desk(relay.store, relay.registry).configure(kid, settings, now=time.time())
    running = running_relay(relay.data) is not None
    if as_json:
        click.echo(json.dumps({"kid": kid, "settings": asked.settings, "relay_running": running}))
    else:
        end = "" if running else NOT_RUNNING
        click.echo(f"{kid}: settings queued; the relay sends them until the bracelet confirms.{end}")


@bracelet.command()
@click.argument("kids", metavar="KEY_ID...", nargs=-1, required=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@json_option
@errors_in_words
def update(kids: tuple[str, ...], file: Path, data: Path, as_json: bool) -> None:
    """Have bracelets fetch and install the program in FILE, a bundle made and signed with `hwsim bundle make`.

    The relay leaves the bundle with the broker. A bracelet fetches the bundle by MQTT while nothing is going on,
    installs it if it is its maker's and newer, and raises a drill with it (`trial` in `relay watch`); without a receipt
    the bracelet goes back to the program it had. Check the signature before: `hwsim bundle check`. Begin with one
    bracelet that you hold in your hand. Bundles that nobody has on order any more are removed from the broker.
    """
    relay = Relay(DataDir(data).require())
    octets = file.read_bytes()
    try:
        found = bundles.describe(octets)
        for kid in kids:
            relay.registry.get(kid)
        bundles.leave(octets, relay.programmer())
    except bundles.BundleError as error:
        raise Failure(f"{file}: {error}") from None
    desk = Desk(relay.store, relay.registry)
    for kid in kids:
        desk.update(kid, found, now=time.time())
    # The version in the newest heartbeat may be that of a trial that has failed since.
    removed = _remove(relay, desk.unwanted(now=time.time()) - {found})
    running = running_relay(relay.data) is not None
    if as_json:
        said = {"kids": kids, "version": found.version, "sha256": found.sha256.hex(), "relay_running": running}
        click.echo(json.dumps({**said, "removed": removed}))
    for kid in () if as_json else kids:
        click.echo(f"{kid}: is told that there is version {found.version}.{'' if running else NOT_RUNNING}")


def _remove(relay: Relay, unwanted: Collection[Bundle]) -> list[str]:
    """Have the broker keep no pieces of these bundles; return their SHA-256."""
    try:
        if unwanted:
            bundles.remove(unwanted, relay.programmer())
    except bundles.BundleError as error:
        raise Failure(f"pieces of bundles that nobody has on order may still be there: {error}") from None
    return sorted(bundle.sha256.hex() for bundle in unwanted)


@bracelet.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@json_option
@errors_in_words
def withdraw(file: Path, data: Path, as_json: bool) -> None:
    """Withdraw the update in FILE, so that no bracelet fetches it any more.

    A bracelet that has already fetched the bundle installs it. A bracelet that finds no bundle asks at two dozen
    wakings, then no more.
    """
    relay = Relay(DataDir(data).require())
    desk = Desk(relay.store, relay.registry)
    try:
        found = bundles.describe(file.read_bytes())
    except bundles.BundleError as error:
        raise Failure(f"{file}: {error}") from None
    kids = desk.withdraw(found, now=time.time())
    removed = _remove(relay, {found, *desk.unwanted(now=time.time())})
    if as_json:
        click.echo(json.dumps({"kids": kids, "version": found.version, "removed": removed}))
    else:
        told = ", ".join(kids) or "nobody"
        click.echo(f"Version {found.version} is no longer at the broker. Who had been told of it: {told}.")


@bracelet.command()
@click.argument("kid", metavar="KEY_ID")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--now", "at_once", is_flag=True, help="Don't wait for the bracelet to confirm that it is wiped.")
@data_option
@json_option
@errors_in_words
def revoke(kid: str, yes: bool, at_once: bool, data: Path, as_json: bool) -> None:
    """Wipe and end a bracelet that is lost, seized or broken. There is no way back: the wearer gets a new one.

    From then on the relay refuses its alarms. The relay tells the bracelet again and again to erase its keys, settings
    and undelivered messages, and lets it connect until a last heartbeat confirms that it did. Then the relay deletes
    the bracelet's keys and closes its account. With --now, which you may give later too, the relay does not wait: then
    the bracelet can't be told any more. KEY_ID as `relay bracelet list` shows it.
    """
    relay = Relay(DataDir(data).require())
    entry = relay.registry.get(kid)
    if not yes:
        click.confirm(
            f"Revoke {entry.kid} ({entry.code_name}) for ever? Alarms that it raises from now on will be refused",
            abort=True,
            err=True,
        )
    if at_once:
        relay.registry.revoke(kid, now=time.time())
    else:
        Desk(relay.store, relay.registry).revoke(kid, now=time.time())
    entry = relay.registry.get(kid)
    told = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({**_plain(entry), "relay_told": told}))
    elif entry.state == "revoking":
        click.echo(f"{entry.kid}: is told to wipe itself, until it confirms it.{'' if told else NOT_RUNNING}")
    else:
        click.echo(f"{entry.kid}: revoked.{told_in_words(told)}")


def _read_answer(file: Path) -> Mapping[str, Any]:
    return read_json(file, "copy the bracelet's /answer.json again", 4096)


def _plain(entry: Entry) -> dict[str, Any]:
    now_ms = int(time.time() * 1000)
    silent_ms = health.silent_since_ms(entry, now_ms)
    return {
        **entry._asdict(),
        "heard": None if entry.heard is None else entry.heard._asdict(),
        "health": health.words_of(entry, now_ms),
        "silent_since": None if silent_ms is None else words.utc(silent_ms),
    }
