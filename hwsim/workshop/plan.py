"""The steps of a bracelet at the bench, and its progress: pure, so that interruptions can be tried without a board.

Each board has one file with the steps that are done, written after each step. So the next run goes on at the step that
failed. When the power goes, a step may be done and not yet noted: every step can be done a second time.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Name, and the words while it runs. Finding the port and the chip comes before: that tells which board this is.
STEPS = {
    "image": "MicroPython's image, and its SHA-256",
    "erase": "erase the flash",
    "write": "write MicroPython, with the journal's partition",
    "verify": "compare what is in the flash",
    "start": "start MicroPython",
    "install": "compile and copy the firmware",
    "selftest": "self-test of every part",
    "offer": "the relay's offer",
    "provision": "the bracelet makes its own keys",
    "answer": "its public keys go to the relay",
    "drill": "a drill, end to end",
    "sms": "a drill by SMS alone",
    "record": "record and label",
}
_FORMAT = 1


@dataclass
class Progress:
    """The progress of one board. `facts` are those that later steps and the record need; no secret is among them."""

    board: str
    done: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failed: str = ""  # the step that did not end well
    finished: str = ""  # the day on which all was done

    def next(self) -> str | None:
        """Return the step to do now; None when nothing is left."""
        if self.finished:
            return None
        return next((step for step in STEPS if step not in self.done), None)

    def did(self, step: str, facts: dict[str, Any]) -> None:
        """Note that a step ended well. Raises ValueError when it was not its turn."""
        if step != self.next():
            raise ValueError(f"{step} is not the next step")
        self.done.append(step)
        self.facts.update(facts)
        self.failed = ""

    def again_from(self, step: str) -> None:
        """Forget that this step and those after it are done."""
        self.done = [each for each in list(STEPS)[: list(STEPS).index(step)] if each in self.done]

    def stopped(self, step: str) -> None:
        self.failed = step

    def finish(self, day: str) -> None:
        """Note that nothing is left to do, and forget what links the chip to a key id."""
        self.finished = day
        self.facts = {}


def load(file: Path, board: str) -> Progress:
    """Read a board's progress: none when the board is new, was another kind of board, or the file is damaged."""
    try:
        content = json.loads(file.read_bytes())
        if content.pop("format") != _FORMAT or content["board"] != board:
            return Progress(board)
        known = Progress(**content)
        if known.done != list(STEPS)[: len(known.done)]:  # steps in another order than today's
            return Progress(board)
        return known
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Progress(board)


def save(file: Path, progress: Progress) -> None:
    """Write a board's progress, whole or not at all, readable for its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(file, json.dumps({"format": _FORMAT, **vars(progress)}, indent=1).encode() + b"\n")


def write_private(file: Path, content: bytes) -> None:
    """Replace a file in one step; the new one is readable for its owner only."""
    new = file.with_name(f".{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(new, file)
