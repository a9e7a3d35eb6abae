# hwsim: no-float
"""Set a modem up after its start, beyond messages (modem_sms.py), and find that it has started anew since.

A modem that has just started may refuse anything: what it refuses is asked again with each look at it.
"""

TIME = ("AT+CTZU=1",)  # makes the clock follow the network, unless the board says otherwise
INIT = ("AT+CMEE=1", "AT+COPS=3,2")  # errors and operators as numbers
# A register that no modem of ours uses, with a value that no factory gives it: how long a comma in a number pauses
# (ITU-T V.250, 6.3.11; 2 s by default). It is our mark: when it is gone, the modem has started anew.
MARK = "93"


class Setup:
    """The set-up of one modem. `ask` is Modem.ask."""

    def __init__(self, ask, board):
        self._ask = ask
        self._init = INIT[:1] + tuple(board.get("init", ())) + INIT[1:]
        self._time = board.get("time", TIME)
        self._refused = ()  # of `_init`
        self.marked = False  # it keeps MARK
        self.timed = False  # does its clock follow the network?

    async def begin(self):
        """Set a modem up that has just started."""
        # The mark comes before all that matters: should the modem start anew from here on, it is gone.
        self.marked = (await self._ask("ATS8=" + MARK)).ok and await self._mark() == MARK
        self._refused = self._init
        self.timed = False
        await self.go_on()

    async def go_on(self):
        """Set what is not set yet. Without the last part the modem's clock is worth nothing."""
        refused = []
        for text in self._refused:
            command = await self._ask(text)
            if not command.ok and command.result != "timeout":
                refused.append(text)
        self._refused = refused
        if not self.timed:
            ok = True
            for text in self._time:
                ok = (await self._ask(text)).ok and ok
            self.timed = ok

    async def gone(self):
        """Tell whether the modem has lost our mark."""
        return await self._mark() not in (None, MARK)

    async def _mark(self):
        """Read our mark; None when the modem doesn't tell it."""
        command = await self._ask("ATS8?", "")
        text = command.lines[-1] if command.ok and command.lines else ""
        return str(int(text)) if text.isdigit() and len(text) < 4 else None
