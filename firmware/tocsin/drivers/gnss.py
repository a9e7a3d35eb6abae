# hwsim: no-float
"""The GNSS receiver on its UART: octets to fixes, on and off, and a power cycle when it has gone silent.

tocsin/fixes.py understands what the receiver says. One in the modem is switched by drivers/modem.py, which also brings
its sentences; `told` is the state that it was last told, on or off (None: not known).
"""

import asyncio
from asyncio import core

from machine import UART

from tocsin import log
from tocsin.drivers.output import Output
from tocsin.fixes import Fixes

SILENT_MS = 60000
RXBUF = 2048
BURST_MS = 200  # from the first octets of a second until they are read, mostly all at once: each waking costs energy
COMMAND_MS = 10000  # at most, for one in the modem (A76XX Series AT Command Manual V1.05, 24.2: 9 s)
AGAIN_MS = 3000  # the receiver may not be ready yet
TRIES = 8
# Until a receiver in the modem begins: the modem starts in some 5 s, and for 9 more the receiver may not be ready. With
# search.COLD_MS that is less than power.LATE_MS of a duty.
START_MS = 13000
BEGIN_MS = 30000  # when it is switched on, a data session keeps the line for so long: the Alert goes first
STARVED_MS = 120000  # later a session keeps the line for so long before it must make room for a position


class Gnss:
    """The GNSS receiver: its supply, its line, and its fixes."""

    def __init__(self, board, clock, on_time, on_fix):
        self.commands = None  # of the modem that it is in: for off, for on
        if "on" in board:
            self.commands = board["off"], board["on"]
        else:
            self._uart = UART(
                board["uart"], baudrate=board.get("baud", 9600), tx=board["tx"], rx=board["rx"], rxbuf=RXBUF
            )
        self._power_on = 0 if board.get("power_active_low") else 1
        self._power = Output(board, board["power"], 1 - self._power_on) if "power" in board else None
        self.on = self._power is None and not self.commands  # without a switch it always is
        self.hot = board.get("backup", False)  # it remembers while it is off
        self.start_ms = START_MS if self.commands else 0
        self._aid = None  # (fix, time) -> what to tell it when it starts
        if board.get("ublox_aiding"):
            from tocsin.drivers.aiding import ini

            self._aid = ini
        self._new = True  # it has just got its supply
        self.told = None
        self._tries = 0
        self._tell_at = 0  # not before this is it told again
        self.changed = None  # called when the modem must be told
        self._clock = clock
        # Without a switch it may have hung while the processor slept.
        fixes = self._fixes = Fixes(clock, on_time, on_fix, self._power is None)
        self.fix, self.remember, self.feed, self.listen = fixes.fix, fixes.remember, fixes.feed, fixes.listen

    @property
    def count(self):
        """The number of fixes so far: tells whether there is a newer one."""
        return self._fixes.count

    def switch(self, on):
        """Give the receiver its supply, or take it."""
        if on != self.on and (self._power or self.commands):
            self.on = self._new = on
            self.listen()
            if self._power:
                self._power.value(self._power_on if on else 1 - self._power_on)
            elif self.changed:
                self.changed()

    def _silent(self, ms):
        return self.on and self._clock.ms() - self._fixes.heard_at > ms

    # -- in the modem

    def due(self):
        """Return in how many ms the modem must tell it something; None: it is as it should be."""
        return None if self.told == self.on else max(self._tell_at - self._clock.ms(), 0)

    def starved(self):
        """Tell whether the modem's line must be free for it."""
        return self._silent(STARVED_MS if self.told else BEGIN_MS)

    def check(self):
        """Check that it is heard, since the modem's line has been free for it."""
        if self._silent(SILENT_MS) and self.told:
            self._lost()

    def _lost(self):
        log.event("gnss", silent=1)
        self.listen()
        self.told = None

    async def tell(self, ask):
        """Switch it by `ask(command, ms=)` of the modem. The last command says whether it worked."""
        on = self.on
        ok = True
        for text in self.commands[on]:
            ok = (await ask(text, ms=COMMAND_MS)).ok
        self.listen()
        self._tell_at = self._clock.ms() + AGAIN_MS
        self._tries += 1
        if ok or not on or self._tries >= TRIES:
            self.told, self._tries = on, 0
            if not ok:
                log.event("gnss", refused=1)

    async def run(self):
        while True:
            await _readable(self._uart)
            heard_at = self._clock.ms()
            await asyncio.sleep_ms(BURST_MS)
            data = self._uart.read()
            if not data:
                continue
            if self._new:  # its words show that it listens
                self._new = False
                told = self._aid and self._aid(self.fix(), self._clock.time())
                if told:
                    self._uart.write(told)
            self.feed(data, heard_at)

    async def mind(self):
        """Power the receiver off and on when nothing comes from it, or the same second over and over."""
        while True:
            await asyncio.sleep_ms(SILENT_MS // 2)
            if self._silent(SILENT_MS):
                self._lost()
                if self._power:
                    self._power.value(1 - self._power_on)
                    await asyncio.sleep_ms(1000)
                    self._power.value(self._power_on)


def _readable(uart):
    """Wait until something has come."""
    yield core._io_queue.queue_read(uart)
