# hwsim: no-float
"""The GNSS receiver on its UART: octets to fixes, on and off, and a power cycle when it has gone silent.

Keeps the newest fix in memory and, while that is doubtful, the last one that was not; never a track.
"""

import asyncio
from asyncio import core

from machine import UART, Pin

from tocsin import log, movement, nmea

SILENT_MS = 60000
RXBUF = 2048
BURST_MS = 200  # from the first octets of a second until it is read, mostly all at once: each waking costs energy


class Gnss:
    """`on_time(seconds)` whenever the receiver says the time, `on_fix()` for a new fix."""

    def __init__(self, board, clock, on_time, on_fix):
        self._uart = UART(board["uart"], baudrate=board.get("baud", 9600), tx=board["tx"], rx=board["rx"], rxbuf=RXBUF)
        self._power_on = 0 if board.get("power_active_low") else 1
        self._power = Pin(board["power"], Pin.OUT, value=1 - self._power_on) if "power" in board else None
        self.on = self._power is None  # without a switch it always is
        self._aid = None  # (fix, time) -> what to tell it when it starts
        if board.get("ublox_aiding"):
            from tocsin.drivers.aiding import ini

            self._aid = ini
        self._new = True  # it has just got its supply
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
        if self._power is not None and on != self.on:
            self.on = self._new = on
            self._heard_at = self._clock.ms()
            self._power.value(self._power_on if on else 1 - self._power_on)

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

    async def run(self):
        parser = nmea.Parser()
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
            frozen = False
            for what, value in parser.feed(data):
                if what == "time":
                    frozen = value == self._time
                    if not frozen:
                        self._time = value
                        self._on_time(value)
                else:
                    self._take(value, heard_at)
            if not frozen:
                self._heard_at = heard_at

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
            if self.on and self._clock.ms() - self._heard_at > SILENT_MS:
                log.event("gnss", silent=1)
                self._heard_at = self._clock.ms()
                if self._power:
                    self._power.value(1 - self._power_on)
                    await asyncio.sleep_ms(1000)
                    self._power.value(self._power_on)


def _readable(uart):
    """Until something has come."""
    yield core._io_queue.queue_read(uart)
