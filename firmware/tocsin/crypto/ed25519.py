# sans-I/O
# hwsim: no-float
"""Ed25519 signatures (RFC 8032, 5.1) with hedged nonces.

The nonce is derived from the key, the message and fresh randomness. A bad random generator then does no more harm than
in the deterministic scheme, and a fault injected while the same message is signed twice doesn't give away the key.
Anyone can verify the signatures as usual.
"""

import os

from tocsin.crypto import curve
from tocsin.crypto.sha512 import sha512

_L = 2**252 + 27742317777372353535851937790883648493


def _number(octets):
    return int.from_bytes(octets, "little")


def expand(seed):
    """Return (secret scalar, nonce prefix) of a 32-octet seed."""
    if len(seed) != 32:
        raise ValueError("ed25519: seed")
    digest = sha512(seed)
    return _number(digest[:32]) & ((1 << 254) - 8) | 1 << 254, digest[32:]


def public(seed):
    """Return the public key of a seed."""
    return curve.base(expand(seed)[0] % _L)


def sign(scalar, prefix, public_key, msg, noise):
    """Return the signature. `noise` is 32 fresh random octets, or empty for RFC 8032's deterministic signature."""
    # The randomness fills the first hash block together with the prefix, so that the message starts on a block of its
    # own and can't be chosen to cancel anything out.
    nonce = _number(sha512(prefix, noise, bytes(-(len(prefix) + len(noise)) % 128) if noise else b"", msg)) % _L
    commitment = curve.base(nonce)
    challenge = _number(sha512(commitment, public_key, msg))
    return commitment + ((nonce + challenge * scalar) % _L).to_bytes(32, "little")


class Signer:
    """A key ready to sign: the numbers that all signatures share are computed once."""

    def __init__(self, seed):
        self._scalar, self._prefix = expand(seed)
        self.public = curve.base(self._scalar % _L)

    def sign(self, msg):
        return sign(self._scalar, self._prefix, self.public, msg, os.urandom(32))


def _key(octets):
    """Return the point of a public key, or None when it is not 32 octets, not the one encoding of a point, or of small
    order: then one signature may be good for many messages."""
    from tocsin.crypto import curve_plain as plain

    point = plain.decode(octets) if len(octets) == 32 else None
    return None if point is None or plain.small(point) else point


def good(public_key):
    """Tell whether a signature can be genuine at all for this key."""
    return _key(public_key) is not None


def verify(public_key, msg, signature):
    """Tell whether `signature` is genuine, by the rule in firmware/updates.md. It is slow (the general case
    needs no table), so not for the alarm path."""
    from tocsin.crypto import curve_plain as plain

    point = _key(public_key)
    if point is None or len(signature) != 64:
        return False
    s = _number(signature[32:])
    if s >= _L:
        return False
    challenge = _number(sha512(signature[:32], public_key, msg)) % _L
    found = plain.sum_of(s, plain.BASE, challenge, plain.negate(point))
    return plain.encode(found) == signature[:32] and not plain.small(found)
