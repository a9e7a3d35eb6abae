# sans-I/O
"""The message that brings one subscriber its epoch keys, retained on `s/<audience>/key/<account>`.

COSE_Sign1 by the relay around COSE_Encrypt to the subscriber's X25519 key: ECDH-ES + HKDF-256 with an ephemeral key,
direct, and AES-256-GCM (RFC 9052, 5.1 and 11.2; RFC 9053, 5.2 and 6.3.1). The topic is bound into signature and tag.
The message carries the keys of the last days, so that a subscriber who was away can read what waited. Grammar:
`sealed.cddl`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from relay.subscribers.sealing import ALG_A256GCM, KEY_OCTETS, MAX_OCTETS, NONCE_OCTETS, Epoch, SealError
from relay.verify.envelope import SIGN_HEADER, parse_sign1
from relay.verify.keys import RelayKeys, agree, expand, extract
from relay.verify.reasons import Refused

VERSION = 1
LABEL = "TCN1 epoch keys"
MOST_EPOCHS = 64  # in one message; the newest first
ALG_ECDH_ES_HKDF_256 = -25
_CONTENT_HEADER = cbor2.dumps({1: ALG_A256GCM})
_RECIPIENT_HEADER = cbor2.dumps({1: ALG_ECDH_ES_HKDF_256})
_EPHEMERAL, _KTY, _OKP, _CRV, _X25519, _X = -1, 1, 1, -1, 4, -2


class KeyMessage(NamedTuple):
    """The content of the message: the newest epoch first."""

    issued_ms: int
    epochs: tuple[Epoch, ...]


def check_public(public: bytes) -> None:
    """Raise ValueError for a key with which nothing can be agreed: a few points, and other lengths (RFC 7748, 6.1)."""
    agree(os.urandom(KEY_OCTETS), public)


def seal(keys: RelayKeys, topic: str, public: bytes, epochs: Sequence[Epoch], issued_ms: int) -> bytes:
    """Seal the message for the owner of the private half of `public`."""
    content = cbor2.dumps([VERSION, issued_ms, [[epoch.id, epoch.key] for epoch in epochs[:MOST_EPOCHS]]])
    ephemeral = X25519PrivateKey.generate()
    shared = agree(ephemeral.private_bytes_raw(), public)
    nonce = os.urandom(NONCE_OCTETS)
    sealed = AESGCM(_content_key(shared)).encrypt(nonce, content, _encrypt_context(topic))
    coordinate = ephemeral.public_key().public_bytes_raw()
    recipient = [_RECIPIENT_HEADER, {_EPHEMERAL: {_KTY: _OKP, _CRV: _X25519, _X: coordinate}}, b""]
    encrypted = cbor2.dumps([_CONTENT_HEADER, {5: nonce}, sealed, [recipient]])
    signature = keys.sign(_sign_context(keys.public, topic, encrypted))
    return cbor2.dumps([SIGN_HEADER, {}, encrypted, signature])


def open_message(octets: bytes, topic: str, relay_key: bytes, private: bytes) -> KeyMessage:
    """Read the epoch keys from a message of this relay for this topic and key pair. Raises SealError."""
    if len(octets) > MAX_OCTETS:
        raise SealError("too_large")
    try:
        encrypted, signature = parse_sign1(octets)
        crypto_sign_open(signature + _sign_context(relay_key, topic, encrypted), relay_key)
    except (Refused, CryptoError, ValueError):
        raise SealError("keys_not_by_relay") from None
    # The rest is by the relay, so a wrong form means another version, and a wrong tag another key pair.
    try:
        protected, unprotected, sealed, [recipient] = _decode(encrypted)
        coordinate = recipient[1][_EPHEMERAL][_X]
        if protected != _CONTENT_HEADER or recipient[0] != _RECIPIENT_HEADER:
            raise ValueError
        cipher = AESGCM(_content_key(agree(private, coordinate)))
        content: Any = _decode(cipher.decrypt(unprotected[5], sealed, _encrypt_context(topic)))
        version, issued_ms, found = content
        if version != VERSION or type(issued_ms) is not int:
            raise ValueError
        return KeyMessage(issued_ms, tuple(Epoch(number, key) for number, key in found))
    except InvalidTag:
        raise SealError("keys_for_another") from None
    except (cbor2.CBORDecodeError, ValueError, TypeError, KeyError, IndexError):
        raise SealError("keys_unreadable") from None


def _decode(octets: bytes) -> Any:
    return cbor2.loads(octets, max_depth=6, allow_indefinite=False, allow_duplicate_keys=False)


def _content_key(shared: bytes) -> bytes:
    """Derive the key by HKDF-256 over COSE_KDF_Context (RFC 9053, 5.1 and 5.2)."""
    nobody = [None, None, None]
    context = cbor2.dumps([ALG_A256GCM, nobody, nobody, [KEY_OCTETS * 8, _RECIPIENT_HEADER]])
    return expand(extract(bytes(32), shared), context, KEY_OCTETS)


def _encrypt_context(topic: str) -> bytes:
    return cbor2.dumps(["Encrypt", _CONTENT_HEADER, topic.encode()])


def _sign_context(relay_key: bytes, topic: str, encrypted: bytes) -> bytes:
    return cbor2.dumps(["Signature1", SIGN_HEADER, cbor2.dumps([LABEL, relay_key, topic]), encrypted])
