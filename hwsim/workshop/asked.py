"""Keep the options that a board's offer was made with, so that a later run for that board notices other options.

Only salted hashes are kept, of a function that makes guessing expensive: some options are secret (Wi-Fi keys,
passwords).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

_SALT = "salt"
_COST = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 16}  # 16 MiB, some 50 ms


def noted(asked: Mapping[str, str], salt: bytes | None = None) -> dict[str, str]:
    """Return the part of options and their values that may be kept."""
    salt = salt or os.urandom(16)
    kept = {name: hashlib.scrypt(value.encode(), salt=salt, **_COST).hex() for name, value in asked.items()}
    return {**kept, _SALT: salt.hex()}


def changed(asked: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """List the options that have another value now, were left out, or came in."""
    now = noted(asked, bytes.fromhex(before[_SALT]))
    return sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
