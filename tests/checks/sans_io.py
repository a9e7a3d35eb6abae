"""Finds clocks, sockets and tasks in modules that say `# sans-I/O` on a line of their own.

Protocol code takes events and a time and returns actions; so it is tested as a transcript, and the same input gives the
same output in the simulator, on a bracelet and in a replay. Such a module may import what computes, nothing that acts.
A module that says `# sans-I/O, but for the store` may use a database connection that it is given, too.

    python -m tests.checks.sans_io FILE...
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ACTING = {
    "asyncio", "esp32", "http", "machine", "multiprocessing", "network", "paho", "pathlib", "queue", "select",
    "selectors", "serial", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "tls",
    "urllib", "vfs",
}  # words, several a line # fmt: skip
STORE = {"sqlalchemy", "alembic", "sqlite3", "psycopg"}
MARK = "# sans-I/O"
BUT_FOR_THE_STORE = "# sans-I/O, but for the store"
SAYS_SO = re.compile(r"(?:\A|[.:] |\n)(?:Pure|Sans-I/O)\b")
CALLS = {"open", "input", "print", "os.open", "os.getenv", "datetime.now", "datetime.datetime.now", "date.today"}


def mark_of(source: str) -> str | None:
    """Return the mark that stands on a line of its own, if there is one."""
    lines = {line.strip() for line in source.splitlines()}
    return next((mark for mark in (MARK, BUT_FOR_THE_STORE) if mark in lines), None)


def says_so(source: str) -> bool:
    """Tell whether the module's docstring promises it, marked or not."""
    return bool(SAYS_SO.search(ast.get_docstring(ast.parse(source)) or ""))


def check(source: str) -> list[tuple[int, str]]:
    """(line, what) of everything that acts or asks the world, whether the source is marked or not."""
    acting = ACTING if mark_of(source) == BUT_FOR_THE_STORE else ACTING | STORE
    return sorted({(node.lineno, what) for node in ast.walk(ast.parse(source)) for what in _acts(node, acting)})


def _acts(node: ast.AST, acting: set[str]) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"imports {alias.name}" for alias in names if alias.name.partition(".")[0] in acting)
        case ast.ImportFrom(module="os", names=names) if any(alias.name in ("environ", "open") for alias in names):
            yield "imports from os"
        case ast.ImportFrom(module=str() as module, level=0) if module.partition(".")[0] in acting:
            yield f"imports {module}"
        case ast.Call(func=function) if ast.unparse(function) in CALLS:
            yield f"calls {ast.unparse(function)}"
        case ast.Attribute(attr="environ"):
            yield "reads the environment"
        case ast.AsyncFunctionDef() | ast.Await():
            yield "is a coroutine"


def main(arguments: list[str]) -> int:
    status = 0
    for name in arguments:
        for line, what in check(Path(name).read_text()):
            print(f"{name}:{line}: {what}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
