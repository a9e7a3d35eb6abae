"""`hwsim usb`: a bracelet on a serial port, until somebody ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from hwsim.board import BoardError
from hwsim.serial.hand import Hand, plain
from hwsim.serial.usb import UsbBracelet
from hwsim.world import SimulationError, Track, World
from hwsim.world.trace import TraceEvent

_LOOK_S = 0.1
PLACE = Track.still(52.0, 13.0, 34)  # made up
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
    ("usb", "unplugged"): "the cable is pulled",
    ("usb", "plugged"): "the cable is in: {port}",
    ("wearer", "felt"): "felt: {pattern}",
    ("usb", "more heap than it has"): "gets more heap than this board has: without PSRAM only a ROMFS leaves enough",
    ("usb", "does not boot"): "does not boot: its flash holds nothing to start",
    ("bracelet", "boot"): "starts ({cause})",
    ("bracelet", "reset"): "reset (by {by})",
    ("bracelet", "watchdog"): "reset by its watchdog",
    ("bracelet", "deep sleep"): "deep sleep",
    ("bracelet", "power cut"): "lost its supply",
}


@dataclass(frozen=True)
class Options:
    """The options of `hwsim usb`."""

    board: str
    flash: Path | None = None
    bootloader: bool = False
    seconds: float | None = None
    as_json: bool = False
    seed: int | None = None
    control: Path | None = None
    link: Path | None = None
    reach: tuple[str, ...] = ()
    sms_modem: str | None = None
    phone: str = "+10000000001"


def main(options: Options) -> int:
    """Run the command. Return 0, or 1 when the simulated bracelet could not go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it cleans up as after Ctrl-C
    with contextlib.ExitStack() as stack:
        path = options.flash or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwsim-"))) / "chip"
        seed = options.seed if options.seed is not None else _seed(options.flash)
        world = stack.enter_context(World(seed=seed, start=int(time.time()), realtime=True))
        try:
            new = not path.exists()
            if not new:
                stack.enter_context(_claimed(path))
            bracelet = UsbBracelet(
                world,
                path,
                board=options.board,
                bootloader=options.bootloader,
                phone=options.phone,
                track=PLACE,
                link=options.link,
            )
            if new:
                stack.enter_context(_claimed(path))
            for way in options.reach:
                world.net.route(*_way(way))
            modem = world.relay_modem(options.sms_modem).port if options.sms_modem else None
            if options.control:
                Hand(world, bracelet, options.control)
        except (BoardError, ValueError, OSError) as error:
            raise click.UsageError(str(error)) from None
        _announce(options, bracelet.port.path, modem)
        end = None if options.seconds is None else time.monotonic() + options.seconds
        shown = 0
        try:
            world.call(bracelet.boot)
            while end is None or time.monotonic() < end:
                world.run(_LOOK_S)
                events = world.trace.events[shown:]
                shown += len(events)
                for event in events:
                    _show(event, options.as_json)
        except KeyboardInterrupt:
            pass
        except SimulationError as error:
            click.echo(f"hwsim usb: {error}", err=True)
            return 1
    return 0


def _seed(flash: Path | None) -> int:
    """Return the world's seed. A chip that is kept keeps its address; any other gets a new one each time."""
    if flash is None:
        return int.from_bytes(os.urandom(4), "big")
    return zlib.crc32(os.fsencode(flash.resolve()))


def _way(text: str) -> tuple[str, int, str, int]:
    """Read NAME:PORT, or NAME:PORT=HOST:PORT. Raises ValueError with what is wrong."""
    name, _, real = text.partition("=")
    found = [re.fullmatch(r"(.+):(\d{1,5})", end) for end in (name, real or f"127.0.0.1:{name.rpartition(':')[2]}")]
    if not (found[0] and found[1]):
        raise ValueError(f"--reach {text}: is NAME:PORT, or NAME:PORT=HOST:PORT")
    return found[0][1], int(found[0][2]), found[1][1], int(found[1][2])


def _announce(options: Options, port: str, modem: str | None) -> None:
    """Print the port and what goes on. The first line is for scripts."""
    if options.as_json:
        told = {"port": port, "board": options.board} | ({"sms_modem": modem} if modem else {})
        click.echo(json.dumps(told))
        return
    click.echo(port)
    if modem:
        click.echo(f"The relay's modem ({options.sms_modem}) is at {modem}", err=True)
    if options.control:
        click.echo(f"A hand for it: hwsim hand {options.control} --list", err=True)
    seconds = options.seconds
    click.echo("Serving until Ctrl-C." if seconds is None else f"Serving for {seconds:g} s.", err=True)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Lock the flash, since two bracelets on one would spoil it. Raises ValueError when another hwsim usb uses it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path.name} is in use by another hwsim usb") from None
        yield


def _show(event: TraceEvent, as_json: bool) -> None:
    """Print an event as one line. Events of other parts (LED, modem) are left out: this is about the port."""
    key = (event.who, event.what)
    if key not in _WORDS and event.who not in ("firmware", "scene"):
        return
    if as_json:
        click.echo(json.dumps(plain(event)))
        return
    if key in _WORDS:
        text = _WORDS[key].format(**event.detail)
    else:
        mark = "hand: " if event.who == "scene" else "@"
        text = " ".join([f"{mark}{event.what}", *(f"{name}={value}" for name, value in event.detail.items())])
    click.echo(f"{event.t_us / 1e6:9.3f} s  {text}")
