# sans-I/O
# hwsim: no-float
"""SHA-512 (FIPS 180-4) with big integers, for interpreters that can't load native code."""

from tocsin.crypto.sha512_constants import H, K

_MASK = (1 << 64) - 1


def _words(octets):
    return [int.from_bytes(octets[i : i + 8], "big") for i in range(0, len(octets), 8)]


_H = _words(H)
_K = _words(K)


def _compress(state, block):
    """Mix one 128-octet block into the state. A word written twice in a row rotates by a shift."""
    mask = _MASK
    w = _words(block)
    a, b, c, d, e, f, g, h = state
    for t in range(80):
        i = t & 15
        if t > 15:
            x = w[(t + 1) & 15]
            y = w[(t + 14) & 15]
            xx = x << 64 | x
            yy = y << 64 | y
            sigma0 = (xx >> 1 ^ xx >> 8 ^ x >> 7) & mask
            sigma1 = (yy >> 19 ^ yy >> 61 ^ y >> 6) & mask
            w[i] = (w[i] + w[(t + 9) & 15] + sigma0 + sigma1) & mask
        ee = e << 64 | e
        aa = a << 64 | a
        t1 = h + ((ee >> 14 ^ ee >> 18 ^ ee >> 41) & mask) + (g ^ e & (f ^ g)) + _K[t] + w[i]
        t2 = ((aa >> 28 ^ aa >> 34 ^ aa >> 39) & mask) + (a & b | c & (a | b))
        h, g, f, e, d, c, b, a = g, f, e, (d + t1) & mask, c, b, a, (t1 + t2) & mask
    mixed = (a, b, c, d, e, f, g, h)
    return [(state[i] + mixed[i]) & mask for i in range(8)]


def sha512(*parts):
    """Return the digest of the parts, one after another."""
    msg = b"".join(parts)
    n = len(msg)
    msg += b"\x80" + bytes((111 - n) % 128) + (8 * n).to_bytes(16, "big")
    state = _H
    for at in range(0, len(msg), 128):
        state = _compress(state, msg[at : at + 128])
    return b"".join([word.to_bytes(8, "big") for word in state])
