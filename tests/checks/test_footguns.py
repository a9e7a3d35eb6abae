"""The linter's configuration refuses what has hurt others; here it is shown that it does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from . import ROOT


def codes(name: str, source: str) -> set[str]:
    """What ruff, configured as in this repository, says of `source` in a file of that name."""
    options = ["--no-cache", "--output-format=concise", "--stdin-filename", name]
    command = [sys.executable, "-m", "ruff", "check", *options, "-"]
    done = subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith(name)}


@pytest.mark.parametrize("folder", ["relay/x.py", "hwsim/x.py", "firmware/tocsin/x.py"])
def test_a_task_without_a_reference(folder: str) -> None:
    source = "import asyncio\n\n\nasync def run(job):\n    asyncio.create_task(job())\n"
    assert "RUF006" in codes(folder, source)


def test_a_print_in_the_relay() -> None:
    assert codes("relay/x.py", 'print("x")\n') == {"T201"}
    assert codes("hwsim/x.py", 'print("x")\n') == set()


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import pickle\n\npickle.loads(b'')\n", "TID251"),
        ("import tempfile\n\ntempfile.mktemp()\n", "TID251"),
        ("from datetime import datetime\n\ndatetime.utcnow()\n", "TID251"),
        ("import time\n\n\nasync def wait():\n    time.sleep(1)\n", "ASYNC251"),
        ("def f(x=[]):\n    return x\n", "B006"),
        ("try:\n    pass\nexcept:\n    pass\n", "E722"),
        ("x = 1  # type: ignore\n", "PGH003"),
        ("x = 1  # noqa\n", "PGH004"),
    ],
)
def test_other_traps(source: str, code: str) -> None:
    assert code in codes("relay/x.py", source)
