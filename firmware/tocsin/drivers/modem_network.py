# hwsim: no-float
"""Ask the modem about the mobile network: registration, cell, operator, signal, SIM and time.

Registration is three things that may disagree, or be missing: +CREG (circuit switched), +CGREG (packet data) and +CEREG
(LTE, which LTE-M and NB-IoT modems may tell alone). A message can go when the first or the last says so; data can when
one of the last two says so, or +CGATT.
"""

from tocsin import at, log

KINDS = ("+CREG", "+CEREG", "+CGREG")


class Network:
    """The mobile network, as the modem tells it. `ask` is Modem.ask; on_cell(): the cell is another."""

    def __init__(self, ask, first, on_cell):
        self._ask = ask
        self._first = first  # of KINDS: the one that tells of registration on this modem, if it can
        self._on_cell = on_cell
        self.cell = None  # (mcc, mnc, lac, cell id)
        self._sim = "ready"  # as it was last said
        self.down()

    def down(self):
        """Forget all but the last cell: nothing else is known any more."""
        self._states = {}
        self._attached = False
        self._told = set()  # of KINDS: the modem has shown that it tells of these by itself
        self.network = None  # (mcc, mnc)
        self._areas = {}  # of KINDS: (lac, cell id)
        self._lac = None  # in which `network` was asked for
        self.signal = at.UNKNOWN_DBM

    @property
    def texts(self):
        """Tell whether it is registered for messages."""
        return self._in("+CREG") or self._in("+CEREG")

    @property
    def data(self):
        """Tell whether it is registered for data."""
        return self._attached or self._in("+CGREG") or self._in("+CEREG")

    @property
    def stat(self):
        """Registration as on the wire: that of a kind that says yes, where one does."""
        for kind in (self._first,) + KINDS:
            if self._in(kind):
                return self._states[kind]
        return self._states.get(self._first, at.NONE)

    def _in(self, kind):
        return self._states.get(kind) in at.REGISTERED

    def register(self, line, asked):
        """Take a line of one of KINDS."""
        kind = line.partition(":")[0]
        self._states[kind], lac, cid = at.registration(line, asked)
        if self._in(kind) and lac is not None:
            self._areas[kind] = lac, cid
        elif asked or line.count(",") > 1 or not self._in(kind):  # else it tells of no area at all
            self._areas.pop(kind, None)  # a placeholder, say: on LTE +CREG may have no area where it had one before
        if not self.texts and not self.data:
            self.network = None
        self._place()

    def _place(self):
        """Note the cell, once both halves of its name are known. Without service the last one stays: one was there."""
        area = self._area
        if self.network and area and area[0] == self._lac and self.cell != self.network + area:
            self.cell = self.network + area
            self._on_cell()

    @property
    def _area(self):
        """The area, by the same one of KINDS as long as that tells: in one cell +CEREG has another area than +CREG."""
        for kind in (self._first,) + KINDS:
            if kind in self._areas:
                return self._areas[kind]
        return None

    async def look(self):
        """Ask for registration, as far as the modem tells it. False: it has forgotten that it is to tell by itself."""
        for kind in KINDS:
            if kind not in self._told:
                await self._ask("AT%s=2" % kind)
            command = await self._ask("AT%s?" % kind, kind + ":")
            if command.ok and command.lines:
                for line in command.lines:
                    self.register(line, True)
                values = at.fields(command.lines[-1])
                if values[0].isdigit() and int(values[0]) == 2:
                    self._told.add(kind)
                elif kind in self._told and len(values) == 2:
                    return False
            elif command.result != "timeout":
                self._states.pop(kind, None)
                self._areas.pop(kind, None)
        self._attached = False
        if not self.data:
            await self.attached()
        return True

    async def attached(self):
        """Ask whether +CGATT says that there is packet data."""
        command = await self._ask("AT+CGATT?", "+CGATT:")
        self._attached = bool(command.ok and command.lines and at.fields(command.lines[-1])[0] == "1")
        return self._attached

    async def details(self, starts):
        """Ask for the rest. `starts`: the modem has just started, so a failure of the SIM says nothing."""
        if not self.texts:
            sim = at.sim(await self._ask("AT+CPIN?", "+CPIN:"))
            if sim != self._sim and not (starts and sim == "failed"):
                self._sim = sim
                log.event("sim", state=sim)
        command = await self._ask("AT+CSQ", "+CSQ:")
        self.signal = at.signal(command.lines[0]) if command.ok and command.lines else at.UNKNOWN_DBM
        lac = (self._area or (None,))[0]
        if (self.texts or self.data) and (self.network is None or lac != self._lac):  # behind a border, say
            command = await self._ask("AT+COPS?", "+COPS:")
            values = at.fields(command.lines[0]) if command.ok and command.lines else ()
            if len(values) > 2 and len(values[2]) in (5, 6) and values[2].isdigit():
                self.network, self._lac = (int(values[2][:3]), int(values[2][3:])), lac
                self._place()

    async def time(self):
        """Ask for the time: seconds since 1970, or None."""
        command = await self._ask("AT+CCLK?", "+CCLK:")
        try:
            return at.network_time(command.lines[0])
        except (ValueError, IndexError):
            return None
