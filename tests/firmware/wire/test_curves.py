"""Ed25519 and X25519 against RFC 8032, RFC 7748 and `cryptography`, with native code and without."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from .interpreter import Device, Refused

Vectors = Callable[[str], dict[str, Any]]
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493


def little(n: int) -> bytes:
    return n.to_bytes(32, "little")


def test_ed25519_vectors(both: Device, vectors: Vectors) -> None:
    for case in vectors("ed25519")["cases"]:
        seed, message = bytes.fromhex(case["seed"]), bytes.fromhex(case["message"])
        assert both.call("tocsin.crypto.ed25519.public", seed).hex() == case["public"]
        assert both.call("sign_deterministic", seed, message).hex() == case["signature"]
        public, signature = bytes.fromhex(case["public"]), bytes.fromhex(case["signature"])
        assert both.call("tocsin.crypto.ed25519.verify", public, message, signature) is True


def test_cryptography_accepts_what_the_device_signs(both: Device, device: Device) -> None:
    rng = random.Random(3)
    count = 300 if both is device else 60  # big integers have no carries between limbs to get wrong
    cases = [(rng.randbytes(32), rng.randbytes(rng.randrange(300))) for _ in range(count)]
    publics = both.batch([("tocsin.crypto.ed25519.public", seed) for seed, _ in cases])
    signatures = both.batch([("sign", seed, message) for seed, message in cases])
    for (seed, message), public, signature in zip(cases, publics, signatures, strict=True):
        key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        assert key.public_bytes_raw() == public
        key.verify(signature, message)


def test_signatures_are_hedged(both: Device) -> None:
    """Fresh randomness goes into every nonce, so the same message never gets the same signature twice."""
    seed = bytes(range(32))
    signatures = both.batch([("sign", seed, b"once more")] * 20)
    assert len({signature[:32] for signature in signatures}) == 20
    for signature in signatures:
        Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(signature, b"once more")


def test_the_device_verifies_what_cryptography_does(device: Device) -> None:
    rng = random.Random(4)
    cases = []
    for n in range(200):
        key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), rng.randbytes(rng.randrange(200))
        signature = key.sign(message)
        if n % 2:
            parts = [bytearray(public), bytearray(message + b"\x00"), bytearray(signature)]
            part = parts[rng.randrange(3)]
            part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
            public, message, signature = (bytes(part) for part in parts)
        cases.append((public, message, signature))
    answers = device.batch([("tocsin.crypto.ed25519.verify", *case) for case in cases])
    for answer, (public, message, signature) in zip(answers, cases, strict=True):
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            expected = True
        except InvalidSignature:
            expected = False
        assert answer is expected
    assert answers.count(True) == 100


def test_verify_refuses_other_encodings_of_a_good_signature(device: Device) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    verify = "tocsin.crypto.ed25519.verify"
    assert device.call(verify, public, b"m", signature) is True
    assert device.call(verify, public, b"m", signature[:32] + little(s + L)) is False
    assert device.call(verify, public, b"m", signature + b"\x00") is False
    assert device.call(verify, public, b"m", signature[:63]) is False
    assert device.call(verify, public[:31], b"m", signature) is False
    # y >= p, no point, and x = 0 with its sign bit set
    for y in (P, P + 1, 2, 1 | 1 << 255):
        assert device.call(verify, little(y), b"m", signature) is False


def test_base_point_multiples_at_the_edges(both: Device, device: Device) -> None:
    """Against sums made by the general formula, on scalars that a random test never meets."""
    edges = [0, 1, 2, 3, 8, 2**25, 2**26, 2**130 - 1, 2**252, L // 2, L - 2, L - 1]
    results = both.batch([("tocsin.crypto.curve.base", k) for k in edges])
    assert results[0] == little(1)
    assert results[1] == bytes.fromhex("58" + "66" * 31)
    assert results[-1] == bytes.fromhex("58" + "66" * 30 + "e6")
    assert results == device.batch([("tocsin.crypto.curve_plain.base", k) for k in edges])
    base = device.call("tocsin.crypto.curve_plain.decode", results[1])
    sums = device.batch([("tocsin.crypto.curve_plain.sum_of_multiples", k, base, 0, base) for k in edges])
    assert results == sums


def test_native_field_operations_at_the_limits_of_their_limbs(device: Device) -> None:
    """Limbs as large as an operation may leave them: no carry is lost, and the result keeps to the same limits."""
    rng = random.Random(16)
    largest = [8195 if i == 2 else 8191 for i in range(20)]
    edges = [largest, [0] * 20, [8191] * 20, [0] * 19 + [8191], [8191] + [0] * 19, [*largest[:19], 0]]
    edges += [[rng.choice([0, 1, 8190, limit]) for limit in largest] for _ in range(40)]

    def value(limbs: list[int]) -> int:
        return sum(limb << 13 * i for i, limb in enumerate(limbs))

    operations = [
        lambda a, b: a * b,
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * 121665,
    ]
    pairs = [(a, b) for a in edges for b in edges]
    for code, operation in enumerate(operations):
        results = device.batch([("field", code, a, b) for a, b in pairs])
        for (a, b), (number, limbs) in zip(pairs, results, strict=True):
            assert number == operation(value(a), value(b)) % P
            assert all(limb <= limit for limb, limit in zip(limbs, largest, strict=True))


def test_native_squares_at_the_limits_of_their_limbs(device: Device) -> None:
    """Four in a row: `field` has its right slot's number, 4, where the code takes how often."""
    rng = random.Random(17)
    largest = [8195 if i == 2 else 8191 for i in range(20)]
    cases = [largest, [0] * 20, [8191] * 20, [0] * 19 + [8191], [8191] + [0] * 19]
    cases += [[limit if i == at else 0 for i, limit in enumerate(largest)] for at in range(20)]
    cases += [[rng.choice([0, 1, 8190, limit]) for limit in largest] for _ in range(200)]
    results = device.batch([("field", 4, limbs, [0] * 20) for limbs in cases])
    for limbs, (number, found) in zip(cases, results, strict=True):
        assert number == pow(sum(limb << 13 * i for i, limb in enumerate(limbs)), 16, P)
        assert all(limb <= limit for limb, limit in zip(found, largest, strict=True))


def test_x25519_vectors(both: Device, device: Device, vectors: Vectors) -> None:
    found = vectors("x25519")
    for case in found["cases"]:
        k, u = bytes.fromhex(case["k"]), bytes.fromhex(case["u"])
        assert both.call("tocsin.crypto.x25519.shared", k, u).hex() == case["result"]
    for case in found["keys"]:
        assert both.call("tocsin.crypto.x25519.public", bytes.fromhex(case["private"])).hex() == case["public"]
    assert both.call("x25519_iterated", 1).hex() == found["iterated"]["1"]
    assert device.call("x25519_iterated", 1000).hex() == found["iterated"]["1000"]
    assert both.call("x25519_iterated", 100) == device.call("x25519_iterated", 100)


def test_x25519_against_cryptography(both: Device) -> None:
    rng = random.Random(5)
    pairs = [(rng.randbytes(32), rng.randbytes(32)) for _ in range(150)]
    # u-coordinates at and above p, with the unused top bit, and the largest there is
    pairs += [(rng.randbytes(32), little(u)) for u in (2, P - 2, P + 2, P + 17, 2**255 - 1, 2**256 - 1, 9 | 1 << 255)]
    results = both.batch([("tocsin.crypto.x25519.shared", k, u) for k, u in pairs])
    expected = [X25519PrivateKey.from_private_bytes(k).exchange(X25519PublicKey.from_public_bytes(u)) for k, u in pairs]
    assert results == expected


@pytest.mark.parametrize("u", [0, 1, P, P + 1, P - 1])
def test_x25519_refuses_the_all_zero_result(both: Device, u: int) -> None:
    with pytest.raises(Refused):
        both.call("tocsin.crypto.x25519.shared", bytes(range(32)), little(u))


def test_x25519_refuses_a_wrong_length(both: Device) -> None:
    for k, u in ((bytes(31), bytes(32)), (bytes(32), bytes(33))):
        with pytest.raises(Refused):
            both.call("tocsin.crypto.x25519.shared", k, u)
