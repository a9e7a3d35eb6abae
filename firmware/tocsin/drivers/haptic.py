"""The vibration motor: patterns that are told apart in the wrist, from tables.

A pattern is strength (%)/milliseconds in turn. Ticks while the button ripens are cut short by anything else; the other
patterns wait for each other, so that none goes unfelt.
"""

import asyncio

from machine import PWM, Pin

from tocsin import aio

PATTERNS = {  # text, whose letters stay in flash: as numbers they would take 2 KB of the heap
    "tick1": "35/30",
    "tick2": "50/35",
    "tick3": "70/40",
    "tick4": "100/45",
    "raised": "100/700",
    "updated": "80/200",
    "cancelled": "90/300 0/150 60/80 0/150 90/300",
    "heard": "100/120 0/120 100/120 0/120 100/120",
    "accepted": "40/90 0/90 55/90 0/90 70/90 0/90 85/90 0/90 100/300",
    "closed": "70/250 0/150 45/250 0/150 25/250",
    "drill_armed": "60/40 0/100 60/40",
    "drill": "100/350 0/150 100/350",
    "may_open": "90/300 0/150 60/80",
    "worn": "60/80 0/150 90/300",
    "check_in": "60/80 0/150 60/80 0/150 90/300",
    "check_in_off": "90/300 0/150 60/80 0/150 60/80",
    "reminder": "30/300 50/300 70/300 50/300 30/300",
    "fault": "100/50 0/50 100/50 0/50 100/50 0/50 100/50 0/50 100/50 0/50 100/50 0/50",
}
PAUSE_MS = 250  # between two patterns
WAITING_MAX = 4
FREQUENCY = 20000


class Haptic:
    def __init__(self, board):
        self._pwm = PWM(Pin(board["pin"]), freq=board.get("frequency_hz", FREQUENCY), duty_u16=0)
        self._waiting = []
        self._current = None  # what plays now
        self._wake = aio.Event()

    def busy(self):
        """Tell whether something is felt, or about to be."""
        return self._current is not None or bool(self._waiting)

    def play(self, name):
        if name.startswith("tick"):
            if not self._waiting and self._current is None:
                self._waiting.append(name)
                self._wake.set()
            return
        self._waiting = [other for other in self._waiting if not other.startswith("tick")]
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(name)
        self._wake.set()

    async def run(self):
        try:
            while True:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                self._current = self._waiting.pop(0)
                tick = self._current.startswith("tick")
                await self._steps(PATTERNS[self._current], tick)
                if not tick:
                    await asyncio.sleep_ms(PAUSE_MS)
                self._current = None
        finally:
            self._current = None
            self._pwm.duty_u16(0)

    async def _steps(self, pattern, cut_short):
        for step in pattern.split():
            strength, ms = [int(number) for number in step.split("/")]
            self._pwm.duty_u16(65535 * strength // 100)
            if cut_short:
                self._wake.clear()
                if await self._wake.wait(ms):
                    break
            else:
                await asyncio.sleep_ms(ms)
        self._pwm.duty_u16(0)
