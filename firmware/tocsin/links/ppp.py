"""Data over the mobile network: MicroPython's PPP on the modem's serial line, while drivers/modem.py leaves that to it.

Written for network.PPP of MicroPython >= 1.27: earlier ones can freeze when a session ends (its pull request 17656).
A session ends the hard way, and without the line, because an orderly end waits for a peer that may be gone, and writes
on a line that is the modem's again. A session that has died in the network looks alive: links/route.py judges.
"""

import asyncio

import network

from tocsin import at, log

UP_MS = 10000  # from CONNECT to an address
LOOK_MS = 250
END_MS = 10000  # MicroPython's PPP may say for some seconds after a session that one is just beginning
EALREADY = 114


class Ppp:
    """The data session. `apn`: (name, user, key, may it be used abroad). on_state(True) when packets may pass;
    on_state(False) when a session has ended or could not begin, on_state(False, True) when it only made room.
    `under(name, call)`: a call that may end the start."""

    def __init__(self, apn, modem, on_state, under):
        self.name, self._user, self._key, self._abroad = apn
        self._modem = modem
        self._on_state = on_state
        self._under = under
        self._ppp = network.PPP(None)
        self._name_server = None
        self.wanted = False
        self.up = False
        modem.data = self

    def want(self, on):
        """Say whether a session is to be dialled, or kept."""
        if on != self.wanted:
            self.wanted = on
            self._modem.look()

    def stop(self):
        """End the session: the processor is about to sleep, and the modem to be switched off."""
        self.want(False)

    @property
    def possible(self):
        """Tell whether the modem is registered, and not in a foreign network that costs too much."""
        return self._modem.registered and (self._abroad or self._modem.stat != at.ROAMING)

    def name_server(self):
        """Return the address of the network's name server; if it names none, its other end, which may be one."""
        return self._name_server

    def made_room(self):
        """Report that the line was needed before a session began."""
        self._over(True)

    def refused(self, reason):
        """Report that the network or the modem didn't let a session begin."""
        log.event("failed", path="ppp", reason=reason)
        self._over(False)

    def _over(self, yielded):
        self.up = self.wanted = False
        self._on_state(False, yielded)

    async def carry(self, uart, needed):
        """Carry a session on `uart`, a modem in data mode, until it is no longer wanted, or the line is `needed()` for
        something else. Returns whether packets could pass."""
        ppp = self._ppp
        reason = None
        came = False
        busy = True  # with the end of the last session, for which this network can't be blamed
        try:
            ppp.config(stream=uart)
            await self._connect(needed)
            busy = False
            left = UP_MS // LOOK_MS
            while self.wanted and left and ppp.status() > 0 and not ppp.isconnected() and not needed():
                await asyncio.sleep_ms(LOOK_MS)
                left -= 1
            if ppp.isconnected():
                _, peer, _, server = ppp.ifconfig()
                self._name_server = peer if server in (None, "", "0.0.0.0") else server
                self.up = came = True
                self._on_state(True)
                while self.wanted and ppp.isconnected() and not needed():
                    await asyncio.sleep_ms(LOOK_MS)
            if self.wanted and not needed():
                reason = str(ppp.status())
        except OSError as error:
            reason = log.reason(error)
        finally:
            ppp.config(stream=None)
            ppp.active(False)
            if reason:
                log.event("failed", path="ppp", reason=reason)
            self._over(self.wanted and (busy or needed()))
        return came

    async def _connect(self, needed):
        options = {}
        if self._user:
            options = {"security": network.PPP.SEC_PAP, "user": self._user, "key": self._key or ""}
        for left in range(END_MS // LOOK_MS, -1, -1):
            try:
                self._under("ppp", lambda: self._ppp.connect(**options))
                return
            except OSError as error:
                if error.args[0] != EALREADY or not left or not self.wanted or needed():
                    raise
            await asyncio.sleep_ms(LOOK_MS)
