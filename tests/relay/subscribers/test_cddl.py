"""relay/subscribers/sealed.cddl, read by a CDDL library, takes what the relay seals and refuses what readers refuse."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from relay.subscribers import epoch_keys
from relay.subscribers.file import key_pair
from relay.subscribers.sealing import Epoch, SealError, parse
from tests.checks import ROOT
from tests.relay.support import KEYS

# zcbor 0.9 imports a name that cbor2 6 has folded into its base class.
if not hasattr(cbor2, "CBORDecodeValueError"):
    cbor2.CBORDecodeValueError = cbor2.CBORDecodeError

import zcbor

Grammar = Callable[[str, bytes], bool]
TOPIC = "s/0000c0ffee01/0a1b2c3d/alarm"
EPOCH = Epoch(b"epoch..1", bytes(range(32)))


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    """grammar(rule, octets): whether the octets follow the rule."""
    text = (ROOT / "relay/subscribers/sealed.cddl").read_text()
    rules = zcbor.DataTranslator.from_cddl(text, default_max_qty=64).my_types

    def follows(rule: str, octets: bytes) -> bool:
        rules[rule].errors.clear()  # zcbor 0.9 keeps those of all calls and prints them with each
        try:
            rules[rule].validate_str(octets)
        except (zcbor.CddlValidationError, cbor2.CBORDecodeError):
            return False
        return True

    return follows


def test_what_is_sealed_follows_the_grammar(grammar: Grammar) -> None:
    for document, padded in ((b"{}", 512), (b"{" + b"x" * 1100 + b"}", 1536), (bytes(16000), 1536)):
        assert grammar("sealed", EPOCH.seal(TOPIC, document, padded))


def test_key_messages_follow_the_grammar(grammar: Grammar) -> None:
    for count in (1, 7, epoch_keys.MOST_EPOCHS):
        message = epoch_keys.seal(KEYS, "s/0/key/sub-0", key_pair()[1], [EPOCH] * count, 1_767_225_700_000)
        assert grammar("key-message", message)
    assert not grammar("key-message", EPOCH.seal(TOPIC, b"{}", 512))
    opened = cbor2.dumps([1, 1_767_225_700_000, [[EPOCH.id, EPOCH.key]]])
    assert grammar("epoch-keys", opened)
    assert not grammar("epoch-keys", cbor2.dumps([1, 7, [[EPOCH.id, EPOCH.key[1:]]]]))
    assert not grammar("epoch-keys", cbor2.dumps([2, 7, [[EPOCH.id, EPOCH.key]]]))


def test_readers_refuse_what_the_grammar_refuses(grammar: Grammar) -> None:
    good: list[Any] = cbor2.loads(EPOCH.seal(TOPIC, b"{}", 512))
    header = {1: 3, 4: EPOCH.id}
    headers: list[Any] = [{}, {1: 3}, {1: 1, 4: EPOCH.id}, {1: 3, 4: b"short"}, {1: 3, 4: 7}, header | {5: 1}, 7, []]
    odd: list[Any] = [None, 7, b"", b"x", "x", [], {}, {5: b"short"}, {5: bytes(13)}, {5: bytes(12), 6: 1}, {5: 7}]
    mutants = [[cbor2.dumps(each), *good[1:]] for each in headers]
    mutants += [[*good[:at], each, *good[at + 1 :]] for at in range(3) for each in odd]
    mutants += [good[:2], [*good, 1], [], [*good[:2], bytes(255)]]
    for mutant in mutants:
        octets = cbor2.dumps(mutant)
        assert not grammar("sealed", octets), mutant
        with pytest.raises(SealError):
            parse(octets)
    drawn = random.Random(6)
    sealed = EPOCH.seal(TOPIC, b"{}", 512)
    for _ in range(300):
        changed = bytearray(sealed)
        changed[drawn.randrange(40)] = drawn.randrange(256)
        try:
            parse(bytes(changed))
        except SealError:
            continue
        assert grammar("sealed", bytes(changed)), "what readers take the grammar takes"
