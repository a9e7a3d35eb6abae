"""Run the Wi-Fi station: try the known networks in turn and say when there is one.

There is no scan: it blocks for seconds on an ESP32. on_state(True/False) is called for changes, and False after a first
round in vain, so that an alarm needn't wait for a network that isn't there.

A network through which the broker can't be reached (links/route.py judges) is left, and avoided for a while: longer
each time, and through deep sleep. It is not avoided while something waits and there is no better way.
"""

import asyncio
import time

import network

from tocsin import aio, log
from tocsin.links import shortage

JOIN_MS = 15000
SCAN_MS = 8000  # by then a network in reach is joined, and status() is about this one
LET_GO_MS = 100
LOOK_MS = 500
TRIES = 8
WATCH_MS = 2000  # while nothing waits to be sent: the driver itself needs seconds to take a network for lost
PAUSE_MS = 5000
PAUSE_MAX_MS = 120000
PAUSE_URGENT_MS = 30000  # a van stops before the right house for a minute
_AWAY_S = 600  # from a network that was left: doubled with each one
_AWAY_MAX_S = 2400


class Wifi:
    def __init__(self, networks, on_state, under):
        """`under(name, call)`: a call that may end the start."""
        self._networks = networks
        self._on_state = on_state
        self._under = under
        self._wlan = network.WLAN(network.STA_IF)
        self._hurry = aio.Event()
        self.urgent = False  # messages wait: look more often
        self.choosy = False  # there is another way: keep away from the networks that were left
        self._leaving = False
        self._here = 0  # the network that is up, or was
        self._left = [0] * (1 + len(networks))  # how many in a row; then for each network until when to keep away (s)

    def state(self):
        """Return what resume() needs after a sleep."""
        return self._left

    def resume(self, left):
        if left and len(left) == len(self._left):
            self._left = left

    def doubtful(self):
        """Tell whether the last network led nowhere."""
        return self._left[0] > 0

    def reached(self):
        """Note that there is a way to the broker through the network that is up."""
        self._left = [0] * len(self._left)

    def leave(self):
        """Leave the network that is up: there is no way to the broker through it."""
        self._left[1 + self._here] = int(time.time()) + min(_AWAY_S << self._left[0], _AWAY_MAX_S)
        self._left[0] = min(self._left[0] + 1, 8)
        self._leaving = True

    def _away(self, index):
        return 0 < self._left[1 + index] - int(time.time()) <= _AWAY_MAX_S  # the clock may have been set since

    def kick(self):
        """Don't wait out the pause between two rounds: somebody needs a network now."""
        self._hurry.set()

    def stop(self):
        """Switch the radio off, for good: the processor is about to sleep."""
        self._networks = ()
        self._wlan.active(False)

    def _let_go(self):
        """Let go of the last network: the driver tries it for ever, and takes no other one meanwhile."""
        try:
            self._wlan.disconnect()
        except (OSError, RuntimeError):  # the second of an error that MicroPython has no name for
            pass

    def name_server(self):
        """Return the address of the network's name server; if it names none, its router, which may be one."""
        _, _, router, server = self._wlan.ifconfig()
        return router if server == "0.0.0.0" else server

    async def run(self):
        if not self._networks:
            self._on_state(False)
            while True:
                await asyncio.sleep_ms(3600000)
        while not self._switch_on():
            self._on_state(False)
            await asyncio.sleep_ms(PAUSE_MAX_MS)
        pause = PAUSE_MS
        while True:
            networks = self._networks
            # The networks that were left come last, the longest ago before the others.
            for index in sorted(range(len(networks)), key=lambda n: (self._away(n) and self._left[1 + n], n)):
                if self.choosy and self._away(index):
                    continue
                if await self._join(*networks[index]):
                    self._here = index
                    self._on_state(True)
                    self._leaving = False
                    while self._wlan.isconnected() and not self._leaving:
                        await asyncio.sleep_ms(LOOK_MS if self.urgent else WATCH_MS)
                    if self._leaving:
                        self._let_go()
                    elif not self._left[0]:
                        pause = PAUSE_MS
                    break
            self._on_state(False)
            self._hurry.clear()
            hurried = await self._hurry.wait(pause)
            pause = PAUSE_MS if hurried else min(pause * 2, PAUSE_URGENT_MS if self.urgent else PAUSE_MAX_MS)

    def _switch_on(self):
        try:
            self._wlan.active(True)
        except (OSError, RuntimeError) as error:  # no memory
            log.event("failed", path="net", reason=log.reason(error))
            return False
        return True

    async def _join(self, ssid, key):
        for _ in range(TRIES):
            self._let_go()
            await asyncio.sleep_ms(LET_GO_MS)
            try:
                self._under("wifi", lambda: self._wlan.connect(ssid, key))
                break
            except (OSError, RuntimeError) as error:  # the driver is still busy
                if shortage.short(error):
                    return False
                await asyncio.sleep_ms(LOOK_MS)
        # Without an address status() may be the last network's: it counts when it is new, or has stood for long.
        now = False
        for ms in range(0, JOIN_MS, LOOK_MS):
            if self._wlan.isconnected():
                return True
            if self._wlan.status() != network.STAT_NO_AP_FOUND:
                now = True
            elif now or ms >= SCAN_MS:
                break  # the driver has looked on all channels: an alarm needn't wait for this network
            await asyncio.sleep_ms(LOOK_MS)
        self._let_go()
        return False
