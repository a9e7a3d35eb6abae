"""Epoch keys reach the subscriber whose key pair it is, from its relay, on its topic, and nobody else."""

from __future__ import annotations

import os
import random

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.subscribers.epoch_keys import MOST_EPOCHS, open_message, seal
from relay.subscribers.file import key_pair
from relay.subscribers.sealing import MAX_OCTETS, Epoch, SealError
from tests.relay.support import KEYS

TOPIC = "s/0000c0ffee01/key/sub-0000000a"
EPOCHS = [Epoch(bytes((n,)) * 8, bytes((n,)) * 32) for n in range(3)]
PRIVATE, PUBLIC = key_pair()


def refused(octets: bytes, topic: str = TOPIC, relay: bytes = KEYS.public, private: bytes = PRIVATE) -> str:
    with pytest.raises(SealError) as found:
        open_message(octets, topic, relay, private)
    return found.value.code


def test_the_keys_come_back() -> None:
    found = open_message(seal(KEYS, TOPIC, PUBLIC, EPOCHS, 7), TOPIC, KEYS.public, PRIVATE)
    assert found.issued_ms == 7
    assert [(epoch.id, epoch.key) for epoch in found.epochs] == [(epoch.id, epoch.key) for epoch in EPOCHS]


def test_a_plain_implementation_opens_it() -> None:
    """RFC 9053, 5.2 and 6.3.1, spelt out again with another HKDF."""
    encrypted = cbor2.loads(seal(KEYS, TOPIC, PUBLIC, EPOCHS, 7))[2]
    protected, unprotected, ciphertext, [[header, ephemeral, nothing]] = cbor2.loads(encrypted)
    assert (cbor2.loads(protected), cbor2.loads(header), nothing) == ({1: 3}, {1: -25}, b"")
    key = ephemeral[-1]
    assert (key[1], key[-1]) == (1, 4)
    shared = X25519PrivateKey.from_private_bytes(PRIVATE).exchange(X25519PublicKey.from_public_bytes(key[-2]))
    party = [None, None, None]
    info = cbor2.dumps([3, party, party, [256, header]])
    content_key = HKDF(SHA256(), 32, None, info).derive(shared)
    context = cbor2.dumps(["Encrypt", protected, TOPIC.encode()])
    content = cbor2.loads(AESGCM(content_key).decrypt(unprotected[5], ciphertext, context))
    assert content == [1, 7, [[epoch.id, epoch.key] for epoch in EPOCHS]]


def test_nobody_else_opens_it() -> None:
    message = seal(KEYS, TOPIC, PUBLIC, EPOCHS, 7)
    assert refused(message, private=key_pair()[0]) == "keys_for_another"
    assert refused(message, topic=TOPIC.replace("c0ffee01", "c0ffee02")) == "keys_not_by_relay"
    assert refused(message, relay=bytes(32)) == "keys_not_by_relay"


def test_no_octet_of_it_can_be_changed() -> None:
    message = seal(KEYS, TOPIC, PUBLIC, EPOCHS[:1], 7)
    for at in range(len(message)):
        changed = bytearray(message)
        changed[at] ^= 1 << at % 8
        assert refused(bytes(changed)) == "keys_not_by_relay"
    assert refused(message[:-1]) == refused(message + b"\0") == "keys_not_by_relay"
    assert refused(bytes(MAX_OCTETS + 1)) == "too_large"


def test_nothing_that_comes_in_makes_it_raise_anything_else() -> None:
    drawn = random.Random(3)
    for _ in range(3000):
        assert refused(os.urandom(drawn.randrange(300)))


@pytest.mark.parametrize(
    "content",
    [7, [], [2, 7, []], [1, "7", []], [1, 7, [[b"short", bytes(32)]]], [1, 7, [[bytes(8), bytes(31)]]], [1, 7, 7]],
    ids=str,
)
def test_what_the_relay_signed_in_another_form_is_refused(content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = cbor2.dumps

    def other(value: object) -> bytes:
        return dumps(content if isinstance(value, list) and value[:2] == [1, 7] else value)

    with monkeypatch.context() as patched:
        patched.setattr(cbor2, "dumps", other)
        message = seal(KEYS, TOPIC, PUBLIC, EPOCHS, 7)
    assert refused(message) == "keys_unreadable"


def test_it_stays_small_however_many_epochs_there_are() -> None:
    many = [Epoch(os.urandom(8), os.urandom(32)) for _ in range(MOST_EPOCHS + 10)]
    message = seal(KEYS, TOPIC, PUBLIC, many, 7)
    assert len(message) < 4000
    found = open_message(message, TOPIC, KEYS.public, PRIVATE)
    assert [epoch.id for epoch in found.epochs] == [epoch.id for epoch in many[:MOST_EPOCHS]]
