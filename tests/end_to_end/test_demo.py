"""`relay demo` as a newcomer starts it: a process of its own, its keys typed, its end by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.timeline import REQUIRED

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150.0


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo makes its folders, so that one that stays is seen."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "relay", "demo", *options]


@pytest.mark.long
@pytest.mark.parametrize("path", ["mqtt", "sms"])
def test_the_stages_are_one_json_object_last_on_standard_output(scratch: Path, path: str) -> None:
    done = subprocess.run(
        command("--once", "--json", "--path", path),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["ok"], report["path"], report["missing"]) == (True, path, [])
    assert 100 < report["octets"] <= 140
    at = {stage["stage"]: stage["at_s"] for stage in report["stages"]}
    assert set(REQUIRED[path]) <= set(at)
    assert ("sms" in at, "published" in at) == (path == "sms", path == "mqtt")
    assert at["pressed"] == 0
    # One clock is the world's and one the machine's: what crosses from one to the other is not compared.
    for earlier, later in [
        ("pressed", "tick"),
        ("tick", "sealed"),
        ("sealed", "felt"),
        ("received", "verified"),
        ("verified", "committed"),
        ("committed", "rebroadcast"),
        ("committed", "receipt"),
    ]:
        assert at[earlier] <= at[later], (earlier, later)
    assert report["raised_to_receipt_s"] == pytest.approx(at["felt"] - at["sealed"], abs=0.002)
    assert list(scratch.iterdir()) == []


class Typed:
    """A demo that stays up, with somebody at its keys."""

    def __init__(self, scratch: Path) -> None:
        self._output = scratch.parent / "output"
        with self._output.open("wb") as output:
            self._demo = subprocess.Popen(
                command(),
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self._read = 0

    def sees(self, *words: str) -> str:
        """Wait until all of these stand in what was printed since the last of them was seen."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            fresh = self._output.read_text()[self._read :]
            if all(word in fresh for word in words):
                self._read += max(fresh.index(word) + len(word) for word in words)
                return fresh
            assert self._demo.poll() is None, fresh
            assert time.monotonic() < deadline, f"{words} not in:\n{fresh}"
            time.sleep(0.05)

    def types(self, key: str) -> None:
        assert self._demo.stdin is not None
        self._demo.stdin.write(key.encode() + b"\n")
        self._demo.stdin.flush()

    def interrupt(self) -> None:
        self._demo.send_signal(signal.SIGINT)

    def ends(self) -> int:
        return self._demo.wait(PATIENCE_S)

    def children(self) -> set[int]:
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                status = (folder / "status").read_text()
            except OSError:
                continue
            if f"\nPPid:\t{self._demo.pid}\n" in status:
                found.add(int(folder.name))
        return found

    def close(self) -> None:
        if self._demo.poll() is None:
            self._demo.kill()
        self._demo.wait()
        if self._demo.stdin is not None:
            self._demo.stdin.close()


@pytest.fixture
def demo(scratch: Path) -> Iterator[Typed]:
    started = Typed(scratch)
    yield started
    started.close()


def test_it_stays_up_and_takes_keys(demo: Typed, scratch: Path) -> None:
    demo.sees("From the end of the hold to the answer on the wrist", "demo> ")
    children = demo.children()
    assert len(children) >= 3  # broker, relay, bracelet
    demo.types("s")
    document = demo.sees('"signature":"')
    assert "ALERT" in document
    demo.types("?")
    demo.sees("cut the data network")
    demo.types("r")
    demo.sees("the relay was killed (SIGKILL)")
    demo.types("p")
    demo.sees("sealed ", "PUBACK")
    demo.types("r")
    demo.sees("the relay is back")
    demo.sees("the relay answers with a sealed receipt by MQTT")
    demo.types("b")
    demo.sees("the broker was killed")
    demo.types("p")
    demo.sees("sealed ")
    demo.types("b")
    demo.sees("the broker is back")
    demo.types("d")
    demo.sees("the data network is gone")
    demo.types("d")
    demo.sees("the data network is back")
    children |= demo.children()
    demo.types("q")
    assert demo.ends() == 0
    assert list(scratch.iterdir()) == []
    assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.mark.long
@pytest.mark.parametrize("when", ["starting the relay", "demo> "])
def test_control_c_leaves_nothing(demo: Typed, scratch: Path, when: str) -> None:
    demo.sees(when)
    children = demo.children()
    demo.interrupt()
    assert demo.ends() == 130
    assert list(scratch.iterdir()) == []
    assert not any(Path(f"/proc/{child}").exists() for child in children)
