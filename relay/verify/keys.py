# sans-I/O
"""Key schedule: from one X25519 agreement to three chains of message keys, and the relay's own signing key.

HMAC comes from `hmac.digest` rather than from `cryptography`: the ratchet calls it twice for every message, and the
one-shot is the fastest there is. The key agreement, done once in a bracelet's life, uses `cryptography`.
"""

import hashlib
import hmac
from typing import NamedTuple

import cbor2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

LABEL = "TCN1"
KEY_OCTETS = 32
SALT_OCTETS = 8
MESSAGE_KEY_OCTETS = 29  # 16 octets of AES key, 13 of base IV
RELAY_ID_OCTETS = 8


class Roots(NamedTuple):
    """The first chain key of each of a bracelet's chains."""

    alarm: bytes
    heartbeat: bytes
    down: bytes

    def __repr__(self) -> str:
        return "Roots()"


def extract(salt: bytes, material: bytes) -> bytes:
    """Compute HKDF-Extract with SHA-256 (RFC 5869, 2.2)."""
    return hmac.digest(salt, material, "sha256")


def expand(key: bytes, info: bytes, octets: int) -> bytes:
    """Compute HKDF-Expand with SHA-256 (RFC 5869, 2.3)."""
    block, out, number = b"", b"", 1
    while len(out) < octets:
        block = hmac.digest(key, block + info + bytes((number,)), "sha256")
        out += block
        number += 1
    return out[:octets]


def agree(private: bytes, public: bytes) -> bytes:
    """Compute X25519 (RFC 7748). Raises ValueError for a public key whose result is all zero."""
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def roots(shared: bytes, kid: bytes, relay_id: bytes) -> Roots:
    """Derive the chain roots, as bracelet and relay both do at provisioning."""
    prk = extract(LABEL.encode(), shared)
    return Roots(*(expand(prk, cbor2.dumps([LABEL, chain, kid, relay_id]), KEY_OCTETS) for chain in Roots._fields))


# A chain step is HKDF-Expand with an output of at most one block, which is a single HMAC.


def message_key(chain_key: bytes) -> bytes:
    """Derive key and base IV of the message at the head of a chain."""
    return hmac.digest(chain_key, b"m\x01", "sha256")[:MESSAGE_KEY_OCTETS]


def salt(key: bytes, plaintext: bytes) -> bytes:
    """Derive the salt of a message of the down chain from its message key and text. So two texts never share a key and
    nonce, not even when the relay was put back to an earlier state and uses a counter again (as in RFC 5297, SIV)."""
    return hmac.digest(key, b"t" + plaintext, "sha256")[:SALT_OCTETS]


def salted_key(key: bytes, salt: bytes) -> bytes:
    """Derive key and base IV of the message of the down chain that has this salt."""
    return hmac.digest(key, b"s" + salt + b"\x01", "sha256")[:MESSAGE_KEY_OCTETS]


def next_chain_key(chain_key: bytes) -> bytes:
    """Derive the chain key that follows. This can't be undone, which gives the chain its forward secrecy."""
    return hmac.digest(chain_key, b"c\x01", "sha256")


class RelayKeys:
    """The relay's Ed25519 key. Subscribers pin its public half; its id is bound into every bracelet's signature."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_OCTETS:
            raise ValueError("the relay's key is 32 octets")
        self.public, self._secret = crypto_sign_seed_keypair(seed)
        self.id = relay_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-octet signature of `message`."""
        return crypto_sign(message, self._secret)[:64]

    def __repr__(self) -> str:
        return f"RelayKeys({self.id.hex()})"


def relay_id(public: bytes) -> bytes:
    """Return the short name of a relay: the first 8 octets of SHA-256 of its Ed25519 public key."""
    return hashlib.sha256(public).digest()[:RELAY_ID_OCTETS]
