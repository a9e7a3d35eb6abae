# hwsim: no-float
"""The serial line to the modem: one exchange at a time, at the rate at which the modem answers. modem.py knows what the
commands mean.

Nothing here blocks: on an ESP32 a write waits for room in its buffer, and a modem that holds CTS off never makes any
(ports/esp32/machine_uart.c, uart_write_bytes). So nothing is written before everything written earlier has left.
"""

import asyncio

from machine import UART

from tocsin import aio, at

RXBUF = 4096
TXBUF = 1024  # more than one exchange writes
RATES = (115200, 9600, 57600, 38400, 19200)  # what modems fall back to
LATE_MS = 500  # for an answer that comes too late, so that it isn't taken for the next one's
AWAY_MS = 250  # for an answer at another rate: a modem that is there answers AT at once, and nothing else is heard
AT_HOME = 2  # questions in vain whether it is still there; then every other one is put at another rate
LOOK_MS = 20  # while octets wait to be written
GUARD_MS = 1100  # of silence before and after "+++": a second, with a margin


class Line:
    """The serial line. on_events(events) gets the events that at.Engine makes of the modem's octets."""

    def __init__(self, board, clock, on_events):
        self._board = board
        self._clock = clock
        self._on_events = on_events
        self._uart = None
        self.rate = board.get("baud", 115200)
        self._open(self.rate)
        self._unsent = b""
        self.done = aio.Event()  # it is, or something has come that may change how long to wait
        self.engine = at.Engine()
        self.ours = aio.Event()  # the line is not PPP's
        self.ours.set()
        self.silent_at = None  # since when the modem has left questions unanswered

    def _open(self, rate, flow=True):
        board = self._board
        options = {"tx": board["tx"], "rx": board["rx"], "rxbuf": RXBUF, "txbuf": TXBUF}
        if "rts" in board and "cts" in board:
            options["rts"], options["cts"] = board["rts"], board["cts"]
            options["flow"] = UART.RTS | UART.CTS if flow else 0
        self.rate = rate
        if self._uart is None:
            self._uart = UART(board["uart"], baudrate=rate, **options)
        else:
            self._uart.init(baudrate=rate, **options)

    @property
    def uart(self):
        return self._uart

    @property
    def stuck(self):
        """Tell whether the modem takes nothing."""
        return not self._uart.txdone()

    def release(self):
        """Drop the octets that the modem doesn't take: deep sleep would wait for them."""
        if self.stuck:
            self._open(self.rate, False)
        self._unsent = b""

    async def reader(self):
        stream = asyncio.StreamReader(self._uart)
        while True:
            await self.ours.wait()
            data = await stream.read(256)
            if data:
                self._on_events(self.engine.feed(data, self._clock.ms()))
                self.flush()
                self.done.set()  # what is waited for may be due sooner now

    def flush(self):
        self._unsent += self.engine.output()
        if self._unsent and self._uart.txdone():
            self._uart.write(self._unsent)
            self._unsent = b""

    def anew(self):
        """Take the line, and forget the command in flight: nobody waits for it any more."""
        self.engine = at.Engine()
        self._unsent = b""
        self.ours.set()

    def heard(self):
        """Note that the modem has said something, in answer or by itself."""
        self.silent_at = None

    async def exchange(self, text, expect=None, data=None, ms=5000, doubt=None, late=LATE_MS):
        """Do one exchange; return its Command when it is over."""
        engine, clock = self.engine, self._clock
        command = at.Command(text, expect, ms, data, doubt)
        self._unsent = b""
        if self.silent_at is None:
            self.silent_at = clock.ms()
        home, asked, back_at = self.rate, 0, None
        engine.start(command, clock.ms())
        self.flush()
        while command.result is None:
            self.done.clear()
            wait = (engine.next_at() if back_at is None else min(back_at, engine.next_at())) - clock.ms()
            await self.done.wait(min(wait, LOOK_MS) if self._unsent else wait)
            self._on_events(engine.time(clock.ms()))
            if back_at is not None and clock.ms() >= back_at and command.result in (None, "timeout"):
                self._open(home)
                back_at = None
            if engine.asked > asked:
                asked = engine.asked
                away = asked - AT_HOME
                if away > 0 and away & 1 and not self.stuck:
                    # It may have started anew, at another rate: at the end of a message's minute that is told too late.
                    self._open(self._others(home)[(away >> 1) & 3])
                    back_at = clock.ms() + AWAY_MS
            self.flush()
        if engine.asked or command.result in ("timeout", "restarted"):
            await asyncio.sleep_ms(late)
        return command

    def _others(self, than):
        return [rate for rate in RATES if rate != than]

    async def answers(self, tries, ms=1000, late=LATE_MS):
        for _ in range(tries):
            if (await self.exchange("AT", ms=ms, late=late)).ok:
                return True
        return False

    async def find(self, until):
        """Tell whether there is an answer before `until`, at any rate. The usual rate has every other turn."""
        own = self._board.get("baud", 115200)
        others = self._others(own)
        tried = 0
        while True:
            last = self._clock.ms() >= until and not tried & 1  # a whole turn at the usual rate, after all the waiting
            if await (self.answers(1, AWAY_MS, 0) if self.rate != own else self.answers(1, 700)):
                return True
            if last:
                self._open(own)
                return False
            tried += 1
            rate = others[tried // 2 % len(others)] if tried & 1 else own
            if self.stuck:
                self._open(rate, False)
            elif rate != self.rate:
                self._open(rate)

    async def escape(self):
        """Leave data mode, and end the session. False: the modem doesn't answer."""
        await asyncio.sleep_ms(GUARD_MS)
        if not self.stuck:
            self._uart.write(b"+++")
        await asyncio.sleep_ms(GUARD_MS)
        # The first answer may be an error: to a modem in command mode the pluses are the begin of a line.
        return await self.answers(2) and (await self.exchange("ATH")).ok
