"""Rebroadcasts: a genuine one is accepted offline, and every kind of tampering is called by its name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rebroadcast import LABEL, MAX_OCTETS, SENTENCES, b64, build, canonical, check, message_type
from relay.verify import Alarm, Cell, ChainState, Fix, RelayKeys, open_alarm, parse, roots
from relay.verify.seal import Sealer
from tests.relay.support import KEYS, NOW, SOMEWHERE

KID = bytes.fromhex("c0ffee01")
ROOTS = roots(bytes(32), KID, KEYS.id)
ALARM = Alarm(0b0110000, 0, 2, int(NOW) - 30, 80, Fix(597700000, -438501234, 12, 3, 34), Cell(262, 1, 54321, 28471062))
OTHER_RELAY = RelayKeys(b"\7" * 32)
Document = dict[str, Any]


def made(alarm: Alarm = ALARM, keys: RelayKeys = KEYS, seed: bytes = bytes(32), counter: int = 5) -> bytes:
    """A document as the relay publishes it."""
    sealer = Sealer(KID, KEYS.id, ROOTS, seed)
    sealer.alarm_counter = counter
    envelope = parse(sealer.alarm(alarm))
    opened = open_alarm(envelope, ChainState(counter, ROOTS.alarm), sealer.public, KEYS.id, 0)
    return build(
        keys,
        alarm=opened.alarm,
        kid=envelope.kid,
        counter=envelope.counter,
        protected=envelope.protected,
        sign1=opened.sign1,
        public=sealer.public,
        received_ms=int(NOW * 1000),
        path="mqtt",
    )


GENUINE = made()


def signed(document: Document, keys: RelayKeys = KEYS) -> bytes:
    """The document under a good signature: a forger who has a relay key."""
    unsigned = {name: value for name, value in document.items() if name != "signature"}
    return canonical({**unsigned, "signature": b64(keys.sign(LABEL + canonical(unsigned)))})


def codes(octets: bytes, relay_key: bytes | None = None) -> list[str]:
    return [finding.code for finding in check(octets, relay_key).findings]


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


# --- genuine ---


@pytest.mark.parametrize(
    "alarm",
    [
        ALARM,
        ALARM._replace(fix=SOMEWHERE, cell=None),
        ALARM._replace(seq=0, flags=1, fix=None, cell=None, time=0, cause=7),
        ALARM._replace(fix=Fix(-900000000, 1800000000, 65535, 65535), cell=None),
        ALARM._replace(fix=None),
        ALARM._replace(flags=0b0000110, cell=None),
    ],
)
def test_genuine(alarm: Alarm) -> None:
    octets = made(alarm)
    report = check(octets, KEYS.public)
    assert report.ok
    assert len(report.confirmed) == 4
    assert check(octets).ok
    assert check(octets + b"\n").ok, "as text tools save it"
    assert check(json.dumps(json.loads(octets), indent=2).encode()).ok, "or print it nicely"


def test_the_document() -> None:
    document = json.loads(GENUINE)
    assert canonical(document) == GENUINE, "RFC 8785"
    assert made() == GENUINE, "always the same octets"
    assert {
        name: document[name] for name in sorted(document) if name not in ("evidence", "signature", "relay_key")
    } == {
        "tocsin": 1,
        "type": "alarm",
        "relay": KEYS.id.hex(),
        "kid": "c0ffee01",
        "counter": 5,
        "seq": 2,
        "alarm": "c0ffee01-3",
        "msg_type": "Update",
        "status": "Actual",
        "cause": "button",
        "flags": {
            "drill": False,
            "cancel": False,
            "duress": False,
            "last": False,
            "doubtful": False,
            "strap": "closed",
        },
        "sent": "2026-01-01T00:01:10Z",
        "sent_unix": 1767225670,
        "time_quality": "network",
        "received": "2026-01-01T00:01:40.250Z",
        "path": "mqtt",
        "delay_s": 30,
        "battery": 80,
        "position": {
            "lat_e7": 597700000,
            "lon_e7": -438501234,
            "accuracy_m": 12,
            "age_s": 3,
            "altitude_m": 34,
            "speed_mps": None,
            "heading_deg": None,
        },
        "cell": {"mcc": 262, "mnc": 1, "lac": 54321, "cid": 28471062},
    }


def test_unknown_time() -> None:
    document = json.loads(made(ALARM._replace(time=0)))
    assert (document["sent"], document["sent_unix"], document["delay_s"]) == (None, None, None)


@pytest.mark.parametrize(
    ("seq", "flags", "expected"),
    [
        (0, 0, "Alert"),
        (3, 0, "Update"),
        (3, 2, "Cancel"),
        (0, 2, "Cancel"),
        (3, 6, "Update"),
        (0, 6, "Alert"),
        (3, 4, "Update"),
    ],
)
def test_message_types(seq: int, flags: int, expected: str) -> None:
    """A cancel under duress is told in the flags, but nobody who reads only the type stands down."""
    assert message_type(ALARM._replace(seq=seq, flags=flags)) == expected


@pytest.mark.parametrize(
    ("cause", "name"), [(0, "button"), (1, "strap"), (2, "check-in"), (3, "trial"), (4, "cause-4"), (23, "cause-23")]
)
def test_causes_have_names(cause: int, name: str) -> None:
    assert json.loads(made(ALARM._replace(cause=cause)))["cause"] == name


@pytest.mark.parametrize("flags", [1, 1 | 2, 1 | 4, 1 | 2 | 4, 1 | 128 | 256])
@pytest.mark.parametrize("cause", [0, 1, 2])
def test_a_drill_is_an_exercise_whatever_else_it_is(flags: int, cause: int) -> None:
    assert json.loads(made(ALARM._replace(flags=flags, cause=cause)))["status"] == "Exercise"
    assert json.loads(made(ALARM._replace(flags=flags & ~1, cause=cause)))["status"] == "Actual"


# --- tampered with, by someone without the relay's key ---

CHANGES: dict[str, Callable[[Document], Any]] = {
    "kid_differs": lambda d: d.update(kid="c0ffee02"),
    "counter_differs": lambda d: d.update(counter=6),
    "seq_differs": lambda d: d.update(seq=1),
    "alarm_differs": lambda d: d.update(alarm="c0ffee01-2"),
    "msg_type_differs": lambda d: d.update(msg_type="Cancel"),
    "status_differs": lambda d: d.update(status="Exercise"),
    "cause_differs": lambda d: d.update(cause="cause-3"),
    "flags_differs": lambda d: d["flags"].update(drill=True),
    "time_differs": lambda d: d.update(sent_unix=d["sent_unix"] - 86400),
    "time_quality_differs": lambda d: d.update(time_quality="gnss"),
    "delay_differs": lambda d: d.update(delay_s=0),
    "battery_differs": lambda d: d.update(battery=81),
    "position_differs": lambda d: d["position"].update(lat_e7=d["position"]["lat_e7"] + 1),
    "cell_differs": lambda d: d["cell"].update(cid=1),
    "relay_id_differs": lambda d: d.update(relay="00" * 8),
    "evidence_unreadable": lambda d: d["evidence"].update(sign1=d["evidence"]["sign1"][:-4]),
    "evidence_header": lambda d: d["evidence"].update(outer_protected=d["evidence"]["outer_protected"][:-4]),
    "relay_signature": lambda d: d.update(path="sms"),
}


@pytest.mark.parametrize("code", CHANGES)
def test_tampering_is_named(code: str) -> None:
    document = json.loads(GENUINE)
    CHANGES[code](document)
    found = codes(canonical(document))
    assert found[0] == code
    assert found[-1] == "relay_signature"
    assert set(found) == {code, "relay_signature"}


@pytest.mark.parametrize("code", [code for code in CHANGES if code != "relay_signature"])
def test_even_the_relay_can_not_change_what_the_bracelet_signed(code: str) -> None:
    document = json.loads(GENUINE)
    CHANGES[code](document)
    assert codes(signed(document), KEYS.public) == [code]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(sent="2026-01-01T00:01:09Z"),
        lambda d: d.update(sent=None),
        lambda d: d.update(sent_unix=None),
    ],
)
def test_time(change: Callable[[Document], Any]) -> None:
    document = json.loads(GENUINE)
    change(document)
    assert codes(signed(document)) == ["time_differs"]


@pytest.mark.parametrize("field", ["position", "cell"])
def test_left_out(field: str) -> None:
    assert codes(signed({**json.loads(GENUINE), field: None})) == [field + "_differs"]


def test_received_at_another_time() -> None:
    document = json.loads(GENUINE)
    assert codes(canonical({**document, "received": "2026-01-01T00:01:41.250Z"})) == [
        "delay_differs",
        "relay_signature",
    ]


def test_a_flipped_bit_in_the_bracelets_signature() -> None:
    document = json.loads(GENUINE)
    sign1 = bytearray(unb64(document["evidence"]["sign1"]))
    sign1[-1] ^= 1
    document["evidence"]["sign1"] = b64(bytes(sign1))
    assert codes(signed(document)) == ["bracelet_signature"]


def test_another_algorithm_in_the_evidence() -> None:
    document = json.loads(GENUINE)
    sign1 = cbor2.loads(unb64(document["evidence"]["sign1"]))
    sign1[0] = cbor2.dumps({1: -8})
    document["evidence"]["sign1"] = b64(cbor2.dumps(sign1))
    assert codes(signed(document)) == ["evidence_algorithm"]


def test_a_payload_that_is_no_alarm() -> None:
    document = json.loads(GENUINE)
    sign1 = cbor2.loads(unb64(document["evidence"]["sign1"]))
    sign1[2] = cbor2.dumps([2])
    document["evidence"]["sign1"] = b64(cbor2.dumps(sign1))
    assert codes(signed(document)) == ["bracelet_signature", "evidence_payload"]


def test_another_bracelets_key() -> None:
    document = json.loads(GENUINE)
    document["evidence"]["key"] = b64(Sealer(KID, KEYS.id, ROOTS, b"\1" * 32).public)
    assert codes(signed(document)) == ["bracelet_signature"]


def test_the_evidence_of_another_alarm() -> None:
    document = json.loads(GENUINE)
    document["evidence"] = json.loads(made(counter=6))["evidence"]
    assert codes(signed(document)) == ["counter_differs", "alarm_differs"]


def test_another_relay() -> None:
    """Another relay's key and id over a real bracelet's alarm: the bracelet signed for one relay only."""
    document = json.loads(GENUINE)
    document.update(relay=OTHER_RELAY.id.hex(), relay_key=b64(OTHER_RELAY.public))
    assert codes(signed(document, OTHER_RELAY)) == ["bracelet_signature"]
    assert codes(signed(document, OTHER_RELAY), KEYS.public) == ["pinned_key_differs", "bracelet_signature"]


def test_a_forgery_from_the_ground_up() -> None:
    """Own relay, own bracelet: consistent in itself. Only who knows the relay's key can tell; the report says so."""
    own = roots(bytes(32), KID, OTHER_RELAY.id)
    sealer = Sealer(KID, OTHER_RELAY.id, own, b"\3" * 32)
    alarm = ALARM._replace(seq=0)
    envelope = parse(sealer.alarm(alarm))
    opened = open_alarm(envelope, ChainState(0, own.alarm), sealer.public, OTHER_RELAY.id, 0)
    forged = build(
        OTHER_RELAY,
        alarm=alarm,
        kid=envelope.kid,
        counter=0,
        protected=envelope.protected,
        sign1=opened.sign1,
        public=sealer.public,
        received_ms=int(NOW * 1000),
        path="mqtt",
    )
    assert codes(forged, KEYS.public) == ["pinned_key_differs"]
    report = check(forged)
    assert report.ok
    assert "Compare" in report.confirmed[-1]


# --- not a document at all ---


def with_number(text: bytes) -> bytes:
    return GENUINE.replace(b'"battery":80', b'"battery":' + text)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (GENUINE[:-1], "not_json"),
        (b"[" * 5000, "not_json"),
        (b'{"a":' * 3000, "not_json"),
        (b" " * (MAX_OCTETS + 1), "too_large"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"tocsin"', "not_an_object"),
        (b"{}", "unsupported_version"),
        (GENUINE.replace(b'"tocsin":1', b'"tocsin":2'), "unsupported_version"),
        (GENUINE.replace(b'"tocsin":1', b'"tocsin":true'), "unsupported_version"),
        (GENUINE.replace(b'"type":"alarm"', b'"type":"receipt"'), "unsupported_version"),
        (with_number(b"80.0"), "bad_number"),
        (with_number(b"8e1"), "bad_number"),
        (with_number(b"-0"), "bad_number"),
        (with_number(b"NaN"), "bad_number"),
        (with_number(b"-Infinity"), "bad_number"),
        (with_number(b"9" * 5000), "bad_number"),
        (with_number(b'80,"battery":80'), "duplicate_field"),
        (GENUINE.replace(b'"drill":false', b'"drill":false,"drill":true'), "duplicate_field"),
        (GENUINE.replace(b'"battery":80,', b""), "missing_field"),
        (GENUINE.replace(b'"drill":false,', b""), "missing_field"),
        (GENUINE.replace(b'"battery":80', b'"battery":80,"note":1'), "extra_field"),
        (GENUINE.replace(b'"battery":80', b'"battery":80,"\\ud800":1'), "extra_field"),
        (with_number(b"null"), "battery_differs"),  # which says that it could not be measured
        (with_number(b"true"), "bad_value"),
        (GENUINE.replace(b'"drill":false', b'"drill":0'), "bad_value"),
        (GENUINE.replace(b'"path":"mqtt"', b'"path":"\\ud800"'), "bad_value"),
        (GENUINE.replace(b'"path":"mqtt"', b'"path":"m\\u00fctt"'), "bad_value"),
        (GENUINE.replace(b'"received":"2026', b'"received":"0000'), "bad_value"),
        (GENUINE.replace(b'.250Z"', b'.25Z"'), "bad_value"),
        (GENUINE.replace(b'"relay_key":"', b'"relay_key":"A'), "bad_value"),
        (GENUINE.replace(b'"signature":"', b'"signature":"*'), "bad_value"),
        (GENUINE.replace(b'"evidence":{', b'"evidence":null,"x":{'), "bad_value"),
    ],
)
def test_malformed(octets: bytes, code: str) -> None:
    assert codes(octets)[:1] == [code]


def test_base64_has_one_spelling() -> None:
    """The last character of 64 octets has four bits that carry nothing: they may not carry anything else either."""
    document = json.loads(GENUINE)
    last = document["signature"][-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    document["signature"] = document["signature"][:-1] + alphabet[alphabet.index(last) + 1]
    assert codes(canonical(document)) == ["bad_value"]


def test_every_flipped_bit_is_noticed() -> None:
    whole = int.from_bytes(GENUINE, "big")
    for bit in range(0, len(GENUINE) * 8, 3):
        report = check((whole ^ 1 << bit).to_bytes(len(GENUINE), "big"))
        assert not report.ok
        assert report.confirmed == ()


def test_every_sentence_is_for_people() -> None:
    for code, sentence in SENTENCES.items():
        assert sentence.endswith(".")
        assert "_" not in sentence
        assert code == code.lower()


def test_a_report_prints_no_document() -> None:
    assert repr(check(GENUINE)) == "Report(genuine)"
    assert repr(check(b"")) == "Report(not_json)"


# --- whatever else ---


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    assert not check(octets).ok


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(json.loads(GENUINE))), value=values)
def test_any_value_in_any_field(field: str, value: Any) -> None:
    document = json.loads(GENUINE)
    if type(value) is type(document[field]) and value == document[field]:
        return
    document[field] = value
    assert not check(json.dumps(document).encode()).ok


@given(field=st.sampled_from(["flags", "position", "cell", "evidence"]), data=st.data(), value=values)
def test_any_value_inside(field: str, data: st.DataObject, value: Any) -> None:
    document = json.loads(GENUINE)
    name = data.draw(st.sampled_from(sorted(document[field])))
    if type(value) is type(document[field][name]) and value == document[field][name]:
        return
    document[field][name] = value
    assert not check(json.dumps(document).encode()).ok


@given(value=values)
def test_any_json(value: Any) -> None:
    assert not check(json.dumps(value).encode()).ok


@given(start=st.integers(0, len(GENUINE)), length=st.integers(0, 40), put=st.binary(max_size=20))
def test_any_cut_and_paste(start: int, length: int, put: bytes) -> None:
    octets = GENUINE[:start] + put + GENUINE[start + length :]
    report = check(octets)
    if report.ok:
        assert json.loads(octets) == json.loads(GENUINE)
