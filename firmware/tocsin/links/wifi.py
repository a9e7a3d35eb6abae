"""Wi-Fi station: tries the known networks in turn and says when there is one.

No scan: it blocks for seconds on an ESP32. on_state(True/False) is called for changes, and False after a first round
in vain, so that an alarm needn't wait for a network that isn't there.
"""

import asyncio

import network

from tocsin import aio

JOIN_MS = 15000
LOOK_MS = 500
WATCH_MS = 2000  # while nothing waits to be sent: the driver itself needs seconds to take a network for lost
PAUSE_MS = 5000
PAUSE_MAX_MS = 120000
PAUSE_URGENT_MS = 30000  # a van stops before the right house for a minute


class Wifi:
    def __init__(self, networks, on_state):
        self._networks = networks
        self._on_state = on_state
        self._wlan = network.WLAN(network.STA_IF)
        self._hurry = asyncio.Event()
        self.urgent = False  # messages wait: look more often

    def kick(self):
        """Somebody needs a network now: don't wait out the pause between two rounds."""
        self._hurry.set()

    def stop(self):
        """The radio off, for good: the processor is about to sleep."""
        self._networks = ()
        self._wlan.active(False)

    def name_server(self):
        """The address of the network's name server."""
        return self._wlan.ifconfig()[3]

    async def run(self):
        if not self._networks:
            self._on_state(False)
            while True:
                await asyncio.sleep_ms(3600000)
        self._wlan.active(True)
        pause = PAUSE_MS
        while True:
            for ssid, key in self._networks:
                if await self._join(ssid, key):
                    pause = PAUSE_MS
                    self._on_state(True)
                    while self._wlan.isconnected():
                        await asyncio.sleep_ms(LOOK_MS if self.urgent else WATCH_MS)
                    break
            self._on_state(False)
            self._hurry.clear()
            hurried = await aio.wait(self._hurry, pause)
            pause = PAUSE_MS if hurried else min(pause * 2, PAUSE_URGENT_MS if self.urgent else PAUSE_MAX_MS)

    async def _join(self, ssid, key):
        try:
            self._wlan.connect(ssid, key)
        except OSError:  # the driver is still busy with the last attempt
            await asyncio.sleep_ms(LOOK_MS)
        for _ in range(JOIN_MS // LOOK_MS):
            if self._wlan.isconnected():
                return True
            if self._wlan.status() == network.STAT_NO_AP_FOUND:
                break  # the driver has looked on all channels: an alarm needn't wait for this network
            await asyncio.sleep_ms(LOOK_MS)
        self._wlan.disconnect()
        return False
