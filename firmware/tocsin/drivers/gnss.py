# hwsim: no-float
"""The GNSS receiver on its UART: octets to fixes, on and off, and a power cycle when it has gone silent.

Keeps the newest fix in memory and, while that is doubtful, the last one that was not; never a track. Or it is in the
modem: then drivers/modem.py tells it `told`, on or off (None: it doesn't know), and brings what it hears.
"""

import asyncio
from asyncio import core

from machine import UART

from tocsin import log, movement, nmea
from tocsin.drivers.output import Output

SILENT_MS = 60000
RXBUF = 2048
BURST_MS = 200  # from the first octets of a second until it is read, mostly all at once: each waking costs energy
COMMAND_MS = 10000  # at most, for one in the modem (A76XX Series AT Command Manual V1.05, 24.2: 9 s)
AGAIN_MS = 3000  # it may not be ready yet
TRIES = 8
# Until one in the modem begins: that starts in some 5 s, and for 9 more it may not be ready. With search.COLD_MS it is
# less than power.LATE_MS of a duty.
START_MS = 13000
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
        self._parser = nmea.Parser()
        self._frozen = False  # it says the same second again
        # The first second it says, until there is another: without a switch it may have hung while the processor slept.
        self._first = None if self._power else 0
        self._clock = clock
        self._on_time = on_time
        self._on_fix = on_fix
        self._fix = None
        self._sure = None  # the last one without doubt
        self._time = None  # s since 1970: the receiver's last
        self._heard_at = clock.ms()
        self.count = 0  # of fixes so far: tells whether there is a newer one

    def switch(self, on):
        """Give it its supply, or take it."""
        if on != self.on and (self._power or self.commands):
            self.on = self._new = on
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
        lat, lon, accuracy, age, altitude, speed, heading, doubt, self._time = fix
        fix = self._fix = self._sure = nmea.Fix(lat, lon, speed, heading)
        fix.accuracy, fix.altitude, fix.doubt, fix.time = accuracy, altitude, doubt, self._time
        fix.at = self._clock.ms() - age * 1000

    def fix(self):
        """(lat, lon, accuracy, age s, altitude, speed, heading, doubt, receiver's time) of the last fix, or None."""
        fix = self._fix
        if fix is None:
            return None
        age = min((self._clock.ms() - fix.at) // 1000, 65535)
        return fix.lat, fix.lon, fix.accuracy, age, fix.altitude, fix.speed, fix.heading, fix.doubt, fix.time

    def feed(self, data, heard_at):
        """Octets from it, of which the first came at `heard_at`."""
        for what, value in self._parser.feed(data):
            if what == "time":
                if self._first == 0:
                    self._first = value
                self._frozen = value in (self._time, self._first)
                if not self._frozen:
                    self._first = None
                    self._time = value
                    self._on_time(value)
            elif value.time != self._first:
                self._take(value, heard_at)
        if not self._frozen:
            self._heard_at = heard_at

    async def run(self):
        while True:
            await _readable(self._uart)
            heard_at = self._clock.ms()
            await asyncio.sleep_ms(BURST_MS)
            data = self._uart.read()
            if not data:
                continue
            if self._new:  # what it says shows that it listens
                self._new = False
                told = self._aid and self._aid(self.fix(), self._clock.time())
                if told:
                    self._uart.write(told)
            self.feed(data, heard_at)

    def _take(self, fix, heard_at):
        """A new fix, unless it is of the same second as the last: a receiver that repeats itself has found nothing."""
        last = self._fix
        fix.at = heard_at
        if last is None:
            log.event("gnss", fix=1)
        elif fix.time == last.time:
            return
        else:
            fix.doubt = movement.doubt(self._sure, last, fix)
        self._fix = fix
        if not fix.doubt:
            self._sure = fix
        self.count += 1
        self._on_fix()

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
    """Until something has come."""
    yield core._io_queue.queue_read(uart)
