# hwsim: no-float
"""The GNSS receiver on its UART: octets to fixes, on and off, and a power cycle when it has gone silent.

Or in the modem: then drivers/modem.py tells it `told`, on or off (None: it doesn't know), and brings what it hears.
Keeps exactly one fix, the newest, in memory; never a track.
"""

import asyncio
from asyncio import core

from machine import UART, Pin

from tocsin import log, nmea

SILENT_MS = 60000
RXBUF = 2048
BURST_MS = 200  # from the first octets of a second until it is read, mostly all at once: each waking costs energy
COMMAND_MS = 10000  # at most, for one in the modem (A76XX Series AT Command Manual V1.05, 24.2: 9 s)
AGAIN_MS = 3000  # it may not be ready yet
TRIES = 8
BEGIN_MS = 30000  # a data session that has the line goes on so long when it is switched on: the Alert goes first
STARVED_MS = 120000  # and then so long before it must make room for a position


class Gnss:
    """`on_time(seconds)` whenever the receiver says the time, `on_fix()` for a new fix."""

    def __init__(self, board, clock, on_time, on_fix):
        self.commands = None  # of the modem that it is in: for off, for on
        if "on" in board:
            self.commands = board["off"], board["on"]
        else:
            self._uart = UART(
                board["uart"], baudrate=board.get("baud", 9600), tx=board["tx"], rx=board["rx"], rxbuf=RXBUF
            )
        self._power_on = 0 if board.get("power_active_low") else 1
        self._power = Pin(board["power"], Pin.OUT, value=1 - self._power_on) if "power" in board else None
        self.on = self._power is None and not self.commands  # without a switch it always is
        self.told = None
        self._tries = 0
        self._tell_at = 0  # not before this is it told again
        self.changed = None  # called when the modem must be told
        self._parser = nmea.Parser()
        self._clock = clock
        self._on_time = on_time
        self._on_fix = on_fix
        self._fix = None
        self._fixed_at = 0
        self._heard_at = clock.ms()
        self.count = 0  # of fixes so far: tells whether there is a newer one

    def switch(self, on):
        """Give it its supply, or take it."""
        if on != self.on and (self._power or self.commands):
            self.on = on
            self.listen()
            if self._power:
                self._power.value(self._power_on if on else 1 - self._power_on)
            elif self.changed:
                self.changed()

    def listen(self):
        """From now on it can be heard, so its silence counts."""
        self._heard_at = self._clock.ms()

    def _silent(self, ms):
        return self.on and self._clock.ms() - self._heard_at > ms

    # -- in the modem

    def due(self):
        """In how many ms the modem must tell it something; None: it is as it should be."""
        return None if self.told == self.on else max(self._tell_at - self._clock.ms(), 0)

    def starved(self):
        """Must the modem's line be free for it?"""
        return self._silent(STARVED_MS if self.told else BEGIN_MS)

    def check(self):
        """The modem's line has been free for it: is it heard?"""
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
        self._tell_at = self._heard_at + AGAIN_MS
        self._tries += 1
        if ok or not on or self._tries >= TRIES:
            self.told, self._tries = on, 0
            if not ok:
                log.event("gnss", refused=1)

    # -- what it says

    def remember(self, fix):
        """What fix() said before the processor slept, its age told anew."""
        lat, lon, accuracy, age, altitude, speed, heading = fix
        self._fix = nmea.Fix(lat, lon, speed, heading)
        self._fix.accuracy, self._fix.altitude = accuracy, altitude
        self._fixed_at = self._clock.ms() - age * 1000

    def fix(self):
        """(lat, lon, accuracy, age s, altitude, speed, heading) of the last fix, or None."""
        fix = self._fix
        if fix is None:
            return None
        age = min((self._clock.ms() - self._fixed_at) // 1000, 65535)
        return fix.lat, fix.lon, fix.accuracy, age, fix.altitude, fix.speed, fix.heading

    def feed(self, data):
        """Octets from it, of which the first came when `listen` was called last."""
        for event in self._parser.feed(data):
            if event[0] == "fix":
                if self._fix is None:
                    log.event("gnss", fix=1)
                self._fix = event[1]
                self._fixed_at = self._heard_at
                self.count += 1
                self._on_fix()
            elif event[0] == "time":
                self._on_time(event[1])

    async def run(self):
        while True:
            await _readable(self._uart)
            self.listen()
            await asyncio.sleep_ms(BURST_MS)
            data = self._uart.read()
            if data:
                self.feed(data)

    async def mind(self):
        """Power the receiver off and on when nothing at all comes from it."""
        while True:
            await asyncio.sleep_ms(SILENT_MS // 2)
            if self._silent(SILENT_MS):
                self._lost()
                if self._power:
                    self._power.value(1 - self._power_on)
                    await asyncio.sleep_ms(1000)
                    self._power.value(self._power_on)


def _readable(uart):
    """Until something has come."""
    yield core._io_queue.queue_read(uart)
