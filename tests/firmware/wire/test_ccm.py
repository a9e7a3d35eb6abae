"""AES-CCM and COSE's structures against RFC 3610, RFC 9052 and `cryptography`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from .interpreter import Device

Vectors = Callable[[str], dict[str, Any]]


def octets(case: dict[str, str], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def test_rfc_3610_vectors(device: Device, vectors: Vectors) -> None:
    for case in vectors("ccm")["cases"]:
        key, nonce, aad, plaintext, sealed = octets(case, "key", "nonce", "aad", "plaintext", "ciphertext")
        assert device.call("tocsin.crypto.ccm.seal", key, nonce, aad, plaintext) == sealed
        assert device.call("tocsin.crypto.ccm.open", key, nonce, aad, sealed) == plaintext


def test_against_cryptography(device: Device) -> None:
    rng = random.Random(6)
    cases = [
        (rng.randbytes(16), rng.randbytes(13), rng.randbytes(rng.randrange(60)), rng.randbytes(rng.randrange(200)))
        for _ in range(400)
    ]
    cases += [(bytes(16), bytes(13), b"", b""), (bytes(16), bytes(13), b"aad", b""), (bytes(16), bytes(13), b"", b"x")]
    expected = [AESCCM(key, tag_length=8).encrypt(nonce, text, aad) for key, nonce, aad, text in cases]
    assert device.batch([("tocsin.crypto.ccm.seal", *case) for case in cases]) == expected
    opened = [("tocsin.crypto.ccm.open", *case[:3], sealed) for case, sealed in zip(cases, expected, strict=True)]
    assert device.batch(opened) == [case[3] for case in cases]


def test_open_refuses_every_flipped_bit_and_every_truncation(device: Device) -> None:
    key, nonce, aad, text = bytes(range(16)), bytes(range(13)), b"header", b"twenty octets of it.."
    sealed = AESCCM(key, tag_length=8).encrypt(nonce, text, aad)
    calls: list[tuple[Any, ...]] = []
    for at in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[at // 8] ^= 1 << at % 8
        calls.append(("tocsin.crypto.ccm.open", key, nonce, aad, bytes(damaged)))
    calls += [("tocsin.crypto.ccm.open", key, nonce, aad, sealed[:n]) for n in range(len(sealed))]
    calls += [("tocsin.crypto.ccm.open", key, nonce, b"Header", sealed)]
    assert set(device.batch(calls)) == {None}


def test_cose_examples(both: Device, vectors: Vectors) -> None:
    encrypted, signed = vectors("cose")["cases"]
    key, base_iv, iv, protected, plaintext, sealed = octets(
        encrypted, "key", "base_iv", "partial_iv", "protected", "plaintext", "ciphertext"
    )
    counter = int.from_bytes(iv, "big")
    assert both.call("tocsin.cose.partial_iv", counter) == iv
    assert both.call("tocsin.cose.decrypt0", counter, protected, key + base_iv, sealed) == plaintext
    seed, protected, external_aad, payload, signature = octets(
        signed, "seed", "protected", "external_aad", "payload", "signature"
    )
    to_sign = both.call("tocsin.cbor.encode", ["Signature1", protected, external_aad, payload])
    assert both.call("sign_deterministic", seed, to_sign) == signature
