"""Keep a salted hash of each broker password, to check it by.

The hash is a fast one, because the gate checks each connection: the passwords are 24 random octets, which no guessing
finds. For passwords that people choose it would be far too fast.
"""

from __future__ import annotations

import hmac
import os

SALT = 16


def verifier(password: str) -> bytes:
    """Make the salted hash that is kept of a password."""
    salt = os.urandom(SALT)
    return salt + hmac.digest(salt, password.encode(), "sha256")


def matches(kept: bytes, password: str) -> bool:
    """Tell whether `kept` was made of this password; takes as long for a wrong one."""
    return hmac.compare_digest(kept[SALT:], hmac.digest(kept[:SALT], password.encode(), "sha256"))
