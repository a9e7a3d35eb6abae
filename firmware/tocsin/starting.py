"""Start in order: first the button, then part by part, each with its mark (risks.py), and last the left-out parts.

Nothing is begun while the button is down and its meaning is not sealed: a driver's call may never come back, or the
supply may give way at it. Then the watchdog or the supply begins a next start, which knows the culprit by its mark.
Not here: how a part is built and who needs it (bracelet.py).
"""

import asyncio

import machine

from tocsin import aio, log
from tocsin.risks import NAMES

WATCHDOG_MS = 40000
START_MS = 12000  # while a part has just been started: a hang must leave time for a call by the other parts
FEED_MS = 5000
LOOK_MS = 30  # until it is known whether the button was down: three samples
PRESS_MS = 6000  # a button that is stuck, or flash that fails, must not keep the radio off for longer
STEP_MS = 20
SETTLE_MS = 3000  # a part that has lived so long does not end a start
MODEM_MS = 15000  # or until the modem is registered: it draws most in its search for a network
SPACE_MS = 1000  # between two parts, when nobody knows which of several it was
TURN_MS = 500
SAFE_MS = 20000  # in safe mode, until Wi-Fi is tried
LIVED_MS = 120000
_TRANSIENT = ("ppp", "mqtt")  # their calls come again and again, and only the call itself ends a start


class Watchdog:
    """The watchdog: armed when it is made, and patient only once all that was started has lived."""

    def __init__(self, risks):
        self._risks = risks
        self.calm = False  # the start is over
        self._ms = 0
        self.feed()

    def feed(self):
        ms = WATCHDOG_MS if self.calm and not self._risks.open else START_MS
        if ms != self._ms:
            self._ms = ms
            self._timer = machine.WDT(timeout=ms)
        else:
            self._timer.feed()


class Starter:
    """The order of a start. `bracelet`: its build(name), failed(name) and begun() are called. `names`: of the parts
    that it may have; `radios`: those of "modem", "wifi" that may carry an alarm; `wanted`: what is to be sealed."""

    def __init__(self, bracelet, clock, starts, watchdog, names, radios, wearer, delivery, parts, wanted):
        self._bracelet = bracelet
        self._clock = clock
        self._starts = starts
        self._risks = starts.risks
        self._watchdog = watchdog
        self._names = names
        self._radios = radios
        self._wearer = wearer
        self._delivery = delivery
        self._parts = parts
        self._wanted = wanted
        self._patience = PRESS_MS
        self._at = {}  # name -> when it was begun
        self._settled = set()
        self._turn = aio.Event()
        self._left = []  # names of those that are left out for now

    async def run(self):
        """Run the task. Should it be started anew, it goes on where it was."""
        await asyncio.sleep_ms(LOOK_MS)
        self._wearer.looked()
        if self._risks.woken and not self._risks.count("haptic"):
            # The motor lived until the sleep. She needs its ticks from the press on, to do what she means.
            await self.begin("haptic", True)
        for name in NAMES:
            if name in self._names and name not in self._at and name not in self._left:
                if self._pause(name):
                    self._leave(name)
                else:
                    await self.begin(name)
        self._bracelet.begun()
        while True:
            self._settle()
            self._watchdog.calm = True
            self._live()
            for name in self._left[:]:
                if await self._try(name):
                    break  # one at a time
            self._turn.clear()
            await self._turn.wait(TURN_MS if self._left or self._risks.open else LIVED_MS // 2)

    def _pause(self, name):
        radios = self._radios
        if name == "modem" and self._bracelet.wifi_up is False:
            radios = (name,)  # a network that isn't there carries nothing
        ms = self._risks.pause(name, bool(self._delivery.queue), radios)
        if ms == 0 and self._starts.safe and name == "wifi" and "modem" in self._at and "modem" in self._radios:
            return SAFE_MS  # the least that can call for help goes first
        return ms

    def due(self, name):
        """Tell whether a part is left out, and yet to be tried in this waking."""
        return name in self._left and self._pause(name) is not None

    def _leave(self, name):
        log.event("missing", part=name, reason="killed" if self._risks.count(name) else "safe")
        self._left.append(name)
        self._starts.lacks = True
        self._bracelet.failed(name)

    async def _try(self, name):
        ms = self._pause(name)
        if ms is None or self._clock.ms() < ms or self._risks.open:
            return False
        if name == "ppp" and "modem" in self._left:
            return False
        self._left.remove(name)
        self._starts.lacks = bool(self._left)
        log.event("trying", part=name)
        await self.begin(name)
        return True

    async def begin(self, name, pressed=False):
        """Start a part, and let its task take its first step, under its mark. `pressed`: even while she presses."""
        if not pressed:
            await self._clear()
        self.mark(name)
        self._bracelet.build(name)
        await asyncio.sleep_ms(0)
        await asyncio.sleep_ms(0)
        self._risks.begun()
        self._starts.marked()
        if self._risks.slow:
            await asyncio.sleep_ms(SPACE_MS)
            self._settle(SPACE_MS // 2)

    async def _clear(self):
        """Wait until the button is up, or its meaning is sealed."""
        while (self._wearer.holding() or self._wanted) and self._patience > 0:
            await asyncio.sleep_ms(STEP_MS)
            self._patience -= STEP_MS

    def mark(self, name):
        """Mark a part: the call that starts it comes next."""
        self._risks.begin(name)
        self._at[name] = self._clock.ms()
        self._settled.discard(name)
        self._starts.marked()
        self._watchdog.feed()

    def under(self, name, call):
        """Make a call that starts something of a part that is there, under the part's mark."""
        if self._risks.beginning == name:
            return call()
        self.mark(name)
        result = call()
        self._risks.begun()
        if name in _TRANSIENT:
            self._risks.done(name)
        self._starts.marked()
        self._turn.set()
        return result

    def _settle(self, ms=SETTLE_MS):
        now, changed = self._clock.ms(), False
        for name in self._at:
            age = now - self._at[name]
            if name not in self._settled and (
                age >= (MODEM_MS if name == "modem" and ms == SETTLE_MS else ms)
                or (name == "modem" and self._parts.modem.registered)
            ):
                self._settled.add(name)
                self._risks.done(name)
                changed = True
        if changed:
            self._starts.marked()

    def _live(self):
        """Forget the past of the parts that have lived for long."""
        now = self._clock.ms()
        if self._risks.lived([name for name in self._at if now - self._at[name] >= LIVED_MS]):
            self._starts.marked()

    def rested(self):
        """Note that the bracelet is about to sleep: parts that have lived until now have lived."""
        self._settle()
        if self._risks.lived(self._settled):
            self._starts.marked()
