"""Serve the modem's serial port in the relay's one loop: open it, read and write without blocking, and open it again
when it is lost.

`relay.ingest.sms` decides what is said over the port. Nothing here blocks for longer than opening a device takes.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import serial

from relay.ingest.sms import Modem, Outgoing, Ref, Report, Silent
from relay.log import Logger

_REOPEN = (1.0, 2.0, 5.0, 15.0, 60.0)
_POWER_CYCLE_INTERVAL = 300.0
_POWER_CYCLE_SETTLE = 10.0
_POWER_CYCLE_MOST = 60.0  # after that its command hangs, and the modem may be there nevertheless
_READ = 4096


class Port(Protocol):
    """The part of `serial.Serial` that is used."""

    def fileno(self) -> int: ...
    def read(self, size: int) -> bytes: ...
    def close(self) -> None: ...


def open_serial(path: str, baud: int, rtscts: bool = False) -> Port:
    """Open a serial port for this process alone, non-blocking."""
    port: Port = serial.Serial(path, baud, rtscts=rtscts, timeout=0, write_timeout=0, exclusive=True)
    return port


class SmsLink:
    """A `Modem` and its port."""

    def __init__(
        self, modem: Modem, open_port: Callable[[], Port], log: Logger, *, power_cycle: list[str] | None = None
    ) -> None:
        self._modem = modem
        self._open_port = open_port
        self._log = log
        self._power_cycle = power_cycle or []
        self._port: Port | None = None
        self._output = bytearray()
        self._open_at = 0.0
        self._failures = 0
        self._cycled_at: float | None = None
        self._cycling: subprocess.Popen[bytes] | None = None

    # ---- for the loop ----

    def fileno(self) -> int | None:
        """The descriptor to select on, or None while there is no port."""
        return self._port.fileno() if self._port is not None else None

    @property
    def wants_write(self) -> bool:
        return bool(self._output)

    @property
    def ready(self) -> bool:
        return self._modem.ready

    @property
    def unsent(self) -> int:
        return self._modem.unsent

    def deadline(self) -> float:
        if self._port is None:
            return self._open_at
        deadline = self._modem.deadline()
        return deadline if deadline is not None else float("inf")

    def readable(self, now: float) -> list[Report]:
        if self._port is None:
            return []
        try:
            data = self._port.read(_READ)
        except (serial.SerialException, OSError) as error:
            self._lost(error, now)
            return []
        return self._after(self._modem.receive(data, now), now)

    def writable(self, now: float) -> None:
        if self._port is None or not self._output:
            return
        try:
            # Not pyserial's write: on a full buffer it spins until there is room.
            written = os.write(self._port.fileno(), self._output)
        except BlockingIOError:
            return
        except (serial.SerialException, OSError) as error:
            self._lost(error, now)
            return
        del self._output[:written]

    def tick(self, now: float) -> list[Report]:
        if self._port is None:
            if now >= self._open_at and not self._still_cycling(now):
                self._open(now)
            return []
        return self._after(self._modem.tick(now), now)

    def release(self, ref: Ref, now: float) -> None:
        self._modem.release(ref, now)
        self._after([], now)

    def reject(self, ref: Ref, now: float) -> None:
        self._modem.reject(ref, now)
        self._after([], now)

    def send(self, message: Outgoing, now: float) -> bool:
        queued = self._modem.send(message, now)
        self._after([], now)
        return queued

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
        self._end_cycling()

    # ---- inside ----

    def _open(self, now: float) -> None:
        try:
            self._port = self._open_port()
        except (serial.SerialException, OSError, ValueError) as error:
            delay = self._later(now)
            self._log.error("sms.port_unavailable", error=error, retry_s=round(delay, 1))
            return
        self._output.clear()
        self._modem.opened(now)
        self._after([], now)

    def _later(self, now: float) -> float:
        delay = _REOPEN[min(self._failures, len(_REOPEN) - 1)] * random.uniform(0.8, 1.2)
        self._failures += 1
        self._open_at = now + delay
        return delay

    def _lost(self, error: Exception, now: float) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
        self._output.clear()
        self._modem.closed()
        delay = self._later(now)
        self._log.error("sms.port_lost", error=error, retry_s=round(delay, 1))

    def _after(self, reports: list[Report], now: float) -> list[Report]:
        """Move the modem object's output to the port; act on a modem that fell silent."""
        self._output += self._modem.take_output()
        self.writable(now)
        if self._modem.ready:
            self._failures = 0
        if any(isinstance(r, Silent) for r in reports):
            self._lost(TimeoutError("the modem does not answer"), now)
            self._switch_off_and_on(now)
        return reports

    def _switch_off_and_on(self, now: float) -> None:
        if not self._power_cycle or (self._cycled_at is not None and now - self._cycled_at < _POWER_CYCLE_INTERVAL):
            return
        self._cycled_at = now
        self._open_at = now + _POWER_CYCLE_SETTLE
        try:
            self._cycling = subprocess.Popen(
                self._power_cycle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._log.warning("sms.power_cycle", command=self._power_cycle[0])
        except OSError as error:
            self._log.error("sms.power_cycle_failed", command=self._power_cycle[0], error=error)

    def _end_cycling(self) -> None:
        """End the command, but don't wait for one that the system holds fast."""
        if self._cycling is not None and self._cycling.poll() is None:
            self._cycling.kill()
            with suppress(subprocess.TimeoutExpired):
                self._cycling.wait(1.0)

    def _still_cycling(self, now: float) -> bool:
        if self._cycling is None:
            return False
        status = self._cycling.poll()
        if status is None:
            if self._cycled_at is not None and now - self._cycled_at < _POWER_CYCLE_MOST:
                return True
            self._end_cycling()
        self._cycling = None
        if status != 0:
            error = f"ended with status {status}" if status is not None else "did not end, and was ended"
            self._log.error("sms.power_cycle_failed", command=self._power_cycle[0], error=error)
        return False
