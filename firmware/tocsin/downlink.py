"""Open what comes down from the relay, on any path: one message after the other, a little at a time.

envelope.py and ratchet.py decide whether a message is genuine and new, and state.py what it does to the alarm.
"""

import asyncio
from hashlib import sha256

from tocsin import aio, log

WAITING_MAX = 16
KNOWN_MAX = 16  # messages of which a repetition is recognised


class Downlink:
    """The messages that come down. on_down(kind, value, path, does it change anything, shall it be felt): see
    State.open. on_used(): something came under a counter that was used before, and repeats nothing that came lately."""

    def __init__(self, state, on_down, on_used):
        self._state = state
        self._on_down = on_down
        self._on_used = on_used
        self._known = []
        self._waiting = []  # (octets, path)
        self._some = aio.Event()

    def take(self, octets, path):
        """Take a message; it is opened later."""
        if (octets, path) in self._waiting:  # answers to repetitions come together when the relay was away
            return
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((octets, path))
            self._some.set()
        else:  # the relay answers a repeated message again
            log.event("refused", what="down", reason="flood")

    async def run(self):
        while True:
            self._some.clear()
            while self._waiting:
                octets, path = self._waiting.pop(0)
                try:
                    await self._open(octets, path)
                except ValueError as error:
                    why = str(error.args[0]).replace(" ", "_") if error.args else "ValueError"
                    log.event("refused", what="down", reason=why)
                    if why == "ratchet:_replay" and self._is_strange(octets):
                        self._on_used()
            await self._some.wait()

    async def _open(self, octets, path):
        while not self._state.scan(octets):
            await asyncio.sleep_ms(0)
        kind, value, news, feel = self._state.open(octets)
        self._is_strange(octets)
        self._on_down(kind, value, path, news, feel)

    def _is_strange(self, octets):
        """Tell whether these octets did not come lately, and note that they have come now."""
        digest = sha256(octets).digest()[:4]
        if digest in self._known:
            return False
        self._known = self._known[1 - KNOWN_MAX :] + [digest]
        return True
