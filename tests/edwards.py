"""Ed25519's curve in plain affine arithmetic (RFC 8032, 5.1), to make keys and signatures that no honest program makes.

After "Taming the Many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), which names the kinds; every vector is computed
here. Slow, and the rule of `accepts` is written out once more, independent of both verifiers.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(p: Point, q: Point) -> Point:
    t = D * p[0] * q[0] * p[1] * q[1] % P
    x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + t, -1, P)
    return x % P, (p[1] * q[1] + p[0] * q[0]) * pow(1 - t, -1, P) % P


def times(k: int, p: Point) -> Point:
    result = NEUTRAL
    for bit in f"{k:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, p)
    return result


def negative(p: Point) -> Point:
    return -p[0] % P, p[1]


def encode(p: Point) -> bytes:
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def decode(octets: bytes) -> Point | None:
    """None unless it is the one encoding of a point."""
    number = int.from_bytes(octets, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else P - x), y


def _of(y: int) -> Point:
    point = decode(y.to_bytes(32, "little"))
    assert point is not None
    return point


BASE = _of(4 * pow(5, -1, P) % P)


def _of_order_8() -> Point:
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            found = times(L, point)
            if times(4, found) != NEUTRAL:
                return found
    raise AssertionError


TORSION = [times(i, _of_order_8()) for i in range(8)]  # all points of small order; i and 8 - i: each other's negative


def small(p: Point) -> bool:
    return times(8, p) == NEUTRAL


def hashed(commitment: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little") % L


def accepts(public: bytes, message: bytes, signature: bytes) -> bool:
    """The rule of firmware/updates.md: without the cofactor, and neither A nor R of small order."""
    key = decode(public) if len(public) == 32 else None
    s = int.from_bytes(signature[32:], "little")
    if key is None or small(key) or len(signature) != 64 or s >= L:
        return False
    found = add(times(s, BASE), negative(times(hashed(signature[:32], public, message), key)))
    return encode(found) == signature[:32] and not small(found)


class Case(NamedTuple):
    public: bytes
    message: bytes
    signature: bytes


def signed(a: int, i: int, r: int, j: int, message: bytes, more: int = 0) -> Case:
    """By the key a B + T_i with the commitment r B + T_j, S enlarged by `more`: whoever doubts the cofactor accepts it
    only where h T_i and T_j are each other's negative."""
    public = encode(add(times(a, BASE), TORSION[i]))
    commitment = encode(add(times(r, BASE), TORSION[j]))
    s = (r + hashed(commitment, public, message) * a) % L + more
    return Case(public, message, commitment + s.to_bytes(32, "little"))


def _found(a: int, i: int, r: int, j: int, cofactorless: bool) -> Case:
    """The first message for which the equation without the cofactor holds, or does not."""
    for n in range(1000):
        case = signed(a, i, r, j, b"message %d" % n)
        h = hashed(case.signature[:32], case.public, case.message)
        if ((j + h * i) % 8 == 0) == cofactorless:
            return case
    raise AssertionError


def _written(case: Case, public: bytes | None = None, commitment: bytes | None = None) -> Case:
    """With key or commitment in other octets."""
    signature = case.signature if commitment is None else commitment + case.signature[32:]
    return Case(public or case.public, case.message, signature)


def _beyond(p: Point) -> bytes:
    """The encoding with y + p, which only y < 19 has."""
    return (p[1] + P | (p[0] & 1) << 255).to_bytes(32, "little")


NEUTRAL_BEYOND, MINUS_ZERO = _beyond(NEUTRAL), (1 | 1 << 255).to_bytes(32, "little")
# The twelve kinds of the paper's table 6, in its order, and some more.
KINDS: dict[str, Case] = {
    "S = 0, A and R small": _found(0, 1, 0, 3, True),
    "A small, R mixed": _found(0, 1, 7, 5, True),
    "A mixed, R small": _found(5, 1, 0, 3, True),
    "A and R mixed": _found(5, 1, 7, 3, True),
    "A and R mixed, cofactored only": _found(5, 1, 7, 3, False),
    "A mixed, R of order L, cofactored only": _found(5, 4, 7, 0, False),
    "S > L": signed(5, 0, 7, 0, b"m", L),
    "S >> L": signed(5, 0, 7, 0, b"m", 14 * L),
    "R small, not canonical": _written(_found(5, 1, 0, 0, True), commitment=NEUTRAL_BEYOND),
    "R small, minus zero": _written(_found(5, 1, 0, 0, True), commitment=MINUS_ZERO),
    "A small, not canonical": _written(_found(0, 0, 7, 0, True), public=NEUTRAL_BEYOND),
    "A small, minus zero": _written(_found(0, 0, 7, 0, True), public=MINUS_ZERO),
    "all zero key": Case(bytes(32), b"m", encode(TORSION[0]) + bytes(32)),
    "honest": signed(5, 0, 7, 0, b"m"),
    "A of order L, R mixed": signed(5, 0, 7, 2, b"m"),
}
BAD_KEYS: dict[str, bytes] = {
    "too short": BASE[1].to_bytes(32, "little")[:31],
    "too long": encode(BASE) + b"\0",
    "empty": b"",
    "no point": (2).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
    "not canonical": _beyond(_of(3)),
    **{f"small order, {i}": encode(point) for i, point in enumerate(TORSION)},
    "small order, not canonical": NEUTRAL_BEYOND,
    "small order, minus zero": MINUS_ZERO,
}
