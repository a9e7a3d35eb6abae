"""What lies at the broker opens for its epoch and topic, and for nothing else."""

from __future__ import annotations

import os
import random
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay import rebroadcast
from relay.subscribers import coarse
from relay.subscribers.sealing import MAX_OCTETS, PADDED, Epoch, SealError, parse
from relay.verify import Alarm, Cell, Fix
from tests.relay.support import KEYS

CANCEL, DURESS, DRILL = 2, 4, 1
TOPIC = "s/0000c0ffee01/0a1b2c3d/alarm"
EPOCH = Epoch(b"epoch..1", bytes(range(32)))


def code(epoch: Epoch, topic: str, octets: bytes) -> str:
    with pytest.raises(SealError) as found:
        epoch.open(topic, octets)
    return found.value.code


def test_every_document_comes_back() -> None:
    drawn = random.Random(1)
    for length in (*range(40), *drawn.sample(range(40, 5000), 200)):
        document = b"{" + bytes(drawn.randrange(1, 256) for _ in range(length)) + b"}"
        for topic, padded in ((TOPIC, PADDED["alarm"]), ("s/0000c0ffee01/0a1b2c3d/case", PADDED["case"])):
            assert EPOCH.open(topic, EPOCH.seal(topic, document, padded)) == document


def test_its_length_says_only_how_many_blocks_there_are() -> None:
    lengths = {len(EPOCH.seal(TOPIC, b"{" + b"x" * more + b"}", 1536)) for more in (1, 700, 1100, 1101, 1534)}
    assert len(lengths) == 1


@pytest.mark.parametrize("flags", [0, CANCEL, CANCEL | DURESS, CANCEL | DURESS | DRILL, 255])
def test_the_longest_and_the_shortest_alarm_are_equally_long(flags: int) -> None:
    """So what the bracelet said of itself, a cancel, duress or no position, shows in no length, whoever may read it."""
    longest = Alarm(
        flags,
        23,
        65535,
        2**32 - 1,
        101,
        Fix(-(9 * 10**8), -(18 * 10**8), 65535, 65535, -32768, 255, 359),
        Cell(999, 999, 65535, 268435455),
    )
    lengths = set()
    for alarm in (Alarm(flags, 0, 0, 0, 0, None), longest):
        said: dict[str, Any] = {"alarm": alarm, "kid": 2**32 - 1, "counter": 2**24 - 1}
        said |= {"received_ms": 2**41, "path": "mqtt"}
        exact = rebroadcast.build(KEYS, **said, protected=bytes(24), sign1=bytes(140), public=bytes(32))
        both = exact, coarse.build(KEYS, **said, km=500)
        lengths |= {len(EPOCH.seal(TOPIC, each, PADDED["alarm"])) for each in both}
    assert len(lengths) == 1
    assert lengths.pop() < PADDED["alarm"] + 100


def test_it_is_a_cose_encrypt0_that_a_plain_implementation_opens() -> None:
    """RFC 9052, 5.2 and 5.3, spelt out again without the project's code."""
    protected, unprotected, ciphertext = cbor2.loads(EPOCH.seal(TOPIC, b"{}", 512))
    assert cbor2.loads(protected) == {1: 3, 4: EPOCH.id}
    assert set(unprotected) == {5}
    context = cbor2.dumps(["Encrypt0", protected, TOPIC.encode()])
    assert AESGCM(EPOCH.key).decrypt(unprotected[5], ciphertext, context).rstrip(b"\0") == b"{}"


def test_no_two_seals_share_a_nonce() -> None:
    assert len({parse(EPOCH.seal(TOPIC, b"{}", 512))[1] for _ in range(5000)}) == 5000


def test_it_can_not_be_moved_to_another_topic_or_epoch() -> None:
    sealed = EPOCH.seal(TOPIC, b"{}", 512)
    for other in ("s/0000c0ffee02/0a1b2c3d/alarm", "s/0000c0ffee01/0a1b2c3e/alarm", "s/0000c0ffee01/0a1b2c3d/case"):
        assert code(EPOCH, other, sealed) == "bad_tag"
    assert code(Epoch(b"epoch..1", bytes(32)), TOPIC, sealed) == "bad_tag"
    assert code(Epoch(b"epoch..2", EPOCH.key), TOPIC, sealed) == "other_epoch"
    relabelled = sealed.replace(b"epoch..1", b"epoch..2")
    assert code(Epoch(b"epoch..2", EPOCH.key), TOPIC, relabelled) == "bad_tag"


def test_no_octet_of_it_can_be_changed() -> None:
    sealed = EPOCH.seal(TOPIC, b"{}", 512)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1 << at % 8
        assert code(EPOCH, TOPIC, bytes(changed)) in ("bad_tag", "other_epoch", "not_sealed")
    for cut in range(len(sealed)):
        assert code(EPOCH, TOPIC, sealed[:cut]) in ("bad_tag", "not_sealed")
    assert code(EPOCH, TOPIC, sealed + b"\0") == "not_sealed"
    assert code(EPOCH, TOPIC, sealed + bytes(MAX_OCTETS)) == "too_large"


@pytest.mark.parametrize(
    "header", [{1: 1, 4: b"epoch..1"}, {1: 3}, {1: 3, 4: b"epoch..1", 5: 0}, {4: b"epoch..1", 1: 3}], ids=str
)
def test_another_header_is_refused(header: dict[int, object]) -> None:
    octets = cbor2.dumps([cbor2.dumps(header), {5: bytes(12)}, bytes(528)])
    assert code(EPOCH, TOPIC, octets) == "not_sealed"


def test_nothing_that_comes_in_makes_it_raise_anything_else() -> None:
    drawn = random.Random(2)
    good = EPOCH.seal(TOPIC, b"{}", 512)
    for _ in range(20_000):
        octets = bytearray(good if drawn.random() < 0.7 else os.urandom(drawn.randrange(600)))
        for _ in range(drawn.randrange(4)):
            if octets:
                octets[drawn.randrange(len(octets)) if drawn.random() < 0.5 else 0] = drawn.randrange(256)
        if bytes(octets) != good:
            assert code(EPOCH, TOPIC, bytes(octets))


def test_a_key_shows_in_no_message() -> None:
    assert repr(EPOCH) == f"Epoch({b'epoch..1'.hex()})"
