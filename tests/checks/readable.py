"""Measure how the tree reads: names, docstrings and lengths, beside those of code that others are known to read well.

    python -m tests.checks.readable [--list] [FOLDER ...]

Tests and migrations are not measured. The figures of the other projects were counted once in their own sources, and
stand here for comparison alone.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import ROOT

FOLDERS = ("relay", "hwsim", "firmware")
LONG = 40
# An opening word that makes the reader wait for the actor.
OPENERS = re.compile(
    r"(?:what|who|whom|whose|which|when|where|whether|why|how|that|it|its|this|these|they|their|he|she|her|one)\b",
    re.IGNORECASE,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Figures(NamedTuple):
    """Of one tree. Lengths in lines, shares in per cent; comments for each 100 lines."""

    lines: int
    median_function: float
    long_functions: int
    largest_module: int
    comments: float
    documented: float
    name_length: float
    opens_badly: float


ROWS = {
    "lines": "lines",
    "median_function": "lines of the median function",
    "long_functions": f"functions over {LONG} lines",
    "largest_module": "lines of the largest module",
    "comments": "comments per 100 lines",
    "documented": "functions with a docstring, %",
    "name_length": "mean length of a function's name",
    "opens_badly": "docstrings that open with a wh-clause or pronoun, %",
}
OTHERS = {
    "procrastinate": Figures(9_772, 8, 30, 1_042, 3.6, 29, 13.8, 1),
    "sigstore": Figures(8_022, 11.5, 33, 1_353, 10.9, 85, 12.3, 0),
    "mitmproxy": Figures(9_500, 8, 38, 1_210, 5.4, 13, 12.0, 0),
    "datasette": Figures(29_181, 9, 142, 3_314, 3.3, 22, 13.5, 1),
}


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, but for `__init__` and its like: Python chose their names."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and not node.name.startswith("__"):
            yield node


def documented(tree: ast.Module) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            text = ast.get_docstring(node)
            if text:
                yield text


def comments(source: str) -> int:
    """Count comments that are more than an order to a tool."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(
        token.type == tokenize.COMMENT and not re.match(r"# *(noqa|type:|fmt:|!)", token.string) for token in tokens
    )


def measure(files: list[Path]) -> Figures:
    """Read these files and count."""
    sources = [file.read_text() for file in files]
    trees = [ast.parse(source) for source in sources]
    found = [function for tree in trees for function in functions(tree)]
    spans = [(function.end_lineno or function.lineno) - function.lineno + 1 for function in found]
    texts = [text for tree in trees for text in documented(tree)]
    lengths = [source.count("\n") for source in sources]
    return Figures(
        sum(lengths),
        statistics.median(spans),
        sum(span > LONG for span in spans),
        max(lengths),
        round(100 * sum(map(comments, sources)) / sum(lengths), 1),
        round(100 * sum(ast.get_docstring(each) is not None for each in found) / len(found)),
        round(statistics.mean(len(each.name.strip("_")) for each in found), 1),
        round(100 * sum(OPENERS.match(text) is not None for text in texts) / len(texts), 1),
    )


def openings(files: list[Path]) -> Iterator[str]:
    """Name each docstring that opens with a wh-clause or a pronoun."""
    for file in files:
        for text in documented(ast.parse(file.read_text())):
            if OPENERS.match(text):
                yield f"{file}: {text.splitlines()[0]}"


def python_files(folder: str) -> list[Path]:
    """List the modules of a folder, without what was generated."""
    return sorted(file for file in (ROOT / folder).rglob("*.py") if "versions" not in file.parts)


def table(columns: dict[str, Figures]) -> str:
    """Set the figures side by side."""
    width = max(map(len, ROWS.values()))
    head = " " * width + "".join(f"{name:>15}" for name in columns)
    lines = [
        f"{words:<{width}}" + "".join(f"{getattr(column, field):>15,}" for column in columns.values())
        for field, words in ROWS.items()
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    wanted = [each for each in sys.argv[1:] if not each.startswith("-")] or list(FOLDERS)
    print(table({folder: measure(python_files(folder)) for folder in wanted} | OTHERS))
    if "--list" in sys.argv:
        for line in (line for folder in wanted for line in openings(python_files(folder))):
            print(line)
