# sans-I/O
# hwsim: no-float
"""X25519 (RFC 7748): the key agreement of provisioning."""

from tocsin.crypto import curve

_BASE = b"\x09" + bytes(31)


def _check(octets):
    if len(octets) != 32:
        raise ValueError("x25519: length")


def public(k):
    """Return the public key of 32 random octets."""
    _check(k)
    return curve.x25519(k, _BASE)


def shared(k, u):
    """Return the secret shared with the owner of public key `u`; ValueError for the all-zero result (RFC 7748, 6.1)."""
    _check(k)
    _check(u)
    secret = curve.x25519(k, u)
    if secret == bytes(32):
        raise ValueError("x25519: degenerate public key")
    return secret
