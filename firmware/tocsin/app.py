"""Run the firmware from reset on: provisioning, then the bracelet at work; and report it when that can't start.

bracelet.py puts the bracelet itself together.
"""

import asyncio
import os
import sys
import time

import machine

from tocsin import aio, board, boots, cbor, crash, floor, identity, log, parts, settings, wipe
from tocsin.bracelet import Bracelet, random_byte
from tocsin.clock import Clock
from tocsin.starting import Watchdog
from tocsin.state import State

LOOK_MS = 5000  # how often a blank bracelet looks for its offer
CRASH_MS = 10000
SLOT = "slot"  # in NVS: slots.py
UPDATE = "/update.bin"  # a bundle to install
OFFERED = "/update.get"  # [version, size, SHA-256, counter of the order] of a bundle to be fetched
PART = "/update.part"  # as much of it as has come


class App:
    """The firmware from reset on. `starts`: the boots.Boots of this start."""

    def __init__(self, starts):
        self.starts = starts
        self.clock = Clock(time.ticks_ms, time.ticks_diff, machine.RTC())
        self.supervisor = aio.Supervisor(self.clock, self._on_crash)
        self._board = board.load()
        trial = floor.Floor(SLOT).read() >> 2 & 3
        self._updating = False
        self.trial = trial and sys.path[0] == "/slot%d" % trial  # is this a new program that has to prove itself?
        self.led, self.haptic = parts.Absent(), parts.Absent()

    def _on_crash(self, error):
        self.starts.crashed(crash.number(error))
        if self.trial:
            self.abandon()

    def abandon(self):
        """Go back to the former program, at once: this one has not proved itself."""
        log.event("firmware", state="given_up")
        floor.Floor(SLOT).write(floor.Floor(SLOT).read() & 3)
        self.starts.lived()  # this start ends on purpose: no reason for safe mode
        machine.reset()

    def sign(self, name):
        """Begin the light or the motor, unless it is there, and let it play the pattern that it missed meanwhile."""
        before = getattr(self, name)
        if parts.present(before):
            return
        part = parts.build(name, self._board.get(name))
        setattr(self, name, part)
        if parts.present(part):
            self.supervisor.start(name, part.run)
            if before.felt:
                part.play(before.felt)

    def _signs(self):
        """Begin both, where there is nothing to raise."""
        self.sign("led")
        self.sign("haptic")

    async def run(self):
        if wipe.begun():
            self._signs()
            await self._wipe()
        known = identity.load()
        if known is None:
            known = await self._provision()
        elif settings.offered():
            settings.forget_offer()
        watchdog = Watchdog(self.starts.risks)  # before the first call of a driver
        try:
            state = State(known, self.clock, random_byte, machine.reset_cause() == machine.DEEPSLEEP_RESET)
        except ValueError:
            await self._broken("journal", watchdog)
        except OSError:
            await self._broken("partition", watchdog)
        bracelet = Bracelet(self, self._board, known, state, watchdog)
        board.keep(self._board, False)
        bracelet.start()
        self.supervisor.start("starts", lambda: self._live(bracelet))
        self._run_updates = lambda: self._update(bracelet, state)
        if self.trial or settings.read(UPDATE, 1) or settings.read(OFFERED, 1):
            self._run_updates()
        await self.supervisor.watch(watchdog)

    def offered(self, bundle):
        """Take the relay's offer of another program for this bracelet."""
        try:
            before = cbor.decode(settings.read(OFFERED) or b"\xf6")
            if before and before[3] > bundle[3]:  # this order comes late
                return
            if settings.read(PART, 1) and (not before or before[2] != bundle[2]):  # else fetching goes on where it was
                os.remove(PART)
            with open(OFFERED, "wb") as file:
                file.write(cbor.encode(bundle))
        except (OSError, ValueError, TypeError, IndexError) as error:
            log.event("refused", what="update", reason=log.reason(error))
        else:
            self._run_updates()

    def _update(self, bracelet, state):
        if not self._updating and (self.trial or not self.starts.safe):
            from tocsin import update

            self._updating = True
            self.supervisor.start("update", update.Updater(self, bracelet, state).run)

    async def _live(self, bracelet):
        """Note when this start has lived, and end safe mode after an hour. An alarm then goes on with a place."""
        await asyncio.sleep_ms(boots.LIVED_MS)
        if not self.starts.safe:
            self.starts.lived()
            board.keep(self._board, True)
        else:
            await asyncio.sleep_ms(boots.SAFE_MS - boots.LIVED_MS)
            while bracelet.busy():
                await asyncio.sleep_ms(LOOK_MS)
            self.starts.lived()
            machine.reset()
        while True:
            await asyncio.sleep_ms(boots.SAFE_MS)

    async def _provision(self):
        """Wait until there is an identity. A blank bracelet has nothing to do but to wait for its offer."""
        self._signs()
        self.led.show("blank")
        log.event("blank")
        while True:
            if settings.offered():
                try:
                    from tocsin import provision  # not at the top: only a blank bracelet needs it in its heap

                    provision.accept()
                    log.event("provisioned")
                    return identity.load()
                except (ValueError, KeyError, TypeError, OSError) as error:
                    log.event("refused", what="offer", reason=log.reason(error))
                    self.led.show("fault")
            await asyncio.sleep_ms(LOOK_MS)

    async def _wipe(self):
        """Wipe a bracelet that was revoked, or whose wipe lost the supply."""
        self.led.show("fault")
        wipe.keys()
        for _ in wipe.rest():
            await asyncio.sleep_ms(0)

    async def _broken(self, what, watchdog):
        """Say, as long as there is power, that it can't work and must go back to the bench."""
        log.event("refused", what=what, reason="lost")
        self._signs()
        self.led.show("fault")
        while True:
            self.haptic.play("fault")
            for _ in range(3600000 // LOOK_MS):
                watchdog.feed()
                await asyncio.sleep_ms(LOOK_MS)


def main():
    starts = boots.Boots(
        machine.RTC(), machine.reset_cause(), floor.Floor("starts"), floor.Floor("crash"), floor.Floor("risks")
    )
    what = {"mode": "safe"} if starts.safe else {}
    if starts.risks.blamed:
        what["killed_by"] = starts.risks.blamed
    log.event("boot", cause=boots.CAUSES[starts.cause], **what)
    try:
        asyncio.run(App(starts).run())
    except KeyboardInterrupt:  # from somebody at the cable, not from a part
        starts.risks.ended()
        starts.marked()
        raise
    except Exception as error:  # it could not start; a reset may help
        starts.crashed(crash.number(error))
        starts.risks.ended()  # no driver was the cause
        starts.marked()
        log.event("crashed", reason=log.reason(error))
    time.sleep_ms(CRASH_MS)
    machine.reset()
