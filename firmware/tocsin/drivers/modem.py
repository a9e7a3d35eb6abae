# hwsim: no-float
"""The cellular modem on its UART: power, registration, network time, cell identity, and SMS in PDU mode.

One task (reader) reads, one (run) talks; nothing cancels an exchange. A modem that stops answering is switched off
and on again; one that restarted by itself, and so forgot how it was set up, is set up anew. Received messages are
handed over first and deleted from the SIM after that. Where there is a power key it is off while nobody wants it.

In data mode the line is PPP's (links/ppp.py): then nobody here reads or talks, until a message must go out.
"""

import asyncio

from machine import UART, Pin

from tocsin import aio, at, log, pdu
from tocsin.drivers.output import Output

RXBUF = 4096
POLL_MS = 30000
TIME_MS = 3600000
SMS_TIMEOUT_MS = 60000
PROBES = 3  # unanswered in a row: it hangs, or is off
BOOT_MS = 20000
INBOX_MAX = 16
DIAL_MS = 15000
GUARD_MS = 1100  # of silence before and after "+++": a second, with a margin
LISTEN_MS = 3000  # to the receiver in it, between two sessions: two positions or three
INDICATIONS = ["2", "1"]  # of AT+CNMI: a received message is stored, and its place told
INIT = (  # (command, must it work)
    ("ATE0", True),
    ("AT+CMEE=1", False),
    ("AT+CMGF=0", True),
    ("AT+CNMI=2,1,0,0,0", True),
    ("AT+CTZU=1", False),
    ("AT+COPS=3,2", False),
)


STARTED = ("RDY", "APP RDY")  # what many modems say when they start


class Lost(Exception):
    """The modem doesn't answer, or not as a modem should."""


class Modem:
    """on_state(registered), on_sms(octets) -> None, on_time(seconds), on_cell(): what this module finds out."""

    def __init__(self, board, clock, on_state, on_sms, on_time, on_cell):
        flow = {}
        if "rts" in board and "cts" in board:
            flow = {"rts": board["rts"], "cts": board["cts"], "flow": UART.RTS | UART.CTS}
        self._uart = UART(
            board["uart"],
            baudrate=board.get("baud", 115200),
            tx=board["tx"],
            rx=board["rx"],
            rxbuf=RXBUF,
            txbuf=1024,
            **flow,
        )
        self._key_on = 0 if board.get("power_key_active_low") else 1
        self._key = Output(board, board["power_key"], 1 - self._key_on) if "power_key" in board else None
        self._key_ms = board.get("power_key_ms", 1000) * 5 // 4  # the data sheet's minimum, with a margin
        self._off_ms = board.get("power_off_ms", board.get("power_key_ms", 1000)) * 5 // 4
        for level, key in enumerate(("held_low", "held_high")):  # its supply, say, or DTR: as long as we are awake
            for pin in board.get(key, ()):
                Output(board, pin, level)
        self._init = board.get("init", ())  # what it needs beyond INIT
        self._reg = board.get("registration", "+CREG")  # tells where it is registered
        self._status = Pin(board["status"], Pin.IN) if "status" in board else None  # high while it is on
        self._reset_on = 0 if board.get("reset_active_low", True) else 1
        self._reset_ms = board.get("reset_ms", 200)
        self._reset = Output(board, board["reset"], 1 - self._reset_on) if "reset" in board else None
        self._clock = clock
        self._on_state = on_state
        self._on_sms = on_sms
        self._on_time = on_time
        self._on_cell = on_cell
        self._engine = at.Engine()
        self._done = asyncio.Event()
        self._wake = asyncio.Event()
        self._inbox = []  # SIM slots of messages to fetch
        self._drain = True
        self._anew = False  # it has started since it was set up
        self._outbox = None  # (number, octets, on_result)
        self._ours = asyncio.Event()  # the line is not PPP's
        self._ours.set()
        self.data = None  # the Ppp that may have the line
        self.gnss = None  # the Gnss that is in it
        self._asked = False
        self.resting = False  # off, or as near to it as it can be brought
        self._network = None  # (mcc, mnc)
        self._area = None  # (lac, cell id)
        self._sim = "ready"  # as it was last said
        self.cell = None  # (mcc, mnc, lac, cell id)
        self.registered = False
        self.stat = at.NONE  # registration, as on the wire
        self.signal = at.UNKNOWN_DBM

    @property
    def operator(self):
        """mcc * 1000 + mnc of the network it is registered with, 0 unknown."""
        return self._network[0] * 1000 + self._network[1] if self._network else 0

    def send(self, number, octets, on_result):
        """Send an SMS; on_result(ok) when the network took it or it failed. One at a time: False while one is under
        way."""
        if self._outbox is not None or not self.registered:
            return False
        self._outbox = (number, octets, on_result)
        self._wake.set()
        return True

    def switch(self, on):
        """Is it wanted? It takes seconds until it is `registered`, or `resting`."""
        if on != self._asked:
            self._asked = on
            self.resting = False
            self._wake.set()

    @property
    def _wanted(self):
        return self._asked or (self.gnss is not None and self.gnss.on)

    def look(self):
        """Something has changed for it."""
        self._wake.set()

    # -- the one that reads ---------------------------------------------------------------------------------------

    async def reader(self):
        stream = asyncio.StreamReader(self._uart)
        while True:
            await self._ours.wait()
            data = await stream.read(256)
            if data:
                self._handle(self._engine.feed(data, self._clock.ms()))
                self._flush()

    def _handle(self, events):
        for event in events:
            if event[0] == "done":
                if event[1].result.startswith("CONNECT"):
                    self._ours.clear()  # at once: what follows is not for us
                self._done.set()
            elif len(event) == 3:
                if event[1].startswith("+CMT:"):
                    self._deliver(event[2])
            else:
                self._on_urc(event[1])

    def _on_urc(self, line):
        if line.startswith("+CMTI:"):
            slot = at.fields(line)[-1]
            if slot.isdigit() and len(self._inbox) < INBOX_MAX:
                self._inbox.append(int(slot))
            else:
                self._drain = True
            self._wake.set()
        elif line.startswith(self._reg):
            self._register(line)
        elif line[0] == "$" and self.gnss:
            self.gnss.feed(line.encode() + b"\n", self._clock.ms())
        elif line in STARTED:
            self._anew = True
            self._handle(self._engine.restarted())
            self._wake.set()

    def _flush(self):
        out = self._engine.output()
        if out:
            self._uart.write(out)

    # -- the one that talks ---------------------------------------------------------------------------------------

    async def run(self):
        self._engine = at.Engine()  # should this be a restart, nobody waits for the command in flight any more
        self._ours.set()
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
                    await self._restart()
        finally:
            self._down()

    async def _rest(self):
        """Switch it off, until it is wanted."""
        self._down()
        if self._key and (self._status.value() if self._status else await self._answers(1)):
            await self._press(self._off_ms)
            log.event("modem", off=1)
        self.resting = True
        while not self._wanted:
            self._wake.clear()
            await self._wake.wait()

    def _down(self):
        self.stat, self.signal = at.NONE, at.UNKNOWN_DBM
        self._state(False)
        if self._outbox:
            on_result = self._outbox[2]
            self._outbox = None
            on_result(False)

    async def _ask(self, text, expect=None, data=None, ms=5000):
        """One exchange; its Command when it is over. Raises Lost when there was no answer and there is none to AT."""
        command = await self._exchange(text, expect, data, ms)
        if command.result == "timeout" and not await self._alive():
            raise Lost
        return command

    async def _exchange(self, text, expect=None, data=None, ms=5000):
        command = at.Command(text, expect, ms, data)
        self._done.clear()
        self._engine.start(command, self._clock.ms())
        self._flush()
        while command.result is None:
            await aio.wait(self._done, self._engine.deadline() - self._clock.ms())
            self._handle(self._engine.time(self._clock.ms()))
            self._flush()
        if command.result in ("timeout", "restarted"):
            await asyncio.sleep_ms(500)  # let a late answer pass, so that it isn't taken for the next one's
        return command

    async def _answers(self, tries):
        for _ in range(tries):
            if (await self._exchange("AT", ms=1000)).ok:
                return True
        return False

    async def _alive(self):
        """Does it answer? If not it may be in data mode, from before a reset of this chip, say."""
        return await self._answers(PROBES) or (self.data is not None and await self._escape())

    async def _escape(self):
        """Out of data mode, and the session over. False: it doesn't answer."""
        await asyncio.sleep_ms(GUARD_MS)
        self._uart.write(b"+++")
        await asyncio.sleep_ms(GUARD_MS)
        # The first answer may be an error: to a modem in command mode the pluses are the begin of a line.
        return await self._answers(2) and (await self._exchange("ATH")).ok

    async def _press(self, ms):
        if self._key:
            self._key.value(self._key_on)
            await asyncio.sleep_ms(ms)
            self._key.value(1 - self._key_on)

    async def _restart(self):
        """Whatever state it hangs in: reset where there is a pin for it, else off by its key; _start() switches on."""
        if self._reset:
            self._reset.value(self._reset_on)
            await asyncio.sleep_ms(self._reset_ms)
            self._reset.value(1 - self._reset_on)
        else:
            await self._press(self._off_ms * 2)
        await asyncio.sleep_ms(5000)

    async def _start(self):
        # It may be running already: a reset of this chip doesn't reach the modem.
        if (self._status and not self._status.value()) or not await self._alive():
            await self._press(self._key_ms)
            if not await self._answers(BOOT_MS // 1000):
                raise Lost
        self._anew = False
        if self.gnss:
            self.gnss.told = None
        for text in self._init:
            await self._ask(text)
        for text, must in INIT:
            command = await self._ask(text)
            if must and not command.ok:
                await asyncio.sleep_ms(1000)  # the SIM may still be starting
                if not (await self._ask(text)).ok:
                    raise Lost
        await self._ask("AT" + self._reg + "=2")
        self._drain = True
        log.event("modem", ready=1)

    async def _serve(self):
        """Until it has to be set up anew."""
        polled = timed = None
        registered = self.registered
        while self._wanted and not self._anew:
            now = self._clock.ms()
            if self.registered and not registered:
                polled = None  # it has just come into a network: ask for its time and place
            registered = self.registered
            if self._outbox:
                await self._send_one()
            elif self._inbox:
                await self._fetch(self._inbox.pop(0))
            elif self._drain:
                await self._drain_sim()
            elif self.gnss and self.gnss.due() == 0:
                await self.gnss.tell(self._ask)
            elif self.data and self.data.wanted and self.data.possible:
                await self._carry()
                polled = None
            elif polled is None or now - polled >= POLL_MS:
                polled = now
                if self.gnss:
                    self.gnss.check()
                await self._poll()
                if self.registered and (timed is None or now - timed >= TIME_MS):
                    timed = now if await self._ask_time() else None
            else:
                self._wake.clear()
                ms = self.gnss.due() if self.gnss else None
                await aio.wait(self._wake, polled + POLL_MS - now if ms is None else ms)

    def _needed(self):
        """Must the line be ours?"""
        return bool(self._outbox) or not self._wanted or (self.gnss is not None and self.gnss.starved())

    async def _carry(self):
        """A data session, until it is over or the line is needed."""
        command = await self._ask("AT+CGATT?", "+CGATT:")
        if not (command.ok and command.lines and at.fields(command.lines[0])[0] == "1"):
            self.data.refused("attach")
            return
        await self._ask('AT+CGDCONT=1,"IP","%s"' % self.data.name)
        command = await self._ask("ATD*99***1#", ms=DIAL_MS)
        if not command.result.startswith("CONNECT"):
            self.data.refused("dial")
            return
        try:
            await self.data.carry(self._uart, self._needed)
        finally:
            self._engine = at.Engine()
            self._ours.set()
        self._drain = True  # what came meanwhile was told to nobody
        if not await self._escape():
            raise Lost
        if self.gnss and self.gnss.on:
            self.gnss.listen()
            await asyncio.sleep_ms(LISTEN_MS)
        await self._check()

    async def _send_one(self):
        number, octets, on_result = self._outbox
        try:
            length, text = pdu.submit(number, octets)
            command = await self._ask("AT+CMGS=%d" % length, "+CMGS:", text.encode(), SMS_TIMEOUT_MS)
            ok = command.ok
        except ValueError:
            ok = False
        if self._outbox:
            self._outbox = None
            on_result(ok)

    async def _fetch(self, slot):
        command = await self._ask("AT+CMGR=%d" % slot, "+CMGR:")
        if command.ok:
            if len(command.lines) > 1:
                self._deliver(command.lines[1])
            await self._ask("AT+CMGD=%d" % slot)

    async def _drain_sim(self):
        """Everything that came while nobody listened."""
        command = await self._ask("AT+CMGL=4", "+CMGL:", ms=20000)
        self._drain = False
        slot = None
        for line in command.lines:
            if line.startswith("+CMGL:"):
                slot = at.fields(line)[0]
            elif slot is not None and slot.isdigit():
                self._deliver(line)
                # There may be more than one listing holds; but what can't be deleted would be listed for ever.
                self._drain = (await self._ask("AT+CMGD=%s" % slot)).ok
                slot = None

    def _deliver(self, text):
        try:
            self._on_sms(pdu.deliver(text)[1])
        except ValueError:
            log.event("refused", what="sms", reason="pdu")

    async def _check(self):
        """Is it still set up? If it restarted without a word, nobody would hear of a message that comes."""
        command = await self._ask("AT+CNMI?", "+CNMI:")
        if command.ok and command.lines and at.fields(command.lines[0])[:2] != INDICATIONS:
            self._anew = True

    async def _poll(self):
        await self._check()
        if self._anew:
            return
        command = await self._ask("AT" + self._reg + "?", self._reg + ":")
        if command.ok and command.lines:
            self._register(command.lines[-1])
        if not self.registered:
            sim = at.sim(await self._ask("AT+CPIN?", "+CPIN:"))
            if sim != self._sim:
                self._sim = sim
                log.event("sim", state=sim)
        command = await self._ask("AT+CSQ", "+CSQ:")
        self.signal = at.signal(command.lines[0]) if command.ok and command.lines else at.UNKNOWN_DBM
        if self.registered and self._network is None:
            command = await self._ask("AT+COPS?", "+COPS:")
            values = at.fields(command.lines[0]) if command.ok and command.lines else ()
            if len(values) > 2 and len(values[2]) in (5, 6) and values[2].isdigit():
                self._network = int(values[2][:3]), int(values[2][3:])
                self._place()

    def _register(self, line):
        self.stat, lac, cid = at.registration(line)
        registered = self.stat in at.REGISTERED
        if not registered:
            self._network = self._area = None
        elif lac is not None:
            self._area = lac, cid
        self._place()
        self._state(registered)

    def _place(self):
        """The cell, once both halves of its name are known. Without service the last one stays: it is where one was."""
        if self._network and self._area and self.cell != self._network + self._area:
            self.cell = self._network + self._area
            self._on_cell()

    def _state(self, registered):
        if registered != self.registered:
            self.registered = registered
            self._on_state(registered)
            self._wake.set()

    async def _ask_time(self):
        command = await self._ask("AT+CCLK?", "+CCLK:")
        try:
            seconds = at.network_time(command.lines[0])
        except (ValueError, IndexError):
            return False
        return self._on_time(seconds)
