# sans-I/O
# hwsim: no-float
"""HMAC and HKDF with SHA-256 (RFC 2104, RFC 5869). MicroPython has `hashlib.sha256` but no `hmac`."""

from hashlib import sha256

# They are numbers: a list of single octets would take three times the heap.
_INNER = int.from_bytes(b"\x36" * 64, "little")
_OUTER = int.from_bytes(b"\x5c" * 64, "little")


def hmac_sha256(key, msg):
    if len(key) > 64:
        key = sha256(key).digest()
    key = int.from_bytes(key, "little")  # filled up with zeros at its end
    inner = sha256((key ^ _INNER).to_bytes(64, "little"))
    inner.update(msg)
    outer = sha256((key ^ _OUTER).to_bytes(64, "little"))
    outer.update(inner.digest())
    return outer.digest()


def extract(salt, ikm):
    """Return the pseudorandom key; an empty salt means 32 zeros (RFC 5869, 2.2)."""
    return hmac_sha256(salt or bytes(32), ikm)


def expand(prk, info, n):
    """Return `n` octets, at most 255 * 32."""
    if n > 255 * 32:
        raise ValueError("hkdf: length")
    block = out = b""
    i = 0
    while len(out) < n:
        i += 1
        block = hmac_sha256(prk, block + info + bytes((i,)))
        out += block
    return out[:n]
