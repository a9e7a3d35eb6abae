"""A crash's number leads back to its type and place; and nothing of the error's text is in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim import crash
from hwsim.cli import main
from hwsim.toolchain import micropython
from hwsim.world.bracelet import FIRMWARE

RAISING = """
import sys
from tocsin import cbor, crash, drivers

def fail(number):
    if number == 0:
        cbor.decode(b"\\xff")
    elif number == 1:
        raise OSError(5, '  File "tocsin/secret.py", line 3, in x')
    elif number == 2:
        cbor.decode(None)
    else:
        raise ValueError('\\n  File "somewhere", line 7')

for number in range(4):
    try:
        fail(number)
    except Exception as error:
        print(crash.where(error), crash.number(error))
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """(what was hashed, number) of errors raised in MicroPython."""
    script = tmp_path_factory.mktemp("crash") / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(FIRMWARE)!r})\n{RAISING}")
    done = subprocess.run([*micropython(), str(script)], capture_output=True, text=True, check=True)
    return [(line.split()[0], int(line.split()[1])) for line in done.stdout.splitlines()]


def test_an_error_of_ours_is_found_to_the_line(numbers: list[tuple[str, int]]) -> None:
    text, number = numbers[0]
    (place,) = crash.find(number)
    assert (place.type, place.file) == ("ValueError", "tocsin/cbor.py")
    assert text == f"ValueError:tocsin/cbor.py:{place.line}"
    assert (FIRMWARE / place.file).read_text().splitlines()[place.line - 1].strip() == place.source
    assert place.source.startswith("raise ValueError")
    (place,) = crash.find(numbers[2][1])
    assert (place.type, place.file) == ("TypeError", "tocsin/cbor.py")


def test_of_an_error_from_elsewhere_only_the_type_is_told(numbers: list[tuple[str, int]]) -> None:
    for (text, number), kind in zip(numbers[1::2], ("OSError", "ValueError"), strict=True):
        assert text == f"{kind}::"
        assert crash.find(number) == [(kind, "", 0, "")]


def test_types_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "tocsin").mkdir()
    (tmp_path / "tocsin/x.py").write_text("class Broken(Exception):\n    pass\nraise Broken\n")
    number = crash.zlib.crc32(b"Broken:tocsin/x.py:3")
    assert crash.find(number, tmp_path) == [("Broken", "tocsin/x.py", 3, "raise Broken")]


def test_the_command(numbers: list[tuple[str, int]], tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(main, ["crash", str(numbers[0][1])])
    assert done.exit_code == 0
    assert done.stdout.startswith("ValueError at tocsin/cbor.py:")
    assert json.loads(run(main, ["crash", str(numbers[0][1]), "--json"]).stdout)[0]["type"] == "ValueError"
    assert "outside our own code" in run(main, ["crash", str(numbers[1][1])]).stdout
    unknown = run(main, ["crash", "1"])
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "is it the version" in unknown.stderr
    assert run(main, ["crash", "0"]).exit_code == 2
    assert run(main, ["crash", "1", "--firmware", str(tmp_path)]).exit_code == 2
