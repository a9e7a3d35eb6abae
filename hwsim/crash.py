"""Find the type of an error and its place in the firmware, from the number of a crash in a heartbeat.

The number is CRC-32 of "<type>:<file>:<line>" (firmware/tocsin/crash.py), so that nothing private can be in it. There
are few types and few thousand lines, so all are tried. The firmware must be the bracelet's, to the line.
"""

from __future__ import annotations

import ast
import json
import zlib
from pathlib import Path
from typing import NamedTuple

import click

from hwsim.world.bracelet import FIRMWARE

PACKAGE = "tocsin"
# The errors that MicroPython itself raises (py/objexcept.h, and extmod/asyncio/core.py).
BUILTIN = (
    "ArithmeticError AssertionError AttributeError CancelledError EOFError Exception GeneratorExit ImportError "
    "IndentationError IndexError KeyError KeyboardInterrupt LookupError MemoryError NameError NotImplementedError "
    "OSError OverflowError RuntimeError StopAsyncIteration StopIteration SyntaxError SystemExit TimeoutError TypeError "
    "UnicodeError ValueError ViperTypeError ZeroDivisionError"
).split()


class Place(NamedTuple):
    """The origin of an error. `line` is 0, and `file` empty, when the error came from outside our code."""

    type: str
    file: str
    line: int
    source: str


def find(number: int, firmware: Path = FIRMWARE) -> list[Place]:
    """Find every type and place with this number: one, or none when it is of another version of the firmware."""
    sources = {file.relative_to(firmware).as_posix(): file.read_text() for file in firmware.glob(f"{PACKAGE}/**/*.py")}
    if not sources:
        raise click.UsageError(f"{firmware}: there is no folder {PACKAGE} with modules in it")
    types = set(BUILTIN)
    for source in sources.values():
        types |= {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.bases}
    found = []
    for kind in sorted(types):
        if zlib.crc32(f"{kind}::".encode()) == number:
            found.append(Place(kind, "", 0, ""))
        for name, source in sorted(sources.items()):
            begun = zlib.crc32(f"{kind}:{name}:".encode())  # a CRC goes on from where it was: the lines are many
            for line, text in enumerate(source.splitlines(), 1):
                if zlib.crc32(b"%d" % line, begun) == number:
                    found.append(Place(kind, name, line, text.strip()))
    return found


def main(number: int, firmware: Path, as_json: bool) -> int:
    """Print the error; return 0 when it was found, 1 when not."""
    found = find(number, firmware)
    if as_json:
        click.echo(json.dumps([place._asdict() for place in found]))
    for place in [] if as_json else found:
        where = f"{place.file}:{place.line}: {place.source}" if place.file else "outside our own code"
        click.echo(f"{place.type} at {where}")
    if not found and not as_json:
        click.echo(f"{number} is nowhere in {firmware}: is it the version that runs on the bracelet?", err=True)
    return 0 if found else 1
