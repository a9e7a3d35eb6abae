"""`relay watch`: what a subscriber sees."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from relay import log
from relay.assembly import Relay
from relay.commands.common import data_option, errors_in_words
from relay.commands.listening import Listener, seat
from relay.datadir import DataDir
from relay.subscribers.reader import Heard, Reader

_COLOURS = {"Alert": "red", "Update": "yellow", "Cancel": "green"}
_DRILL_COLOUR = "blue"


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help='One JSON object a line: {"genuine": true, "document": {...}}.')
@click.option("--count", type=click.IntRange(min=1), help="End after this many alarms.")
@errors_in_words
def watch(data: Path, as_json: bool, count: int | None) -> None:
    """Show alarms as they are rebroadcast, and what becomes of them, each checked before it is shown.

    Connects to the broker as this machine's own subscriber (secrets/watch.json in the data folder), and leaves no
    session there. What is not genuine is shown as refused, with the reason. Ends on Ctrl-C.
    """
    relay = Relay(DataDir(data).require())
    log.configure(json=as_json)
    own = relay.local_subscriber()
    assert own.private is not None
    reader = Reader(own.audience, own.account, own.relay_key, own.private)
    display = Display(as_json, count)
    with seat(relay.data.watch) as number, Listener(relay.temporary(own, number), reader) as listener:
        while not display.finished():
            for heard in listener.turn():
                display.show(heard)
                listener.acknowledge(heard)


class Display:
    """Prints what was heard. `count` alarms finish it; None: it goes on."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count

    def finished(self) -> bool:
        return self._left is not None and self._left <= 0

    def show(self, heard: Heard) -> None:
        """Keys that came are not shown; nothing is once it is finished."""
        if self.finished() or (heard.ok and heard.document is None):
            return
        if self._as_json:
            click.echo(as_line(heard))
            sys.stdout.flush()
        elif heard.document is None:
            reasons = "; ".join(finding.sentence for finding in heard.findings)
            topic = heard.topic if heard.topic.isprintable() else "(a topic with control characters)"
            click.secho(f"{time.strftime('%H:%M:%S')}  REFUSED  {topic}: {reasons}", fg="magenta", err=True)
        elif heard.kind == "case":
            document = heard.document  # what became of an alarm; not counted, as it is none
            said = f"{document['at'][11:19]} UTC  {document['state'].upper()}  {document['alarm']}"
            click.echo(click.style(said, fg="cyan", bold=True))
        else:
            click.echo(describe(heard.document))
        if heard.document is not None and heard.kind == "alarm" and self._left is not None:
            self._left -= 1


def as_line(heard: Heard) -> str:
    """One message as JSON."""
    if heard.document is None:
        found: dict[str, Any] = {"genuine": False, "findings": [finding.code for finding in heard.findings]}
    else:
        found = {"genuine": True, "document": json.loads(heard.octets)}
    return json.dumps(found, ensure_ascii=False)


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
    if "coarse_km" in document:
        head += f"  region only: a square of {document['coarse_km']} km"
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
