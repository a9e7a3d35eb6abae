"""Speak with the engineer: ask, tell, and say what to do, as text for a person or as JSON lines for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import click
import segno

from hwsim.workshop.record import text
from hwsim.workshop.trouble import Trouble

BY_ENGINEER, NOT_ASKED = "engineer", "not asked"
# The questions that can be asked, and so be assumed by --assume.
QUESTIONS = {
    "hash": "the image's SHA-256 is the maker's",
    "felt": "three short pulses were felt",
    "seen": "the light blinked",
    "imported": "the relay has imported the answers",
    "accept": "the drill that has arrived is accepted",
}


class Answer(NamedTuple):
    yes: bool
    by: str  # who said so


class Person:
    """The engineer. `assumed`: questions that are not asked but taken for answered with yes; the record says that of
    each."""

    def __init__(self, as_json: bool, assumed: Collection[str] = ()) -> None:
        self._json = as_json
        self._assumed = assumed
        self._begun = False  # a step's line, whose verdict is to follow
        self._percent = -1

    def ask(self, question: str, wording: str) -> Answer:
        """Ask for yes or no. Raises Trouble when nobody is there to answer."""
        if question in self._assumed:
            return Answer(True, NOT_ASKED)
        if self._json:
            self._say({"ask": question, "text": wording})
        else:
            self._begun = False
            click.echo(f"\n{wording} [y/n] ", nl=False)
        while True:
            line = sys.stdin.readline()
            if not line:
                raise Trouble(f"nobody answered ({QUESTIONS[question]}?): run this where somebody can; it goes on here")
            word = line.strip().lower()
            if word in ("y", "yes", "n", "no"):
                return Answer(word[0] == "y", BY_ENGINEER)
            if not self._json:
                click.echo("y or n: ", nl=False)

    def do(self, what: str, wording: str) -> None:
        """Ask for something to be done by hand; other code sees whether it was done."""
        if self._json:
            self._say({"do": what, "text": wording})
        else:
            self._begun = False
            click.echo(f"\n>> {wording}")

    def tell(self, wording: str, **detail: object) -> None:
        """Tell news; `detail` is for programs."""
        if self._json:
            self._say({"tell": wording, **detail})
        else:
            click.echo(("\n" if self._begun else "") + wording)
            self._begun = False

    def step(self, name: str, number: int, of: int, wording: str) -> None:
        """Tell that a step begins."""
        if self._json:
            self._say({"step": name, "number": number, "of": of})
        else:
            click.echo(f"[{number:2}/{of}] {wording} ... ", nl=False)
        self._begun, self._percent = True, -1

    def progress(self, percent: int) -> None:
        """Show the progress of a long step; on a terminal the figure stays in its place."""
        if percent == self._percent:
            return
        self._percent = percent
        if self._json:
            self._say({"progress": percent})
        elif self._begun and sys.stdout.isatty():
            click.echo(f"{percent:3} %" + "\b" * 5, nl=False)

    def verdict(self, name: str, good: bool, seconds: float) -> None:
        if self._json:
            self._say({"step": name, "verdict": "good" if good else "failed", "seconds": round(seconds, 1)})
        else:
            word = f"good ({seconds:.0f} s)" if good else "FAILED"
            click.echo(word if self._begun else f"     {name}: {word}")
        self._begun = False

    def record(self, made: dict[str, Any], file: Path, label: Path, code: segno.QRCode) -> None:
        """Show the record of a finished board, and its label."""
        if self._json:
            self._say({"record": made, "file": str(file), "label": str(label)})
            return
        click.echo(f"\n\n{text(made)}\n")
        code.terminal(compact=True)
        click.echo(f"record {file}\nlabel  {label}")
        if made["not_asked"]:
            click.echo(f"not asked of anybody: {', '.join(made['not_asked'])}; the record says so")

    def _say(self, what: dict[str, object]) -> None:
        click.echo(json.dumps(what))
        sys.stdout.flush()
