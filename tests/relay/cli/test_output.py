"""An output that can't be written to ends a command with a sentence and a status that mean nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import main
from tests.relay.rebroadcast.test_rebroadcast import GENUINE
from tests.relay.support import KEYS

UNWRITABLE, READER_GONE = 74, 141
COMMANDS = ["--help", "verify {file} --relay-key {key}", "alarms --data {data}", "bracelet list --json --data {data}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("output")
    assert CliRunner().invoke(main, ["init", str(path / "data")]).exit_code == 0
    (path / "file").write_bytes(GENUINE)
    return path


def run(command: str, folder: Path, *, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    words = command.format(file=folder / "file", key=KEYS.public.hex(), data=folder / "data").split()
    done = subprocess.run([sys.executable, "-m", "relay", *words], stdout=stdout, stderr=stderr, text=True, check=False)
    return done.returncode, done.stderr or ""


def nobody_reads() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_the_output(command: str, folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        status, said = run(command, folder, stdout=full.fileno())
    assert (status, said.count("\n")) == (UNWRITABLE, 1), said
    assert "standard output can't be written: No space left on device" in said
    assert "data folder" not in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away(command: str, folder: Path) -> None:
    writer = nobody_reads()
    try:
        assert run(command, folder, stdout=writer) == (READER_GONE, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("command", ["verify {data}/missing", "accept c0ffee01-1 --data {data}"])
def test_a_mistake_that_can_not_be_told(command: str, folder: Path) -> None:
    writer = nobody_reads()
    with open("/dev/full", "wb") as full:
        assert run(command, folder, stdout=full.fileno(), stderr=full.fileno())[0] == UNWRITABLE
        assert run(command, folder, stdout=writer, stderr=writer)[0] == READER_GONE
    os.close(writer)


def test_more_than_a_buffer_of_output(folder: Path) -> None:
    (folder / "files").write_bytes(b"\n".join([GENUINE] * 30))
    with open("/dev/full", "wb") as full:
        status, said = run("verify {file}s --json", folder, stdout=full.fileno())
    assert (status, said.count("\n")) == (UNWRITABLE, 1), said


def test_without_any_output_the_status_is_the_verdict(folder: Path) -> None:
    words = [sys.executable, "-m", "relay", "verify", str(folder / "file")]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (3, b"")


def test_an_output_that_works_is_what_it_was(folder: Path) -> None:
    before = sys.stdout
    done = CliRunner().invoke(main, ["verify", str(folder / "file"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (3, "relay_unknown")
    assert sys.stdout is before
