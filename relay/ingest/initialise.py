"""The setting up of a modem: which commands, in which order, and what follows from their answers. Pure: the driver in
`relay.ingest.sms` sends them.

Done at the start and again after every sign that the modem was restarted or used by somebody else. A modem answers AT
seconds before it answers anything about messages, so what fails is tried again, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.ingest.at import Command, Finished

RETRY = (1.0, 2.0, 5.0, 15.0, 60.0)
LIST = Command("AT+CMGL=4", timeout=20.0, prefix="+CMGL:", followed=True)
PDU_MODE = Command("AT+CMGF=0")
SIM = Command("AT+CPIN?", prefix="+CPIN:", required=True)
_WAKE = Command("AT", timeout=2.0)
_ERRORS_IN_NUMBERS = Command("AT+CMEE=1")
_INDICATIONS = tuple(Command(f"AT+CNMI={how}") for how in ("2,1,0,0,0", "2,1", "1,1,0,0,0", "1,1"))
_PIN_AGAIN = 10.0  # a SIM that still asks so soon after it took the PIN is busy
_PIN_UNSURE_MOST = 2  # of the three tries that a SIM gives, the last is never used up
# SIM busy: the PIN was not looked at.
_NOT_JUDGED = ("timeout", "+CME ERROR: 14", "+CMS ERROR: 314", "+CME ERROR: SIM busy")
_FAILING = 20.0  # for this long a modem may be starting; then its failing is an error

WAIT = "the relay goes on trying; check the modem's supply and SIM, and that no other program uses this port"
NO_PIN = "put the SIM's PIN into a file, name that in sms.pin_file, and restart the relay; or switch the PIN off"
PUK = "put the SIM into a telephone and unlock it with its PUK, then correct the PIN file and restart the relay"
NO_SIM = "check that the SIM is in the modem, the right way round, and works in a telephone"


def set_storage(memory: str) -> Command:
    """Read, write and receive in this memory."""
    return Command(f'AT+CPMS="{memory}","{memory}","{memory}"', prefix="+CPMS:", timeout=10.0)


def read_storage(memory: str) -> Command:
    """Read in this memory; where new messages go stays as it is."""
    return Command(f'AT+CPMS="{memory}"', prefix="+CPMS:", timeout=10.0)


class Pin:
    """The SIM's PIN: given once each time the SIM asks, and never again after the SIM has refused it."""

    def __init__(self, pin: str | None) -> None:
        self._pin = pin
        self._unsure = 0  # given, and nobody said whether it was right
        self._given_at = float("-inf")

    @property
    def known(self) -> bool:
        return self._pin is not None

    def give(self, now: float) -> Command | None:
        """The command that enters it, if it may be tried now."""
        if self._pin is None or self._unsure >= _PIN_UNSURE_MOST or now - self._given_at < _PIN_AGAIN:
            return None
        self._unsure += 1
        self._given_at = now
        return Command(f"AT+CPIN={self._pin}", timeout=20.0)

    def started(self) -> None:
        """The modem says that it has started: a SIM that asks now has lost its supply since."""
        self._given_at = float("-inf")

    def given(self, done: Finished) -> bool:
        """Whether the SIM may be used now. A refused PIN is forgotten: a second wrong try would bring the SIM nearer to
        its lock."""
        if done.ok:
            self._unsure = 0
        elif done.error not in _NOT_JUDGED:
            self._pin = None
        elif done.error != "timeout":
            self._unsure -= 1
            self._given_at = float("-inf")
        return done.ok


class Initialise:
    """What to say at each attempt. `memory` is the configured one; another is taken when the modem refuses that."""

    def __init__(self, memory: str) -> None:
        other = "ME" if memory == "SM" else "SM"
        third = next(m for m in ("MT", "ME") if m not in (memory, other))
        # What fails once or twice may be a SIM that is starting.
        self._forms: tuple[tuple[str, Command | None], ...] = (
            *((memory, set_storage(memory)),) * 2,
            (other, set_storage(other)),
            (third, set_storage(third)),
            (memory, read_storage(memory)),
            (memory, None),  # a modem with one memory, that needs no setting
        )
        self._form = 0
        self._indications = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._is_awake = False  # it was set up before on this port: its speed is found
        self.announces = True

    @property
    def memory(self) -> str:
        return self._forms[self._form][0]

    @property
    def storage(self) -> Command | None:
        """The command that makes `memory` the one in use; None when this modem has none."""
        return self._forms[self._form][1]

    def script(self) -> Sequence[Command]:
        self._indications = 0
        self.announces = True
        wake = () if self._is_awake else (_WAKE,)
        begin = (*wake, Command("ATE0", timeout=2.0), _ERRORS_IN_NUMBERS, SIM, PDU_MODE)
        storage = (self.storage,) if self.storage else ()
        return (*begin, *storage, _INDICATIONS[0], LIST)

    def failed(self, now: float) -> tuple[float, bool]:
        """(when to try again, whether it has failed for long)."""
        if self._failing_since is None:
            self._failing_since = now
        retry = now + RETRY[min(self._failures, len(RETRY) - 1)]
        self._failures += 1
        return retry, now - self._failing_since >= _FAILING

    def storage_refused(self) -> None:
        self._form = (self._form + 1) % len(self._forms)

    def indications_refused(self) -> Command | None:
        """The next form to ask for notifications in; None when there is no other."""
        self._indications += 1
        if self._indications < len(_INDICATIONS):
            return _INDICATIONS[self._indications]
        self.announces = False
        return None

    def is_indications(self, command: Command) -> bool:
        return command in _INDICATIONS

    def may_go_on(self, done: Finished) -> bool:
        """Whether a failure of this command does not matter: the modem answers others, its errors come in words, or it
        knows no PIN."""
        if done.command is _WAKE:
            return done.error == "timeout"
        if done.command is _ERRORS_IN_NUMBERS:
            return done.error != "timeout"
        return done.command is SIM and done.error in ("ERROR", "+CME ERROR: 4", "COMMAND NOT SUPPORT")

    def started(self) -> None:
        """The modem says that it has started."""
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0
        self._failing_since = None
        self._is_awake = True
