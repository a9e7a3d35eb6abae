"""`python -m hwsim.workshop.rehearse`: run flash.sh over a box of simulated boards, with a real relay, to its table.

The boards are those of `hwsim usb`, erased, each with a world of its own; esptool, mpremote, relay and broker are the
real ones. A hand does what the workshop asks for, sees and feels what the simulated light and motor do, and answers
accordingly.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click

from hwsim.board import load
from hwsim.rig import Rig
from hwsim.scenario import wearer
from hwsim.serial import image
from hwsim.serial.usb import UsbBracelet
from hwsim.world import World
from relay.broker.process import free_port, let_go, spawn
from relay.commands.common import running_relay
from relay.datadir import DataDir

HOST, NAME = "127.0.0.1", "broker.bench"  # the second: for the bracelets, resolved in their worlds only
SSID, WIFI_KEY = "workshop", "hwsim-key"
NUMBER = "+10000000099"  # of the relay's modem
SCRIPT = Path(__file__).resolve().parents[2] / "flash.sh"
_START_S, _PATIENCE_S = 60.0, 600.0
_TRIES, _HOLD_S = 5, 5.0  # of the drill: this computer may have much else to do, and the world's time is real


def stand_in(file: Path, board: str, *, stock: bool | None = None) -> Path:
    """Write an image for a board as its maker would publish it: from the boot loader on. Not `stock`: with a ROMFS, as
    boards without PSRAM need it."""
    wiring = load(board)
    family = wiring.family
    stock = bool(wiring["chip"].get("psram_mb", 0)) if stock is None else stock
    table = image.STOCK if stock else image.PARTITIONS
    content = bytearray()
    for address, part in sorted(image.stand_in(family, table, romfs=not stock).items()):
        content += b"\xff" * (address - family.image_offset - len(content)) + part
    file.write_bytes(content)
    return file


class Relay:
    """A data folder and a relay that runs on it, with its broker. `modem`: the port of its modem, in a SimBoard's
    world; the modem's number is in no offer unless --sms gives it."""

    def __init__(self, folder: Path, modem: Path | None = None) -> None:
        self.folder = folder
        self.modem = modem
        self.port = free_port(HOST)
        more = ["--sms-port", str(modem)] if modem else []
        self.command("init", str(folder), "--listen", HOST, "--port", str(self.port), "--name", NAME, *more)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    @staticmethod
    def command(*arguments: str) -> str:
        command = [sys.executable, "-m", "relay", *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout

    def start(self) -> None:
        self._process, self._lifeline = spawn(
            [sys.executable, "-m", "relay", "run", "--data", str(self.folder)], stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                if running_relay(DataDir(self.folder)) is not None:
                    return
            time.sleep(0.05)
        raise RuntimeError("the relay did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            let_go(self._lifeline)
            self._process = None


class SimBoard:
    """A board on a cable: `name` is its port, which is there while it is plugged in. `modem`: the port for the relay's
    modem in the same world; it must be there when the relay starts."""

    def __init__(
        self, folder: Path, name: str, board: str, seed: int, relay_port: int, modem: Path | None = None
    ) -> None:
        self.name = folder / name
        self.world = World(seed=seed, start=int(time.time()), realtime=True)
        self.bracelet = UsbBracelet(self.world, folder / f".{name}.flash", board=board, link=self.name)
        self.bracelet.gnss.cold_start_s = 1.0
        self.bracelet.modem.register_us = 500_000
        self.bracelet.wifi.ssid, self.bracelet.wifi.key = SSID, WIFI_KEY
        self.bracelet.chip.erase(0, self.bracelet.chip.size)
        self.world.net.route(NAME, relay_port, HOST, relay_port)
        if modem:
            modem.symlink_to(str(self.world.relay_modem(NUMBER).port))
        self.world.start_thread()
        self.world.call(self.bracelet.boot)
        self._seen = 0

    def unplug(self) -> None:
        self.world.call(self.bracelet.unplug)

    def plug(self) -> None:
        self.world.call(self.bracelet.plug)

    def close(self) -> None:
        self.world.close()

    # -- the hand

    def do(self, what: str) -> None:
        bracelet, world = self.bracelet, self.world
        if what == "button_press":
            world.call(lambda: bracelet.button.press(0.3))
        elif what.startswith("strap"):
            strap = bracelet.strap
            assert strap is not None
            if what == "strap_close":
                world.call(strap.close)
            world.call(lambda: world.after(1_000_000, strap.open))
        elif what == "drill":
            self._drill()

    def _drill(self) -> None:
        """Do a drill as a person does it: hold when the answer to the taps was felt; else begin anew."""
        rig, world = cast(Rig, self), self.world  # of which the hand uses world and bracelet
        for _ in range(_TRIES):
            known = world.call(lambda: len(world.trace))
            time.sleep(world.call(lambda: wearer.announce_drill(rig)))
            events = world.call(lambda: list(world.trace))[known:]
            if any((event.who, event.what) == (self.bracelet.firmware_name, "drill") for event in events):
                world.call(lambda: self.bracelet.button.press(_HOLD_S))
                time.sleep(_HOLD_S)  # let go before answering anything: a pressed button goes before all else
                return

    def answer(self, question: str) -> bool:
        """Answer a question by what has happened since the last one."""
        events = self.world.call(lambda: list(self.world.trace))
        fresh, self._seen = events[self._seen :], len(events)
        if question == "seen":
            return sum(event.who == "led" and event.what == "on" for event in fresh) >= 3
        if question == "felt":
            return any(event.who == "haptic" for event in fresh)
        return True


Hear = Callable[[dict[str, Any]], bool]


def flash(
    board: SimBoard | Callable[[], SimBoard],
    *arguments: str,
    script: Path = SCRIPT,
    hear: Hear | None = None,
    environment: dict[str, str] | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """Run flash.sh with a hand. Return its exit status and all that it said. `hear` gets each line; True: press
    Ctrl-C."""
    command = [str(script), *arguments, "--json"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOCSIN_PYTHON": sys.executable, **(environment or {})},
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    late = threading.Timer(_PATIENCE_S, process.kill)
    late.start()
    said: list[dict[str, Any]] = []
    try:
        for line in process.stdout:
            told = json.loads(line)
            said.append(told)
            if hear is not None and hear(told):
                process.send_signal(signal.SIGINT)
            now = board if isinstance(board, SimBoard) else board()
            if "do" in told:
                now.do(told["do"])
            elif "ask" in told:
                process.stdin.write("y\n" if now.answer(told["ask"]) else "n\n")
                process.stdin.flush()
        wrong = process.stderr.read()
        status = process.wait()
    finally:
        late.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    if wrong:
        said.append({"stderr": wrong})
    return status, said


def options(folder: Path, relay: Path, picture: Path) -> list[str]:
    return [
        "--relay",
        str(relay),
        "--image",
        str(picture),
        "--state",
        str(folder / "state"),
        "--records",
        str(folder / "records"),
        "--wifi",
        f"{SSID}:{WIFI_KEY}",
    ]


@contextlib.contextmanager
def box(folder: Path) -> Iterator[Relay]:
    """Yield a running relay."""
    relay = Relay(folder / "relay")
    try:
        relay.start()
        yield relay
    finally:
        relay.stop()


def many(
    folder: Path,
    kind: str,
    count: int,
    relay: Relay,
    say: Callable[[str], None],
    *more: str,
    seed: int = 1,
) -> tuple[int, list[dict[str, Any]]]:
    """Run `flash.sh --batch` over `count` boards, one plugged in when the one before is done; return status and output.

    Each board has a seed of its own, or they would draw the same keys. `more`: arguments.
    """
    ports = folder / "ports"
    ports.mkdir()
    boards: list[SimBoard] = []
    picture = stand_in(folder / "image.bin", kind)

    def next_board() -> None:
        number = len(boards) + 1
        boards.append(SimBoard(ports, f"ttyUSB{number}", kind, seed + number - 1, relay.port))
        say(f"plugged in: board {number} of {count}")

    def hear(told: dict[str, Any]) -> bool:
        if "verdict" in told:
            say(f"  {told['step']:<10} {told['verdict']}  {told['seconds']} s")
        if "plug in" in str(told.get("tell")):
            if boards:
                boards[-1].close()
            next_board()
        return False

    try:
        next_board()
        return flash(
            lambda: boards[-1],
            "--board",
            kind,
            "--port",
            f"{ports}/ttyUSB*",
            "--batch",
            "--count",
            str(count),
            *options(folder, relay.folder, picture),
            *more,
            hear=hear,
        )
    finally:
        if boards:
            boards[-1].close()


@click.command()
@click.option("--boards", "count", default=10, show_default=True, type=click.IntRange(1))
@click.option("--board", default="devkit", show_default=True, help="Name in board_configs/.")
@click.option("--json", "as_json", is_flag=True)
def main(count: int, board: str, as_json: bool) -> None:
    """Flash so many simulated boards in one batch. Exit status 0: all finished, with distinct keys."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch, box(Path(scratch)) as relay:
        say = (lambda text: None) if as_json else click.echo
        status, said = many(Path(scratch), board, count, relay, say)
    table: list[dict[str, Any]] = next((told["table"] for told in said if "table" in told), [])
    keys = {row["kid"] for row in table if row["good"]}
    if as_json:
        click.echo(json.dumps({"boards": count, "distinct_keys": len(keys), "table": table, "status": status}))
    else:
        for row in table:
            name, kid, verdict = Path(row["port"]).name, row["kid"] or "-", row["trouble"] or "good"
            click.echo(f"{name:<10}{kid:<10}{row['receipt_s']} s  {verdict}")
        click.echo(f"{len(keys)} of {count} finished, each with a key of its own")
    sys.exit(status if len(keys) == count else 1)


if __name__ == "__main__":
    main()
