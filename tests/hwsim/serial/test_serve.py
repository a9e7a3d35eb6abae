"""`hwsim usb`, as a person or a script starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim.cli import main

from .conftest import PATIENCE, run

HWSIM = [sys.executable, "-m", "hwsim.cli", "usb"]


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HWSIM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's background ignores it
    )


@pytest.mark.long
def test_a_session_and_control_c(tmp_path: Path) -> None:
    image = tmp_path / "kept.flash"
    server = serve("--board", "devkit", "--flash", str(image))
    try:
        port = server.stdout.readline().strip()
        assert port.startswith("/dev/")
        assert run("mpremote", "connect", port, "exec", "open('/kept', 'w').close()") == ""
        assert "4MB" in run("esptool", "--port", port, "flash-id")
        second = subprocess.run([*HWSIM, "--flash", str(image)], capture_output=True, text=True, timeout=PATIENCE)
        assert (second.returncode, "in use by another" in second.stderr) == (2, True)
    finally:
        server.send_signal(signal.SIGINT)
        said, complaints = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert complaints == "Serving until Ctrl-C.\n"
    happened = [line.partition(" s  ")[2] for line in said.splitlines()]
    for what in (
        "starts (power-on)",
        "connected",
        "soft reset",
        "disconnected",
        "ROM loader",
        "stub loader",
        "reset (by pin)",
    ):
        assert what in happened
    control = tmp_path / "hand"
    server = serve("--flash", str(image), "--for", str(PATIENCE), "--control", str(control))
    try:
        assert "kept" in run("mpremote", "connect", server.stdout.readline().strip(), "fs", "ls")
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)
    assert server.returncode == 0 and not control.exists()


def test_for_scripts() -> None:
    command = [*HWSIM, "--json", "--bootloader", "--for", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    first, *events = map(json.loads, done.stdout.splitlines())
    assert first["board"] == "reference"
    assert [(event["who"], event["what"]) for event in events] == [("usb", "loader")]


def test_what_it_can_not_serve_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "no.flash").write_bytes(b"short")
    before = signal.getsignal(signal.SIGTERM)
    for arguments, sentence in (
        (["--board", "nope"], "nope.toml: no such board"),
        (["--flash", str(tmp_path / "no.flash")], "is no flash image"),
        (["--reach", "broker.test"], "--reach broker.test: is NAME:PORT"),
        (["--control", str(tmp_path / "no.flash")], "is there already, and no socket"),
        (["--link", str(tmp_path / "no.flash")], "File exists"),
    ):
        done = CliRunner().invoke(main, ["usb", *arguments])
        assert done.exit_code == 2
        assert sentence in done.stderr
    signal.signal(signal.SIGTERM, before)
