"""The ends on which a modem hangs: a bracelet's UART with its power key and status line, or, for the relay's modem, a
PTY in real time and a plain object in virtual time."""

from __future__ import annotations

import contextlib
import functools
import os
import pty
import tty
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hwsim.modems import MODELS
from hwsim.world.clock import Timer
from hwsim.world.modem import Modem
from hwsim.world.pins import Level, PowerSwitch
from hwsim.world.uart import SerialLine

if TYPE_CHECKING:
    from hwsim.world.device import Device
    from hwsim.world.world import World

_AFTER_RESET_US = 100_000
_GLITCH_US = 50_000  # of RESET, by the pull of a strapping pin (LilyGo-Modem-Series issues 10 and 290)


def on_uart(device: Device, who: str, wiring: dict[str, Any], number: str) -> tuple[Modem, SerialLine]:
    """Wire a bracelet's modem. Its supply is the bracelet's, so it goes on when only the processor is reset."""
    world = device.world
    line = SerialLine(device, who, wiring, lambda data: modem.feed(data))
    model = MODELS[wiring["model"]]
    modem = Modem(number, who, world.sms, line.send, world.after, lambda: world.unix_time, world.note, model.habits)
    modem.tells = model.registration.removeprefix("+")
    modem.baud = modem.usual_baud = wiring["baud"]
    modem.on_baud = functools.partial(setattr, line, "baud")
    modem.on_stall = line.stall
    modem.on_spend = lambda state: device.meter.set("modem", state)
    supply = PowerSwitch(device, wiring["supply"], False, modem.feed_supply) if "supply" in wiring else None
    modem.fed = supply is None
    if "power_key" in wiring:
        _Key(device, modem, who, wiring)
    if "reset" in wiring:
        _Reset(device, modem, who, wiring)
    for key, active_low in (("held_high", False), ("held_low", True)):
        for pin in wiring.get(key, []):
            modem.held[pin] = False
            PowerSwitch(device, pin, active_low, functools.partial(modem.held.__setitem__, pin))
    if "status" in wiring:
        status = Level(device, who, wiring["status"], lambda: modem.on)
        modem.on_power_change = _both(modem.on_power_change, status.changed)
    modem.wired()
    return modem, line


def _both(one: Callable[[], None], other: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        one()
        other()

    return call


class _Reset:
    """The reset line. Held for long enough, it takes the modem down; let go, it lets the modem start again. A maker's
    least time is sure to work: the firmware must keep it, but a pad that the chip pulls for less resets the modem,
    too."""

    def __init__(self, device: Device, modem: Modem, who: str, wiring: dict[str, Any]) -> None:
        self._world = device.world
        self._modem = modem
        self._hold_us = wiring.get("reset_ms", 0) * 1000
        self._timer: Timer | None = None
        self._down = False
        self._pad = PowerSwitch(device, wiring["reset"], wiring.get("reset_active_low", True), self._changed)

    def _changed(self, active: bool) -> None:
        if self._timer:
            self._timer.cancel()
        if active:
            hold_us = self._hold_us if self._pad.driven else min(self._hold_us, _GLITCH_US)
            self._timer = self._world.after(hold_us, self._held)
        elif self._down:
            self._down = False
            self._timer = self._world.after(_AFTER_RESET_US, lambda: self._modem.power(True))

    def _held(self) -> None:
        self._down = True
        self._modem.power(False)


class _Key:
    """The power key. Held for long enough, it switches the modem on, or off. While that takes its seconds the key does
    nothing. A key that is held until the modem is off counts from then on, because the modem looks at the pin's
    level."""

    def __init__(self, device: Device, modem: Modem, who: str, wiring: dict[str, Any]) -> None:
        self._world = device.world
        self._modem = modem
        self._on_us = wiring.get("power_key_ms", 1000) * 1000
        self._off_us = wiring.get("power_off_ms", wiring.get("power_key_ms", 1000)) * 1000
        self._timer: Timer | None = None
        self._active = False
        self._was_leaving = False
        active_low = wiring.get("power_key_active_low", False)
        PowerSwitch(device, wiring["power_key"], active_low, self._changed)
        modem.on_power_change = self._power_changed

    def _changed(self, active: bool) -> None:
        self._active = active
        self._count()

    def _count(self) -> None:
        if self._timer:
            self._timer.cancel()
        hold_us = self._off_us if self._modem.on else self._on_us
        wanted = self._active and not self._modem.leaving
        self._timer = self._world.after(hold_us, self._held) if wanted else None

    def _held(self) -> None:
        if self._modem.on:
            self._was_leaving = self._modem.habits.off_s > 0
            self._modem.switch_off()
        else:
            self._modem.power(True)

    def _power_changed(self) -> None:
        if not self._modem.on and self._was_leaving:
            self._was_leaving = False
            self._count()


class SerialEnd:
    """The computer's end of a serial line, as an object: for tests in virtual time."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._unread = b""
        self.on_data: Callable[[bytes], object] | None = None

    def write(self, data: bytes) -> None:
        self._feed(data)

    def read(self) -> bytes:
        """Return everything that came since the last call, unless `on_data` takes it."""
        data, self._unread = self._unread, b""
        return data

    def arrived(self, data: bytes) -> None:
        if self.on_data:
            self.on_data(data)
        else:
            self._unread += data


class RelayModem:
    """The relay's modem: always on, of a model or of none in particular. In real time it is on a PTY whose path is
    `port`, else at `endpoint`."""

    def __init__(self, world: World, number: str, pty_wanted: bool, model: str | None = None) -> None:
        self._world = world
        self.endpoint: SerialEnd | None = None
        self.port: str | None = None
        self._unsent = b""
        if pty_wanted:
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)  # this end stays open, so that the line survives a relay that goes and comes
            os.set_blocking(self._master, False)
            self.port = os.ttyname(self._slave)
            send = self._to_pty
        else:
            self.endpoint = SerialEnd(lambda data: self.modem.feed(data))
            send = self.endpoint.arrived
        habits = MODELS[model].habits if model else None
        self.modem = Modem(
            number, "relay modem", world.sms, send, world.after, lambda: world.unix_time, world.note, habits
        )
        if pty_wanted:
            world.watch(self._master, self._readable)
            world.at_close(self._close)
        self.modem.power(True, warm=True)
        self.modem.wired()

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except BlockingIOError:
            return
        self.modem.feed(data)

    def _to_pty(self, data: bytes) -> None:
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: the rest goes out when somebody does
            self._unsent = self._unsent[os.write(self._master, self._unsent) :]
        self._world.watch(self._master, self._readable, self._flush if self._unsent else None)

    def _close(self) -> None:
        self._world.unwatch(self._master)
        os.close(self._master)
        os.close(self._slave)
