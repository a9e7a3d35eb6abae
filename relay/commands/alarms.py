"""The command `relay alarms`, which lists what is open, for an operator who comes in late."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from relay.assembly import Relay
from relay.cases import listing, reading
from relay.cases.reading import Known
from relay.commands.common import data_option, errors_in_words, json_option
from relay.datadir import DataDir
from relay.rebroadcast import iso


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only what is open.")
@click.option("--all", "everything", is_flag=True, help="Everything that ever was.")
@data_option
@json_option
@errors_in_words
def alarms(only_open: bool, everything: bool, data: Path, as_json: bool) -> None:
    """List alarms: what is open first, then what was of the last 24 hours.

    For each alarm: the code name, since when, the last word from it, where, and who has answered. An alarm is open
    until somebody closes it or the wearer calls it off; one that was called off under duress goes on. A drill is over
    after a day. Times are UTC. Answer with `relay accept ALARM`, end with `relay close ALARM`.
    """
    if only_open and everything:
        raise click.UsageError("--open and --all are one or the other")
    relay = Relay(DataDir(data).require())
    now_ms = int(time.time() * 1000)
    found = reading.known(relay.store, now_ms, everything=everything)
    shown = listing.in_order(found, now_ms, only_open=only_open)
    if as_json:
        click.echo(json.dumps({"now": iso(now_ms), "alarms": [listing.plain(each, now_ms) for each in shown]}))
        return
    show(shown, now_ms)
    if not any(listing.state(each, now_ms) in listing.OPEN for each in shown):
        click.echo("No alarm is open.")


def show(shown: Sequence[Known], now_ms: int) -> None:
    """Print these alarms for people."""
    for each in shown:
        head, *more = listing.lines(each, now_ms)
        click.secho(head, fg=listing.colour(each, now_ms), bold=True)
        for line in more:
            click.echo(line)
