# hwsim: no-float
"""Short messages through the modem: its set-up for them, sending one, and emptying the memories that may hold some.

They are a capability of their own: a modem is ready for them long after it answers AT, or never, or as long as there is
a SIM. The set-up is tried again and again, and nothing else waits for it. Received messages are handed over first and
deleted after that.
"""

from tocsin import at, log, pdu

SEND_MS = 60000  # for the network to take a message
DOUBT_MS = 8000  # of silence meanwhile, until the modem is asked whether it is still there
LIST_MS = 20000
RETRY_MS = 1000
RETRY_MAX_MS = 30000
YOUNG_MS = 25000  # so long after its start a modem may still become ready: it is asked every other second
_NAMES = ("SM", "ME", "MT")
_TELL = "AT+CNMI=2,1,0,0,0"  # a received message is stored, and its place told
_TOLD = ["2", "1"]


class Texts:
    """Short messages. `ask` is Modem.ask; `ready`: can a message be sent? `due`: when set_up() is due (ms), or None."""

    def __init__(self, ask, clock, on_sms):
        self._ask = ask
        self._clock = clock
        self._on_sms = on_sms
        self._slow = 0
        self.started()

    def started(self):
        """Note that the modem has just started: nothing is as it was set up."""
        self.ready = False
        self._tells = False  # of messages that come
        self._home = None  # the memory where messages go and commands look
        self._at = None  # the memory where commands look
        self._all = ()  # the memories that can be read
        self._sweep = []  # those that are still to be emptied
        self._sweep_at = 0
        self._first = None  # the first line of the last full listing
        self._odd = set()  # places of messages that could not be read once
        self._tries = 0
        self.due = self._began = self._clock.ms()

    @property
    def young(self):
        return self._clock.ms() - self._began < YOUNG_MS

    def hurry(self):
        """Set up soon, if that is due: something has changed for the better."""
        if self.due is not None:
            self.due = self._clock.ms()
            self._tries = 0

    def doubt(self):
        """Set up again: a command that should have worked did not."""
        self.due = self._clock.ms() + self._pause()

    def _pause(self):
        self._tries += 1
        return min(RETRY_MS << min(self._tries - 1, 5), 2 * RETRY_MS if self.young else RETRY_MAX_MS)

    async def set_up(self):
        self.due = None
        self.ready = (await self._ask("AT+CMGF=0")).ok
        if self.ready:
            told = (await self._ask(_TELL)).ok
            self._tells = told and await self._indications() == _TOLD
            if await self._choose() and told:
                self._tries = 0
            else:
                self.due = self._clock.ms() + self._pause()
            if not self._all:
                command = await self._ask("AT+CPMS=?", "+CPMS:")
                self._all = (at.memories(command.lines[-1]) if command.ok and command.lines else ()) or ("SM", "ME")
                self.look(None)
        else:
            self.due = self._clock.ms() + self._pause()

    async def _choose(self):
        """Choose one memory for all three purposes, or the receipt goes where no command looks."""
        for name in _NAMES:
            if (await self._ask('AT+CPMS="%s","%s","%s"' % (name, name, name))).ok:
                self._at = name
                command = await self._ask("AT+CPMS?", "+CPMS:")
                values = at.fields(command.lines[-1]) if command.ok and command.lines else ()
                if len(values) > 6 and values[0] == values[6] == name:
                    self._home = name
                    return True
        self._home = None
        return False

    async def changed(self):
        """Tell whether the modem has forgotten how it was set up."""
        return self._tells and await self._indications() not in (None, _TOLD)

    async def _indications(self):
        command = await self._ask("AT+CNMI?", "+CNMI:")
        return at.fields(command.lines[-1])[:2] if command.ok and command.lines else None

    # -- messages that came

    def told(self, line):
        """Take +CMTI or +CDSI: a message has come; makers differ in what they say of its place."""
        self.look(at.fields(line)[0])

    def look(self, name=""):
        """Look for a message in that memory ("": the usual one), or in any (None)."""
        if name != "" and name != self._home:
            self._sweep = list(self._all) or [self._home or "SM"]
        elif not self._sweep:
            self._sweep = [self._home] if self._home else list(self._all)
        self._sweep_at = min(self._sweep_at, self._clock.ms())

    @property
    def sweep_due(self):
        """The time when sweep() is due (ms); None: when something has come."""
        return self._sweep_at if self._sweep and self.ready else None

    async def sweep(self):
        """Empty one memory; where it can't be chosen, the one in use."""
        name = self._sweep.pop(0)
        if name != self._at:
            self._at = name if (await self._ask('AT+CPMS="%s"' % name)).ok else None
        again = await self._empty()
        if again is None:
            self._sweep_at = self._clock.ms() + RETRY_MAX_MS // 2
            self.doubt()
        elif again:
            self._sweep.insert(0, name)
        if not self._sweep and self._home and self._at != self._home:
            await self._choose()

    async def _empty(self):
        """Empty the memory in use. True: there may be more than one listing holds; None: it did not work."""
        command = await self._ask("AT+CMGL=4", "+CMGL:", ms=LIST_MS)
        if not command.ok:
            return None
        slot, gone, once_more = None, False, False
        for line in command.lines:
            if line.startswith("+CMGL:"):
                once_more = self._again(slot) or once_more
                values = at.fields(line)
                slot = values[0] if values[0].isdigit() and len(values[0]) < 6 else None
            elif slot is not None:
                if self.deliver(line, values[-1]) or not self._again(slot):
                    gone = (await self._ask("AT+CMGD=%s" % slot)).ok
                else:
                    once_more = True
                slot = None
        once_more = self._again(slot) or once_more
        # A message that can't be deleted, or only seems to be, would be listed for ever.
        first, self._first = self._first, command.lines[0] if len(command.lines) >= at.LINES_MAX else None
        return once_more or (gone and self._first not in (None, first))

    def _again(self, slot):
        """Tell whether the message in this place, which could not be read, is to be read once more: octets get lost on
        the line."""
        if slot is None or slot in self._odd:
            return False
        self._odd.add(slot)
        return True

    def deliver(self, text, told=""):
        """Hand a message over. `told`: its length as the modem told it. False: it could not be read."""
        try:
            self._on_sms(pdu.deliver(text, told)[1])
        except ValueError:
            log.event("refused", what="sms", reason="pdu")
            return False
        return True

    # -- one that goes

    async def send(self, number, octets):
        """Send a message. True: the network has it. False: the network or the modem refused it. None: nobody knows."""
        try:
            length, text = pdu.submit(number, octets)
        except ValueError:
            return False
        doubt = DOUBT_MS << min(self._slow, 2)
        command = await self._ask("AT+CMGS=%d" % length, "+CMGS:", text.encode(), SEND_MS, doubt)
        if command.ok and command.lines:
            self._slow = 0
            return True
        self.doubt()
        if command.ok or command.result in ("timeout", "restarted"):
            self._slow += 1  # if the modem is only slow, give it longer
            return None
        return False
