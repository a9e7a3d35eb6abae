"""Encryption of single columns, so that a copied database or backup tells no position, name, number or key.

XChaCha20-Poly1305 with a random 24-octet nonce: the relay seals a value for every heartbeat, which in a long life is
too many for the random 96-bit nonces of AES-GCM under one key. Each value is bound to its table, column and row, so
that it can't be moved to another place. This doesn't hide which bracelet alarmed when, nor protect against someone who
also has the store key.
"""

import os

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from relay.verify.keys import expand

KEY_OCTETS = 32
NONCE_OCTETS = 24


class AtRestError(Exception):
    """A stored value can't be opened: another store key, or the row was altered."""


class Box:
    """Seals and opens column values under one store key."""

    def __init__(self, store_key: bytes) -> None:
        if len(store_key) != KEY_OCTETS:
            raise ValueError("the store key is 32 octets")
        self._key = expand(store_key, b"tocsin columns", KEY_OCTETS)

    def seal(self, place: str, row: int, value: bytes) -> bytes:
        """`value`, readable again only for the same place (table and column) and row."""
        nonce = os.urandom(NONCE_OCTETS)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(value, _bind(place, row), nonce, self._key)

    def open(self, place: str, row: int, sealed: bytes) -> bytes:
        """The value that was sealed for this place and row."""
        nonce = sealed[:NONCE_OCTETS]
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                bytes(sealed[NONCE_OCTETS:]), _bind(place, row), bytes(nonce), self._key
            )
        except (CryptoError, ValueError):
            raise AtRestError(f"{place}: the stored value does not open with this store key") from None

    def __repr__(self) -> str:
        return "Box()"


def _bind(place: str, row: int) -> bytes:
    return b"%s\x00%d" % (place.encode(), row)
