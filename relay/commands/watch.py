"""`relay watch`: what a subscriber sees."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import click

from relay import case_document, log, rebroadcast
from relay.assembly import Relay
from relay.broker import SUBSCRIBER, SUBSCRIBER_IDS
from relay.commands.common import data_option, errors_in_words
from relay.datadir import DataDir
from relay.ingest.mqtt import Message, MqttLink

FILTERS = ("r/+/alarm", "r/+/case")
_COLOURS = {"Alert": "red", "Update": "yellow", "Cancel": "green"}
_DRILL_COLOUR = "blue"


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help='One JSON object a line: {"genuine": true, "document": {...}}.')
@click.option("--count", type=click.IntRange(min=1), help="End after this many alarms.")
@errors_in_words
def watch(data: Path, as_json: bool, count: int | None) -> None:
    """Show alarms as they are rebroadcast, and what becomes of them, each checked before it is shown.

    Connects to the broker as a subscriber would, with the account in the data folder. What is not genuine is shown as
    refused, with the reason. Ends on Ctrl-C.
    """
    relay = Relay(DataDir(data).require())
    log.configure(json=as_json)
    watcher = _Watcher(relay.keys.public, as_json, count)
    endpoint = relay.subscriber(f"{SUBSCRIBER}-{os.getpid() % SUBSCRIBER_IDS}")
    link = MqttLink(endpoint, log.get(), filters=FILTERS, on_message=watcher.show, on_published=lambda _: None)
    try:
        while not watcher.finished:
            _turn(link, watcher)
    except KeyboardInterrupt:
        pass
    finally:
        link.close()


def _turn(link: MqttLink, watcher: _Watcher) -> None:
    now = time.monotonic()
    link.tick(now)
    link.flush()
    fd = link.fileno()
    patience = max(0.0, min(link.deadline(now) - now, 0.25))
    if fd is None:
        time.sleep(patience)
    elif select.select([fd], [fd] if link.wants_write else [], [], patience)[0]:
        link.readable()
        for message in watcher.take_shown():
            link.acknowledge(message)


class _Watcher:
    """Checks and prints."""

    def __init__(self, relay_key: bytes, as_json: bool, count: int | None) -> None:
        self._relay_key = relay_key
        self._as_json = as_json
        self._left = count
        self._shown: list[Message] = []

    @property
    def finished(self) -> bool:
        return self._left is not None and self._left <= 0

    def take_shown(self) -> list[Message]:
        shown, self._shown = self._shown, []
        return shown

    def show(self, message: Message) -> None:
        if self.finished:
            return
        self._shown.append(message)
        if message.topic.endswith("/case"):
            self._show_case(message)
            return
        report = rebroadcast.check(message.octets, self._relay_key)
        if self._as_json:
            findings = [finding.code for finding in report.findings]
            extra = {"document": json.loads(message.octets)} if report.ok else {"findings": findings}
            click.echo(json.dumps({"genuine": report.ok, **extra}, ensure_ascii=False))
            sys.stdout.flush()
        elif report.ok:
            click.echo(describe(json.loads(message.octets)))
        else:
            reasons = "; ".join(finding.sentence for finding in report.findings)
            topic = message.topic if message.topic.isprintable() else "(a topic with control characters)"
            click.secho(f"{time.strftime('%H:%M:%S')}  REFUSED  {topic}: {reasons}", fg="magenta", err=True)
        if report.ok and self._left is not None:
            self._left -= 1


    def _show_case(self, message: Message) -> None:
        """What became of an alarm. It isn't counted: it is none."""
        document = case_document.check(message.octets, self._relay_key)
        if self._as_json:
            found = {"findings": ["not_genuine"]} if document is None else {"document": document}
            click.echo(json.dumps({"genuine": document is not None, **found}))
            sys.stdout.flush()
        elif document is None:
            said = f"{time.strftime('%H:%M:%S')}  REFUSED  not this relay's word about an alarm"
            click.secho(said, fg="magenta", err=True)
        else:
            said = f"{document['at'][11:19]} UTC  {document['state'].upper()}  {document['alarm']}"
            click.echo(click.style(said, fg="cyan", bold=True))


def describe(document: dict[str, Any]) -> str:
    """One alarm message in a line or two, for people."""
    kind = document["msg_type"]
    flags = [name for name in ("drill", "cancel", "duress") if document["flags"][name]]
    drill = document["status"] != "Actual"  # says so first, and never in an alarm's colour
    word = f"DRILL {kind}" if drill else kind
    head = f"{document['received'][11:19]} UTC  {word.upper():<6}  {document['alarm']}  {document['cause']}"
    if drill:
        head += f"  ({document['status']}: nobody is in danger)"
    if flags:
        head += "  [" + ", ".join(flags) + "]"
    if "duress" in flags:
        head += "  called off UNDER DURESS: treat as an alarm" if "cancel" in flags else "  UNDER DURESS"
    if document["flags"]["strap"] == "open" and document["cause"] != "strap":
        head += "  strap open"
    if document["flags"]["doubtful"]:
        head += "  position doubtful: it jumped, perhaps it is spoofed"
    if document["flags"]["last"]:
        head += "  LAST message: the battery ends"
    parts = [
        _position(document["position"]),
        _cell(document["cell"]),
        "battery unknown" if document["battery"] is None else f"battery {document['battery']} %",
        _delay(document),
    ]
    colour = _DRILL_COLOUR if drill else _COLOURS.get(kind)
    return click.style(head, fg=colour, bold=True) + "\n          " + ", ".join(part for part in parts if part)


def _position(position: dict[str, Any] | None) -> str:
    if position is None:
        return "no position"
    place = f"{_degrees(position['lat_e7'])}, {_degrees(position['lon_e7'])} within {position['accuracy_m']} m"
    return f"{place}, {position['age_s']} s old" if position["age_s"] else place


def _degrees(e7: int) -> str:
    """Ten-millionths of a degree as decimal degrees, without a float."""
    whole, part = divmod(abs(e7), 10_000_000)
    return f"{'-' if e7 < 0 else ''}{whole}.{part:07d}"


def _cell(cell: dict[str, Any] | None) -> str:
    return "" if cell is None else f"cell {cell['mcc']}-{cell['mnc']:02d}-{cell['lac']}-{cell['cid']}"


def _delay(document: dict[str, Any]) -> str:
    delay = document["delay_s"]
    if delay is None:
        return f"by {document['path']}, time of raising unknown"
    if delay >= 120:
        return f"by {document['path']}, DELAYED {delay // 60} min"
    return f"by {document['path']} after {delay} s"
