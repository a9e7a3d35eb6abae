"""The form of a backup file: records, each sealed, for one recovery key.

    magic and version, 16 octets
    the file key, sealed to the recovery key (libsodium: crypto_box_seal), 80 octets
    header of the stream (libsodium: crypto_secretstream, XChaCha20-Poly1305), 24 octets
    records: length in 4 octets, ciphertext; the last one has the tag "final"

Order, number and content of the records, and all that comes before them, are authenticated: a file that was cut off,
altered or put together from two does not open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import cbor2
from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from relay.backup import BackupError

MAGIC = b"tocsin backup 1\n"
RECORD_MOST = 64 * 1024 * 1024
_NAME = MAGIC[: MAGIC.index(b" 1")]
_KEY_OCTETS = sodium.crypto_secretstream_xchacha20poly1305_KEYBYTES
_SEALED_OCTETS = _KEY_OCTETS + sodium.crypto_box_SEALBYTES
_HEADER_OCTETS = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL


class Writer:
    """A writer of sealed records. `key` opens its file again, for a check before the backup is called good."""

    def __init__(self, file: BinaryIO, recovery_public: bytes) -> None:
        self._file = file
        self.key = sodium.crypto_secretstream_xchacha20poly1305_keygen()
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        header = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, self.key)
        try:
            self._before = MAGIC + SealedBox(PublicKey(recovery_public)).encrypt(self.key) + header
        except (CryptoError, RuntimeError):  # PyNaCl's own RuntimeError is of both kinds
            raise BackupError(
                "the recovery key in the data folder is none, so nobody could open a backup; restore it, or make a new "
                "one with `relay backup FILE --new-recovery-key KEYFILE`"
            ) from None
        file.write(self._before)

    def write(self, record: Any, *, last: bool = False) -> None:
        sealed = sodium.crypto_secretstream_xchacha20poly1305_push(
            self._state, cbor2.dumps(record), self._before, _FINAL if last else _MESSAGE
        )
        self._file.write(len(sealed).to_bytes(4, "big") + sealed)


def read(file: BinaryIO, *, private: bytes | None = None, key: bytes | None = None) -> Iterator[Any]:
    """Yield the records of a file, opened by the private half of its recovery key, or by its own key."""
    before = file.read(len(MAGIC) + _SEALED_OCTETS + _HEADER_OCTETS)
    if not before.startswith(MAGIC):
        what = "a backup of another version of Tocsin" if before.startswith(_NAME) else "no backup of a Tocsin relay"
        raise BackupError(f"this is {what}")
    if private is not None:
        try:
            key = SealedBox(PrivateKey(private)).decrypt(before[len(MAGIC) : len(MAGIC) + _SEALED_OCTETS])
        except CryptoError:
            raise BackupError(
                "this recovery key does not open this backup; use the one that `relay init` gave when that relay was "
                "made, or that was made for it later"
            ) from None
    assert key is not None
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    tag = _MESSAGE
    try:
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, before[-_HEADER_OCTETS:], key)
        while tag != _FINAL:
            length = int.from_bytes(file.read(4), "big")
            if not 0 < length <= RECORD_MOST:
                raise ValueError
            octets, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, file.read(length), before)
            yield cbor2.loads(octets)
        if file.read(1):
            raise ValueError
    except (CryptoError, ValueError, EOFError, cbor2.CBORDecodeError):
        raise BackupError("this backup is damaged, or was cut off; use another copy of it, or an earlier one") from None
