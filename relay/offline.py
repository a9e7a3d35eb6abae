# sans-I/O
"""The offline check of a text that somebody was sent: it finds the documents, and judges what each of them proves.

Pure: octets in, judgements out; it takes texts from anywhere, so it never raises. A signature proves who signed, not
that the signer is a relay that anybody trusts: anyone can make a relay and a bracelet of their own, whose documents
are as consistent as real ones. So a judgement says first whether the signatures hold, and then whose they are. For the
second part, the user must know the relay's key from another source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from relay import case_document, rebroadcast
from relay.rebroadcast import FORM, Finding, Problem, canonical, check_form, decode, finding, milliseconds, read_object
from relay.subscribers import coarse, sealing
from relay.verify.envelope import SIGNATURE_OCTETS
from relay.verify.keys import relay_id

# A time may stand before the topic. A document in clear behind it is read as one, and (null) is a message taken away.
_SEALED_TOPIC = re.compile(
    rb"(?:[\t -z|~]*[ \t])?s/[0-9a-f]{12}/(?:[0-9a-f]{8}/(?:alarm|case)|key/[!-~]+) (?!\{|\(null\)\r?(?:\n|\Z))"
)
# The message that brings a subscriber its keys, up to the length of what the relay signed: COSE_Sign1, see sealed.cddl.
_KEYS = re.compile(rb"\x84\x43\xa1\x01\x32\xa0(?:\x58(.)|\x59(..))", re.DOTALL)
_SIGNATURE = b"\x58\x40"
_END_OF_LINE = re.compile(rb"\r?\n|\Z")
_WITH_TOPIC = re.compile(rb'(?:[\t -z|~]*[ \t])?(?P<document>\{\s*".*)')
_WRAPPED = re.compile(rb'\{\s*"genuine"\s*:\s*true\s*,\s*"document"\s*:\s*(\{.*\})\s*\}', re.DOTALL)
_LISTED = re.compile(rb'\{\s*"(?:open|changed)"\s*:\s*\{')
_BEGIN = re.compile(r"\S")
_CASE_FORM = dict.fromkeys(("type", "kid", "alarm", "state", "at", "relay", "relay_key", "signature"), "str")
_COARSE_POSITION = dict.fromkeys(("lat_e7", "lon_e7", "accuracy_m", "age_s"), "int")
FORMS: dict[str, dict[str, Any]] = {
    "alarm": FORM,
    "coarse": {name: form for name, form in FORM.items() if name != "evidence"}
    | {"position": _COARSE_POSITION, "coarse_km": "int"},
    "case": {"tocsin": "int"} | _CASE_FORM,
}


class Verdict(StrEnum):
    """The verdict on a document."""

    GENUINE = "genuine"  # every signature holds, and the relay is one that is known
    RELAY_UNKNOWN = "relay_unknown"  # every signature holds
    NOT_GENUINE = "not_genuine"
    SEALED = "sealed"  # for subscribers; nothing of it can be checked before it is opened


class Piece(NamedTuple):
    """A possible document, and the line on which it begins."""

    line: int
    octets: bytes


class Judged(NamedTuple):
    """The judgement on a document. `document` is there when all signatures hold; `known_as` when the relay is known."""

    line: int
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    document: dict[str, Any] | None = None
    confirmed: tuple[str, ...] = ()
    known_as: str | None = None


def pieces(text: bytes) -> list[Piece]:
    """Find the documents in a text: JSON objects one after the other, or one a line with the topic before it, as
    `mosquitto_sub -v` writes them. Documents that `relay watch --json` wrapped are unwrapped; objects that it writes
    from its own store are no documents, and are left out."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    found = _objects(text) or _lines(text)
    return [Piece(line, _unwrapped(octets)) for line, octets in found if not _is_listed(octets)]


def _objects(text: bytes) -> list[tuple[int, bytes]]:
    """List the JSON objects of a text that has nothing else in it; none when it has."""
    found, at, line = [], 0, 1
    try:
        characters, read = text.decode(), json.JSONDecoder().raw_decode
        while begins := _BEGIN.search(characters, at):
            line += characters.count("\n", at, begins.start())
            value, at = read(characters, begins.start())
            if type(value) is not dict:
                return []
            found.append((line, characters[begins.start() : at].encode()))
            line += characters.count("\n", begins.start(), at)
    except (ValueError, RecursionError):
        return []
    return found


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that may be documents. A sealed one is taken by its length, for it may contain ends of lines.
    After one whose length does not fit, because a text tool changed it, only a line that begins like a document
    counts."""
    at, number, behind_damaged = 0, 1, False
    while at < len(text):
        begin, line_number = at, number
        whole = _sealed_at(text, begin)
        found = text.find(b"\n", begin if whole is None else whole)
        end = len(text) if found < 0 else found
        at, number = end + 1, number + text.count(b"\n", begin, end) + 1
        if whole is not None:
            behind_damaged = False
            yield line_number, text[begin:whole]
            continue
        line = text[begin:end].strip(b" \t\r")
        document, sealed = _WITH_TOPIC.fullmatch(line), _SEALED_TOPIC.match(line) is not None
        if not line or line.endswith(b" (null)") or (behind_damaged and not (document or sealed)):
            continue  # (null): a retained message that was taken away
        behind_damaged = sealed
        yield line_number, document["document"] if document and not sealed else line


def judge(piece: Piece, known: Mapping[bytes, str], *, only_known: bool = False) -> Judged:
    """Judge what a document proves. `known`: names of relays by public key; `only_known` refuses all other relays."""
    if _SEALED_TOPIC.match(piece.octets) or _sealed_at(piece.octets, 0) is not None:
        return Judged(piece.line, Verdict.SEALED)
    try:
        document = read_object(piece.octets)
        kind = document.get("type")
        if kind == "alarm" or type(kind) is not str or kind not in FORMS or document.get("tocsin") != 1:
            report = rebroadcast.check(piece.octets)
            document = report.document or {}
            findings, confirmed = report.findings, report.confirmed[:-1]
        else:
            findings, confirmed = _check(document, kind)
        public = decode(document["relay_key"], 32, "relay_key") if not findings else b""
    except Problem as problem:
        findings = (problem.finding,)
    if not findings and only_known and public not in known:
        findings = (finding("pinned_key_differs", "relay_key"),)
    if findings:
        return Judged(piece.line, Verdict.NOT_GENUINE, findings)
    verdict = Verdict.GENUINE if public in known else Verdict.RELAY_UNKNOWN
    return Judged(piece.line, verdict, (), document, confirmed, known.get(public))


def _check(document: dict[str, Any], kind: str) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Check a document that rests on the relay's word; return the findings, and the facts that were proven."""
    check_form(document, FORMS[kind])
    public = decode(document["relay_key"], 32, "relay_key")
    milliseconds(document["at" if kind == "case" else "received"])
    if kind == "case" and document["state"] not in case_document.STATES:
        return (finding("bad_value", "state"),), ()
    if document["relay"] != relay_id(public).hex():
        return (finding("relay_id_differs", "relay"),), ()
    check = case_document.check if kind == "case" else coarse.check
    if check(canonical(document), public) is None:
        return (finding("relay_signature", "signature"),), ()
    said = f"The relay {document['relay']} signed this document, and nothing was changed since."
    return (), (said, "It rests on that relay's word alone: no bracelet signed it.")


def _sealed_at(text: bytes, at: int) -> int | None:
    """Return the end of the sealed message, with its topic or without, that is this line, or that begins here and goes
    on behind ends of lines; None when there is none."""
    topic = _SEALED_TOPIC.match(text, at)
    begin = topic.end() if topic else at
    octets = text[begin : begin + sealing.MAX_OCTETS]
    length = _length_of_keys(octets) or _length_of_sealed(octets)
    if length is None or not _END_OF_LINE.match(text, begin + length):
        return None
    return begin + length


def _length_of_sealed(octets: bytes) -> int | None:
    """Return the length of the sealed document with which these octets begin."""
    length = sealing.length(octets)
    try:
        sealing.parse(octets[:length])
    except sealing.SealError:
        return None
    return length


def _length_of_keys(octets: bytes) -> int | None:
    """Return the length of the message with a subscriber's keys with which these octets begin."""
    found = _KEYS.match(octets)
    if found is None:
        return None
    signature = found.end() + int.from_bytes(found[1] or found[2], "big")
    end = signature + len(_SIGNATURE) + SIGNATURE_OCTETS
    return end if octets.startswith(_SIGNATURE, signature) and end <= len(octets) else None


def _is_listed(octets: bytes) -> bool:
    if not _LISTED.match(octets):
        return False
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError):
        return False
    return type(value) is dict and len(value) == 1


def _unwrapped(octets: bytes) -> bytes:
    found = _WRAPPED.fullmatch(octets)
    return found[1] if found else octets
