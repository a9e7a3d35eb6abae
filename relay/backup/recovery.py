"""The operators' recovery key: an X25519 key pair. Its public half lies in the data folder and makes backups; the
private half opens them and is kept elsewhere, on paper or on another machine.

The private half has a form as text that a person can copy: a name, and base 32 in groups of eight (RFC 4648) with a
checksum in it.
"""

import base64
import hashlib
import re

from nacl.public import PrivateKey

from relay.backup import BackupError

PREFIX = "TOCSIN-RECOVERY"
_CHECK_OCTETS = 3
_GROUP = 8


def new() -> tuple[str, bytes]:
    """Draw a recovery key: (private half as text, public half)."""
    key = PrivateKey.generate()
    return text(bytes(key)), bytes(key.public_key)


def text(private: bytes) -> str:
    """Write the private half as text, for a person to write down."""
    letters = base64.b32encode(private + _check(private)).decode()
    return "-".join([PREFIX, *(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))])


def read(written: str) -> bytes:
    """Read the private half. Case, spaces and line ends don't matter."""
    letters = re.sub(r"[\s-]", "", written).upper().removeprefix(PREFIX.replace("-", ""))
    try:
        octets = base64.b32decode(letters)
    except ValueError:
        octets = b""
    private, check = octets[:-_CHECK_OCTETS], octets[-_CHECK_OCTETS:]
    if len(private) != PrivateKey.SIZE or check != _check(private):
        raise BackupError(
            f"this is no recovery key: it begins with {PREFIX} and has seven groups of eight letters and digits; "
            "look for one that was misread, or left out"
        )
    return private


def public_of(private: bytes) -> bytes:
    return bytes(PrivateKey(private).public_key)


def _check(private: bytes) -> bytes:
    return hashlib.sha256(b"TCN1 recovery key\x00" + private).digest()[:_CHECK_OCTETS]
