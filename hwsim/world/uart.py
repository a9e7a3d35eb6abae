"""A serial line between the chip and a part: paced by the baud rate in both directions, deaf at the wrong one.

The parts themselves are sans-I/O: they take octets and hand octets to `send`. Not modelled: parity and framing errors,
RTS/CTS (the chip's buffer overflows as it would without).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.world.device import Device

_CHUNK = 64  # octets that arrive together; the chip's FIFO raises its interrupt at about that level


class SerialLine:
    def __init__(self, device: Device, who: str, wiring: dict[str, Any], received: Callable[[bytes], None]) -> None:
        self._device = device
        self._who = who
        self._tx, self._rx = wiring["tx"], wiring["rx"]
        self.baud: int | None = wiring["baud"]  # None: the part takes any rate
        self._received = received
        self._port: str | None = None  # the chip's UART on these pins, while one is open
        self._port_baud = 0
        self._to_device_us = 0
        self._from_device_us = 0
        self._life = 0

    @property
    def pins(self) -> tuple[int, int]:
        return self._tx, self._rx

    def opened(self, port: str, baud: int) -> None:
        self._port = port
        self._port_baud = baud
        if self.baud is not None and baud != self.baud:
            self._device.world.note(self._who, "wrong baud rate", port=baud, part=self.baud)

    def closed(self) -> None:
        self._port = None
        self._life += 1

    def _usable(self) -> bool:
        return self._port is not None and self.baud in (None, self._port_baud)

    def from_device(self, data: bytes) -> None:
        if not self._usable():
            return
        self._from_device_us = self._pace(data, self._from_device_us, self._received)

    def send(self, data: bytes) -> None:
        """From the part to the chip."""
        if not self._usable():
            return
        self._to_device_us = self._pace(data, self._to_device_us, self._arrive)

    def _pace(self, data: bytes, busy_until_us: int, arrive: Callable[[bytes], None]) -> int:
        """Let octets arrive as the baud rate allows; returns until when the line is busy with them."""
        world = self._device.world
        at_us = max(world.now_us, busy_until_us)
        for at in range(0, len(data), _CHUNK):
            chunk = data[at : at + _CHUNK]
            at_us += self._time(chunk)
            world.at(at_us, functools.partial(self._if_still_open, self._life, arrive, chunk))
        return at_us

    def _if_still_open(self, life: int, arrive: Callable[[bytes], None], chunk: bytes) -> None:
        if life == self._life:
            arrive(chunk)

    def _arrive(self, chunk: bytes) -> None:
        if self._port is not None:
            self._device.deliver(self._port, chunk.hex())

    def _time(self, data: bytes) -> int:
        return len(data) * 10_000_000 // self._port_baud


class SerialPorts:
    """The chip's UARTs: which line a port drives follows from the pins the firmware gives, as on the board."""

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
        if line:
            line.from_device(bytes.fromhex(args[1]))

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        line = self._open.pop(device, None)
        if line:
            line.closed()
        if function == "open":
            baud, tx, rx = args
            line = self._lines.get((tx, rx))
            if line is None:
                self._device.note("nothing is wired there", port=device, tx=tx, rx=rx)
            else:
                self._open[device] = line
                line.opened(device, baud)
        return None
