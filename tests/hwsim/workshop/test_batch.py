"""Two runs of flash.sh at one hub: each board is one's or the other's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwsim.board import load
from hwsim.toolchain import cache_folder
from hwsim.workshop import batch
from hwsim.workshop.batch import Row, Taken
from hwsim.workshop.bench import Options
from hwsim.workshop.people import Person

# Holds a lock, as another run does, until its input ends.
HOLD = """
import sys
from pathlib import Path
from hwsim.workshop import batch
with batch.alone(Path(sys.argv[1]), sys.argv[2], "taken"):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user of ours: its locks are no other test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """That leads to a device, as those in /dev/serial/by-id do."""
    (tmp_path / "ttyUSB0").symlink_to(os.devnull)
    return tmp_path / "ttyUSB0"


@pytest.fixture
def other_run(cache: Path, port: Path) -> Iterator[None]:
    """With a --state of its own."""
    what = batch.lock_of(str(port))
    words = [sys.executable, "-c", HOLD, str(cache), what]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


def work(port: str, state: Path) -> Row:
    options = Options(None, state, state / "records", 1.0)
    return batch.at(port, load("devkit"), Person(True), options, lambda chip, cable: None)


def test_a_port_is_one_runs(tmp_path, port, other_run, capsys):
    state = tmp_path / "state"
    with pytest.raises(Taken, match=f"another run of flash.sh is at {port}: let it end"):
        work(str(port), state)
    assert list(state.iterdir()) == []  # had it the same folder, the log of the other run would be as it was


def test_what_ends_leaves_no_lock(tmp_path, port):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "port"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        with pytest.raises(Taken), batch.alone(tmp_path, "port", "taken"):
            pass
        with batch.alone(tmp_path, "another", "taken"):
            pass
        process.kill()
    with batch.alone(tmp_path, "port", "taken"):
        pass


def test_a_batch_leaves_it_to_the_other_unless_it_was_named(tmp_path, port, other_run, capsys):
    state = tmp_path / "state"
    free = tmp_path / "ttyUSB1"
    free.touch()

    def done(here: str) -> Row:
        if here == str(free):
            return Row(here, 0.0, {"kid": "c0ffee01"})
        return work(here, state)

    rows = batch.many(f"{tmp_path}/ttyUSB*", 1, Person(True), done)
    assert [row.port for row in rows] == [str(free)]
    assert "another run of flash.sh is at" in capsys.readouterr().out
    (row,) = batch.many(str(port), 1, Person(True), done)
    assert row.trouble.startswith(f"another run of flash.sh is at {port}")
