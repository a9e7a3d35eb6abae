"""A simulated ESP32: its interpreter's life from power-on to power-off, and the traffic between it and its peripherals.

Only one interpreter runs at a time, and only up to the next event of the world, so several devices in one world are as
deterministic as one. The device holds what survives a reset (flash, NVS, RTC and its memory); the peripherals' own
models hold what they do.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.chips import FAMILIES
from hwsim.world.chip import Chip
from hwsim.world.clock import FOREVER, Timer
from hwsim.world.energy import Meter
from hwsim.world.inbox import Inbox
from hwsim.world.link import Interpreter, LinkClosed, Silent, rom_place
from hwsim.world.nor import SupplyLost
from hwsim.world.pads import ASLEEP, OFF, RESET, RUNNING, Pads
from hwsim.world.peripheral import Halted, Later, Peripheral
from hwsim.world.rtc import TIMER_WAKE, Rtc
from hwsim.world.trace import parse_line, part_suffix

if TYPE_CHECKING:
    from hwsim.world.world import World

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
_CAUSES = {1: "power-on", 2: "hard reset", 3: "watchdog", 4: "deep sleep", 5: "soft reset"}

BOOT_US = 300_000  # from reset to main.py
REALTIME_HORIZON_US = 1000


class SimulationError(RuntimeError):
    """A simulation that can't go on; the text says why and ends with the device's console."""


class Device:
    def __init__(self, world: World, name: str, firmware: Path, flash: Path, unix_rtc: int | None) -> None:
        self.world = world
        self.name = name
        self.firmware = firmware
        self.console: list[str] = []
        self.boots = 0
        self.state = "off"  # off, starting, running, waiting, asleep, stuck, stopped
        self.flash = Chip(flash, f"{world.seed}/{name}")
        self.restart_after_cut: float | None = None  # seconds until the supply is back after a cut at a flash operation
        self.flash_operations: int | None = None
        self.rtc = Rtc(unix_rtc)
        self.pads = Pads(FAMILIES["esp32"], world.random(f"{name} pads"))
        self.ticks_start_us = 0  # ticks_us counts from here; ticks_us and ticks_ms both wrap at 2**30
        self.meter = Meter(lambda: world.now_us)
        self._peripherals: dict[str, Peripheral] = {}
        self._interpreter: Interpreter | None = None
        self._inbox = Inbox()
        self._device_us = 0
        self._heard_us = 0  # the time of the interpreter's last message
        self._wake: Timer | None = None
        self._start: Timer | None = None
        self._reset_ends: Timer | None = None
        self._watchdog: Timer | None = None
        self._raw = ""  # read from the process's standard output, not yet on the console
        self._partial = ""
        self._life = 0  # changes at every reset, so that calls scheduled for an earlier life do nothing

    @property
    def flash_path(self) -> Path:
        return self.flash.path

    @property
    def power_cut_at_flash_operation(self) -> int | None:
        """The operation on flash or NVS, counted from the next start on, within which the supply fails."""
        return self.flash.cut_in

    @power_cut_at_flash_operation.setter
    def power_cut_at_flash_operation(self, operation: int | None) -> None:
        self.flash.cut_in = operation

    @property
    def interpreter(self) -> Interpreter | None:
        return self._interpreter

    @property
    def unique_id(self) -> str:
        """The chip's base address, hexadecimal."""
        return hashlib.sha256(f"{self.world.seed}/{self.name}".encode()).hexdigest()[:12]

    # -- wiring

    def wire(self, device: str, peripheral: Peripheral) -> None:
        self._peripherals[device] = peripheral

    def note(self, what: str, **detail: Any) -> None:
        self.world.note(self.name, what, **detail)

    def deliver(self, device: str, *payload: Any) -> None:
        """Give the firmware an event, now."""
        if self._interpreter is None:
            return
        self._inbox.add(device, *payload)
        if self.state == "waiting":
            self._resume_at(self.world.now_us)

    def deliver_at(self, us: int, device: str, *payload: Any) -> None:
        """Give the firmware an event at that time, whatever happens until then, unless the processor is reset. The
        device is told early and needs no exchange for it."""
        if self._interpreter is None:
            return
        if self.world.realtime:
            self._then(us, self._life, lambda: self.deliver(device, *payload))
            return
        self._inbox.add(us, device, *payload)
        if self.state == "waiting":
            self._resume_at(us)

    def drop_undelivered(self, device: str, after_us: int = -1) -> None:
        """Drop the events on their way to a device, or only those announced for later than `after_us`."""
        self._inbox.drop(device, after_us)

    def alone_until_us(self) -> int:
        """Return the time until which nothing happens in the world that this device doesn't cause itself."""
        return self.world.now_us if self.world.realtime else self.world.horizon_us(but=self._wake)

    # -- power and reset

    def boot(self) -> None:
        """Switch the supply on."""
        if self.state != "off":
            raise RuntimeError(f"{self.name} is already on")
        if self._start:  # the supply was to come back later
            self._start.cancel()
        self.rtc.power_on(self.world.now_us + BOOT_US)
        self.note("power on")
        self.flash.power_on()
        self._start_after(BOOT_US, PWRON_RESET)

    def power_cut(self, restart_after: float | None = None) -> None:
        """Take the supply away, and give it back after `restart_after` seconds, if given."""
        self.note("power cut")
        self._halt("off")
        if restart_after is not None:
            self._start = self.world.after(round(restart_after * 1e6), self.boot)

    def reset(self, by: str = "pin") -> None:
        """Pull the chip's reset pin, or reset it `by` "brownout". The firmware sees a power-on, but RTC memory is
        kept."""
        if self.state == "off":
            raise RuntimeError(f"{self.name} is off")
        self.note("reset", by=by)
        self._halt("starting")
        self.pads.enter(RESET, lost=True)
        self._start_after(BOOT_US, PWRON_RESET)

    def hang(self) -> None:
        """Stop the processor where it is, as a latch-up does. Only its watchdog or its supply helps."""
        if self._interpreter is None:
            return
        self._stop("stuck")
        self.note("stuck")

    def _stop(self, state: str) -> None:
        """Stop the processor; an armed watchdog goes on."""
        watchdog = self._watchdog
        deadline = watchdog.at_us if watchdog and watchdog.pending else None
        self._halt(state)
        if deadline is not None:
            self._watchdog = self.world.at(deadline, self._watchdog_bites)

    def close(self) -> None:
        self._halt("off")

    def _start_after(self, us: int, cause: int, wake_reason: int = 0) -> None:
        self.state = "starting" if self.state != "asleep" else "asleep"
        self._reset_ends = self.world.after(max(us - BOOT_US, 0), lambda: self.pads.enter(RESET))
        self._start = self.world.after(us, lambda: self._start_interpreter(cause, wake_reason))

    def _halt(self, state: str) -> None:
        """Stop the processor in the middle of whatever it does."""
        self._life += 1
        for timer in (self._wake, self._start, self._reset_ends, self._watchdog):
            if timer:
                timer.cancel()
        self._wake = self._start = self._reset_ends = self._watchdog = None
        self._end_interpreter()
        if state == "off":
            self.flash.power_off()
        for peripheral in {id(each): each for each in self._peripherals.values()}.values():
            peripheral.reset()
        if state not in ("stuck", "stopped"):  # else the pads stay as they are
            self.pads.enter({"off": OFF, "asleep": ASLEEP}.get(state, RESET))
        self.state = state
        self.meter.set("processor", {"off": "off", "asleep": "deep_sleep"}.get(state, "active"))

    def _end_interpreter(self) -> None:
        if self._interpreter is not None:
            self.world.forget_interpreter(self)
            interpreter, self._interpreter = self._interpreter, None
            self._print(self._raw + interpreter.close())
            self._raw = ""
        if self._partial:
            self._line(self._partial)
            self._partial = ""
        self._inbox = Inbox()

    def _start_interpreter(self, cause: int, wake_reason: int) -> None:
        self._start = None
        self.pads.release(self.rtc.ext1_pins)
        self.pads.enter(RUNNING)
        self.rtc.started(self.world.now_us, cause == DEEPSLEEP_RESET)
        self.boots += 1
        self.state = "running"
        self.meter.set("processor", "active")
        self.flash.start()
        self.note("boot", cause=_CAUSES[cause])
        seed = f"{self.world.seed}/{self.name}/{self.boots}"
        hello = (
            self.hello()
            | {
                "t": self.world.now_us,
                "realtime": self.world.realtime,
                "seed": seed,
                "random": random.Random(seed).getrandbits(30),
                "reset_cause": cause,
                "wake_reason": wake_reason,
                "ticks_us": self.ticks_start_us,
                "rtc_us": self.rtc.offset_us,
                "rtc_ppm": self.rtc.crystal_ppm,
                "rtc_memory": self.rtc.memory,
                "unique_id": self.unique_id,
            }
            | self.flash.hello()
        )
        self._device_us = self.world.now_us
        self._interpreter = self._open(hello)
        if self.world.realtime:
            self.world.watch_interpreter(self, self._interpreter)
        else:
            self._receive()

    def _open(self, hello: dict[str, Any]) -> Interpreter:
        return Interpreter(hello, self.world.wall_limit_s, frames=self.world.frames)

    def hello(self) -> dict[str, Any]:
        """Return what this interpreter is told at boot, beyond what all are told."""
        return {"flash": str(self.flash_path), "rom": rom_place(self.firmware), "heap": self.world.heap}

    # -- the link

    def _resume_at(self, us: int) -> None:
        if self._wake is None or not self._wake.pending or self._wake.at_us > us:
            if self._wake:
                self._wake.cancel()
            self._wake = self.world.at(us, self._answer)

    def _answer(self, *value: Any) -> None:
        if self._wake:
            self._wake.cancel()
        now = max(self.world.now_us, self._device_us)
        horizon = now + REALTIME_HORIZON_US if self.world.realtime else self.world.horizon_us()
        self.state = "running"
        assert self._interpreter is not None
        try:
            self._interpreter.send([now, horizon, self._inbox.take(), *value])
        except LinkClosed:
            self._crashed()
        if not self.world.realtime:
            self._receive()

    def _receive(self) -> None:
        """Take the interpreter's next message and let it happen at the message's time."""
        assert self._interpreter is not None
        life = self._life
        while True:
            try:
                message = self._interpreter.receive()
            except LinkClosed:
                self._crashed()
            except Silent:
                self._then(self._heard_us, life, self._silent)  # after its earlier messages
                return
            now = self._heard_us = max(self.world.now_us, message[1])
            self.world.commit(now)
            for at_us, device, *args in message[3 if message[0] == "i" else 2]:
                self._then(at_us, life, functools.partial(self._output, device, args))
            if message[0] != "o":
                break
        self._raw += self._interpreter.raw_console()
        self._then(now, life, lambda: self._message(message))

    def _then(self, at_us: int, life: int, call: Callable[[], None]) -> None:
        self.world.at(at_us, lambda: call() if life == self._life else None)

    def readable(self) -> None:
        """Take what the interpreter has sent, in real time."""
        self._receive()

    def _crashed(self) -> None:
        self._halt("off")
        self.note("interpreter died")
        raise SimulationError(f"{self.name}: the interpreter died\n" + "\n".join(self.console[-20:]))

    def _silent(self) -> None:
        """Hang a firmware that touched no peripheral for the wall limit: seen from outside, a loop without end."""
        self.hang()
        if self._watchdog is None:
            raise SimulationError(
                f"{self.name}: the firmware touched no peripheral for {self.world.wall_limit_s:g} s of wall time, "
                "and no watchdog is armed\n" + "\n".join(self.console[-20:])
            )

    def _message(self, message: list[Any]) -> None:
        kind, self._device_us = message[0], max(self._device_us, message[1])
        if self._raw:
            self._print(self._raw)
            self._raw = ""
        if kind == "i":
            self.state = "waiting"
            first = min(message[2], self._inbox.first_us())
            if first < FOREVER:
                self._resume_at(first)
        elif kind == "c":
            self._call(*message[3:])
        else:
            self._leave(kind, message[3])

    def _call(self, device: str, function: str, args: list[Any]) -> None:
        if function == "lightsleep":
            self._light_sleep(args[0])
            return
        try:
            value = self._peripheral_call(device, function, args)
        except SupplyLost:
            return self._lose_supply()
        except Halted:
            return
        if isinstance(value, Later):
            life, later = self._life, value
            self.state = "calling"
            self._then(self.world.now_us + later.us, life, lambda: self._answer(later.value()))
        else:
            self._answer(value)

    def _lose_supply(self) -> None:
        self.flash_operations = self.flash.operations + 1
        self.note("power cut", flash_operation=self.flash_operations)
        self._halt("off")
        if self.restart_after_cut is not None:
            self._start = self.world.after(round(self.restart_after_cut * 1e6), self.boot)

    def _peripheral_call(self, device: str, function: str, args: list[Any]) -> Any:
        if device == "flash":
            return self.flash.asked(args[0], None if args[1] is None else bytes.fromhex(args[1]))
        if function == "input":
            return self.pads.asked(device, *args)
        if device == "nvs":
            return [*self.flash.nvs.call(function, args), self.flash.ask()]
        peripheral = self._find(device)
        return 0 if peripheral is None else peripheral.call(device, function, args)

    def _find(self, device: str) -> Peripheral | None:
        return self._peripherals.get(device)

    def _output(self, device: str, args: list[Any]) -> None:
        if device == "console":
            self.flash.reads = args[1]
            self._print(args[0])
        elif device == "wdt":
            if self._watchdog:
                self._watchdog.cancel()
            self._watchdog = self.world.after(args[0] * 1000, self._watchdog_bites)
        elif device in ("rtc", "wake"):
            self.rtc.output(device, args, self.world.now_us)
        else:
            self.pads.told(device, args)
            peripheral = self._find(device)
            if peripheral is not None:
                peripheral.output(device, args)

    def _leave(self, kind: str, argument: Any) -> None:
        if kind == "deepsleep":
            self.note("deep sleep", ms=argument)
            self.rtc.asleep(self.world.now_us)
            self._halt("asleep")
            if reason := self.rtc.wakes(self.level):
                self._start_after(BOOT_US, DEEPSLEEP_RESET, reason)
            elif argument is not None:
                self._start_after(self.rtc.sleep_us(argument) + BOOT_US, DEEPSLEEP_RESET, TIMER_WAKE)
        elif kind == "reset":
            self.note("reset", by="firmware")
            self._halt("starting")
            self._start_after(BOOT_US, argument)
        else:  # main.py ended: on the chip the prompt waits on the console, and the watchdog goes on
            self.note("main.py ended", failed=bool(argument))
            self._stop("stopped")

    def _watchdog_bites(self) -> None:
        self.note("watchdog")
        self._halt("starting")
        self._start_after(BOOT_US, WDT_RESET)

    def pin_changed(self, pin: int, level: int) -> None:
        """Tell the firmware the new level of a wired pin, or wake it."""
        if self.state == "light sleep":
            if reason := self.rtc.wakes(self.level):
                self._wake_up(reason)
            return
        self.deliver(f"pin{pin}", level)
        if self.state == "asleep" and (reason := self.rtc.wakes(self.level)):
            for timer in (self._start, self._reset_ends):
                if timer:
                    timer.cancel()
            self._start_after(BOOT_US, DEEPSLEEP_RESET, reason)
            self.state = "starting"

    def level(self, pin: int) -> int:
        return self.pads.level(pin)

    def _light_sleep(self, ms: int | None) -> None:
        """Let the processor stand still until something wakes it. Octets that reach its UARTs in that time are lost,
        and it sees no edge of a pin (ESP-IDF, Sleep Modes: their clock is gated). The watchdog goes on."""
        self.state = "light sleep"
        self.meter.set("processor", "light_sleep")
        if reason := self.rtc.wakes(self.level):
            self._wake_up(reason)
        elif ms is not None:
            self._wake = self.world.after(ms * 1000, lambda: self._wake_up(TIMER_WAKE))

    def _wake_up(self, reason: int) -> None:
        self.meter.set("processor", "active")
        self._inbox.drop_unheard("uart", self.world.now_us)
        self._answer(reason)

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
            self.flash.reads_until.setdefault(event[0], self.flash.reads)
            self.world.note(self.firmware_name, event[0], **event[1])
        elif self.world.trace_console:
            self.note("console", text=line)

    @property
    def firmware_name(self) -> str:
        """The name of the firmware in the trace: "firmware", that of a further bracelet "firmware2"."""
        return f"firmware{part_suffix(self.name)}"
