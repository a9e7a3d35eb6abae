"""The world: one clock, one trace, and the things in it.

In virtual time nothing waits: `run` advances as fast as the machine allows, and the same seed gives the same trace. In
real time the same models follow the wall clock, so that real programs can talk to them; there `run` takes as long as it
says, or a thread runs the world and other threads use `call`.
"""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
import ssl
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hwsim.world.bracelet import Bracelet, Loaded
from hwsim.world.certs import Authority
from hwsim.world.clock import FOREVER, Clock, Timer
from hwsim.world.device import Device
from hwsim.world.gnss import Track
from hwsim.world.link import Interpreter, wanted_heap
from hwsim.world.modem_ports import RelayModem
from hwsim.world.mqtt import MqttBroker
from hwsim.world.net import Network
from hwsim.world.realtime import Loop
from hwsim.world.sms import SmsCentre
from hwsim.world.trace import Trace, TraceEvent

T = TypeVar("T")

START = 1_767_225_600  # 2026-01-01T00:00:00Z
WALL_LIMIT_S = 60.0
CONDITION_HORIZON_US = 5_000


class World:
    def __init__(
        self,
        seed: int = 1,
        start: int = START,
        realtime: bool = False,
        trace_console: bool = True,
        wall_limit_s: float = WALL_LIMIT_S,
        heap: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.seed = seed
        self.start = start
        self.realtime = realtime
        self.trace_console = trace_console
        self.wall_limit_s = wall_limit_s
        self.heap = heap or wanted_heap()  # octets of the chip that each firmware has for its objects
        self.trace = Trace()
        self.frames: Counter[str] = Counter()  # that interpreters sent, by their kind, for measurements
        self.bracelets: list[Bracelet] = []
        self._clock = Clock()
        self._limit_us = FOREVER
        self._horizon_us = FOREVER  # how far a device may go ahead of the world
        self._committed_us = 0  # how far one has gone
        self._expected = 0  # the trace up to here was matched by `expect`
        self._folder = Path(tempfile.mkdtemp(prefix="hwsim-", dir=folder))
        self._remove_folder = weakref.finalize(
            self, shutil.rmtree, self._folder, ignore_errors=True
        )  # if nobody closes
        self._closed = False
        self._loop = Loop(self._clock) if realtime else None
        self._at_close: list[Callable[[], None]] = []
        self.net = Network(self)
        self.sms = SmsCentre(self)

    # -- time

    @property
    def now_us(self) -> int:
        return self._clock.now_us

    @property
    def events(self) -> int:
        """The number of events so far, for measurements."""
        return self._clock.happened

    @property
    def unix_time(self) -> int:
        """UTC in this world, in whole seconds."""
        return self.start + self._clock.now_us // 1_000_000

    def at(self, us: int, call: Callable[[], object]) -> Timer:
        return self._clock.at(us, call)

    def after(self, us: int, call: Callable[[], object]) -> Timer:
        return self._clock.after(us, call)

    def horizon_us(self, but: Timer | None = None) -> int:
        """Return the time before which nothing happens to a device that it doesn't cause itself. `but`: an event of
        its own."""
        return min(self._clock.next_us(but), self._limit_us, self.now_us + self._horizon_us)

    def commit(self, us: int) -> None:
        """Note that a device has decided what it does up to this time."""
        self._committed_us = max(self._committed_us, us)

    def run(self, seconds: float) -> None:
        if self._loop:
            self._loop.run_until(lambda: False, seconds)
        else:
            self._advance(self.now_us + round(seconds * 1e6), lambda: False)

    def run_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Advance until the condition holds, at most for `timeout` seconds. The condition is checked after every event.

        The world may be some milliseconds past the event: a device that has already run ahead of the event can't be
        called back, and the test's next action must not come too late for that device.
        """
        if self._loop:
            return self._loop.run_until(condition, timeout)
        self._horizon_us = CONDITION_HORIZON_US
        try:
            held = self._advance(self.now_us + round(timeout * 1e6), condition)
            if held:
                self._advance(self._committed_us, lambda: False)
            return held
        finally:
            self._horizon_us = FOREVER

    def _advance(self, end_us: int, condition: Callable[[], bool]) -> bool:
        if self._closed:
            raise RuntimeError("this world has ended")
        self._limit_us = end_us
        try:
            while not condition():
                if self._clock.next_us() > end_us:
                    self._clock.now_us = max(self._clock.now_us, end_us)
                    return condition()
                self._clock.step()
            return True
        finally:
            self._limit_us = FOREVER

    # -- real time in a thread

    def start_thread(self) -> None:
        """Let the world run by itself until `stop`; other threads reach into it with `call`."""
        self._realtime_loop().start_thread()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the world's thread, between two events, and return its result."""
        return self._loop.call(function) if self._loop else function()

    def stop(self) -> None:
        self._realtime_loop().stop()

    def _realtime_loop(self) -> Loop:
        if self._loop is None:
            raise RuntimeError("this world runs in virtual time: World(realtime=True)")
        return self._loop

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None) -> None:
        self._realtime_loop().watch(fd, readable, writable)

    def unwatch(self, fd: int) -> None:
        self._realtime_loop().unwatch(fd)

    def watch_interpreter(self, device: Device, interpreter: Interpreter) -> None:
        self.watch(interpreter.fileno(), device.readable)

    def forget_interpreter(self, device: Device) -> None:
        interpreter = device.interpreter
        if self._loop and interpreter is not None:
            self._loop.unwatch(interpreter.fileno())

    # -- randomness

    def random(self, purpose: str) -> random.Random:
        """Return a random stream for one purpose, so that one more draw there changes nothing elsewhere."""
        return random.Random(f"{self.seed}/{purpose}")

    # -- trace

    def note(self, who: str, what: str, /, **detail: Any) -> None:
        self.trace.add(TraceEvent(self.now_us, who, what, detail))

    def digest(self) -> str:
        return self.trace.digest()

    def format_trace(self, last: int | None = None) -> str:
        return self.trace.format(last)

    def expect(self, who: str | None, what: str | None, /, *, within: float = 0.0, **detail: Any) -> TraceEvent:
        """Advance until this happens, after whatever was expected before; fail with the trace when it doesn't."""
        found: list[int] = []
        start = self._expected

        def happened() -> bool:
            nonlocal start
            index = None if found else self.trace.find(start, who, what, detail)
            if index is not None:
                found.append(index)
            start = len(self.trace)
            return bool(found)

        if not self.run_until(happened, within):
            raise AssertionError(
                f"expected {_wanted(who, what, detail)} within {within} s; it did not happen. Since then:\n"
                + self._tail(self._expected)
            )
        self._expected = found[0] + 1
        return self.trace[found[0]]

    def expect_nothing(self, who: str | None, what: str | None, /, *, within: float, **detail: Any) -> None:
        """Advance by `within` seconds and fail if this happens in that time."""
        start = len(self.trace)
        self.run(within)
        index = self.trace.find(start, who, what, detail)
        if index is not None:
            raise AssertionError(f"did not expect {_wanted(who, what, detail)}:\n{self._tail(start)}")

    def _tail(self, start: int) -> str:
        return self.trace.format(max(10, min(40, len(self.trace) - start)))

    # -- things

    def bracelet(
        self,
        board: str | Path = "reference",
        firmware: str | Path | None = None,
        flash: str | Path | None = None,
        phone: str = "+10000000001",
        track: Track | None = None,
        rtc_start: int | None = None,
        name: str | None = None,
        loaded: Loaded = False,
    ) -> Bracelet:
        """Make a bracelet, switched off. Without `flash` its memory ends with the world. `loaded`: on a stock image of
        MicroPython; see `Bracelet`."""
        number = len(self.bracelets) + 1
        name = name or ("bracelet" if number == 1 else f"bracelet{number}")
        flash = flash or self._folder / f"{name}.flash"
        bracelet = Bracelet(self, name, board, firmware, flash, phone, track, rtc_start, loaded)
        self.bracelets.append(bracelet)
        return bracelet

    def number(self, device: Device) -> int:
        """Return the place of a bracelet among those of this world, from 0."""
        return next(place for place, bracelet in enumerate(self.bracelets) if bracelet is device)

    def relay_modem(self, number: str, pty: bool | None = None, model: str | None = None) -> RelayModem:
        """Make the relay's modem, of a model or of none in particular: on a PTY (the default in real time), or at its
        `endpoint`."""
        return RelayModem(self, number, self.realtime if pty is None else pty, model)

    def mqtt_broker(
        self, host: str, port: int, tls: bool | ssl.SSLContext = True, users: dict[str, str] | None = None
    ) -> MqttBroker:
        """Start a broker in the world. Without `users` it takes everybody. Its certificate is from `authority`."""
        context = tls if isinstance(tls, ssl.SSLContext) else self.authority.server(host) if tls else None
        return MqttBroker(self, host, port, context, users)

    @functools.cached_property
    def authority(self) -> Authority:
        """The authority that signs the certificates of this world's servers; a bracelet must know `authority.der`."""
        return Authority()

    # -- end

    def at_close(self, call: Callable[[], None]) -> None:
        """Register a call that lets go of something outside the world when the world ends."""
        self._at_close.append(call)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # All end from the last to the first, each whatever becomes of the others: `stop` raises the error of which the
        # world's thread died, and still nothing is left behind.
        with contextlib.ExitStack() as ends:
            ends.callback(self._remove_folder)
            if self._loop:
                ends.callback(self._loop.close)
            for call in reversed(self._at_close):
                ends.callback(call)
            for bracelet in reversed(self.bracelets):
                ends.callback(bracelet.close)
            if self._loop:
                ends.callback(self._loop.stop)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _wanted(who: str | None, what: str | None, detail: dict[str, Any]) -> str:
    pairs = "".join(f" {key}={value!r}" for key, value in detail.items())
    return f"{who or 'anyone'} {what or 'anything'}{pairs}"
