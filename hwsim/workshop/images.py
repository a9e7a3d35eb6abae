"""MicroPython's image for a board: fetched once, checked by its SHA-256, kept in the user's cache.

A hash that the board file doesn't have yet is shown, confirmed by the engineer, and kept in the cache: it is compared
from then on, and never written into the repository by itself.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwsim.toolchain import cache_folder
from hwsim.workshop.plan import write_private
from hwsim.workshop.trouble import Trouble

_TIMEOUT_S = 60
_LARGEST = 16 << 20  # octets: no chip of ours holds more
Confirm = Callable[[str], bool]


def folder() -> Path:
    return cache_folder() / "images"


def get(section: dict[str, Any], own: Path | None, confirm: Confirm) -> tuple[bytes, str]:
    """The content of a board's [image], and its SHA-256. `own`: a file to use instead of a download."""
    name, wanted = section["file"], section["sha256"]
    if own is not None:
        try:
            content = own.read_bytes()
        except OSError as error:
            raise Trouble(f"{own}: the image can't be read ({error.strerror}); see --image") from None
        # A file of one's own may be another build, for which the board file has no hash.
        return content, _checked(content, own.name, wanted if own.name == name else "", confirm)
    kept = folder() / name
    if kept.is_file():
        content = kept.read_bytes()
    else:
        content = _download(section["url"])
    digest = _checked(content, name, wanted, confirm)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_private(kept, content)
    return content, digest


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content: bytes = answer.read(_LARGEST + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Trouble(
            f"the image could not be downloaded from {url} ({reason}): try again, or get it another way and name it "
            "with --image FILE"
        ) from None
    if len(content) > _LARGEST:
        raise Trouble(f"what lies at {url} is too large for an image: see [image] in the board file")
    return content


def _checked(content: bytes, name: str, wanted: str, confirm: Confirm) -> str:
    digest = hashlib.sha256(content).hexdigest()
    known = _confirmed()
    expected = wanted or known.get(name, "")
    if not expected:
        text = f"{name}: its SHA-256 is not known. This file's is\n  {digest}\nIs it the one on the maker's page?"
        if not confirm(text):
            raise Trouble(f"{name}: its SHA-256 was not confirmed; nothing was written to the board")
        folder().mkdir(parents=True, exist_ok=True)
        write_private(folder() / "confirmed.json", json.dumps({**known, name: digest}, indent=1).encode())
    elif digest != expected:
        source = "the board file" if wanted else f"{folder() / 'confirmed.json'} (confirmed here before)"
        raise Trouble(
            f"{name}: bad image, its SHA-256 is {digest[:16]}..., and {source} says {expected[:16]}...: delete "
            f"{folder() / name} or get it anew; nothing was written to the board"
        )
    return digest


def _confirmed() -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads((folder() / "confirmed.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return known

