"""The command `relay verify`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from relay import words
from relay.commands.common import errors_in_words, json_option
from relay.offline import Judged, Verdict, judge, pieces
from relay.rebroadcast import ahead_s, milliseconds

_MOST = 64 << 20
_KEY = re.compile(r"[0-9a-fA-F]{64}")
KNOWN = "TOCSIN_KNOWN_KEYS"
_HEADS = {
    Verdict.GENUINE: ("GENUINE", "green"),
    Verdict.RELAY_UNKNOWN: ("SIGNATURES HOLD, RELAY UNKNOWN", "yellow"),
    Verdict.NOT_GENUINE: ("NOT GENUINE", "red"),
    Verdict.SEALED: ("SEALED", "yellow"),
}
# The worst of several decides.
_STATUS = ((Verdict.NOT_GENUINE, 1), (Verdict.SEALED, 2), (Verdict.RELAY_UNKNOWN, 3), (Verdict.GENUINE, 0))
_UNKNOWN = (
    "That proves who signed, not who that is: anybody can make a relay and a bracelet of their own. Get the relay's "
    "key from its operator, not from whoever sent you this, and repeat with --relay-key or --known-keys."
)
_SEALED = (
    "This is sealed for a subscriber, and nothing of it can be checked before it is opened: `relay subscribe FILE "
    "--json` opens what comes from the broker, and checks it. Give what that wrote to this command."
)
_MESSAGES = {"Alert": "the Alert, its first message", "Cancel": "the wearer CANCELLED it"}


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--relay-key",
    metavar="KEY",
    help="The only relay whose documents are taken: its public key, 64 hexadecimal digits, or a file that holds them. "
    "Get it from the relay's operator, not from whoever sent you the alarm.",
)
@click.option(
    "--known-keys",
    metavar="FILE",
    envvar=KNOWN,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"The relays that you know: a line each, public key and name. Default: ${KNOWN}, or else known-keys in your "
    "configuration folder for tocsin.",
)
@json_option
@errors_in_words
def verify(file: BinaryIO, relay_key: str | None, known_keys: Path | None, as_json: bool) -> None:
    """Check alarms that somebody sent you, offline: what is proven, and what is not.

    FILE ("-": standard input) has documents as a relay publishes them: alarms, and what became of them; one, or
    several; also as `relay watch --json` or `mosquitto_sub -v` wrote them.

    \b
    Exit status, of several documents the worst:
    0  genuine, and by a relay whose key you gave or know
    1  not genuine; the reasons are named
    2  there is no document: a missing, unreadable or empty file, or one that is sealed
    3  the signatures hold, but nothing proves whose relay it is
    74 or 141: what was found could not be written (the disk is full, or the reader went away)
    """
    only = _key(relay_key)
    known = _known(known_keys)
    if only is not None:
        known = {only: known.get(only, "the one that you named")}
    try:
        text = file.read(_MOST + 1)
    except OSError as error:
        raise click.BadParameter(f"can't be read: {error.strerror}", param_hint="FILE") from None
    if len(text) > _MOST:
        raise click.BadParameter(f"has more than {_MOST >> 20} MiB; split it at ends of lines", param_hint="FILE")
    judged = [judge(piece, known, only_known=only is not None) for piece in pieces(text)]
    if not judged:
        raise click.BadParameter("there is no document in it", param_hint="FILE")
    now = time.time()
    for number, each in enumerate(judged):
        if as_json:
            click.echo(json.dumps(plain(each, now), ensure_ascii=False))
            continue
        if number:
            click.echo()
        head, colour = _HEADS[each.verdict]
        click.secho(head + (f" (line {each.line})" if len(judged) > 1 else ""), fg=colour, bold=True)
        for line in in_words(each, now):
            click.echo(f"  {line}")
    if len(judged) > 1 and not as_json:
        counts = {verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict}
        told = ", ".join(f"{count} {_HEADS[verdict][0].lower()}" for verdict, count in counts.items() if count)
        click.echo(f"\n{len(judged)} documents: {told}")
    found = {each.verdict for each in judged}
    raise SystemExit(next(status for verdict, status in _STATUS if verdict in found))


def plain(judged: Judged, now: float) -> dict[str, Any]:
    """Describe a judgement for scripts."""
    document = judged.document
    return {
        "verdict": judged.verdict.value,
        "genuine": judged.verdict is Verdict.GENUINE,
        "signatures_hold": document is not None,
        "relay_known_as": judged.known_as,
        "line": judged.line,
        "findings": [{"code": f.code, "sentence": f.sentence, "field": f.field} for f in judged.findings],
        "confirmed": list(judged.confirmed),
        "age_s": None if document is None else _age(document, now),
        "document": document,
    }


def in_words(judged: Judged, now: float) -> Sequence[str]:
    """Write the lines below a verdict."""
    if judged.verdict is Verdict.SEALED:
        return [_SEALED]
    if judged.document is None:
        return [f"{f.code}: {f.sentence}" + (f" ({f.field})" if f.field else "") for f in judged.findings]
    document = judged.document
    said = _of_case(document, now) if document["type"] == "case" else _of_alarm(document, now)
    whose = f"relay {document['relay']}"
    said.append(("whose", whose + (f": {judged.known_as}" if judged.known_as else ", which you do not know")))
    said += [("" if number else "proof", sentence) for number, sentence in enumerate(judged.confirmed)]
    if judged.verdict is Verdict.RELAY_UNKNOWN:
        said.append(("but", _UNKNOWN))
    return [f"{name + ':' if name else '':<7}{text}" for name, text in said]


def _of_case(document: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    word = "a person has ACCEPTED it" if document["state"] == "accepted" else "it is over: it was CLOSED"
    return [
        ("what", f"alarm {document['alarm']}: {word}"),
        ("when", f"{document['at']}, {words.ago(_age(document, now))}"),
    ]


def _of_alarm(document: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    flags, position = document["flags"], document["position"]
    said = [("what", f"{kind(document)} {document['alarm']}: {message(document)}; cause: {document['cause']}")]
    sent, aged = document["sent"], words.ago(_age(document, now))
    arrived = f"received {document['received']} by {document['path']} (the relay's word)"
    if sent is None:
        said.append(("when", f"the bracelet did not know the time; {arrived}, {aged}"))
    else:
        said.append(("when", f"sent {sent} by the bracelet's clock (set by: {document['time_quality']}), {aged}"))
        late = document["delay_s"]
        took = "" if late is None else f"{words.span(late)} later" + (": LATE" if late >= words.LATE_S else "")
        took = words.sent_ahead(ahead_s(document)) or took
        said.append(("", f"{arrived}, {took}" if took else arrived))
    where = words.position(position)
    if position is not None and position["age_s"]:
        where += " when it was sent"
    if "coarse_km" in document:
        where += f"; only the region: the middle of a square of {document['coarse_km']} km"
    if flags["doubtful"]:
        where += "; DOUBTFUL: it jumped, perhaps it is spoofed"
    said.append(("where", where))
    if document["cell"] is not None:
        said.append(("", words.cell(document["cell"])))
    last = "; the battery ends, so it may be the LAST message" if flags["last"] else ""
    said.append(("state", f"{words.battery(document['battery'])}, strap {flags['strap']}{last}"))
    return said


def kind(document: Mapping[str, Any]) -> str:
    """Say whether a document is of an alarm, a drill or a trial."""
    if document["status"] == "Actual":
        return "ALARM"
    trial = document["cause"] == "trial"
    return f"{'TRIAL' if trial else 'DRILL'} (an exercise, nobody is in danger)"


def message(document: Mapping[str, Any]) -> str:
    """Say which message of its alarm a document is; a cancel that was forced is none."""
    flags = document["flags"]
    if flags["cancel"] and flags["duress"]:
        return "called off UNDER DURESS, so it is NOT over"
    said = _MESSAGES.get(document["msg_type"], f"{document['msg_type']} {document['seq']} of it")
    return said + (", UNDER DURESS" if flags["duress"] else "")


def _age(document: Mapping[str, Any], now: float) -> int:
    """Count the seconds since a document was sent, or else since the relay's time in it."""
    said = document.get("sent_unix")
    if said is None:
        said = milliseconds(document["at" if document["type"] == "case" else "received"]) // 1000
    return int(now) - int(said)


def _key(given: str | None) -> bytes | None:
    if given is None:
        return None
    text = given.strip()
    if not _KEY.fullmatch(text):
        try:
            # Some editors begin a text with U+FEFF.
            text = Path(given).read_text(encoding="utf-8-sig", errors="replace").strip()
        except (OSError, ValueError):
            raise click.BadParameter(
                "neither 64 hexadecimal digits nor a file that can be read", param_hint="--relay-key"
            ) from None
        if not _KEY.fullmatch(text):
            raise click.BadParameter(f"{given}: does not hold 64 hexadecimal digits", param_hint="--relay-key")
    return bytes.fromhex(text)


def _known(file: Path | None) -> dict[bytes, str]:
    """Read the names of relays by key. The file of the configuration folder need not be there."""
    if file is None:
        file = Path(click.get_app_dir("tocsin")) / "known-keys"
        if not file.exists():
            return {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text in UTF-8"
        raise click.BadParameter(f"{file}: can't be read: {reason}", param_hint="--known-keys") from None
    known = {}
    for number, line in enumerate(lines, 1):
        key, *name = line.split("#")[0].split() or [""]
        if not key:
            continue
        if not _KEY.fullmatch(key) or not "".join(name).isprintable():
            raise click.BadParameter(
                f"{file}, line {number}: write 64 hexadecimal digits and a name", param_hint="--known-keys"
            )
        known[bytes.fromhex(key)] = " ".join(name) or "one that you know"
    return known
