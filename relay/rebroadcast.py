# sans-I/O
"""The JSON document in which the relay tells subscribers of an alarm, and the offline check of such a document.

A document carries two signatures: the relay's over the whole, and inside it, in `evidence`, the bracelet's own Sign1.
`check` needs nothing but the document (and, to be sure whose relay it was, the relay's public key from another
source): it verifies both signatures, and compares every field with what the bracelet signed. It takes documents from
anywhere, so it never raises.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from relay.verify.envelope import parse_header, parse_sign1, signature_is_good
from relay.verify.keys import RelayKeys, relay_id
from relay.verify.payload import Alarm, known, parse_alarm
from relay.verify.reasons import Reason, Refused

DOCUMENT_VERSION = 1
LABEL = b"TCN1 rebroadcast\x00"
CAUSES = ("button", "strap", "check-in", "trial")

_AFTER_SIGNATURE = b',"status":'
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def build(
    keys: RelayKeys,
    *,
    alarm: Alarm,
    kid: int,
    counter: int,
    protected: bytes,
    sign1: bytes,
    public: bytes,
    received_ms: int,
    path: str,
) -> bytes:
    """Build the signed document. The same arguments always give the same octets, so the relay can build the document
    again after a crash."""
    document = describe(alarm, kid, counter, received_ms)
    document["relay"] = keys.id.hex()
    document["relay_key"] = b64(keys.public)
    document["path"] = path
    document["evidence"] = {"key": b64(public), "outer_protected": b64(protected), "sign1": b64(sign1)}
    body = canonical(document)
    # Encoding twice would cost as much as the rest of this function. The values are all ours (no free text), so the
    # text of _AFTER_SIGNATURE can only be the field that comes right after "signature" in the order of names.
    signature = b',"signature":"%s"' % b64(keys.sign(LABEL + body)).encode()
    return body.replace(_AFTER_SIGNATURE, signature + _AFTER_SIGNATURE, 1)


def describe(alarm: Alarm, kid: int, counter: int, received_ms: int) -> dict[str, Any]:
    """Return all fields of a document that follow from what the bracelet signed and from the time of arrival."""
    return {
        "tocsin": DOCUMENT_VERSION,
        "type": "alarm",
        "kid": f"{kid:08x}",
        "counter": counter,
        "seq": alarm.seq,
        "alarm": f"{kid:08x}-{counter - alarm.seq}",
        "msg_type": message_type(alarm),
        "status": "Exercise" if alarm.drill else "Actual",
        "cause": name_of_cause(alarm.cause),
        "flags": {
            "cancel": alarm.cancel,
            "doubtful": alarm.doubtful,
            "drill": alarm.drill,
            "duress": alarm.duress,
            "last": alarm.last,
            "strap": alarm.strap,
        },
        "sent": _iso_seconds(alarm.time) + "Z" if alarm.time else None,
        "sent_unix": alarm.time or None,
        "time_quality": alarm.time_quality,
        "received": iso(received_ms),
        "delay_s": delay_s(alarm, received_ms),
        "battery": known(alarm.battery),
        "position": None if alarm.fix is None else alarm.fix._asdict(),
        "cell": None if alarm.cell is None else alarm.cell._asdict(),
    }


def name_of_cause(cause: int) -> str:
    """Name the cause of an alarm."""
    return CAUSES[cause] if cause < len(CAUSES) else f"cause-{cause}"


def message_type(alarm: Alarm) -> str:
    """Return CAP's msgType. A cancel under duress is an Update: a reader who acts on "Cancel" alone must not stand
    down."""
    if alarm.cancel and not alarm.duress:
        return "Cancel"
    return "Update" if alarm.seq else "Alert"


def delay_s(alarm: Alarm, received_ms: int) -> int | None:
    """Return the delay of a message in full seconds; None when the bracelet did not know the time."""
    return max(0, received_ms // 1000 - alarm.time) if alarm.time else None


def ahead_s(document: Mapping[str, Any]) -> int:
    """Return by how many seconds a document's message was sent ahead of its arrival; 0 or less: it was not, as the
    bracelet's clock and the relay's say."""
    sent: int | None = document["sent_unix"]
    return 0 if sent is None else sent - milliseconds(document["received"]) // 1000


def canonical(value: Any) -> bytes:
    """Encode by RFC 8785 the values that occur here: objects with ASCII keys, integers, booleans, null and strings."""
    return _canonical(value).encode()


def iso(ms: int) -> str:
    """Write a time as ISO 8601 in UTC with milliseconds."""
    return f"{_iso_seconds(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=64)  # messages of one batch arrived in the same second
def _iso_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def b64(octets: bytes) -> str:
    """Encode as base64url without padding (RFC 4648, 5)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


MAX_OCTETS = 16384
MAX_DIGITS = 16

SENTENCES = {
    "too_large": "This is longer than any rebroadcast.",
    "not_json": "This is not JSON text: another kind of file, or a document that was cut off; ask for all of it.",
    "not_an_object": "This is JSON, but not an object.",
    "duplicate_field": "A field occurs twice, so readers could disagree about its value.",
    "bad_number": "There is a number that is not a plain integer; a rebroadcast has no others.",
    "unsupported_version": "This is not a Tocsin rebroadcast of a version known here.",
    "missing_field": "A field is missing.",
    "extra_field": "There is a field that no rebroadcast has.",
    "bad_value": "A field does not have the form it should.",
    "pinned_key_differs": "The relay's key is not the one you expected: another relay, or a forgery.",
    "relay_id_differs": "The relay's id does not belong to the relay's key.",
    "evidence_unreadable": "The evidence is damaged or cut off: the bracelet's signed message can't be read.",
    "evidence_algorithm": "The evidence names another signature algorithm than Ed25519.",
    "evidence_header": "The evidence's outer header is not one of this wire format.",
    "evidence_payload": "What the bracelet signed does not follow the grammar of an alarm.",
    "bracelet_signature": "The bracelet's signature is wrong for this relay, key id, counter and content.",
    "kid_differs": "The key id is not the one that the bracelet signed.",
    "counter_differs": "The counter is not the one that the bracelet signed.",
    "seq_differs": "The number of the Update is not the one that the bracelet signed.",
    "alarm_differs": "The alarm's id does not follow from what the bracelet signed.",
    "msg_type_differs": "Alert, Update or Cancel: the bracelet signed another one.",
    "status_differs": "Actual or Exercise: the bracelet signed the other one.",
    "cause_differs": "The cause is not the one that the bracelet signed.",
    "flags_differs": "The flags are not those that the bracelet signed.",
    "time_differs": "The time is not the one that the bracelet signed.",
    "time_quality_differs": "The quality of the time is not the one that the bracelet signed.",
    "delay_differs": "The delay does not follow from the times of sending and receiving.",
    "battery_differs": "The battery level is not the one that the bracelet signed.",
    "position_differs": "The position is not the one that the bracelet signed.",
    "cell_differs": "The cell is not the one that the bracelet signed.",
    "relay_signature": "The relay's signature is wrong: something was changed after the relay signed it.",
}

_FIX = {"lat_e7": "int", "lon_e7": "int", "accuracy_m": "int", "age_s": "int"}
_MORE_FIX = {"altitude_m": "int?", "speed_mps": "int?", "heading_deg": "int?"}
FORM: dict[str, Any] = {
    "tocsin": "int",
    "type": "str",
    "relay": "str",
    "relay_key": "str",
    "kid": "str",
    "counter": "int",
    "seq": "int",
    "alarm": "str",
    "msg_type": "str",
    "status": "str",
    "cause": "str",
    "flags": {
        "drill": "bool",
        "cancel": "bool",
        "duress": "bool",
        "last": "bool",
        "doubtful": "bool",
        "strap": "str",
    },
    "sent": "str?",
    "sent_unix": "int?",
    "time_quality": "str",
    "received": "str",
    "path": "str",
    "delay_s": "int?",
    "battery": "int?",
    "position": {**_FIX, **_MORE_FIX},
    "cell": {"mcc": "int", "mnc": "int", "lac": "int", "cid": "int"},
    "evidence": {"sign1": "str", "outer_protected": "str", "key": "str"},
    "signature": "str",
}
_NULLABLE = ("position", "cell")
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int?": (int, type(None)),
    "str": (str,),
    "str?": (str, type(None)),
    "bool": (bool,),
}
_CODES = {"sent": "time_differs", "sent_unix": "time_differs", "delay_s": "delay_differs"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = re.compile(r"[ -~]{0,500}")


class Finding(NamedTuple):
    """A fault in a document: a name for programs, a sentence for people, and the field if the fault is in one."""

    code: str
    sentence: str
    field: str = ""


class Report(NamedTuple):
    """The result of a check: the findings, the most specific first, and in `confirmed` the facts that were proven."""

    findings: tuple[Finding, ...]
    confirmed: tuple[str, ...] = ()
    document: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        return not self.findings

    def __repr__(self) -> str:
        return f"Report({', '.join(finding.code for finding in self.findings) or 'genuine'})"


class Problem(Exception):
    """A finding after which there is nothing more to check."""

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code)
        self.finding = finding(code, field)


def check(octets: bytes, relay_key: bytes | None = None) -> Report:
    """Check whether a document is genuine. `relay_key` is the relay's public key as its operator published it.

    Without `relay_key`, the check uses the key that the document itself names: that proves the document consistent, but
    not whose it is.
    """
    try:
        document = _read(octets)
        public = decode(document["relay_key"], 32, "relay_key")
        signature = decode(document["signature"], 64, "signature")
        received_ms = milliseconds(document["received"])
    except Problem as problem:
        return Report((problem.finding,))

    findings = []
    if relay_key is not None and relay_key != public:
        findings.append(finding("pinned_key_differs", "relay_key"))
    if document["relay"] != relay_id(public).hex():
        findings.append(finding("relay_id_differs", "relay"))
    try:
        findings += _against_evidence(document, relay_id(public), received_ms)
    except Problem as problem:
        findings.append(problem.finding)
    unsigned = {name: value for name, value in document.items() if name != "signature"}
    try:
        crypto_sign_open(signature + LABEL + canonical(unsigned), public)
    except (CryptoError, ValueError):
        findings.append(finding("relay_signature", "signature"))
    return Report(tuple(findings), () if findings else _confirmed(document, relay_key is not None), document)


def _against_evidence(document: dict[str, Any], relay: bytes, received_ms: int) -> list[Finding]:
    """Compare the document with what the bracelet signed."""
    evidence = document["evidence"]
    try:
        protected, sign1 = (decode(evidence[name], None, name) for name in ("outer_protected", "sign1"))
        public = decode(evidence["key"], 32, "key")
    except Problem:
        raise Problem("evidence_unreadable", "evidence") from None
    try:
        kid, counter = parse_header(protected)
    except Refused:
        raise Problem("evidence_header", "evidence") from None
    try:
        payload, signature = parse_sign1(sign1)
    except Refused as refused:
        code = "evidence_algorithm" if refused.reason is Reason.BAD_HEADER else "evidence_unreadable"
        raise Problem(code, "evidence") from None
    findings = []
    if not signature_is_good(public, relay, protected, payload, signature):
        findings.append(finding("bracelet_signature", "evidence"))
    try:
        alarm = parse_alarm(payload, counter)
    except Refused:
        return [*findings, finding("evidence_payload", "evidence")]
    signed = describe(alarm, kid, counter, received_ms)
    different = [name for name in FORM if name in signed and document[name] != signed[name]]
    return [finding(_CODES.get(name, name + "_differs"), name) for name in different] + findings


def _read(octets: bytes) -> dict[str, Any]:
    """Read a document, and check that it has exactly the right form. Raises Problem."""
    document = read_object(octets)
    version = document.get("tocsin")
    if type(version) is not int or version != DOCUMENT_VERSION or document.get("type") != "alarm":
        raise Problem("unsupported_version")
    check_form(document, FORM)
    return document


def read_object(octets: bytes) -> dict[str, Any]:
    """Read a JSON object as relays write it, without looking at its fields. Raises Problem."""
    if len(octets) > MAX_OCTETS:
        raise Problem("too_large")
    try:
        document = json.loads(
            octets.decode(),
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        raise Problem("not_json") from None
    if type(document) is not dict:
        raise Problem("not_an_object")
    return document


def check_form(value: dict[str, Any], form: dict[str, Any], prefix: str = "") -> None:
    """Raise Problem unless `value` has exactly the fields of `form`, each of its type."""
    for name in form:
        if name not in value:
            raise Problem("missing_field", prefix + name)
    for name, item in value.items():
        if name not in form:
            raise Problem("extra_field")  # the name is a stranger's text, so it is not repeated
        inner = form[name]
        if isinstance(inner, dict):
            if item is None and name in _NULLABLE:
                continue
            if type(item) is not dict:
                raise Problem("bad_value", prefix + name)
            check_form(item, inner, prefix + name + ".")
        elif type(item) not in _TYPES[inner] or (type(item) is str and not _PLAIN.fullmatch(item)):
            raise Problem("bad_value", prefix + name)


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS or text == "-0":
        raise Problem("bad_number")
    return int(text)


def _no_number(_text: str) -> Any:
    raise Problem("bad_number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Problem("duplicate_field")
    return value


def decode(text: str, octets: int | None, field: str) -> bytes:
    """Decode base64url, which must be in its one canonical spelling."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Problem("bad_value", field) from None
    if b64(value) != text or (octets is not None and len(value) != octets):
        raise Problem("bad_value", field)
    return value


def milliseconds(text: str) -> int:
    """Read a time in the one form that `iso` writes."""
    try:
        when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        ms = (when - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise Problem("bad_value", "received") from None
    if iso(ms) != text:
        raise Problem("bad_value", "received")
    return ms


def finding(code: str, field: str = "") -> Finding:
    return Finding(code, SENTENCES[code], field)


def _confirmed(document: dict[str, Any], pinned: bool) -> tuple[str, ...]:
    relay, kid = document["relay"], document["kid"]
    whose = (
        f"It is the relay that you named: {relay}."
        if pinned
        else f"The relay's key comes from the document. Compare {relay} with what the relay's operator published."
    )
    return (
        f"The relay {relay} signed this document, and nothing was changed since.",
        f"The bracelet {kid} signed the alarm in it, for this relay, as message {document['counter']}.",
        "Every field about the alarm says what the bracelet signed.",
        whose,
    )
