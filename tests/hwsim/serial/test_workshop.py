"""A bracelet's way through a workshop with nothing but stock programs: from an erased chip to a drill that a real relay
has answered."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwsim import board as boards
from hwsim.serial import hand, image
from hwsim.world.bracelet import FIRMWARE
from hwsim.world.link import rom
from relay.broker.process import free_port, let_go, spawn

from .conftest import OURS, PATIENCE, run

BOARD, NUMBER = "reference", "+10000000099"


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[dict[str, Any]]:
    """`hwsim usb`, and the first line that it says."""
    command = [sys.executable, "-m", "hwsim.cli", "usb", "--json", *arguments]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=PATIENCE)


@contextlib.contextmanager
def relay_on(data: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "relay", "run", "--data", str(data), "--log-json"]
    process, lifeline = spawn(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if '"relay.started"' in line:
                break
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        let_go(lifeline)


def relay(data: Path, *arguments: str) -> str:
    return run("relay", *arguments, "--data", str(data))


@pytest.mark.long
def test_from_an_erased_chip_to_a_drill_that_the_relay_has_answered(tmp_path: Path) -> None:
    data, control, port = tmp_path / "relay", tmp_path / "hand", str(tmp_path / "port")
    number = str(free_port("127.0.0.1"))
    with served(
        "--board",
        BOARD,
        "--control",
        str(control),
        "--link",
        port,
        "--reach",
        f"broker.test:{number}",
        "--sms-modem",
        NUMBER,
    ) as told:
        options = ["--listen", "127.0.0.1", "--port", number, "--sms-port", told["sms_modem"], "--sms-number", NUMBER]
        run("relay", "init", str(data), "--name", "broker.test", *options)
        with relay_on(data):
            relay(
                data,
                "bracelet",
                "add",
                "juniper",
                "--offer",
                str(tmp_path / "offer.json"),
                "--wifi",
                "workshop:hwsim-key",
            )
            run("esptool", "--port", port, "erase-flash")
            parts = image.stand_in() | {OURS["romfs"].offset: rom(FIRMWARE).read_bytes()}
            words = []
            for address, content in parts.items():
                (tmp_path / f"{address:x}.bin").write_bytes(content)
                words += [hex(address), str(tmp_path / f"{address:x}.bin")]
            assert run("esptool", "--port", port, "write-flash", *words).count("Hash of data verified") == len(parts)
            (tmp_path / "board.json").write_text(boards.load(BOARD).to_json())
            copies = [
                (tmp_path / "board.json", "board.json"),
                (FIRMWARE / "main.py", "main.py"),
                (tmp_path / "offer.json", "offer.json"),
            ]
            steps = [word for source, name in copies for word in ("fs", "cp", str(source), f":{name}", "+")]
            run("mpremote", "connect", port, *steps, "reset")
            hand.wait(control, "firmware", "provisioned", PATIENCE)
            (tmp_path / "answer.json").write_text(run("mpremote", "connect", port, "fs", "cat", ":answer.json"))
            relay(data, "bracelet", "add", "--answer", str(tmp_path / "answer.json"))
            hand.do(control, "reset")
            hand.wait(control, "firmware", "link", PATIENCE, path="mqtt", up=1)
            hand.do(control, "drill")
            hand.wait(control, "firmware", "raised", PATIENCE, by="drill")
            hand.wait(control, "firmware", "delivered", PATIENCE)
            assert hand.wait(control, "wearer", "felt", PATIENCE, pattern="heard")
