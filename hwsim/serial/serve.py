"""`hwsim usb`: one bracelet on a serial port, until somebody ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from hwsim.board import BoardError
from hwsim.serial.usb import UsbBracelet
from hwsim.world import SimulationError, World
from hwsim.world.trace import TraceEvent

_LOOK_S = 0.1
_WORDS = {
    ("usb", "opened"): "connected",
    ("usb", "closed"): "disconnected",
    ("usb", "loader"): "ROM loader",
    ("usb", "stub"): "stub loader",
    ("usb", "crashed"): "crashed: it was told to run what was not uploaded",
    ("usb", "written"): "written {octets} octets at {at}",
    ("usb", "erased"): "erased {octets} octets at {at}",
    ("usb", "chip erased"): "erased the whole chip",
    ("usb", "read"): "read {octets} octets at {at}",
    ("usb", "soft reset"): "soft reset",
    ("usb", "does not boot"): "does not boot: its flash holds nothing to start",
    ("bracelet", "boot"): "starts ({cause})",
    ("bracelet", "reset"): "reset (by {by})",
    ("bracelet", "watchdog"): "reset by its watchdog",
    ("bracelet", "deep sleep"): "deep sleep",
    ("bracelet", "power cut"): "lost its supply",
}


def main(board: str, flash: Path | None, bootloader: bool, seconds: float | None, as_json: bool) -> int:
    """Exit status: 0, or 1 when the simulated bracelet could not go on."""
    with contextlib.ExitStack() as stack:
        path = flash or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwsim-"))) / "bracelet.flash"
        world = stack.enter_context(World(realtime=True))
        try:
            new = not path.exists()
            if not new:
                stack.enter_context(_claimed(path))
            bracelet = UsbBracelet(world, path, board=board, bootloader=bootloader)
            if new:
                stack.enter_context(_claimed(path))
        except (BoardError, ValueError, OSError) as error:
            raise click.UsageError(str(error)) from None
        if as_json:
            click.echo(json.dumps({"port": bracelet.port.path, "board": board}))
        else:
            click.echo(bracelet.port.path)
            click.echo("Serving until Ctrl-C." if seconds is None else f"Serving for {seconds:g} s.", err=True)
        end = None if seconds is None else time.monotonic() + seconds
        shown = 0
        try:
            world.call(bracelet.boot)
            while end is None or time.monotonic() < end:
                world.run(_LOOK_S)
                events = world.trace.events[shown:]
                shown += len(events)
                for event in events:
                    _show(event, as_json)
        except KeyboardInterrupt:
            pass
        except SimulationError as error:
            click.echo(f"hwsim usb: {error}", err=True)
            return 1
    return 0


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Two bracelets on one flash would spoil it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path.name} is in use by another hwsim usb") from None
        yield


def _show(event: TraceEvent, as_json: bool) -> None:
    """One line. Of other parts (LED, modem) nothing: this is about the port."""
    key = (event.who, event.what)
    if key not in _WORDS and event.who != "firmware":
        return
    if as_json:
        click.echo(json.dumps({"t": event.t_us / 1e6, "who": event.who, "what": event.what, **event.detail}))
        return
    if key in _WORDS:
        text = _WORDS[key].format(**event.detail)
    else:
        text = " ".join([f"@{event.what}", *(f"{name}={value}" for name, value in event.detail.items())])
    click.echo(f"{event.t_us / 1e6:9.3f} s  {text}")
