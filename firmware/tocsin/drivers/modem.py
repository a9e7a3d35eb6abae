# hwsim: no-float
"""Run the cellular modem: when it is on, what it is asked, and whose turn the line is.

A modem is not one thing that is up or lost. Messages (modem_sms.py), the network and its time (modem_network.py), data
(links/ppp.py) and the receiver in it (gnss.py) are asked for separately; one that refuses is tried again and costs no
other its turn. Only a modem that answers nothing at all is switched off and on.

One task (reader) reads, one (run) talks; nothing cancels an exchange. The modem's words, its echo, or a register whose
value no modem starts with show that it has started anew, and so forgot its set-up. In data mode the line is PPP's: then
nobody here reads or talks, until a message must go out.
"""

import asyncio

import machine

from tocsin import aio, at, log
from tocsin.drivers.modem_line import Line
from tocsin.drivers.modem_network import KINDS, Network
from tocsin.drivers.modem_power import Power
from tocsin.drivers.modem_setup import Setup
from tocsin.drivers.modem_sms import Texts

POLL_MS = 30000
SOON_MS = 2000  # between two polls of a modem that has just started and is not registered for messages
SOON_FOR_MS = 60000
RECEIPT_MS = 12000  # after a message: its receipt should be here
TIME_MS = 3600000
PROBES = 2  # unanswered in a row: it hangs, starts, is off, or in data mode
BOOT_MS = 13000  # so long it may be silent while it starts
ON_MS = 20000  # from the key to an answer
DIAL_MS = 15000
LISTEN_MS = 3000  # to the receiver in it, between two sessions: two positions or three
SETTLE_MS = 13000  # from the first answer until data need not wait for it to be ready for messages
READY_MS = 16000  # the same from when its key was pressed: a slow one that answers late need not be waited for twice
ANSWERED_MS = 4000  # but so long after its first answer
SESSION_MS = 25000  # messages that are refused leave a session alone for so long
AGAIN_MS = 1500  # a modem that has just started refuses a message
YOUNG_REFUSED = 1  # so many in a row; then data has its turn, where there may be some
WAIT_MS = 45000  # a message waits so long for the network, in here
AUDIBLE_MS = 5000  # a receiver in it that was heard so lately works
SPARED_MAX = 6  # so often a modem that answers nothing is left on for its receiver
CONTEXTS = ("IP", "IPV4V6", "IPV6")


class Lost(Exception):
    """A modem that doesn't answer."""


class Modem:
    """The modem. It reports by on_state(sms_up), on_sms(octets) -> None, on_time(seconds), on_cell()."""

    def __init__(self, board, clock, on_state, on_sms, on_time, on_cell):
        self._clock = clock
        self._on_state = on_state
        self._on_time = on_time
        self._power = Power(board, clock)
        self._line = Line(board, clock, self._handle)
        self._network = Network(self.ask, board.get("registration", KINDS[0]), on_cell)
        self._texts = Texts(self.ask, clock, on_sms)
        self._setup = Setup(self.ask, board)
        self._boot_ms = board.get("boot_ms", BOOT_MS)
        self._wake = aio.Event()
        # Deep sleep comes only after it was switched off.
        self._off = self._power.has_key and machine.reset_cause() == machine.DEEPSLEEP_RESET
        self._anew = False  # it has started since it was set up
        self._look = False  # it may have started
        self._quiet = False  # it doesn't echo
        self._answered = False  # since it was switched on
        self._started = 0  # its first answer (ms)
        self._settled = 0  # then data need not wait any more (ms)
        self._spared = 0
        self._context = 0  # of CONTEXTS: the one that the network took last
        self._outbox = None  # (number, octets, on_result)
        self._out_at = 0  # not before
        self._out_since = 0
        self._refused = 0  # messages in a row
        self._session_at = 0
        self._receipt_at = None  # then a receipt is overdue
        self.data = None  # the Ppp that may have the line
        self.dialled = False  # or had it before this start
        self.starts = None  # the boots.Boots of this start, which remember whether the modem is off
        self.gnss = None  # the Gnss that is in it
        self._heard_at = -AUDIBLE_MS  # that receiver
        self._asked = False
        self.resting = False  # off, or as near to it as it can be brought
        self.sms_up = False

    # -- what others see --------------------------------------------------------------------------------------------

    @property
    def registered(self):
        """Tell whether it is with a network, for anything that this allows."""
        return self._network.texts or self._network.data

    @property
    def stat(self):
        return self._network.stat

    @property
    def signal(self):
        return self._network.signal

    @property
    def cell(self):
        return self._network.cell

    @cell.setter
    def cell(self, cell):
        self._network.cell = cell

    @property
    def operator(self):
        """The operator of the network it is registered with, mcc * 1000 + mnc; 0 unknown."""
        network = self._network.network
        return network[0] * 1000 + network[1] if network else 0

    def send(self, number, octets, on_result):
        """Send an SMS; on_result(ok) when the network took it or it failed. One at a time: False while one is under
        way."""
        if self._outbox is not None or not self.sms_up:
            return False
        self._outbox = (number, octets, on_result)
        self._out_at = self._out_since = self._clock.ms()
        self._wake.set()
        return True

    def switch(self, on):
        """Say whether the modem is wanted. It takes seconds until it is `sms_up`, or `resting`."""
        if on != self._asked:
            self._asked = on
            self.resting = False
            self._wake.set()

    @property
    def _wanted(self):
        return self._asked or (self.gnss is not None and self.gnss.on)

    def look(self):
        """Wake the modem's task: something has changed for it."""
        self._wake.set()

    def ask_soon(self):
        """Check at once that the modem is there and still set up: a message may have to go by it soon."""
        self._look = True
        self._wake.set()

    # -- the one that reads -----------------------------------------------------------------------------------------

    async def reader(self):
        await self._line.reader()

    def _handle(self, events):
        for event in events:
            if event[0] == "done":
                result = event[1].result
                if result.startswith("CONNECT"):
                    self._line.ours.clear()  # at once: what follows is not for us
                if result not in ("timeout", "restarted"):
                    self._line.heard()
                self._line.done.set()
            elif len(event) == 3:
                if event[1].startswith("+CMT:"):
                    self._texts.deliver(event[2], at.fields(event[1])[-1])
            elif event[1][0] == "$":
                if self.gnss:
                    self._heard_at = self._clock.ms()
                    self.gnss.feed(event[1].encode() + b"\n", self._heard_at)
            else:
                self._line.heard()
                self._on_urc(event[1])

    def _on_urc(self, line):
        if line.startswith(("+CMTI:", "+CDSI:")):
            self._texts.told(line)
        elif line.startswith(KINDS):
            self._network.register(line, False)
            self._state()
        elif line.startswith(at.STARTED) or line in at.ENDED:
            self._anew = True
            self._off = line in at.ENDED and self._power.has_key
            if self._off:
                self._power.leaving()
            self._handle(self._line.engine.restarted())
        elif line.startswith(at.READIER):
            self._look = True
            self._texts.hurry()
            self._line.engine.suspect(self._clock.ms())
        else:
            return
        self._wake.set()

    # -- the one that talks -----------------------------------------------------------------------------------------

    async def run(self):
        self._line.anew()  # should this be a restart, nobody waits for the command in flight any more
        try:
            while True:
                if not self._wanted:
                    await self._rest()
                try:
                    await self._start()
                    await self._serve()
                    if self._wanted:
                        log.event("modem", restarted=1)
                    self._down()
                except Lost:
                    log.event("modem", lost=1)
                    self._down()
                    self._tell(False)
                    await self._recover()
        finally:
            self._down()
            self._tell(False)

    async def _rest(self):
        """Switch the modem off, until it is wanted."""
        self._down()
        self._tell(False)
        # A modem that starts just now would miss the key, and stay on.
        if self._power.has_key and not self._off and await self._on():
            await self._power.switch_off()
            log.event("modem", off=1)
            while not self._wanted and self._power.switching_off:
                await asyncio.sleep_ms(200)
            self._off = True
        self._line.release()
        self.resting = not self._wanted
        while not self._wanted:
            self._wake.clear()
            await self._wake.wait()
        self.resting = False  # the receiver in it may want it, too

    async def _on(self):
        power = self._power
        return power.on if power.on is not None else await self._line.find(power.on_at + self._boot_ms)

    def _down(self):
        """Forget all that the modem said; a message that is to go goes as soon as it can."""
        self._network.down()
        self._texts.started()
        self._out_at = 0
        self._state()

    def _tell(self, ok):
        """Report the outcome of the message that was to go."""
        if self._outbox:
            on_result = self._outbox[2]
            self._outbox = None
            on_result(ok)

    async def ask(self, text, expect=None, data=None, ms=5000, doubt=None):
        """Do one exchange; return its Command when it is over. Raises Lost without an answer to it, nor to AT."""
        command = await self._line.exchange(text, expect, data, ms, doubt)
        if self._quiet and self._line.engine.echoed:
            self._anew = True
        if command.result == "timeout":
            if not await self._alive():
                raise Lost
            self._look = True
        return command

    async def _answers(self):
        return await self._line.answers(PROBES) or (self.dialled and await self._line.escape())

    async def _alive(self):
        """Tell whether it answers. It may start just now, at another rate, or be in data mode, say from before a reset
        of this chip."""
        line = self._line
        if await self._answers():
            return True
        since = line.silent_at
        return since is None or await line.find(since + self._boot_ms)  # None: it has said something meanwhile

    async def _recover(self):
        """Bring back a modem that answers nothing at all. While the receiver in it works it is left on for a while."""
        if self._clock.ms() - self._heard_at < AUDIBLE_MS and self._spared < SPARED_MAX:
            self._spared += 1
            return
        self._spared = 0
        # Was it ever on? The key toggles: the first time it is only pressed again.
        hung = self._answered or self._power.on or not self._power.has_key
        self._answered = True
        self._line.release()
        if hung:
            await self._power.restart()
            self._answered = False
        self._line.heard()

    async def _start(self):
        # It may be running already: a reset of this chip doesn't reach the modem.
        power, line = self._power, self._line
        began = self._clock.ms()
        self._quiet = False
        found = False
        if power.on is not False:
            found = await line.answers(1, 600) if self._off else await self._alive_or_off()
        self._off = False
        if self.starts:
            self.starts.modem_may_be_on()  # before the key is pressed: a reset may end that
        if not found:
            await power.switch_on()
            if not await line.find(self._clock.ms() + ON_MS):
                raise Lost
        self._answered = True
        self._anew = self._look = False
        self._started = self._clock.ms()
        self._settled = self._started + SETTLE_MS
        if power.on_at >= began:
            self._settled = max(power.on_at + READY_MS, self._started + ANSWERED_MS)
        self._texts.started()
        if self.gnss:
            self.gnss.told = None
        await self.ask("ATE0")
        await self._setup.begin()
        self._quiet = not line.engine.echoed  # some say OK and go on
        log.event("modem", ready=1)

    async def _alive_or_off(self):
        """Tell whether it answers, as _alive() does, but don't wait for that where a press of its key harms nothing."""
        line = self._line
        if await self._answers():
            return True
        off = machine.reset_cause() == machine.PWRON_RESET or (self.starts and self.starts.modem_off)
        if self._power.has_key and (self._power.harmless or off):
            return False
        return await line.find(self._clock.ms() + self._boot_ms)

    async def _check(self):
        """Check that it is still set up. If it restarted without a word, nobody would hear of a message that comes."""
        self._look = False
        if self._setup.marked:
            self._anew = await self._setup.gone() or self._anew
        elif await self._texts.changed():
            self._anew = True

    async def _serve(self):
        """Serve all that needs the modem, until it has to be set up anew."""
        polled = timed = None
        registered = False
        texts, gnss = self._texts, self.gnss
        while self._wanted and not self._anew:
            now = self._clock.ms()
            if self.registered and not registered:
                polled = None  # the modem has just come into a network: ask for time and place
            registered = self.registered
            soon = not self._network.texts and now - self._started < SOON_FOR_MS
            poll_at = now if polled is None else polled + (SOON_MS if soon else POLL_MS)
            if self._outbox and not self.sms_up and now - self._out_since > WAIT_MS:
                self._tell(False)
            if self._look:
                await self._check()
            elif texts.due is not None and now >= texts.due:
                await texts.set_up()
                self._state()
            elif self._outbox and self.sms_up and now >= self._out_at:
                await self._send_one()
            elif polled is not None and texts.sweep_due is not None and now >= texts.sweep_due:
                await texts.sweep()
            elif gnss and gnss.due() == 0:
                await gnss.tell(self.ask)
            elif self._may_dial(now):
                await self._carry()
                polled = None
            elif now >= poll_at:
                polled = now
                if gnss:
                    gnss.check()
                await self._poll()
                if self.registered and (timed is None or now - timed >= TIME_MS):
                    timed = now if await self._ask_time() else None
            elif self._receipt_at is not None and now >= self._receipt_at:
                self._receipt_at = None
                self._look = True
                texts.look(None)
            else:
                self._wake.clear()
                times = [poll_at, texts.due, texts.sweep_due, self._receipt_at]
                if self._outbox:
                    times.append(self._out_at if self.sms_up else self._out_since + WAIT_MS + 1)
                if gnss and gnss.due() is not None:
                    times.append(now + gnss.due())
                if self.data and self.data.wanted:
                    times.append(self._settled)
                times = [at_ms for at_ms in times if at_ms is not None and at_ms > now]
                await self._wake.wait(min(times) - now)

    def _state(self):
        up = self._network.texts and self._texts.ready
        if up != self.sms_up:
            self.sms_up = up
            self._on_state(up)
            self._wake.set()

    async def _poll(self):
        await self._check()
        if self._anew:
            return
        await self._setup.go_on()
        if not await self._network.look():
            self._anew = True
            return
        self._state()
        await self._network.details(self._texts.young)
        if self._network.texts:
            self._texts.look()  # for messages that came and were not told

    async def _ask_time(self):
        seconds = await self._network.time() if self._setup.timed else None
        return seconds is not None and self._on_time(seconds)

    async def _send_one(self):
        ok = await self._texts.send(*self._outbox[:2])
        now = self._clock.ms()
        if ok:
            self._refused = 0
            self._receipt_at = now + RECEIPT_MS
        else:
            if not self._anew:
                await self._check()
            if self._anew:
                return  # it goes when that is set up
            self._refused = min(self._refused + 1, 8)
            instead = self.data and self.data.possible and self._refused > YOUNG_REFUSED
            if ok is False and self._texts.young and not instead:
                self._out_at = now + AGAIN_MS
                return
        self._tell(bool(ok))

    # -- data -------------------------------------------------------------------------------------------------------

    def _may_dial(self, now):
        data = self.data
        if not data or not data.wanted or not data.possible or (self._outbox and self.sms_up):
            return False
        return self._texts.ready or now >= self._settled

    def _needed(self):
        """Tell whether the line must be ours."""
        if not self._wanted or (self.gnss is not None and self.gnss.starved()):
            return True
        spared = self._refused and self._clock.ms() - self._session_at < SESSION_MS
        return bool(self._outbox) and self.sms_up and not spared

    async def _carry(self):
        """Run a data session, until it is over or the line is needed."""
        network = self._network
        if not (await network.attached() or network.data):
            self.data.refused("attach")
            return
        self._session_at = self._clock.ms()
        for _ in CONTEXTS:
            await self.ask('AT+CGDCONT=1,"%s","%s"' % (CONTEXTS[self._context], self.data.name))
            command = await self.ask("ATD*99***1#", ms=DIAL_MS)
            if command.result.startswith("CONNECT"):
                break
            self._context = (self._context + 1) % len(CONTEXTS)
            if self._needed() or self._anew:
                break
        else:
            self.data.refused("dial")
            return
        if not command.result.startswith("CONNECT"):
            self.data.made_room()
            return
        try:
            if not await self.data.carry(self._line.uart, self._needed) and not self._needed():
                self._context = (self._context + 1) % len(CONTEXTS)
        finally:
            self._line.anew()
        self._texts.look(None)  # nobody was told of messages that came meanwhile
        self._line.heard()
        if not (await self._line.escape() or await self._alive()):
            raise Lost
        if self.gnss and self.gnss.on:
            self.gnss.listen()
            await asyncio.sleep_ms(LISTEN_MS)
        self._look = True
