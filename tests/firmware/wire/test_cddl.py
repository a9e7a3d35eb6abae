"""firmware/wire.cddl, read by a CDDL library, accepts what both sides send and refuses what both sides refuse."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import cbor2
import pytest

from relay import verify
from relay.verify.down import parse as parse_down
from relay.verify.payload import parse_alarm, parse_heartbeat
from relay.verify.seal import Sealer, seal_receipt

from .interpreter import ROOT, Device

# zcbor 0.9 imports a name that cbor2 6 has folded into its base class.
if not hasattr(cbor2, "CBORDecodeValueError"):
    cbor2.CBORDecodeValueError = cbor2.CBORDecodeError

import zcbor

Grammar = Callable[[str, Any], bool]
LAST = 2**24 - 1
ALARM = [1, 24, 0, 2, 1767225600, 87, 597700000, -438501234, 12, 3, 34, 14, 87, [262, 1, 54321, 28471062]]
HEARTBEAT = [1, 24, 1767225600, 87, 3]
MORE_BEAT = [12, [1, 73, 262001, 1], [3, 1, 305419896, 0], 12]
BUNDLES: list[Any] = [[1, 5, [1, 1025, bytes(32)]], [1, 5, [2**31 - 1, 163840, bytes(range(32))]]]
RECEIPT = [1, 0, 70000]
HEADER = {1: 10, 4: b"kid!", 6: b"\x07"}
ODD: list[Any] = [None, True, False, 1.5, 1.0, "1", b"1", [], {}, [1], -1, 2**64 - 1, -(2**64), cbor2.undefined]


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    """grammar(rule, object): whether the object, or its octets, follow the rule."""
    rules = zcbor.DataTranslator.from_cddl((ROOT / "firmware/wire.cddl").read_text(), default_max_qty=16).my_types

    def follows(rule: str, found: Any) -> bool:
        octets = found if isinstance(found, bytes) else cbor2.dumps(found)
        rules[rule].errors.clear()  # zcbor 0.9 keeps those of all calls and prints them with each
        try:
            rules[rule].validate_str(octets)
        except (zcbor.CddlValidationError, cbor2.CBORDecodeError):
            return False
        return True

    return follows


def neighbours(item: int) -> list[int]:
    edges = [0, 1, 2, 23, 24, 100, 127, 128, 255, 256, 359, 360, 511, 512, 999, 1000, 32767, 32768, 65535, 65536]
    edges += [2**28 - 1, 2**28, 900000000, 900000001, 1800000000, 1800000001, 2**32 - 1, 2**32]
    return [item + 1, item - 1, *edges, *[-1 - edge for edge in edges], *[-edge for edge in edges]]


def mutants(good: list[Any]) -> Iterator[list[Any]]:
    """One change at a time: every item replaced by each odd thing and edge, left out, doubled, and the array cut."""
    for at, item in enumerate(good):
        more = neighbours(item) if isinstance(item, int) else mutants(item) if isinstance(item, list) else []
        replacements = [*ODD, *more]
        for replacement in replacements:
            yield [*good[:at], replacement, *good[at + 1 :]]
        yield [*good[:at], *good[at + 1 :]]
        yield [*good[: at + 1], item, *good[at + 1 :]]
        yield good[:at]


def passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except verify.Refused:
        return False
    return True


def test_alarms_that_the_relay_takes_are_those_of_the_grammar(grammar: Grammar) -> None:
    """Every mutant of an alarm of each length: the relay's parser and the grammar must agree."""
    forms = [ALARM[:10], [*ALARM[:6], ALARM[13]], ALARM]
    accepted = refused = 0
    for form in forms:
        assert grammar("alarm", form)
        assert parse_alarm(cbor2.dumps(form), LAST)
        for mutant in mutants(form):
            octets = cbor2.dumps(mutant)
            by_relay = passes(lambda octets=octets: parse_alarm(octets, LAST))
            assert grammar("alarm", octets) is by_relay, mutant
            accepted += by_relay
            refused += not by_relay
    assert accepted > 500
    assert refused > 1500


@pytest.mark.long
def test_heartbeats_that_the_relay_takes_are_those_of_the_grammar(grammar: Grammar) -> None:
    for items in range(4, 9):
        form = [*HEARTBEAT, *MORE_BEAT][: items + 1]
        assert grammar("heartbeat", form)
        assert parse_heartbeat(cbor2.dumps(form)).encode() == cbor2.dumps(form)
        for mutant in mutants(form):
            octets = cbor2.dumps(mutant)
            assert grammar("heartbeat", octets) is passes(lambda octets=octets: parse_heartbeat(octets)), mutant


def test_what_the_device_takes_is_what_the_grammar_and_the_relay_take(grammar: Grammar, device: Device) -> None:
    bodies: list[Any] = [RECEIPT, *([1, kind, 7] for kind in range(7)), {}, [], 1]
    bodies += [[1, 3, settings] for settings in changed_settings()] + BUNDLES
    bodies += [[1, 5, [1, 1025, bytes(31)]], [1, 5, [0, 1025, bytes(32)]], [1, 5, [1, 1024, bytes(32)]]]
    bodies += [[1, 5, [2**31, 1025, bytes(32)]], [1, 5, [1, 131073, bytes(32)]], [1, 5], [1, 5, [1, 1025]]]
    for good in (RECEIPT, [1, 1, 7], [1, 2, 2**32 - 1], [1, 3, {1: 60, 2: 1000, 3: 0}], [1, 4], BUNDLES[0]):
        assert grammar("down", good)
        bodies += [body for body in mutants(good) if cbor2.undefined not in body]
    messages = device.batch([("seal_down_octets", bytes(4), 0, bytes(32), cbor2.dumps(body)) for body in bodies])
    results = device.batch([("receive", bytes(4), [0, bytes(32), {}], [message]) for message in messages])
    for body, ((result, _),) in zip(bodies, results, strict=True):
        taken = not isinstance(result, str)
        assert grammar("down", body) is taken, body
        assert passes(lambda body=body: parse_down(cbor2.dumps(body))) is taken, body


def changed_settings() -> Iterator[Any]:
    """Each setting at and beyond its edges, alone and with the others, and what is none."""
    for name, (low, high) in {1: (60, 86400), 2: (1000, 10000), 3: (0, 1440)}.items():
        for value in (low, high, low - 1, high + 1, -1, "1", None, True, 1.0, [low]):
            yield {name: value}
            yield dict.fromkeys((1, 2, 3), 1000) | {name: value}
    yield from ({}, {0: 60}, {4: 60}, {-1: 60}, {"1": 60}, {b"1": 60}, {1: 60, 4: 0}, [60], [[1, 60]], 60)


def test_headers(grammar: Grammar) -> None:
    assert grammar("outer-header", HEADER)
    assert grammar("sign-header", {1: -19})
    assert not grammar("sign-header", {1: -8})
    assert not grammar("sign-header", {1: -19, 4: b""})
    for label, values in (
        (1, [11, 24, -10, None, "10"]),
        (4, [b"", b"kid", b"kid!!", "kid!", 4, None]),
        (6, [b"", b"12345", "1", 7, None]),
    ):
        for value in values:
            assert not grammar("outer-header", HEADER | {label: value}), (label, value)
        assert not grammar("outer-header", {key: value for key, value in HEADER.items() if key != label})
    assert grammar("outer-header", HEADER | {-20: bytes(8)})
    for value in (b"", bytes(7), bytes(9), "12345678", 8, None):
        assert not grammar("outer-header", HEADER | {-20: value})
    for extra in ({5: b"iv"}, {2: [1]}, {"alg": 10}):
        assert not grammar("outer-header", HEADER | extra)


def test_envelopes(grammar: Grammar) -> None:
    header, payload = cbor2.dumps(HEADER), cbor2.dumps(ALARM[:10])
    message = [header, {}, b"ciphertext"]
    sign1 = [cbor2.dumps({1: -19}), {}, payload, bytes(64)]
    assert grammar("message", message)
    assert grammar("sign1", sign1)
    for rule, good in (("message", message), ("sign1", sign1)):
        for at in range(len(good)):
            assert not grammar(rule, good[:at] + good[at + 1 :])
            for odd in (None, 1, "text", [], {1: 2}):
                assert not grammar(rule, [*good[:at], odd, *good[at + 1 :]]), (rule, at, odd)
        assert not grammar(rule, [*good, b""])
        assert not grammar(rule, cbor2.dumps(good)[:-1])
    assert not grammar("message", [cbor2.dumps(HEADER | {1: 24}), {}, b"ciphertext"])
    assert not grammar("sign1", [cbor2.dumps({1: -7}), {}, payload, bytes(64)])
    assert not grammar("sign1", [sign1[0], {}, cbor2.dumps(ALARM[:9]), bytes(64)])
    for octets in (63, 65):
        assert not grammar("sign1", [*sign1[:3], bytes(octets)])


def test_what_the_device_sends(grammar: Grammar, device: Device) -> None:
    """All the way down: the message, and with the relay's keys what is inside."""
    rng = random.Random(15)
    seed, kid, relay = bytes(32), b"kid!", bytes(8)
    public = device.call("tocsin.crypto.ed25519.public", seed)
    for counter in (0, 23, 256, 65536, LAST):
        for fix in (None, (1, 2, 3, 4, None, None, None), (-900000000, 1800000000, 65535, 5000, -32768, 255, 359)):
            for cell in (None, (999, 999, 65535, 268435455)):
                payload = device.call("tocsin.envelope.alarm_payload", 511, 23, 0, 2**32 - 1, 100, fix, cell, counter)
                key = rng.randbytes(32)
                octets, _ = device.call("seal_alarm", kid, relay, counter, key, payload, seed, False)
                opened = verify.open_alarm(verify.parse(octets), verify.ChainState(counter, key), public, relay, now=0)
                assert grammar("message", octets)
                assert grammar("sign1", opened.sign1)
                assert grammar("alarm", payload)
    for fields in ([24, 1767225600, 87, 3], [152, 0, 300, -1, None, [9, None, 2**40, 7], [6, 256, -1, True]]):
        octets, _ = device.call("tocsin.envelope.seal_heartbeat", kid, 0, bytes(32), fields)
        assert grammar("message", octets)
        beat = verify.open_heartbeat(verify.parse(octets), verify.ChainState(0, bytes(32)), now=0)
        assert grammar("heartbeat", beat.heartbeat.encode())
    assert beat.heartbeat.fields() == [152, 0, 101, 65535, 0, [0, 255, 0, 0], [0, 255, 0, 0]]


def test_what_the_relay_sends(grammar: Grammar, device: Device) -> None:
    for counter in (0, 255, 2**32 - 1):
        octets, _ = seal_receipt(b"kid!", counter, bytes(32), 2**24 - 1)
        assert grammar("message", octets)
        assert grammar("down", device.call("plaintext", octets, bytes(32)))
    sealer = Sealer(b"kid!", bytes(8), verify.Roots(bytes(32), bytes(32), bytes(32)), bytes(32))
    assert grammar("message", sealer.alarm(verify.Alarm(0, 0, 0, 0, 0)))
