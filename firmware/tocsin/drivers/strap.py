"""The strap's contact: a conductor through the strap, closed while it is worn; interrupt and samples."""

import asyncio

import esp32
from machine import Pin

from tocsin import aio

SAMPLE_MS = 20  # while it moves
IDLE_MS = 5000  # look at the pin this often even without an interrupt: one that was lost must not lose a cut


class Contact:
    """The contact. `on_sample(closed)` returns the ms until the next sample, or None while the contact rests."""

    def __init__(self, board, on_sample):
        # Not the chip's own pull-up, which would draw 70 uA through a closed strap: see board_configs/README.md. And no
        # pull-down, which an open one's resistor can't lift: not now (None), and not asleep (held).
        self.pin = Pin(board["pin"], Pin.IN, None, hold=True)
        self._closed = 0 if board.get("closed_low", True) else 1
        self._on_sample = on_sample
        self._flag = asyncio.ThreadSafeFlag()
        self.pin.irq(self._interrupt, Pin.IRQ_FALLING | Pin.IRQ_RISING)

    def _interrupt(self, pin):
        self._flag.set()

    @property
    def open(self):
        return self.pin.value() != self._closed

    def arm_wake(self):
        """Let any change end the next deep sleep. ValueError when its pin is none of the RTC's."""
        esp32.wake_on_ext1((self.pin,), esp32.WAKEUP_ALL_LOW if self.pin.value() else esp32.WAKEUP_ANY_HIGH)

    async def run(self):
        while True:
            if self._on_sample(self.pin.value() == self._closed) is None:
                await aio.flagged(self._flag, IDLE_MS)
            else:
                await asyncio.sleep_ms(SAMPLE_MS)
