"""Get MicroPython's image for a board: fetch it once, check it by its SHA-256, keep it in the user's cache.

A hash that the board file doesn't have yet is shown, confirmed by the engineer, and noted beside the state of the
boards. The engineer is not asked again, and the hash is never written into the repository by itself.
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
from hwsim.workshop.people import BY_ENGINEER, Answer
from hwsim.workshop.plan import write_private
from hwsim.workshop.trouble import Trouble

_TIMEOUT_S = 60
_LARGEST = 16 << 20  # octets: no chip of ours holds more
Confirm = Callable[[str], Answer]


def folder() -> Path:
    return cache_folder() / "images"


def get(section: dict[str, Any], own: Path | None, confirm: Confirm, notes: Path) -> tuple[bytes, str, str]:
    """Return the content of a board's [image], its SHA-256, and who vouches for that.

    `own`: a file to use instead of a download. `notes`: a file with the hashes that were confirmed here.
    """
    name, wanted = section["file"], section["sha256"]
    if own is not None:
        try:
            content = own.read_bytes()
        except OSError as error:
            raise Trouble(f"{own}: the image can't be read ({error.strerror}); see --image") from None
        # A file of another name is another build, for which the board file has no hash.
        return content, *_checked(content, own.name, wanted if own.name == name else "", confirm, notes)
    if "url" not in section:
        raise Trouble(f"{name} can't be downloaded: build it ({section['recipe']}), and name it with --image FILE")
    kept = folder() / name
    if kept.is_file():
        content = kept.read_bytes()
    else:
        content = _download(section["url"])
    digest, by = _checked(content, name, wanted, confirm, notes)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_private(kept, content)
    return content, digest, by


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


def _checked(content: bytes, name: str, wanted: str, confirm: Confirm, notes: Path) -> tuple[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    if wanted:
        if digest != wanted:
            raise Trouble(
                f"{name}: bad image, its SHA-256 is {digest[:16]}..., and the board file says {wanted[:16]}...: get it "
                "anew; nothing was written to the board"
            )
        return digest, "board file"
    confirmed = _confirmed(notes)
    if confirmed.get(digest) == name:
        return digest, BY_ENGINEER
    other = [known for known, of in confirmed.items() if of == name]
    text = f"{name}: its SHA-256 is not known. This file's is\n  {digest}\nIs it the one on the maker's page?"
    if other:
        text += f" (Until now it was {other[-1]}.)"
    answer = confirm(text)
    if not answer.yes:
        raise Trouble(f"{name}: its SHA-256 was not confirmed; nothing was written to the board")
    if answer.by == BY_ENGINEER:
        notes.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(notes, json.dumps({**confirmed, digest: name}, indent=1).encode())
    return digest, answer.by


def _confirmed(notes: Path) -> dict[str, str]:
    """Return the names of images, by the hashes that were confirmed."""
    try:
        known = json.loads(notes.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
