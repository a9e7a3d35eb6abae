"""The button: interrupt, debouncing, and its gestures as they ripen."""

import asyncio

from esp32 import wake_on_ext0
from machine import Pin

from tocsin import aio

SAMPLE_MS = 10
STABLE = 3  # equal samples that make an edge
IDLE_MS = 5000  # look at the pin this often even without an interrupt: one that was lost must not lose a press


class Button:
    """The button. It calls `on_edge(down)` for every debounced edge, `on_time()` while it is held, `on_alive()` now and
    then. on_time() returns in how many ms it wants to be called again although the button rests, or None."""

    def __init__(self, board, on_edge, on_time, on_alive):
        low = board.get("active_low", True)
        # Not held, a sleeping ESP32-S3's pad would have the RTC's pull, which may be the other one (micropython#15260).
        self._pin = Pin(board["pin"], Pin.IN, Pin.PULL_UP if low else Pin.PULL_DOWN, hold=True)
        self._pressed = 0 if low else 1
        self._on_edge = on_edge
        self._on_time = on_time
        self._on_alive = on_alive
        self._flag = asyncio.ThreadSafeFlag()
        self._pin.irq(self._interrupt, Pin.IRQ_FALLING | Pin.IRQ_RISING)

    def _interrupt(self, pin):
        self._flag.set()

    def down(self):
        """Tell whether it is down at this moment."""
        return self._pin.value() == self._pressed

    def arm_wake(self):
        """Let a press end the next deep sleep. ValueError when its pin is none of the RTC's."""
        wake_on_ext0(self._pin, self._pressed)

    async def run(self):
        down = False
        while True:
            self._on_alive()
            same = other = 0  # samples in a row that say what is known, or the opposite
            while down or same < STABLE:
                if self.down() == down:
                    same, other = same + 1, 0
                else:
                    same, other = 0, other + 1
                    if other == STABLE:
                        down, other = not down, 0
                        self._on_edge(down)
                self._on_time()
                self._on_alive()
                await asyncio.sleep_ms(SAMPLE_MS)
            ms = self._on_time()
            await aio.flagged(self._flag, IDLE_MS if ms is None else max(min(ms, IDLE_MS), 1))
