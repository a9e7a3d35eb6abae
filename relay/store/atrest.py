"""Encrypts single columns, so that a copied database or backup tells no position, name, password or key.

AES-256-GCM-SIV (RFC 8452) with a random nonce: the relay seals a value for every heartbeat, which in a long life is too
many for the random 96-bit nonces of plain AES-GCM under one key. Each value is bound to its table, column and row, so
that it can't be moved to another place. The encryption doesn't hide which bracelet raised an alarm and when. It doesn't
protect against someone who also has the store key, nor against putting back an older copy of the same value.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from relay.verify.keys import expand

KEY_OCTETS = 32
NONCE_OCTETS = 12


class AtRestError(Exception):
    """A stored value that can't be opened: another store key, or the row was altered."""


class Box:
    """A store key, under which column values are sealed and opened."""

    def __init__(self, store_key: bytes) -> None:
        if len(store_key) != KEY_OCTETS:
            raise ValueError("the store key is 32 octets")
        self._cipher = AESGCMSIV(expand(store_key, b"tocsin columns", KEY_OCTETS))

    def seal(self, place: str, row: int, value: bytes) -> bytes:
        """Seal `value`, readable again only for the same place (table and column) and row."""
        nonce = os.urandom(NONCE_OCTETS)
        return nonce + self._cipher.encrypt(nonce, value, _bind(place, row))

    def open(self, place: str, row: int, sealed: bytes) -> bytes:
        """Open the value that was sealed for this place and row."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], _bind(place, row))
        except (InvalidTag, ValueError):
            raise AtRestError(f"{place}: the stored value does not open with this store key") from None

    def __repr__(self) -> str:
        return "Box()"


def _bind(place: str, row: int) -> bytes:
    return b"%s\x00%d" % (place.encode(), row)
