"""A simulated ESP32: its interpreter's life from power-on to power-off, and the traffic between it and its peripherals.

Only one interpreter runs at a time, and only up to the next event of the world, so several devices in one world are as
deterministic as one. What is kept over a reset (flash, NVS, RTC and its memory) lives here; what the peripherals do
lives in their models.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hwsim.world.clock import FOREVER, Timer
from hwsim.world.link import SHIMS, Interpreter, LinkClosed, Silent
from hwsim.world.trace import parse_line

if TYPE_CHECKING:
    from hwsim.world.world import World

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
_CAUSES = {1: "power-on", 2: "hard reset", 3: "watchdog", 4: "deep sleep", 5: "soft reset"}
EXT0_WAKE, TIMER_WAKE = 2, 4

BOOT_US = 300_000  # from reset to main.py
REALTIME_HORIZON_US = 1000
EPOCH_2000 = 946_684_800


class SimulationError(RuntimeError):
    """The simulation can't go on; the text says why and ends with the device's console."""


@dataclass(frozen=True)
class Later:
    """The answer to a blocking call that takes time: `value()` is taken after `us`."""

    us: int
    value: Callable[[], Any]


class Peripheral(Protocol):
    """What a model implements to be wired to a device. Only plain JSON values pass."""

    def reset(self) -> None:
        """The processor was reset or lost its supply: whatever it had set up is gone."""

    def output(self, device: str, args: list[Any]) -> None:
        """The firmware did something to it."""

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        """The firmware asks and waits for the answer, a plain value, {"oserror": name} or Later."""


class Device:
    def __init__(self, world: World, name: str, firmware: Path, flash: Path, unix_rtc: int | None) -> None:
        self.world = world
        self.name = name
        self.firmware = firmware
        self.flash_path = flash
        self.console: list[str] = []
        self.boots = 0
        self.state = "off"  # off, starting, running, waiting, asleep, stuck, stopped
        self.power_cut_at_flash_operation: int | None = None
        self.flash_operations: int | None = None
        self._rtc_memory = ""
        self._rtc_us = self._rtc_reset = 0
        self._rtc_first = unix_rtc
        self._nvs: dict[str, dict[str, Any]] = {}
        self._peripherals: dict[str, Peripheral] = {}
        self._interpreter: Interpreter | None = None
        self._inbox: list[list[Any]] = []
        self._device_us = 0
        self._wake: Timer | None = None
        self._start: Timer | None = None
        self._watchdog: Timer | None = None
        self._wake_pin: tuple[int, int] | None = None
        self._raw = ""  # read from the process's standard output, not yet on the console
        self._partial = ""
        self._life = 0  # changes at every reset, so that what was scheduled for an earlier life does nothing

    @property
    def interpreter(self) -> Interpreter | None:
        return self._interpreter

    # -- wiring

    def wire(self, device: str, peripheral: Peripheral) -> None:
        self._peripherals[device] = peripheral

    def note(self, what: str, **detail: Any) -> None:
        self.world.note(self.name, what, **detail)

    def deliver(self, device: str, *payload: Any) -> None:
        """An event for the firmware, now."""
        if self._interpreter is None:
            return
        self._inbox.append([device, *payload])
        if self.state == "waiting":
            self._resume_at(self.world.now_us)

    # -- power and reset

    def boot(self) -> None:
        """Switch the supply on."""
        if self.state != "off":
            raise RuntimeError(f"{self.name} is already on")
        shown = 0 if self._rtc_first is None else self._rtc_first - EPOCH_2000
        self._rtc_us = shown * 1_000_000 - (self.world.now_us + BOOT_US)
        self._rtc_first = None
        self._rtc_memory = ""
        self.note("power on")
        self._start_after(BOOT_US, PWRON_RESET)

    def power_cut(self, restart_after: float | None = None) -> None:
        """Take the supply away, and give it back after some seconds."""
        self.note("power cut")
        self._halt("off")
        if restart_after is not None:
            self._start = self.world.after(round(restart_after * 1e6), self.boot)

    def reset(self) -> None:
        """Pull the chip's reset pin: for the firmware a power-on, but RTC memory is kept."""
        if self.state == "off":
            raise RuntimeError(f"{self.name} is off")
        self.note("reset", by="pin")
        self._halt("starting")
        self._start_after(BOOT_US, PWRON_RESET)

    def close(self) -> None:
        self._halt("off")

    def _start_after(self, us: int, cause: int, wake_reason: int = 0) -> None:
        self.state = "starting" if self.state != "asleep" else "asleep"
        self._start = self.world.after(us, lambda: self._start_interpreter(cause, wake_reason))

    def _halt(self, state: str) -> None:
        """The processor stops in the middle of whatever it does."""
        self._life += 1
        for timer in (self._wake, self._start, self._watchdog):
            if timer:
                timer.cancel()
        self._wake = self._start = self._watchdog = None
        self._end_interpreter()
        for peripheral in self._distinct_peripherals():
            peripheral.reset()
        self.state = state

    def _distinct_peripherals(self) -> list[Peripheral]:
        return list({id(peripheral): peripheral for peripheral in self._peripherals.values()}.values())

    def _end_interpreter(self) -> None:
        if self._interpreter is not None:
            self.world.forget_interpreter(self)
            interpreter, self._interpreter = self._interpreter, None
            self._print(self._raw + interpreter.close())
            self._raw = ""
        if self._partial:
            self._line(self._partial)
            self._partial = ""
        self._inbox.clear()

    def _start_interpreter(self, cause: int, wake_reason: int) -> None:
        self._start = None
        self._wake_pin = None
        self.boots += 1
        self.state = "running"
        self.note("boot", cause=_CAUSES[cause])
        seed = f"{self.world.seed}/{self.name}/{self.boots}"
        hello = self.hello() | {
            "t": self.world.now_us,
            "realtime": self.world.realtime,
            "seed": seed,
            "random": random.Random(seed).getrandbits(30),
            "reset_cause": cause,
            "wake_reason": wake_reason,
            "rtc_us": self._rtc_us,
            "rtc_memory": self._rtc_memory,
            "unique_id": hashlib.sha256(f"{self.world.seed}/{self.name}".encode()).hexdigest()[:12],
            "cut": self.power_cut_at_flash_operation,
        }
        self.power_cut_at_flash_operation = None
        self._device_us = self.world.now_us
        self._interpreter = Interpreter(hello, self.world.wall_limit_s)
        if self.world.realtime:
            self.world.watch_interpreter(self, self._interpreter)
        else:
            self._receive()

    def hello(self) -> dict[str, Any]:
        """What the interpreter is told at boot, beyond what every device is told."""
        return {"flash": str(self.flash_path), "firmware": str(self.firmware), "shims": str(SHIMS)}

    # -- the link

    def _resume_at(self, us: int) -> None:
        if self._wake is None or not self._wake.pending or self._wake.at_us > us:
            if self._wake:
                self._wake.cancel()
            self._wake = self.world.at(us, self._resume)

    def _resume(self) -> None:
        self._answer()

    def _answer(self, *value: Any) -> None:
        if self._wake:
            self._wake.cancel()
        now = max(self.world.now_us, self._device_us)
        horizon = now + REALTIME_HORIZON_US if self.world.realtime else self.world.horizon_us()
        inbox, self._inbox = self._inbox, []
        self.state = "running"
        assert self._interpreter is not None
        try:
            self._interpreter.send([now, horizon, inbox, *value])
        except LinkClosed:
            self._crashed()
        if not self.world.realtime:
            self._receive()

    def _receive(self) -> None:
        """Take the interpreter's next message and let it happen at the time it bears."""
        assert self._interpreter is not None
        try:
            message = self._interpreter.receive()
        except LinkClosed:
            self._crashed()
        except Silent:
            self._silent()
            return
        now = max(self.world.now_us, message[1])
        self._raw += self._interpreter.raw_console()
        self.world.commit(now)
        life = self._life
        for at_us, device, *args in message[3 if message[0] == "i" else 2]:
            self._then(at_us, life, functools.partial(self._output, device, args))
        self._then(now, life, lambda: self._message(message))

    def _then(self, at_us: int, life: int, call: Callable[[], None]) -> None:
        self.world.at(at_us, lambda: call() if life == self._life else None)

    def readable(self) -> None:
        """Real time: the interpreter has sent something."""
        self._receive()

    def _crashed(self) -> None:
        self._halt("off")
        self.note("interpreter died")
        raise SimulationError(f"{self.name}: the interpreter died\n" + "\n".join(self.console[-20:]))

    def _silent(self) -> None:
        """No peripheral was touched for the wall limit: a loop without end, seen from outside."""
        watchdog, self._watchdog = self._watchdog, None
        deadline = watchdog.at_us if watchdog and watchdog.pending else None
        self._halt("stuck")
        self.note("stuck")
        if deadline is None:
            raise SimulationError(
                f"{self.name}: the firmware touched no peripheral for {self.world.wall_limit_s:g} s of wall time, "
                "and no watchdog is armed\n" + "\n".join(self.console[-20:])
            )
        self._watchdog = self.world.at(deadline, self._watchdog_bites)

    def _message(self, message: list[Any]) -> None:
        kind, self._device_us = message[0], max(self._device_us, message[1])
        if self._raw:
            self._print(self._raw)
            self._raw = ""
        if kind == "i":
            self.state = "waiting"
            if self._inbox:
                self._resume_at(self.world.now_us)
            elif message[2] < FOREVER:
                self._resume_at(message[2])
        elif kind == "c":
            self._call(*message[3:])
        else:
            self._leave(kind, message[3])

    def _call(self, device: str, function: str, args: list[Any]) -> None:
        value = self._peripheral_call(device, function, args)
        if isinstance(value, Later):
            life, later = self._life, value
            self.state = "calling"
            self._then(self.world.now_us + later.us, life, lambda: self._answer(later.value()))
        else:
            self._answer(value)

    def _peripheral_call(self, device: str, function: str, args: list[Any]) -> Any:
        if device == "nvs":
            space = self._nvs.setdefault(args[0], {})
            if function == "commit":
                space.update(args[1])
                for key in [key for key, value in space.items() if value is None]:
                    del space[key]
            return space
        peripheral = self._find(device)
        if peripheral is not None:
            return peripheral.call(device, function, args)
        if function == "input":
            return 1 if args[0] == 2 else 0  # an open pin reads its pull
        return 0

    def _find(self, device: str) -> Peripheral | None:
        return self._peripherals.get(device)

    def _output(self, device: str, args: list[Any]) -> None:
        if device == "console":
            self._print(args[0])
        elif device == "wdt":
            if self._watchdog:
                self._watchdog.cancel()
            self._watchdog = self.world.after(args[0] * 1000, self._watchdog_bites)
        elif device == "rtc":
            if args[0] == "set":
                self._rtc_us = args[1]
            else:
                self._rtc_memory = args[1]
        elif device == "wake":
            self._wake_pin = None if args[1] is None else (args[1], args[2])
        else:
            peripheral = self._find(device)
            if peripheral is not None:
                peripheral.output(device, args)

    def _leave(self, kind: str, argument: Any) -> None:
        wake_pin = self._wake_pin
        if kind == "deepsleep":
            self.note("deep sleep", ms=argument)
            self._halt("asleep")
            self._wake_pin = wake_pin
            if argument:
                self._start_after(argument * 1000 + BOOT_US, DEEPSLEEP_RESET, TIMER_WAKE)
        elif kind == "reset":
            self.note("reset", by="firmware")
            self._halt("starting")
            self._start_after(BOOT_US, argument)
        elif kind == "powercut":
            self.flash_operations = argument
            self.note("power cut", flash_operation=argument)
            self._halt("off")
        else:  # main.py ended: on the chip the prompt waits on the console, and the watchdog goes on
            watchdog, self._watchdog = self._watchdog, None
            self.note("main.py ended", failed=bool(argument))
            self._halt("stopped")
            if watchdog and watchdog.pending:
                self._watchdog = self.world.at(watchdog.at_us, self._watchdog_bites)

    def _watchdog_bites(self) -> None:
        self.note("watchdog")
        self._halt("starting")
        self._start_after(BOOT_US, WDT_RESET)

    def pin_changed(self, pin: int, level: int) -> None:
        """A wired pin has a new level: tell the firmware, or wake it."""
        self.deliver(f"pin{pin}", level)
        if self.state == "asleep" and self._wake_pin == (pin, level):
            if self._start:
                self._start.cancel()
            self._start_after(BOOT_US, DEEPSLEEP_RESET, EXT0_WAKE)
            self.state = "starting"

    # -- console

    def _print(self, text: str) -> None:
        lines = (self._partial + text).split("\n")
        self._partial = lines.pop()
        for line in lines:
            self._line(line.rstrip("\r"))

    def _line(self, line: str) -> None:
        self.console.append(line)
        event = parse_line(line)
        if event:
            self.world.note(self.firmware_name, event[0], **event[1])
        elif self.world.trace_console:
            self.note("console", text=line)

    @property
    def firmware_name(self) -> str:
        """Who speaks in the trace when the firmware reports an event: "firmware", of further bracelets "firmware2"."""
        return f"firmware{part_suffix(self.name)}"


def part_suffix(name: str) -> str:
    """What tells the parts of several bracelets apart in the trace: led, led2, led of spare."""
    return name.removeprefix("bracelet") if name.startswith("bracelet") else f" of {name}"
