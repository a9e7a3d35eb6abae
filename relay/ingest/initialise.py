# sans-I/O
"""Set up a modem: which commands, in which order, and what follows from their answers. Pure: the driver in
`relay.ingest.sms` sends them.

The relay sets a modem up at the start, and again after every sign that the modem was restarted or used by another
program. A modem answers AT seconds before it answers anything about messages, so a failed step is tried again, for
ever.
"""

from __future__ import annotations

import re
from collections import deque

from relay.ingest import answers
from relay.ingest.at import Command, Finished
from relay.ingest.reports import Report, Trouble

_RETRY = (1.0, 2.0, 5.0, 15.0, 60.0)
LIST = Command("AT+CMGL=4", timeout=20.0, prefix="+CMGL:", followed=True)
_PDU_MODE = Command("AT+CMGF=0")
_SIM = Command("AT+CPIN?", prefix="+CPIN:", required=True)
_WAKE = Command("AT", timeout=2.0)
_RADIO = Command("AT+CFUN?", prefix="+CFUN:")
_RADIO_ON = Command("AT+CFUN=1", timeout=15.0)
_ERRORS_IN_NUMBERS = Command("AT+CMEE=1")
_INDICATIONS = tuple(Command(f"AT+CNMI={how}") for how in ("2,1,0,0,0", "2,1", "1,1,0,0,0", "1,1"))
_PIN_AGAIN = 10.0  # a SIM that still asks so soon after it took the PIN is busy
_PIN_UNSURE_MOST = 2  # a SIM gives three tries; the relay never uses the last
# No SIM, or a busy one: the PIN was not looked at (27.007, 9.2.1; 27.005, 3.2.5).
_NOT_JUDGED = re.compile(r"\+CM[ES] ERROR: *(?:3?1[04]|SIM (?:busy|not inserted))\Z", re.IGNORECASE)
# It is not known whether the SIM looked at the PIN: no answer, not allowed now, a SIM that failed.
_UNSURE = re.compile(r"timeout\Z|\+CM[ES] ERROR: *(?:3|303|3?13|operation not allowed|SIM failure)\Z", re.IGNORECASE)
_FAILING = 20.0  # a modem may be starting for this long; after that its failures are errors
_SOON = 2.0  # from a start during the set-up to the next attempt

_WAIT = "the relay goes on trying; check the modem's supply and SIM, and that no other program uses this port"
_NO_PIN = "put the SIM's PIN into a file, name that in sms.pin_file, and restart the relay; or switch the PIN off"
_PUK = "put the SIM into a telephone and unlock it with its PUK, then correct the PIN file and restart the relay"
_NO_SIM = "check that the SIM is in the modem, the right way round, and works in a telephone"
_OFF = "the relay tries AT+CFUN=1; end any other program that uses this modem"
_REFUSED = "SIM refused the PIN; correct the file and restart"


def _set_storage(memory: str) -> Command:
    """Return the command to read, write and receive in this memory."""
    return Command(f'AT+CPMS="{memory}","{memory}","{memory}"', prefix="+CPMS:", timeout=10.0)


def read_storage(memory: str) -> Command:
    """Return the command to read in this memory; the memory for new messages stays as it is."""
    return Command(f'AT+CPMS="{memory}"', prefix="+CPMS:", timeout=10.0)


class Pin:
    """The SIM's PIN: given once each time the SIM asks, and never again after the SIM has refused it."""

    def __init__(self, pin: str | None) -> None:
        self._pin = pin
        self._unsure = 0  # times it was given and nobody said whether it was right
        self._given_at = float("-inf")

    @property
    def known(self) -> bool:
        return self._pin is not None

    def give(self, now: float) -> Command | None:
        """Return the command that enters the PIN, None if it must not be tried now."""
        if self._pin is None or self._unsure >= _PIN_UNSURE_MOST or now - self._given_at < _PIN_AGAIN:
            return None
        self._unsure += 1
        self._given_at = now
        return Command(f"AT+CPIN={self._pin}", timeout=20.0)

    def started(self) -> None:
        """Note that the modem has started: a SIM that asks now has lost its supply since."""
        self._given_at = float("-inf")

    def given(self, done: Finished) -> bool:
        """Take the answer to the PIN, and tell whether the SIM may be used now. A refused PIN is forgotten: a second
        wrong try would bring the SIM nearer to its lock."""
        if done.ok:
            self.is_right()
        elif _NOT_JUDGED.match(done.error):
            self._unsure -= 1
            self._given_at = float("-inf")
        elif not _UNSURE.match(done.error):
            self._pin = None
        return done.ok

    def is_right(self) -> None:
        """Note that the SIM may be used: it has taken the PIN, and so has all its tries again."""
        self._unsure = 0


class Initialise:
    """The attempts to set up one modem. `memory` is the configured one; if the modem refuses it, another is taken."""

    def __init__(self, memory: str, pin: Pin) -> None:
        other = "ME" if memory == "SM" else "SM"
        third = next(m for m in ("MT", "ME") if m not in (memory, other))
        # The configured memory is tried twice, because its SIM may be starting.
        self._forms: tuple[tuple[str, Command | None], ...] = (
            *((memory, _set_storage(memory)),) * 2,
            (other, _set_storage(other)),
            (third, _set_storage(third)),
            (memory, read_storage(memory)),
            (memory, None),  # a modem with one memory, which needs no setting
        )
        self._pin = pin
        self._script: deque[Command] = deque()
        self._form = 0
        self._indications = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._is_awake = False  # it was set up before on this port: its speed is found
        self._no_sim = ""  # what the modem said of its SIM; while its radio is off, it may not look at the SIM
        self._radio_is_off = False
        self.announces = True
        self.ready = False
        self.may_send = False  # it is in PDU mode, whatever else it can't do
        self.again = False  # the modem started anew while it was set up
        self.retry_at: float | None = None  # when the next attempt is due, None during one and after it

    @property
    def memory(self) -> str:
        return self._forms[self._form][0]

    @property
    def storage(self) -> Command | None:
        """The command that makes `memory` the one in use; None when this modem has none."""
        return self._forms[self._form][1]

    # ---- an attempt ----

    def begin(self) -> None:
        self.retry_at = None
        self.ready = self.may_send = self.again = False
        self.announces = True
        self._indications = 0
        wake = () if self._is_awake else (_WAKE,)
        radio = (_RADIO_ON,) if self._radio_is_off else ()
        self._radio_is_off = False
        begin = (*wake, Command("ATE0", timeout=2.0), _ERRORS_IN_NUMBERS, *radio, _SIM, _PDU_MODE)
        storage = (self.storage,) if self.storage else ()
        self._script = deque((*begin, *storage, _INDICATIONS[0], LIST))

    def start_over(self, at: float) -> None:
        """Begin again at `at`, whatever was reached."""
        self.ready = self.again = False
        self._script.clear()
        self.retry_at = at

    @property
    def is_under_way(self) -> bool:
        return bool(self._script)

    def next_command(self) -> Command:
        return self._script.popleft()

    def answer(self, done: Finished, now: float) -> list[Report]:
        """Take the answer to a command of `next_command`. The last of these commands asks for the messages: when their
        list comes, call `succeeded` instead, or `fail` if the list is of no use."""
        command = done.command
        if command is _SIM and not self._may_go_on(done):
            return self._pin_state(done, now)
        if command.line.startswith("AT+CPIN="):
            if not self._pin.given(done):
                what = "SIM did not answer to its PIN" if self._pin.known else _REFUSED
                return self.fail(what, done.error, now)
            return []
        if command is _RADIO:
            return self._radio_state(done, now)
        if done.ok:
            self.may_send = self.may_send or command is _PDU_MODE
            return []
        if self._may_go_on(done):
            return []
        if command in _INDICATIONS and done.error != "timeout":
            self._indications_refused()
            return []
        if command is self.storage and done.error != "timeout":
            self._form = (self._form + 1) % len(self._forms)
        return self.fail(f"set-up failed at {command.line}", done.error, now)

    def fail(self, what: str, error: str, now: float, hint: str = _WAIT) -> list[Report]:
        """End this attempt; another follows after some time."""
        self._script.clear()
        if self._failing_since is None:
            self._failing_since = now
        self.retry_at = now + (_SOON if self.again else _RETRY[min(self._failures, len(_RETRY) - 1)])
        self._failures += 1
        self.again = False
        return [Trouble(what, error, hint if now - self._failing_since >= _FAILING else "")]

    def succeeded(self) -> None:
        self.ready = True
        self._failures = 0
        self._failing_since = None
        self._is_awake = True

    def started(self) -> None:
        """Note that the modem has started."""
        self._pin.started()
        self._failures = 0

    # ---- inside ----

    def _pin_state(self, done: Finished, now: float) -> list[Report]:
        state = answers.sim_state(done.lines)
        if done.ok and state == "READY":
            self._pin.is_right()
            return []
        if done.ok and state == "SIM PIN":
            if (command := self._pin.give(now)) is not None:
                self._script.appendleft(command)
                return []
            return self.fail("SIM is not ready", state, now, _WAIT if self._pin.known else _NO_PIN)
        if "PUK" in state:
            return self.fail("SIM is not ready", state, now, _PUK)
        # Other programs leave a modem with its radio and its SIM switched off (+CFUN: 0), and some modems start so.
        self._no_sim = state or done.error
        self._script = deque((_RADIO,))
        return []

    def _radio_state(self, done: Finished, now: float) -> list[Report]:
        said = answers.numbers(done.lines)[:1]
        if done.ok and said in ([0], [4]):
            self._radio_is_off = True
            return self.fail("the modem's radio is switched off", f"+CFUN is {said[0]}", now, _OFF)
        return self.fail("SIM is not ready", self._no_sim, now, _NO_SIM)

    def _indications_refused(self) -> None:
        """Ask for notifications in another form, as long as there is one."""
        self._indications += 1
        if self._indications < len(_INDICATIONS):
            self._script.appendleft(_INDICATIONS[self._indications])
        else:
            self.announces = False

    def _may_go_on(self, done: Finished) -> bool:
        """Tell whether a failure of this command does not matter: the modem answers others, its errors come in words,
        or it does not tell whether it wants a PIN. If it wants one, it refuses the commands that follow."""
        if done.command is _WAKE:
            return done.error == "timeout"
        if done.command is _ERRORS_IN_NUMBERS:
            return done.error != "timeout"
        if done.command is _RADIO_ON:
            return True
        return done.command is _SIM and done.error in ("ERROR", "+CME ERROR: 4", "COMMAND NOT SUPPORT", "timeout")
