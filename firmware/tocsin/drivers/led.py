"""The light: dark in ordinary life, so that the bracelet doesn't betray its wearer; it blinks only at start and when
something must be repaired before it is worn.
"""

import asyncio

from machine import Pin

from tocsin import aio

PATTERNS = {  # (on ms, off ms, times; 0: until another pattern is shown)
    "armed": (60, 140, 3),
    "blank": (60, 1940, 0),  # waits for its offer
    "fault": (400, 400, 0),
}


class Led:
    def __init__(self, board):
        self._on = 0 if board.get("active_low") else 1
        self._pin = Pin(board["pin"], Pin.OUT, value=1 - self._on)
        self._pattern = None
        self._wake = aio.Event()

    def show(self, name):
        """Show a pattern by its name, or None for dark."""
        self._pattern = name
        self._wake.set()

    async def run(self):
        while True:
            await self._wake.wait()
            self._wake.clear()
            name = self._pattern
            if name is None:
                continue
            on, off, times = PATTERNS[name]
            count = 0
            while not self._wake.is_set() and (not times or count < times):
                count += 1
                self._pin.value(self._on)
                await asyncio.sleep_ms(on)
                self._pin.value(1 - self._on)
                await asyncio.sleep_ms(off)
