"""No float where positions and times are, and that the check sees every way to make one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import FIRMWARE, ROOT, firmware_modules
from .no_float import MARK, check, marked

# What touches a position or a time on its way from the receiver to the envelope, and the envelope itself. The pattern
# keeps modules in the list that are added to a folder later.
PATH = ["nmea", "fixes", "drivers/gnss", "clock", "alarm", "delivery", "chains", "journal", "cbor", "cose", "envelope",
        "ratchet", "pdu", "at", "drivers/modem", "crypto/*", "links/mqtt_codec"]  # words, several a line # fmt: skip


@pytest.mark.parametrize("pattern", PATH)
def test_the_path_of_positions_and_times_is_marked(pattern: str) -> None:
    modules = [file for file in (FIRMWARE / "tocsin").glob(f"{pattern}.py") if file.name != "__init__.py"]
    assert modules, f"no module matches {pattern}: correct the list"
    assert [str(file.relative_to(ROOT)) for file in modules if not marked(file.read_text())] == []


@pytest.mark.parametrize("file", firmware_modules(), ids=lambda file: str(file.relative_to(FIRMWARE)))
def test_marked_modules_make_no_float(file: Path) -> None:
    source = file.read_text()
    assert not marked(source) or check(source) == []


@pytest.mark.parametrize(
    "line",
    [
        "x = 1.0",
        "x = 1e7",
        "x = .5",
        "x = 1j",
        "x = a / b",
        "x = 10 / 2",
        "x /= 2",
        "x = a ** b",
        "x = 10 ** -7",
        "x **= n",
        "x = pow(a, b)",
        "x = pow(10, -7)",
        "x = float(a)",
        "x = complex(a)",
        "x = list(map(float, a))",
        "import math",
        "from math import sin",
        "from cmath import phase",
        "import time; x = time.time()",
        "from time import time",
        "import random; x = random.random()",
        "x = random.uniform(1, 2)",
        "x = '%f' % a",
        "x = '%d %.7f' % (a, b)",
        "x = b'%e' % a",
        "x = '%5.1G' % a",
        "x = '{:.7f}'.format(a)",
        "x = '{0:g} {1}'.format(a, b)",
        "x = '{:.1%}'.format(a)",
        "x = f'{a:.7f}'",
        "x = f'{a:{w}.1f}'",
        "x = f'{a:e}'",
        "import struct; x = struct.pack('<If', a, b)",
        "x = unpack_from('>d', a)",
        "from array import array; x = array('d', a)",
        "def f(a=0.5): return a",
        "x = lambda a: [b / 2 for b in a]",
    ],
)
def test_every_way_to_make_a_float_is_seen(line: str) -> None:
    assert check(f"a = b = x = 1\n{line}\n") != []


@pytest.mark.parametrize(
    "line",
    [
        "x = a // b + a % b",
        "x = a ** 2 + 10 ** 7 + pow(a, b, c) + pow(a, 3)",
        "x = divmod(a, b)",
        "x = '%d %02x %s %%f' % (a, b, c)",
        "x = '{:08x} {}'.format(a, b)",
        "x = f'{a:02d} {b!r} {c:x}'",
        "x = struct.pack('>IHb4s', a, b, c, d)",
        "x = array('H', a)",
        "'''50 % free, 1.5 in a text, a / b'''",
        "# 1.5 / 2 in a remark",
        "x = round(a) + abs(b) + a.format",
        "import time; x = time.ticks_ms()",
        "x = a if b else c >> 3",
    ],
)
def test_integers_are_left_alone(line: str) -> None:
    assert check(line) == []


def test_the_mark_must_stand_alone() -> None:
    assert marked(f"'''text'''\n{MARK}\n")
    assert not marked(f"x = '{MARK}'\n")
    assert not marked("# hwsim: no-floats\n")


def test_as_a_command(tmp_path: Path) -> None:
    bad, unmarked = tmp_path / "bad.py", tmp_path / "unmarked.py"
    bad.write_text(f"{MARK}\nx = 1\ny = x / 2\n")
    unmarked.write_text("y = 1 / 2\n")
    command = [sys.executable, "-m", "tests.checks.no_float", str(bad), str(unmarked)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{bad}:3: true division; use // or a shift\n")
