"""The shared vectors, seen from the relay's implementation: what firmware is held to, the relay is held to as well."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from relay.verify import (
    Alarm,
    Cell,
    ChainState,
    Fix,
    Heartbeat,
    Reason,
    Refused,
    RelayKeys,
    agree,
    down,
    open_alarm,
    open_down,
    open_heartbeat,
    open_receipt,
    parse,
    roots,
)
from relay.verify.envelope import nonce, shortest
from relay.verify.keys import expand, extract, next_chain_key
from relay.verify.payload import Health, Network, decode_exactly
from relay.verify.seal import Sealer, seal, seal_receipt

VECTORS = Path(__file__).parents[2] / "vectors"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return document


ENVELOPE = load("envelope")
FIXED = {name: bytes.fromhex(value) for name, value in ENVELOPE["keys"].items()}


def alarm_of(items: list[Any]) -> Alarm:
    *items, last = items
    cell = Cell(*last) if isinstance(last, list) else None
    if cell is None:
        items.append(last)
    return Alarm(*items[1:6], fix=Fix(*items[6:]) if items[6:] else None, cell=cell)


def heartbeat_of(items: list[Any]) -> Heartbeat:
    network = Network(*items[5]) if len(items) > 5 else None
    health = Health(*items[6]) if len(items) > 6 else None
    return Heartbeat(*items[:5], network=network, health=health, program=items[7] if len(items) > 7 else None)


def test_key_schedule() -> None:
    shared = agree(FIXED["relay_x25519_private"], FIXED["device_x25519_public"])
    assert shared == FIXED["shared"]
    derived = roots(shared, FIXED["kid"], FIXED["relay_id"])
    assert derived == (FIXED["alarm_root"], FIXED["heartbeat_root"], FIXED["down_root"])
    assert RelayKeys(FIXED["relay_ed25519_seed"]).id == FIXED["relay_id"]


@pytest.mark.parametrize("case", ENVELOPE["alarms"], ids=lambda case: case["name"])
def test_alarm(case: dict[str, Any]) -> None:
    octets = bytes.fromhex(case["message"])
    state = ChainState(case["counter"], bytes.fromhex(case["chain_key"]))
    opened = open_alarm(parse(octets), state, FIXED["device_ed25519_public"], FIXED["relay_id"], 0)
    assert opened.alarm == alarm_of(case["payload"])
    assert opened.sign1.hex() == case["sign1"]
    assert opened.state == (case["counter"] + 1, bytes.fromhex(case["next_chain_key"]), {})


@pytest.mark.parametrize("case", ENVELOPE["alarms"], ids=lambda case: case["name"])
def test_alarm_sealed_here(case: dict[str, Any]) -> None:
    chains = roots(FIXED["shared"], FIXED["kid"], FIXED["relay_id"])._replace(alarm=bytes.fromhex(case["chain_key"]))
    sealer = Sealer(FIXED["kid"], FIXED["relay_id"], chains, FIXED["device_ed25519_seed"])
    sealer.alarm_counter = case["counter"]
    assert sealer.alarm(alarm_of(case["payload"])).hex() == case["message"]


def test_heartbeats() -> None:
    for case in ENVELOPE["heartbeats"]:
        state = ChainState(case["counter"], bytes.fromhex(case["chain_key"]))
        opened = open_heartbeat(parse(bytes.fromhex(case["message"])), state, 0)
        assert opened.heartbeat == heartbeat_of(case["fields"])
        assert opened.heartbeat.encode() == cbor2.dumps([1, *case["fields"]])


def test_receipts() -> None:
    state = ChainState(0, FIXED["down_root"])
    for case in ENVELOPE["receipts"]:
        key = FIXED["down_root"]
        for _ in range(case["counter"]):
            key = next_chain_key(key)
        octets, _next = seal_receipt(FIXED["kid"], case["counter"], key, case["confirms"])
        assert octets.hex() == case["message"]
        confirmed, state = open_receipt(parse(octets), state, 0)
        assert confirmed == case["confirms"]


def test_commands() -> None:
    state = ChainState(0, FIXED["down_root"])
    for case in ENVELOPE["receipts"]:
        _, state = open_receipt(parse(bytes.fromhex(case["message"])), state, 0)
    made = {
        "accept": lambda content: down.about(down.Kind.ACCEPT, content),
        "close": lambda content: down.about(down.Kind.CLOSE, content),
        "configure": down.configure,
        "revoke": lambda _: down.revoke(),
    }
    for case in ENVELOPE["commands"]:
        octets = bytes.fromhex(case["message"])
        sealed, key = seal(FIXED["kid"], state.next, state.key, made[case["kind"]](case["content"]))
        assert sealed == octets
        (kind, content), state = open_down(parse(octets), state, 0)
        assert (kind.name.lower(), content) == (case["kind"], case["content"])
        assert state.key == key


@pytest.mark.parametrize("case", ENVELOPE["refused"], ids=lambda case: case["name"])
def test_refused(case: dict[str, Any]) -> None:
    state = ChainState(0, FIXED["alarm_root"])
    with pytest.raises(Refused) as caught:
        octets = bytes.fromhex(case["message"])
        open_alarm(parse(octets), state, FIXED["device_ed25519_public"], FIXED["relay_id"], 0)
    assert caught.value.reason is Reason(case["reason"])


def test_hkdf() -> None:
    for case in load("hkdf")["cases"]:
        prk = extract(bytes.fromhex(case["salt"]) or bytes(32), bytes.fromhex(case["ikm"]))
        assert prk.hex() == case["prk"]
        assert expand(prk, bytes.fromhex(case["info"]), case["length"]).hex() == case["okm"]


def test_hmac() -> None:
    for case in load("hmac")["cases"]:
        mac = hmac.digest(bytes.fromhex(case["key"]), bytes.fromhex(case["message"]), "sha256").hex()
        assert mac == case["mac"]


def test_x25519() -> None:
    for case in load("x25519")["cases"]:
        arguments = bytes.fromhex(case["k"]), bytes.fromhex(case["u"])
        if int(case["result"], 16) == 0:
            with pytest.raises(ValueError):
                agree(*arguments)
        else:
            assert agree(*arguments).hex() == case["result"]


def test_relay_signature() -> None:
    for case in load("ed25519")["cases"]:
        keys = RelayKeys(bytes.fromhex(case["seed"]))
        assert keys.public.hex() == case["public"]
        assert keys.sign(bytes.fromhex(case["message"])).hex() == case["signature"]


def test_cose_nonce() -> None:
    case = load("cose")["cases"][0]
    partial_iv = int(case["partial_iv"], 16)
    assert shortest(partial_iv).hex() == case["partial_iv"]
    by_hand = int(case["base_iv"], 16) ^ partial_iv
    assert nonce(bytes(16) + bytes.fromhex(case["base_iv"]), partial_iv) == by_hand.to_bytes(13, "big")


def test_cbor_outside_the_subset_is_refused_or_not_an_alarm() -> None:
    for text in load("cbor")["refused"]:
        with pytest.raises(Refused) as caught:
            parse(bytes.fromhex(text))
        assert caught.value.reason in (Reason.NOT_CBOR, Reason.BAD_STRUCTURE)


def test_deterministic_cbor_is_understood() -> None:
    for case in load("cbor")["cases"]:
        assert decode_exactly(bytes.fromhex(case["hex"])) is not ...
