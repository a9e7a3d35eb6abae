"""Offers and answers as files: the options of an offer, and several offers at once for a workshop elsewhere."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relay.assembly import Relay
from relay.commands.common import (
    F,
    Failure,
    data_option,
    errors_in_words,
    json_option,
    said,
    said_once,
    tell_running_relay,
)
from relay.config import E164
from relay.datadir import DataDir, write_named
from relay.registry import BATCH, RegistryError

# The options for the content of an offer.
_NETWORK = (
    click.option(
        "--wifi",
        multiple=True,
        metavar="SSID:KEY|@FILE",
        help="A Wi-Fi network for the bracelet; "
        "repeatable. From a file, one a line: @FILE; from standard input, or asked for: @-.",
    ),
    click.option("--host", help="Where the bracelet reaches the broker, if not mqtt.public_host."),
    click.option("--port", type=click.IntRange(1, 65535), help="And on which port."),
    click.option("--apn", metavar="NAME", help="The operator's access point for data over the mobile network."),
    click.option("--apn-user", metavar="USER:PASSWORD|@FILE", help="For an access point that asks for them (PAP)."),
    click.option("--apn-roaming", is_flag=True, help="Data in foreign networks as well; without it, SMS alone there."),
    click.option("--sms", metavar="+NUMBER", help="Number of the relay's modem, if not sms.number."),
)


def network_options(command: F) -> F:
    """Add the options for the content of an offer to a command."""
    for option in reversed(_NETWORK):
        command = option(command)
    return command


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("code_names", metavar="[CODE_NAME]...", nargs=-1)
@click.option("--count", type=click.IntRange(1, 1000), help="So many offers, named CODE_NAME 1, CODE_NAME 2 ...")
@network_options
@data_option
@json_option
@errors_in_words
def export(
    file: Path,
    code_names: tuple[str, ...],
    count: int | None,
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
    """Make offers for several bracelets, in one file for a workshop elsewhere: flash.sh --relay FILE.

    One offer for each CODE_NAME, or --count of them with one CODE_NAME as their beginning; @FILE: a name a line, @-:
    from standard input. Code names don't go into the file. The file holds passwords and Wi-Fi keys: carry it as such,
    and delete it once the bracelets have them. The file of answers that comes back is for `relay bracelet import`.
    """
    relay = Relay(DataDir(data).require())
    if not code_names or (count is not None and len(code_names) != 1):
        raise click.UsageError("give a CODE_NAME for each bracelet, or one CODE_NAME with --count")
    if count is None:
        names = [name for given in code_names for name in said(given, "code name")]
    else:
        begin = said_once(code_names[0], "code name")
        names = [f"{begin} {number}" for number in range(1, count + 1)]
    must_be_new(file, "offers are never overwritten")
    access = access_point(apn, apn_user, apn_roaming)
    offers = make_offers(relay, names, networks(wifi), access, host, port, sms)
    write_offers(relay, file, offers, {BATCH: 1, "offers": offers})
    told = tell_running_relay(relay.data)
    if as_json:
        kids = [offer["kid"] for offer in offers]
        click.echo(json.dumps({"kids": kids, "state": "offered", "file": str(file), "relay_told": told}))
    else:
        text = f"{file}: {len(offers)} offers, each for one bracelet. Carry it to flash.sh --relay."
        click.echo(text + told_in_words(told))


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@json_option
@errors_in_words
def import_(file: Path, data: Path, as_json: bool) -> None:
    """Complete several bracelets, with the file of answers that flash.sh wrote.

    Bracelets that are active already stay as they are, so the same file may come again, with more in it. Exit status 1
    when one can't be completed.
    """
    relay = Relay(DataDir(data).require())
    content = read_json(file, "copy the workshop's file again")
    answers = content.get("answers")
    if content.get(BATCH) != 1 or not isinstance(answers, list):
        raise Failure(f"{file}: is not a file of answers; flash.sh --relay FILE writes it as FILE.answers.json")
    active = {entry.kid for entry in relay.registry.list() if entry.state == "active"}
    rows = []
    for answer in answers:
        kid = str(answer.get("kid")) if isinstance(answer, dict) else "?"
        try:
            state = "active before" if kid in active else relay.registry.complete(answer, now=time.time()).state
            rows.append({"kid": kid, "state": state, "error": None})
        except RegistryError as error:
            rows.append({"kid": kid, "state": "refused", "error": str(error)})
    told = tell_running_relay(relay.data)
    if as_json:
        click.echo(json.dumps({"answers": rows, "relay_told": told}))
    else:
        for row in rows:
            click.echo(f"{row['kid']}: {row['state']}{': ' + row['error'] if row['error'] else ''}")
        click.echo(f"{sum(not row['error'] for row in rows)} of {len(rows)} active.{told_in_words(told)}")
    if any(row["error"] for row in rows):
        raise SystemExit(1)


def must_be_new(file: Path, why: str) -> None:
    """Raise Failure when the file exists already."""
    if file.exists():
        raise Failure(f"{file}: exists already; name a new file ({why})")


def make_offers(
    relay: Relay,
    code_names: list[str],
    wifi: list[tuple[str, str]],
    apn: dict[str, str | bool] | None,
    host: str | None,
    port: int | None,
    sms: str | None,
) -> list[dict[str, Any]]:
    """Make an offer for each code name; all of them, or none."""
    if sms is not None and not E164.match(sms):
        raise click.BadParameter("a number is + and 7 to 15 digits, country code first", param_hint="--sms")
    if host is not None and not host.strip():
        raise click.BadParameter("is empty; leave it out for mqtt.public_host", param_hint="--host")
    mqtt = relay.config.mqtt
    host = host or mqtt.public_host
    if relay.config.broker.embedded and not relay.vouches_for(host):
        click.echo(
            f"relay: the broker's certificate does not have the name {host}, so the bracelet would not talk to it. "
            f"Add it to broker.names in {relay.data.config} and restart the relay before you go on.",
            err=True,
        )
    offers: list[dict[str, Any]] = []
    try:
        for code_name in code_names:
            offer = relay.registry.offer(
                code_name,
                now=time.time(),
                host=host,
                port=port or mqtt.public_port or mqtt.port,
                ca_der=relay.ca_der(),
                sms=sms or relay.config.sms.number,
                wifi=wifi,
                apn=apn,
            )
            offers.append(offer)
    except RegistryError:
        _withdraw(relay, offers)
        raise
    return offers


def _withdraw(relay: Relay, offers: list[dict[str, Any]]) -> None:
    for offer in offers:
        relay.registry.revoke(offer["kid"], now=time.time())


def write_offers(relay: Relay, file: Path, offers: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """Write `content`, readable for its owner only; withdraw the offers in it when that fails."""
    try:
        write_named(file, json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        _withdraw(relay, offers)
        raise Failure(f"{file}: can't be written ({error.strerror}); nothing was added") from None


def networks(wifi: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read SSID and key of each network. Raises BadParameter when one is impossible."""
    networks = []
    for text in (line for given in wifi for line in said(given, "SSID:KEY")):
        ssid, colon, key = text.partition(":")
        if not colon or not 1 <= len(ssid.encode()) <= 32 or not (key == "" or 8 <= len(key) <= 63):
            raise click.BadParameter(
                "the form is SSID:KEY; the key has 8 to 63 characters, or none for an open network", param_hint="--wifi"
            )
        networks.append((ssid, key))
    return networks


def access_point(name: str | None, user: str | None, roaming: bool) -> dict[str, str | bool] | None:
    """Make the access point of an offer, as the firmware takes it. The name follows 3GPP TS 23.003, 9.1."""
    if name is None:
        if user is not None or roaming:
            raise click.UsageError("--apn-user and --apn-roaming belong to --apn NAME")
        return None
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,100}", name):
        raise click.BadParameter("a name has letters, digits, hyphens and dots", param_hint="--apn")
    access: dict[str, str | bool] = {"name": name, "roaming": roaming}
    if user is not None:
        login, colon, password = said_once(user, "USER:PASSWORD").partition(":")
        if not (colon and login and password):
            raise click.BadParameter("the form is USER:PASSWORD, neither of them empty", param_hint="--apn-user")
        access.update(user=login, password=password)
    return access


def read_json(file: Path, advice: str, at_most: int = 1 << 20) -> Mapping[str, Any]:
    """Read an object from a file that somebody brought. Raises Failure when it is none."""
    try:
        content = json.loads(file.read_bytes()[:at_most])
    except (OSError, ValueError, RecursionError):
        raise Failure(f"{file}: is not JSON; {advice}") from None
    if not isinstance(content, dict):
        raise Failure(f"{file}: is not an answer; {advice}")
    return content


def told_in_words(told: bool) -> str:
    """Say that no relay was running to be told; return an empty text when one was told."""
    return "" if told else os.linesep + "No relay is running on this folder; it takes this up when it starts."
