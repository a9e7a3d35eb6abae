# sans-I/O
"""A document on the broker: COSE_Encrypt0 with AES-256-GCM under an epoch key (RFC 9052, 5.2; RFC 9053, 4.1).

The topic is bound in as external data, so that a document can't be moved to another bracelet or audience. Zero octets
after the document make all documents of a kind equally long: the length does not betray a cancel, duress or a missing
position. Grammar: `sealed.cddl`.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_OCTETS, EPOCH_OCTETS, NONCE_OCTETS, TAG_OCTETS = 32, 8, 12, 16
ALG_A256GCM = 3
MAX_OCTETS = 1 << 15  # of a sealed document
PADDED = {"alarm": 1536, "case": 512}  # octets, or a multiple
_HEADER = bytes((0xA2, 1, ALG_A256GCM, 4, 0x40 | EPOCH_OCTETS))  # {1: A256GCM, 4: epoch}
_NONCE_HEADER = bytes((0xA1, 5, 0x40 | NONCE_OCTETS))  # {5: nonce}
_EPOCH, _NONCE, _LENGTH, _SEALED = slice(7, 15), slice(18, 30), slice(31, 33), slice(33, None)  # in a sealed document


class SealError(Exception):
    """Octets that are no sealed document, or none of this topic and epoch. `code` names the reason."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Epoch:
    """A key for everything that an audience is told until the next epoch."""

    __slots__ = ("_before_nonce", "_before_topic", "_cipher", "id", "key")

    def __init__(self, number: bytes, key: bytes) -> None:
        if len(number) != EPOCH_OCTETS or len(key) != KEY_OCTETS:
            raise ValueError("an epoch has 8 octets, its key 32")
        self.id = number
        self.key = key
        self._cipher = AESGCM(key)
        protected = _byte_string(_HEADER + number)
        self._before_nonce = _before_nonce(number)
        self._before_topic = b"\x83\x68Encrypt0" + protected  # Enc_structure (RFC 9052, 5.3)

    def seal(self, topic: str, document: bytes, padded: int) -> bytes:
        """Seal a document; return the octets to publish on `topic`."""
        nonce = os.urandom(NONCE_OCTETS)
        padding = -len(document) % padded
        context = self._before_topic + _byte_string(topic.encode())
        sealed = self._cipher.encrypt(nonce, document + bytes(padding), context)
        return _assemble(self._before_nonce, nonce, sealed)

    def open(self, topic: str, octets: bytes) -> bytes:
        """Open the document that was sealed for this topic."""
        number, nonce, sealed = parse(octets)
        if number != self.id:
            raise SealError("other_epoch")
        try:
            padded = self._cipher.decrypt(nonce, sealed, self._before_topic + _byte_string(topic.encode()))
        except InvalidTag:
            raise SealError("bad_tag") from None
        return padded.rstrip(b"\0")

    def __repr__(self) -> str:  # a key must not reach a log or a traceback
        return f"Epoch({self.id.hex()})"


def parse(octets: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a sealed document into epoch, nonce and ciphertext. This proves nothing yet."""
    epoch, nonce, sealed = octets[_EPOCH], octets[_NONCE], octets[_SEALED]
    if len(octets) > MAX_OCTETS:
        raise SealError("too_large")
    # One comparison checks everything: algorithm, no other entry, lengths, the deterministic encoding.
    if len(sealed) < 256 or octets != _assemble(_before_nonce(epoch), nonce, sealed):
        raise SealError("not_sealed")
    return epoch, nonce, sealed


def length(octets: bytes) -> int:
    """Return the length of the sealed document with which these octets begin, if they begin with one."""
    return _SEALED.start + int.from_bytes(octets[_LENGTH], "big")


def _assemble(before_nonce: bytes, nonce: bytes, sealed: bytes) -> bytes:
    return b"%b%b\x59%b%b" % (before_nonce, nonce, len(sealed).to_bytes(2, "big"), sealed)


def _before_nonce(epoch: bytes) -> bytes:
    return b"\x83" + _byte_string(_HEADER + epoch) + _NONCE_HEADER


def _byte_string(octets: bytes) -> bytes:
    """Encode a CBOR byte string of less than 256 octets."""
    length = len(octets)
    return bytes((0x40 | length,) if length < 24 else (0x58, length)) + octets
