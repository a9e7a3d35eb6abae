"""The commands `relay accept` and `relay close`: an operator answers an alarm, and the wearer feels it."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path

import click

from relay.assembly import Relay
from relay.commands.common import NOT_RUNNING, data_option, errors_in_words, json_option, running_relay, said_once
from relay.datadir import DataDir
from relay.downlink import Asked, Desk

_NAME_MOST = 64
alarm_argument = click.argument("alarm", metavar="ALARM")
by_option = click.option(
    "--by",
    metavar="NAME|@FILE",
    envvar="TOCSIN_OPERATOR",
    help="Who says so, for colleagues who come in later; stored encrypted. Default: $TOCSIN_OPERATOR, or else your "
    "account on this machine.",
)


@click.command()
@alarm_argument
@by_option
@data_option
@json_option
@errors_in_words
def accept(alarm: str, by: str | None, data: Path, as_json: bool) -> None:
    """Tell the wearer that a person has accepted this alarm and acts on it.

    ALARM as `relay alarms` shows it: KEY_ID-COUNTER, or the same of one of its Updates. The wearer feels five rising
    pulses, unlike those that say that the relay has the alarm. Accept an alarm only when somebody really acts on it:
    the wearer's hope rests on it. Exit status 1 when there is no such alarm, or when somebody has accepted or closed it
    before.
    """
    relay = Relay(DataDir(data).require())
    _tell(relay, Desk(relay.store, relay.registry).accept(alarm, now=time.time(), by=_name(by)), "accepted", as_json)


@click.command()
@alarm_argument
@by_option
@data_option
@json_option
@errors_in_words
def close(alarm: str, by: str | None, data: Path, as_json: bool) -> None:
    """Tell the bracelet that this alarm is over: it sends no more Updates of it.

    ALARM as `relay alarms` shows it: KEY_ID-COUNTER, or the same of one of its Updates. There is no way back, but a
    new hold raises a new alarm. Exit status 1 when there is no such alarm, or when it was closed before.
    """
    relay = Relay(DataDir(data).require())
    _tell(relay, Desk(relay.store, relay.registry).close(alarm, now=time.time(), by=_name(by)), "closed", as_json)


def _name(given: str | None) -> str | None:
    """Name the person who answers; None when not even this machine knows."""
    if given is None:
        try:
            return getpass.getuser()
        except (OSError, KeyError):  # a user id without a name, as in a container; KeyError until Python 3.12
            return None
    name = said_once(given, "name").strip()
    if not 1 <= len(name) <= _NAME_MOST or not name.isprintable():
        raise click.BadParameter(f"a name has 1 to {_NAME_MOST} printable characters", param_hint="--by")
    return name


def _tell(relay: Relay, asked: Asked, word: str, as_json: bool) -> None:
    running = running_relay(relay.data) is not None
    if as_json:
        said = {"alarm": asked.alarm, "state": word, "relay_running": running}
        click.echo(json.dumps(said if asked.tells else said | {"bracelet_told": False}))
    else:
        end = "" if running else NOT_RUNNING
        click.echo(f"{asked.alarm}: {word}. {who_is_told(asked)}{end}")


def who_is_told(asked: Asked) -> str:
    """Say who hears of it, and why the bracelet does not."""
    if asked.tells:
        return "The relay tells the bracelet until the bracelet confirms."
    if asked.called_back:
        return (
            "Subscribers are told; the bracelet is not, because it was called back: who holds it must not learn "
            "whether she was forced."
        )
    if asked.later_called_back:
        return (
            "Subscribers are told; the bracelet is not, because a later alarm of this bracelet was called back, though "
            "this one was not: who holds the bracelet must not learn whether she was forced."
        )
    return "Subscribers are told; the bracelet is not, because it is revoked."
