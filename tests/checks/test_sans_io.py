"""The cores have no clock, no socket and no task of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import ROOT
from .sans_io import check, main, mark_of, says_so

SOURCES = {
    str(file.relative_to(ROOT)): file.read_text()
    for folder in ("firmware", "relay", "hwsim")
    for file in sorted((ROOT / folder).glob("**/*.py"))
}
MARKED = [name for name, source in SOURCES.items() if mark_of(source)]


@pytest.mark.parametrize("name", MARKED)
def test_a_core_computes_and_does_nothing_else(name: str) -> None:
    assert check(SOURCES[name]) == []


def test_what_calls_itself_pure_is_marked() -> None:
    assert [name for name, source in SOURCES.items() if says_so(source) and not mark_of(source)] == []


@pytest.mark.parametrize("core", ["firmware/tocsin/", "relay/verify/", "relay/ingest/", "relay/cases/"])
def test_the_alarms_way_has_cores(core: str) -> None:
    """A mark that got lost would be seen by nobody."""
    marked = [name for name in MARKED if name.startswith(core)]
    assert len(marked) >= {"firmware/tocsin/": 35, "relay/verify/": 8, "relay/ingest/": 15, "relay/cases/": 3}[core]


def test_only_the_second_mark_allows_the_store() -> None:
    assert check("# sans-I/O\nimport sqlalchemy") != []
    assert check("# sans-I/O, but for the store\nimport sqlalchemy") == []
    assert check("# sans-I/O, but for the store\nimport time") != []
    assert mark_of("x = '# sans-I/O'") is None


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from time import time",
        "import socket, json",
        "import urllib.request",
        "from asyncio import sleep",
        "import machine",
        "from pathlib import Path",
        "x = datetime.now(UTC)",
        "x = datetime.datetime.now()",
        "x = os.environ['X']",
        "from os import environ",
        "with open('x') as f: pass",
        "print('x')",
        "async def f(): pass",
    ],
)
def test_what_acts_is_seen(line: str) -> None:
    assert check(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "from os import urandom",
        "from datetime import UTC, datetime; x = datetime.fromtimestamp(now, UTC)",
        "from .time_source import x",
        "import hashlib, json, struct",
        "x = reader.open(); y = modem.print",
        "def time(now): return now",
    ],
)
def test_what_computes_is_left_alone(line: str) -> None:
    assert check(line) == []


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "core.py"
    file.write_text("x = 1\nimport time\n")
    assert main([str(file)]) == 1
    assert capsys.readouterr().out == f"{file}:2: imports time\n"
    file.write_text("x = 1\n")
    assert main([str(file)]) == 0
