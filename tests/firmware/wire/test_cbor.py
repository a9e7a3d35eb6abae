"""The firmware's CBOR subset against RFC 8949's examples, `cbor2`, and noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from .interpreter import Device, Refused

Vectors = Callable[[str], dict[str, Any]]
DECODE, ENCODE = "tocsin.cbor.decode", "tocsin.cbor.encode"
EDGES = [0, 23, 24, 255, 256, 65535, 65536, 2**30, 2**31, 2**32 - 1, 2**32, 2**64 - 1]


def random_item(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(9 if depth else 6)
    if kind < 2:
        n = rng.choice(EDGES) if rng.random() < 0.5 else rng.getrandbits(rng.randrange(1, 64))
        return n if kind else -1 - n
    if kind == 2:
        return rng.randbytes(rng.choice([0, 1, 23, 24, 40, 255, 256]))
    if kind == 3:
        return "".join(rng.choice("aZ0 \u00fc\u6c34\U00010151") for _ in range(rng.randrange(30)))
    if kind < 6:
        return rng.choice([None, True, False])
    if kind < 8:
        return [random_item(rng, depth - 1) for _ in range(rng.choice([0, 1, 3, 24]))]
    return {random_key(rng): random_item(rng, depth - 1) for _ in range(rng.randrange(6))}


def random_key(rng: random.Random) -> Any:
    return rng.choice([rng.randrange(-300, 70000), rng.randbytes(rng.randrange(4)), f"k{rng.randrange(40)}"])


def test_examples_of_the_standard(device: Device, vectors: Vectors) -> None:
    found = vectors("cbor")
    for case in found["cases"]:
        value = case.get("value")
        if "pairs" in case:
            value = dict(case["pairs"])
        if "octets" in case:
            value = bytes.fromhex(case["octets"])
        assert device.call(ENCODE, value).hex() == case["hex"]
        assert device.call(DECODE, bytes.fromhex(case["hex"])) == value
    for octets in found["refused"]:
        with pytest.raises(Refused):
            device.call(DECODE, bytes.fromhex(octets))


def test_both_directions_against_cbor2(device: Device) -> None:
    rng = random.Random(7)
    items = [random_item(rng, 3) for _ in range(1000)]
    encoded = [deterministic(item) for item in items]
    assert [cbor2.loads(octets) for octets in encoded] == items
    assert device.batch([(ENCODE, item) for item in items]) == encoded
    assert device.batch([(DECODE, octets) for octets in encoded]) == items


def deterministic(item: Any) -> bytes:
    """RFC 8949, 4.2.1, on top of cbor2's simple items (its own canonical order of keys is RFC 7049's)."""
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(deterministic, item))
    if isinstance(item, dict):
        pairs = sorted((cbor2.dumps(key), deterministic(value)) for key, value in item.items())
        return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)
    return cbor2.dumps(item)


def head(major: int, n: int) -> bytes:
    octets = bytearray(cbor2.dumps(n))
    octets[0] |= major << 5
    return bytes(octets)


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "1817",  # 23 in two octets
        "190018",  # 24 in three
        "1a0000ffff",
        "1b00000000ffffffff",
        "5801aa",  # a string's length, not in its shortest form
        "1c",  # reserved
        "ff",
        "0000",  # octets left over
        "8201",  # truncated array
        "a101",  # truncated map
        "44010203",
        "19ff",
        "a202010102",  # keys out of order
        "a201020103",  # a key twice
        "a1f50102",
        "a1f501",  # true as a key
        "a1f601",
        "a18001",  # an array as a key
        "61ff",  # not UTF-8
        "62c0af",  # an overlong form
        "63eda080",  # a surrogate
        "9bffffffffffffffff",  # an array of 2^64 - 1 items
        "bbffffffffffffffff",
        "5bffffffffffffffff",
        "c100",
        "8181818181",
        "818181818100",  # one level deeper than allowed
    ],
)
def test_refused(device: Device, octets: str) -> None:
    with pytest.raises(Refused):
        device.call(DECODE, bytes.fromhex(octets))


def test_depth(device: Device) -> None:
    assert device.call(DECODE, bytes.fromhex("8181818100")) == [[[[0]]]]
    assert device.call(DECODE, bytes.fromhex("818100"), 2) == [[0]]
    with pytest.raises(Refused):
        device.call(DECODE, bytes.fromhex("818100"), 1)
    with pytest.raises(Refused):
        device.call(DECODE, b"\x81" * 5000)


@pytest.mark.parametrize("value", [1.5, 2**64, -(2**64) - 1, {None: 1}, {True: 1}])
def test_what_cannot_be_encoded(device: Device, value: Any) -> None:
    with pytest.raises(Refused):
        device.call(ENCODE, value)


def test_noise_is_refused_or_has_one_encoding(device: Device) -> None:
    """Whatever is accepted encodes to the same octets again, and means the same to cbor2."""
    rng = random.Random(8)
    inputs = []
    for _ in range(3000):
        octets = bytearray(deterministic(random_item(rng, 3))[:200])
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(octets))
            change = rng.randrange(3)
            if change == 0:
                octets[at] = rng.randrange(256)
            elif change == 1:
                octets.insert(at, rng.randrange(256))
            elif len(octets) > 1:
                del octets[at]
        inputs.append(bytes(octets))
    inputs += [rng.randbytes(rng.randrange(1, 12)) for _ in range(3000)]
    results = device.batch([(DECODE, octets) for octets in inputs])
    accepted = [(octets, item) for octets, item in zip(inputs, results, strict=True) if not isinstance(item, Refused)]
    assert 500 < len(accepted) < 5500
    assert device.batch([(ENCODE, item) for _, item in accepted]) == [octets for octets, _ in accepted]
    assert [cbor2.loads(octets) for octets, _ in accepted] == [item for _, item in accepted]
