"""What a board's offer was made with, so that a run that goes on notices that something else is asked for now.

Only salted hashes are kept, of a function that makes guessing dear: some of it is secret (Wi-Fi keys, passwords).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

_SALT = "salt"
_COST = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 16}  # 16 MiB, some 50 ms


def noted(asked: Mapping[str, str], salt: bytes | None = None) -> dict[str, str]:
    """What may be kept of options and their values."""
    salt = salt or os.urandom(16)
    kept = {name: hashlib.scrypt(value.encode(), salt=salt, **_COST).hex() for name, value in asked.items()}
    return {**kept, _SALT: salt.hex()}


def changed(asked: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """The options that are another value now, or were left out, or came in."""
    now = noted(asked, bytes.fromhex(before[_SALT]))
    return sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
