"""SHA-512, HMAC and HKDF against their standards' vectors and CPython's implementations."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .interpreter import Device

Vectors = Callable[[str], dict[str, Any]]


def test_sha512_vectors(both: Device, vectors: Vectors) -> None:
    for case in vectors("sha512")["cases"]:
        assert both.call("sha512_repeated", case["text"], case["repeat"]).hex() == case["digest"]


def test_sha512_of_every_length_around_the_block_boundaries(both: Device) -> None:
    rng = random.Random(1)
    messages = [rng.randbytes(n) for n in range(390)]
    digests = both.batch([("tocsin.crypto.sha512.sha512", message) for message in messages])
    assert digests == [hashlib.sha512(message).digest() for message in messages]


def test_sha512_joins_its_parts(both: Device) -> None:
    assert both.call("tocsin.crypto.sha512.sha512", b"a", b"", b"bc") == hashlib.sha512(b"abc").digest()


def test_hmac_vectors(device: Device, vectors: Vectors) -> None:
    for case in vectors("hmac")["cases"]:
        key, message = bytes.fromhex(case["key"]), bytes.fromhex(case["message"])
        assert device.call("tocsin.crypto.hkdf.hmac_sha256", key, message).hex().startswith(case["mac"])


def test_hkdf_vectors(device: Device, vectors: Vectors) -> None:
    for case in vectors("hkdf")["cases"]:
        prk = device.call("tocsin.crypto.hkdf.extract", bytes.fromhex(case["salt"]), bytes.fromhex(case["ikm"]))
        assert prk.hex() == case["prk"]
        okm = device.call("tocsin.crypto.hkdf.expand", prk, bytes.fromhex(case["info"]), case["length"])
        assert okm.hex() == case["okm"]


def test_hmac_and_hkdf_against_cpython(device: Device) -> None:
    rng = random.Random(2)
    pairs = [(rng.randbytes(rng.randrange(130)), rng.randbytes(rng.randrange(300))) for _ in range(300)]
    macs = device.batch([("tocsin.crypto.hkdf.hmac_sha256", key, message) for key, message in pairs])
    assert macs == [hmac.digest(key, message, "sha256") for key, message in pairs]
    expansions = [(rng.randbytes(32), rng.randbytes(rng.randrange(60)), rng.randrange(1, 200)) for _ in range(200)]
    outputs = device.batch([("tocsin.crypto.hkdf.expand", *expansion) for expansion in expansions])
    assert outputs == [HKDFExpand(SHA256(), n, info).derive(prk) for prk, info, n in expansions]
