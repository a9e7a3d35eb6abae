# sans-I/O
# hwsim: no-float
"""AES-CCM-16-64-128: AES-128 in CCM mode with a 13-octet nonce and an 8-octet tag (RFC 3610 with L = 2, M = 8).

It is built on `cryptolib`'s ECB and CBC, the two modes every ESP32 image has. One cryptolib object can't both encrypt
and decrypt; CCM only ever encrypts.
"""

from cryptolib import aes

_ECB = 1
_CBC = 2
TAG = 8
_FLAGS = (TAG - 2) // 2 << 3 | 1  # of block B_0: tag length, and L - 1 = 1


def _pad(octets):
    return octets + bytes(-len(octets) % 16)


def _xor(a, b):
    n = len(a)
    if not n:
        return b""
    return (int.from_bytes(a, "big") ^ int.from_bytes(b[:n], "big")).to_bytes(n, "big")


def _mac(key, nonce, aad, text):
    """Return the CBC-MAC over B_0, the additional data and the plaintext."""
    if len(nonce) != 13 or len(aad) >= 0xFF00 or len(text) > 0xFFFF:
        raise ValueError("ccm: length")
    first = bytes(((0x40 if aad else 0) | _FLAGS,)) + nonce + len(text).to_bytes(2, "big")
    head = _pad(len(aad).to_bytes(2, "big") + aad) if aad else b""
    return aes(key, _CBC, bytes(16)).encrypt(b"".join((first, head, text, bytes(-len(text) % 16))))[-16 : TAG - 16]


def _keystream(key, nonce, n):
    """Return S_0, which masks the tag, followed by the key stream for `n` octets of text."""
    counters = [b"\x01" + nonce + i.to_bytes(2, "big") for i in range((n + 31) // 16)]
    return aes(key, _ECB).encrypt(b"".join(counters))


def seal(key, nonce, aad, plaintext):
    """Return the ciphertext with its tag behind it."""
    mac = _mac(key, nonce, aad, plaintext)
    stream = _keystream(key, nonce, len(plaintext))
    return _xor(plaintext, stream[16:]) + _xor(mac, stream)


def open(key, nonce, aad, ciphertext):
    """Return the plaintext, or None when the tag is wrong."""
    n = len(ciphertext) - TAG
    if n < 0:
        return None
    stream = _keystream(key, nonce, n)
    plaintext = _xor(ciphertext[:n], stream[16:])
    expected = _xor(_mac(key, nonce, aad, plaintext), stream)
    difference = 0
    for i in range(TAG):
        difference |= expected[i] ^ ciphertext[n + i]
    return None if difference else plaintext
