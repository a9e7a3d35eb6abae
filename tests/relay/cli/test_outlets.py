"""Where `relay subscribe` hands documents on: bounded, and failures are told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.broker.process import free_port
from relay.commands import outlets
from relay.commands.common import Failure
from relay.commands.listening import seat, sole
from relay.commands.outlets import MOST, Command, LocalBroker
from relay.subscribers.reader import Heard
from tests.relay.service.rig import ROOT, eventually

HEARD = Heard("s/0/0a1b2c3d/alarm", "alarm", b"{}", {"alarm": "0a1b2c3d-7"}, (), "message")


def run(source: str, timeout: float = 20.0) -> tuple[list[Heard], list[str]]:
    """What a command, whose Python this is, was done with, and what was told."""
    told: list[str] = []
    words = [sys.executable, "-c", source]
    command = Command(words, lambda _: "line", told.append, timeout=timeout, again=(0.01, 0.01))
    done: list[Heard] = []
    command.take(HEARD)
    eventually(lambda: done.extend(command.finished()) or done, "it is done")
    assert command.busy == 0
    command.close()
    return done, told


def test_a_command_that_ends_well_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    done, told = run(f"import sys; open({str(file)!r}, 'a').write(sys.stdin.read())")
    assert (done, told, file.read_text()) == ([HEARD], [], "line\n")


def test_one_that_fails_is_run_again_and_then_given_up() -> None:
    done, told = run("import sys; sys.exit(5)")
    assert done == [HEARD]
    again = "the command ended with status 5 for 0a1b2c3d-7: again in 0.01 s"
    assert told == [again, again, "the command ended with status 5 for 0a1b2c3d-7: given up"]


def test_one_that_reads_nothing_is_as_good_as_any() -> None:
    assert run("import os; os.close(0)") == ([HEARD], [])


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    file = tmp_path / "child"
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    done, told = run(source, timeout=1.5)
    assert done == [HEARD]
    assert told[-1] == "the command took longer than 1.5 s for 0a1b2c3d-7: given up"
    if file.exists():
        eventually(lambda: not alive(int(file.read_text())), "its child has ended too")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_is_not_there_is_told() -> None:
    told: list[str] = []
    command = Command([os.devnull + "/nothing"], lambda _: "line", told.append, again=())
    command.take(HEARD)
    eventually(command.finished, "it is done")
    command.close()
    assert told == ["the command could not be started (Not a directory) for 0a1b2c3d-7: given up"]
    assert MOST < 1000, "less than a broker leaves unacknowledged"


def test_who_ends_it_does_not_wait_for_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "GOODBYE_S", 0.3)
    told: list[str] = []
    command = Command([sys.executable, "-c", "import time; time.sleep(600)"], lambda _: "line", told.append)
    for _ in range(6):
        command.take(HEARD)
    eventually(lambda: len(command._running) == outlets.COMMANDS, "they run")
    began = time.monotonic()
    command.close()
    assert time.monotonic() - began < outlets.COMMAND_S / 2
    assert list(command.finished()) == [], "their documents come again"
    assert told == ["the command ended with status -9 for 0a1b2c3d-7: it comes again"] * outlets.COMMANDS


def test_nor_for_the_next_attempt() -> None:
    told: list[str] = []
    command = Command([sys.executable, "-c", "raise SystemExit(1)"], lambda _: "line", told.append, again=(600,))
    command.take(HEARD)
    eventually(lambda: told, "it has failed once")
    began = time.monotonic()
    command.close()
    assert time.monotonic() - began < 60
    assert list(command.finished()) == []


def test_a_broker_that_is_not_there_is_told_once() -> None:
    told: list[str] = []
    port = free_port("127.0.0.1")
    broker = LocalBroker("127.0.0.1", port, None, told.append)
    broker.take(HEARD._replace(document={"kid": "0a1b2c3d"}))
    eventually(lambda: told, "it is told")
    broker.close()
    assert told == [f"the broker at 127.0.0.1:{port} can't be reached: documents wait until it is there"]
    assert broker.busy == 1


def test_a_subscriber_is_read_by_one_at_a_time(tmp_path: Path) -> None:
    """Two with one client id would throw each other off the broker for ever."""
    file = tmp_path / "partner.json"
    file.touch()
    source = (
        "import pathlib, sys\n"
        "from relay.commands.listening import sole\n"
        f"with sole(pathlib.Path({str(file)!r})):\n"
        "    print('reads', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, **streams) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"reads\n"
        with pytest.raises(Failure, match="end it first"), sole(file):
            pass
        with seat(file) as number:
            assert number == 0, "a temporary one has another client id"
        other.stdin.close()
    with sole(file):
        pass
