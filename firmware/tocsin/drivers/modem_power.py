# hwsim: no-float
"""The modem's supply: its power key, its reset and its status line. modem.py decides when they are used.

A key toggles, it switches a modem on only when that is really off, and a slow start looks like none. So a press to
switch on is too short to switch off, where the two times differ, and comes only after the time that switching off takes
(SIM7000 Hardware Design V1.07, 3.2.2; SIM7600 Hardware Design V1.03, 3.3.2).
"""

import asyncio

from machine import Pin

from tocsin.drivers.output import Output

OFF_MS = 8000  # at most, from the key to off: 2 to 7 s
LOOK_MS = 200


class Power:
    def __init__(self, board, clock):
        self._clock = clock
        self._key_on = 0 if board.get("power_key_active_low") else 1
        self._key = Output(board, board["power_key"], 1 - self._key_on) if "power_key" in board else None
        key_ms = board.get("power_key_ms", 1000)
        off_ms = board.get("power_off_ms", key_ms)
        self._key_ms = key_ms * 5 // 4  # the data sheet's minimum, with a margin
        self._off_ms = off_ms * 5 // 4
        for level, key in enumerate(("held_low", "held_high")):  # its supply, say, or DTR: as long as we are awake
            for pin in board.get(key, ()):
                Output(board, pin, level)
        self._status = Pin(board["status"], Pin.IN) if "status" in board else None  # high while it is on
        self._reset_on = 0 if board.get("reset_active_low", True) else 1
        self._reset_ms = board.get("reset_ms", 200)
        self._reset = Output(board, board["reset"], 1 - self._reset_on) if "reset" in board else None
        self.has_key = self._key is not None
        self.harmless = not self.has_key or self._key_ms < off_ms  # pressed to switch on, the key can't switch off
        self._off_at = None  # when it began to switch off
        self.on_at = -OFF_MS  # when the key was last pressed to switch it on

    @property
    def on(self):
        """The state by its status line; None without one."""
        return bool(self._status.value()) if self._status else None

    async def _press(self, ms):
        self._key.value(self._key_on)
        await asyncio.sleep_ms(ms)
        self._key.value(1 - self._key_on)

    async def switch_on(self):
        await self.until_off()
        if self._key and not self.on:
            self.on_at = self._clock.ms()
            await self._press(self._key_ms)

    async def switch_off(self, long=False):
        """Switch off by the key. `long`: for a modem that hangs."""
        if self._key:
            await self._press(self._off_ms * 2 if long else self._off_ms)
            self.leaving()

    def leaving(self):
        """Note that the modem begins to switch off, told to or not."""
        self._off_at = self._clock.ms()

    @property
    def switching_off(self):
        """Tell whether it may still be switching off."""
        if self._off_at is not None and (self.on is False or self._clock.ms() - self._off_at >= OFF_MS):
            self._off_at = None
        return self._off_at is not None

    async def until_off(self):
        while self.switching_off:
            await asyncio.sleep_ms(LOOK_MS)

    async def restart(self):
        """Restart a modem in whatever state it hangs: by reset where there is a pin for it, else off by its key. True:
        it starts by itself."""
        if self._reset:
            self._reset.value(self._reset_on)
            await asyncio.sleep_ms(self._reset_ms)
            self._reset.value(1 - self._reset_on)
            return True
        await self.switch_off(True)
        await self.until_off()
        return False
