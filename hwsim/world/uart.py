"""A serial line between the chip and a part: paced by the baud rate in both directions, deaf at the wrong one.

The parts themselves are sans-I/O: they take octets and hand octets to `send`. A part may hold CTS off (`stall`): the
chip then keeps what it wants to send, if it was told to heed CTS and the board has that wire. Not modelled: parity and
framing errors, the chip's RTS (its buffer overflows as it would without).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.world.device import Device

# Octets that arrive together: the chip's FIFO raises its interrupt at this level (ESP-IDF, uart.c,
# UART_FULL_THRESH_DEFAULT). MicroPython makes that a single octet for a UART without timeout_char; firmware that reads
# through a stream can't tell, and a test can set `SerialLine.chunk`.
_CHUNK = 120
_CTS_OFF, _CTS_ON = 2, 3  # in an event, in the place of the form of its octets
# Chunks of this length are announced together, ahead of time; hundreds of shorter ones would take the firmware's heap.
_ANNOUNCED = 16


class SerialLine:
    def __init__(self, device: Device, who: str, wiring: dict[str, Any], received: Callable[[bytes], None]) -> None:
        self._device = device
        self._who = who
        self._tx, self._rx = wiring["tx"], wiring["rx"]
        self.baud: int | None = wiring["baud"]  # None: the part takes any rate
        self.chunk = _CHUNK
        self.noise = False  # at the wrong rate the chip reads garbage instead of nothing
        self._stalled = False
        self._wired_for_flow = "cts" in wiring
        self._received = received
        self.on_open: Callable[[], None] = lambda: None  # the firmware has just opened its end
        self._port: str | None = None  # the chip's UART on these pins, while one is open
        self._port_baud = 0
        self._to_device_us = 0
        self._from_device_us = 0
        self._spans: list[tuple[int, int]] = []  # octets on their way: (final from, end)
        self._life = 0

    @property
    def pins(self) -> tuple[int, int]:
        return self._tx, self._rx

    def opened(self, port: str, baud: int) -> None:
        self._port = port
        self._port_baud = baud
        if self.baud is not None and baud != self.baud:
            self._device.world.note(self._who, "wrong baud rate", port=baud, part=self.baud)
        self.on_open()

    @property
    def held(self) -> bool:
        """Tell whether the chip finds CTS off."""
        return self._stalled and self._wired_for_flow

    def stall(self, on: bool) -> None:
        """Hold the part's CTS off, or let it go."""
        was, self._stalled = self.held, on
        if self.held != was and self._port is not None:
            self._device.deliver(self._port, "", _CTS_OFF if on else _CTS_ON)

    def closed(self) -> None:
        self._forget_announced()
        self._port = None
        self._life += 1

    @property
    def _at_its_rate(self) -> bool:
        return self.baud in (None, self._port_baud)

    def _usable(self) -> bool:
        return self._port is not None and (self._at_its_rate or self.noise)

    def _garbage(self, data: bytes) -> bytes:
        """Return octets as they look at another rate: about as many as fit in their time, none of them right."""
        octets = min(max(1, len(data) * self._port_baud // (self.baud or self._port_baud)), 4 * len(data))
        return bytes(data[n % len(data)] | 0x80 for n in range(octets))

    def from_device(self, data: bytes) -> None:
        if not self._usable():
            return
        if not self._at_its_rate:
            data = self._garbage(data)
        for at_us, chunk in self._pace(data, max(self._device.world.now_us, self._from_device_us)):
            self._device.world.at(at_us, functools.partial(self._arrive, self._life, chunk))
            self._from_device_us = at_us

    def send(self, data: bytes) -> None:
        """Send octets from the part to the chip, now."""
        self.announce(self._device.world.now_us, data)

    @property
    def announces(self) -> bool:
        """Tell whether the chip can be told of octets ahead of their time."""
        return self.chunk >= _ANNOUNCED

    def announce(self, us: int, data: bytes) -> None:
        """Announce octets that the part will send at that time, unless they are retracted before. The chip is told
        ahead, and needs no exchange with the world to hear them. Announce in the order of the times, and ahead only
        where `announces`."""
        if not self._usable():
            return
        port = str(self._port)
        if not self._at_its_rate:
            data = self._garbage(data)
        for at_us, chunk in self._pace(data, max(us, self._to_device_us)):
            if self.announces:
                self._device.deliver_at(at_us, port, *_payload(chunk))
            else:
                self._device.world.at(at_us, functools.partial(self._deliver, self._life, port, chunk))
            self._to_device_us = at_us
        now = self._device.world.now_us
        self._spans = [*(span for span in self._spans if span[1] > now), (us, self._to_device_us)]

    def retract(self) -> None:
        """Take back the octets that were announced for later than now."""
        if self._forget_announced() and self._port is not None:
            self._device.drop_undelivered(self._port, self._to_device_us)
            self._device.deliver(self._port, None, self._to_device_us)

    def _forget_announced(self) -> bool:
        now = self._device.world.now_us
        begun = [span for span in self._spans if span[0] <= now]
        if len(begun) == len(self._spans):
            return False
        self._spans = begun
        self._to_device_us = max((end for _, end in begun), default=now)
        return True

    def _deliver(self, life: int, port: str, chunk: bytes) -> None:
        if life == self._life:
            self._device.deliver(port, *_payload(chunk))

    def _pace(self, data: bytes, at_us: int) -> Iterator[tuple[int, bytes]]:
        """Yield when which octets have arrived by the baud rate, if the line is free at that time."""
        for at in range(0, len(data), self.chunk):
            chunk = data[at : at + self.chunk]
            at_us += self._time(chunk)
            yield at_us, chunk

    def _arrive(self, life: int, chunk: bytes) -> None:
        if life == self._life:
            self._received(chunk)

    def lost(self, octets: int) -> None:
        """Note the octets that found the chip's buffer full, as the firmware didn't read in time."""
        self._device.world.note(self._who, "overrun", lost=octets)

    def _time(self, data: bytes) -> int:
        return len(data) * 10_000_000 // self._port_baud


def _payload(chunk: bytes) -> tuple[str, int]:
    """Encode octets for an event: as text if they are ASCII, which is half as long as hexadecimal digits."""
    return (chunk.decode("ascii"), 1) if chunk.isascii() else (chunk.hex(), 0)


class SerialPorts:
    """The chip's UARTs. The pins that the firmware gives decide which line a port drives, as on the board."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lines: dict[tuple[int, int], SerialLine] = {}
        self._open: dict[str, SerialLine] = {}
        for port in range(3):
            device.wire(f"uart{port}", self)

    def add(self, line: SerialLine) -> None:
        self._lines[line.pins] = line

    def reset(self) -> None:
        for line in self._open.values():
            line.closed()
        self._open.clear()

    def output(self, device: str, args: list[Any]) -> None:
        line = self._open.get(device)
        if line and args[0] == "lost":
            line.lost(args[1])
        elif line:
            line.from_device(bytes.fromhex(args[1]))

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        line = self._open.pop(device, None)
        if line:
            line.closed()
            self._device.drop_undelivered(device)
        if function == "open":
            baud, tx, rx = args
            line = self._lines.get((tx, rx))
            if line is None:
                self._device.note("nothing is wired there", port=device, tx=tx, rx=rx)
            else:
                self._open[device] = line
                line.opened(device, baud)
                return int(line.held)
        return None
