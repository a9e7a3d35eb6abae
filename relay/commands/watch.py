"""The command `relay watch`, which shows what is open, then what a subscriber sees."""

from __future__ import annotations

import json
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
from sqlalchemy.exc import SQLAlchemyError

from relay import log, words
from relay.assembly import Relay
from relay.cases import listing, reading
from relay.cases.listing import DRILL_COLOUR, LATE_COLOUR, State
from relay.cases.reading import Known
from relay.commands.alarms import show
from relay.commands.common import data_option, errors_in_words
from relay.commands.listening import Listener, seat
from relay.datadir import DataDir
from relay.rebroadcast import ahead_s
from relay.store import AtRestError, Store
from relay.subscribers.reader import Heard, Reader

_COLOURS = {"Alert": "red", "Update": "yellow", "Cancel": "green"}
_REMEMBERED = 10_000  # alarms
_WAITED_S = 15 * 60  # at the broker, while nobody read; two machines' clocks may be apart by less


@click.command()
@data_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='One JSON object a line: {"genuine": true, "document": {...}}, '
    '{"open": {...}} or {"changed": {...}} as in `relay alarms --json`.',
)
@click.option("--count", type=click.IntRange(min=1), help="End after this many alarms.")
@errors_in_words
def watch(data: Path, as_json: bool, count: int | None) -> None:
    """Show what is open, then alarms as they are rebroadcast, and what becomes of them.

    Each alarm is checked before it is shown.
    Connects to the broker as this machine's own subscriber (secrets/watch.json in the data folder), and leaves no
    session there; alarms that were opened while it was cut off are shown from this machine's store. Code names are that
    store's too. A document that is not genuine is shown as refused, with the reason. Times are UTC. Ends on Ctrl-C.
    """
    relay = Relay(DataDir(data).require())
    log.configure(json=as_json)
    own = relay.local_subscriber()
    assert own.private is not None
    reader = Reader(own.audience, own.account, own.relay_key, own.private)
    display = Display(as_json, count, Names(relay.store))
    with seat(relay.data.watch) as number, Listener(relay.temporary(own, number), reader) as listener:
        display.show_open(_known(relay.store), time.time())
        heard_before = False
        while not display.finished():
            for heard in listener.turn():
                display.show(heard)
                listener.acknowledge(heard)
            if listener.hears and not heard_before:  # nobody sends a temporary client again what came before
                try:
                    display.show_open(_known(relay.store), time.time(), only_new=True)
                except (SQLAlchemyError, AtRestError, OSError) as error:
                    said = f"what was opened meanwhile can't be read ({type(error).__name__}); see `relay alarms`"
                    click.secho(said, fg="magenta", err=True)
            heard_before = listener.hears


def _known(store: Store) -> list[Known]:
    now_ms = int(time.time() * 1000)
    return listing.in_order(reading.known(store, now_ms), now_ms)


class Names:
    """Code names of bracelets, from the store of this machine. A store that fails does not hold back an alarm."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def __call__(self, kid: str) -> str | None:
        if kid not in self._known:
            try:
                self._known[kid] = reading.code_name(self._store, kid)
            except (SQLAlchemyError, AtRestError, OSError, LookupError):
                return None
        return self._known[kid]


class Cancel(NamedTuple):
    """The cancel of an alarm: the last Update that has it, and whether any message of the alarm was under duress."""

    seq: int
    duress: bool


class Cancels:
    """The alarms that were called off. Updates follow every cancel; they do not say that the alarm goes on."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Cancel] = OrderedDict()

    def note(self, alarm: str, seq: int | None, duress: bool) -> None:
        """Note that an alarm was called off in this Update (None: in none yet), or that a message of it was under
        duress."""
        before = self._of.get(alarm, Cancel(-1, False))
        self._of[alarm] = Cancel(max(before.seq, -1 if seq is None else seq), before.duress or duress)
        self._of.move_to_end(alarm)
        while len(self._of) > _REMEMBERED:
            self._of.popitem(last=False)

    def mark(self, document: Mapping[str, Any]) -> str:
        """Say what a message means after a cancel, or before one that came earlier; return an empty text for others."""
        flags, alarm, seq = document["flags"], document["alarm"], document["seq"]
        if flags["cancel"] or flags["duress"]:
            self.note(alarm, seq if flags["cancel"] else None, flags["duress"])
            return ""
        found = self._of.get(alarm)
        if found is None or found.seq < 0:
            return ""
        if found.duress:
            return "it was called off UNDER DURESS: treat as an alarm"
        return "after a cancel: it stays cancelled" if seq > found.seq else "from before its cancel, which came earlier"


class Display:
    """A display that prints what was heard. `count` alarms finish it; None: it goes on. `name` knows code names."""

    def __init__(self, as_json: bool, count: int | None, name: Callable[[str], str | None] = lambda _kid: None) -> None:
        self._as_json = as_json
        self._left = count
        self._name = name
        self._cancels = Cancels()
        self._shown: OrderedDict[str, State] = OrderedDict()  # alarms, and their states as shown last

    def finished(self) -> bool:
        return self._left is not None and self._left <= 0

    def show_open(self, known: Collection[Known], now: float, *, only_new: bool = False) -> None:
        """Show those of these alarms that are open; with `only_new`, those that are new or not as they were shown."""
        now_ms = int(now * 1000)
        for each in known:
            self._cancels.note(listing.name(each), each.case.cancel_seq, each.case.duress)
        states = {listing.name(each): listing.state(each, now_ms) for each in known}
        found = [each for each in known if states[listing.name(each)] in listing.OPEN]
        changed = []
        if only_new:
            shown = self._shown
            found = [each for each in found if listing.name(each) not in shown]
            changed = [each for each in known if shown.get(name := listing.name(each), states[name]) != states[name]]
        for each in (*found, *changed):
            self._note_shown(listing.name(each), states[listing.name(each)])
        said = {"open": ("Opened meanwhile" if only_new else "Open", found), "changed": ("Changed meanwhile", changed)}
        for key, (title, some) in said.items():
            if self._as_json:
                for each in some:
                    click.echo(json.dumps({key: listing.plain(each, now_ms)}, ensure_ascii=False))
            elif some:
                click.secho(f"{title}, as of {words.utc(now_ms)}:", bold=True)
                show(some, now_ms)
                click.echo()
        if not (found or only_new or self._as_json):
            click.echo("No alarm is open.", err=True)
        sys.stdout.flush()

    def show(self, heard: Heard) -> None:
        """Show what was heard. Keys are not shown, and nothing is once this display is finished."""
        if self.finished() or (heard.ok and heard.document is None):
            return
        now = time.time()
        if self._as_json:
            click.echo(as_line(heard))
        elif heard.document is None:
            reasons = "; ".join(finding.sentence for finding in heard.findings)
            topic = heard.topic if heard.topic.isprintable() else "(a topic with control characters)"
            click.secho(f"{words.utc(int(now * 1000))}  REFUSED  {topic}: {reasons}", fg="magenta", err=True)
        elif heard.kind == "case":
            document = heard.document  # the new state of an alarm; it does not count as an alarm
            said = f"{_seconds(document['at'])}  {document['state'].upper()}  {document['alarm']}"
            click.echo(click.style(said + self._named(document), fg="cyan", bold=True))
        else:
            mark = self._cancels.mark(heard.document)
            click.echo(describe(heard.document, self._name(heard.document["kid"]), now, mark))
        sys.stdout.flush()
        if heard.document is not None and heard.kind == "case":
            self._note_shown(heard.document["alarm"], State(heard.document["state"]))
        elif heard.document is not None:
            cancelled = heard.document["msg_type"] == "Cancel"
            self._note_shown(heard.document["alarm"], State.CANCELLED if cancelled else None)
            if self._left is not None:
                self._left -= 1

    def _named(self, document: Mapping[str, Any]) -> str:
        name = self._name(document["kid"])
        return f"  {name}" if name else ""

    def _note_shown(self, alarm: str, state: State | None = None) -> None:
        self._shown[alarm] = state or self._shown.get(alarm, State.UNANSWERED)
        while len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)


def as_line(heard: Heard) -> str:
    """Write a message as JSON."""
    if heard.document is None:
        found: dict[str, Any] = {"genuine": False, "findings": [finding.code for finding in heard.findings]}
    else:
        found = {"genuine": True, "document": json.loads(heard.octets)}
    return json.dumps(found, ensure_ascii=False)


def describe(
    document: Mapping[str, Any], code_name: str | None = None, now: float | None = None, mark: str = ""
) -> str:
    """Describe an alarm message in a line or two, for people. `now` tells how old it is; by default it has just
    arrived. `mark`: the remark about a cancel."""
    kind = document["msg_type"]
    flags = [name for name in ("drill", "cancel", "duress") if document["flags"][name]]
    drill = document["status"] != "Actual"  # a drill says so first, and never in an alarm's colour
    word = f"DRILL {kind}" if drill else kind
    head = f"{_seconds(document['received'])}  {word.upper():<6}  {document['alarm']}  {document['cause']}"
    if code_name:
        head += f"  {code_name}"
    if drill:
        head += f"  ({document['status']}: nobody is in danger)"
    delayed = document["delay_s"] is not None and document["delay_s"] >= words.LATE_S
    waited = 0 if now is None else int(now) - int(datetime.fromisoformat(document["received"]).timestamp())
    late = delayed or waited >= _WAITED_S
    if late:
        raised = "sent" if document["seq"] else "raised"
        if document["sent_unix"] is None or words.sent_ahead(ahead_s(document)):
            raised, age = "received", waited
        else:
            age = document["delay_s"] if now is None else int(now) - document["sent_unix"]
        head += f"  LATE: {raised} {words.ago(age)}"
    if flags:
        head += "  [" + ", ".join(flags) + "]"
    if mark:
        head += f"  {mark}"
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
        words.position(document["position"]),
        words.cell(document["cell"]),
        words.battery(document["battery"]),
        _delay(document),
    ]
    colour = LATE_COLOUR if late and kind != "Cancel" else _COLOURS.get(kind)
    if drill:
        colour = DRILL_COLOUR
    elif "stays cancelled" in mark:
        colour = _COLOURS["Cancel"]
    return click.style(head, fg=colour, bold=True) + "\n          " + ", ".join(part for part in parts if part)


def _seconds(iso: str) -> str:
    return f"{iso[:19]}Z"


def _delay(document: Mapping[str, Any]) -> str:
    delay = document["delay_s"]
    if delay is None:
        return f"by {document['path']}, time of raising unknown"
    if delay >= words.LATE_S:
        return f"by {document['path']}, DELAYED by {words.span(delay)}, sent {document['sent']}"
    ahead = words.sent_ahead(ahead_s(document))
    return f"by {document['path']}, {ahead}" if ahead else f"by {document['path']} after {delay} s"
