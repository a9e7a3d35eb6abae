# sans-I/O
"""Check that the modem is still as it was set up, and takes messages: what to ask it now and then, and what its answers
mean.

A modem that restarts says so, or does not; and another program may use it. So the relay makes a setting that no factory
default has (a *sentinel*) and reads it back, and does the same with each setting that it needs. If a setting is wrong,
the modem is set up again. A fault that setting up does not mend is reported to the operator when it begins, once an
hour, and when it is over. Pure: no I/O; the driver in `relay.ingest.sms` asks and acts.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from relay.ingest import answers
from relay.ingest.at import Command, Finished
from relay.ingest.reports import Recovered, Report, Trouble

TELL_AGAIN = 3600.0
_REPAIR_AGAIN = 120.0  # a fault that setting up did not mend is tried again after this
_LOST_MOST = 5
_DELETIONS = 3  # failures in a row before the operator is told
_PATIENCE = 2  # looks in a row that find no network or no memory, before the operator is told


class _Sentinel(NamedTuple):
    make: Command
    read: Command
    wanted: list[int]


# Neither matters to a relay that speaks PDU mode and makes no calls. +CSMP: parameters of text mode (27.005, 3.1.2),
# with a validity of 7 days and 8-bit data, where every maker's default is 17,167,0,0. S10: the wait after a lost
# carrier (V.250, 6.3.12), where the default is 14 or 15. Neither is kept without AT+CSAS or AT&W.
_SENTINELS = (
    _Sentinel(Command("AT+CSMP=17,173,0,4"), Command("AT+CSMP?", prefix="+CSMP:"), [17, 173, 0, 4]),
    _Sentinel(Command("ATS10=37"), Command("ATS10?", prefix="0"), [37]),
)
_FORMAT = Command("AT+CMGF?", prefix="+CMGF:")
_INDICATIONS = Command("AT+CNMI?", prefix="+CNMI:")
_STORAGE = Command("AT+CPMS?", prefix="+CPMS:")
_SIM = Command("AT+CPIN?", prefix="+CPIN:")
_NETWORK = Command("AT+CREG?", prefix="+CREG:")
_LTE_NETWORK = Command("AT+CEREG?", prefix="+CEREG:")
_RADIO = Command("AT+CFUN?", prefix="+CFUN:")
_RADIO_ON = Command("AT+CFUN=1", timeout=15.0)

FULL = "the modem's memory for messages is full"
NO_MEMORY = "the modem has no memory for messages"
ELSEWHERE = "the modem puts new messages into another memory than it was told to"
UNREADABLE = "the modem tells of a message in a memory that it does not let read"
UNANNOUNCED = "the modem does not announce new messages"
UNDELETABLE = "the modem does not delete messages"
ILLEGIBLE = "the modem does not let a message be read"
NO_NETWORK = "the modem is not registered with a network"
NO_RADIO = "the modem's radio is switched off"
_HINTS = {
    FULL: "the network holds new alarms back until there is room: if store.failed is in this log, mend that first; "
    "else stop the relay and delete what other programs left in the modem",
    NO_MEMORY: "no alarm can come in by SMS: check that the SIM is in and not damaged, or set sms.storage to a "
    "memory that this modem has (SM, ME or MT)",
    ELSEWHERE: "every memory is read, so that nothing is lost, but alarms by SMS come up to a minute late: set "
    "sms.storage to the memory that the modem uses",
    UNREADABLE: "an alarm may lie there: set sms.storage to that memory and restart the relay; or put the SIM into "
    "another modem",
    UNANNOUNCED: "the relay looks for messages three times a minute instead; end any other program that uses this "
    "modem, or use a modem that accepts AT+CNMI=2,1",
    UNDELETABLE: "its memory fills up, and then no alarm can come in by SMS: stop the relay and delete them by hand, "
    "or put in another SIM",
    ILLEGIBLE: "it may be an alarm: stop the relay and look at it with another program, or in a telephone, then delete "
    "it",
    NO_NETWORK: "no alarm can come in by SMS: check antenna and reception, and that the SIM's contract is valid and "
    "covers SMS",
    NO_RADIO: "no alarm can come in by SMS: the relay tries AT+CFUN=1; end any other program that uses this modem",
}
_SIM_ERROR = re.compile(r"\+CM[ES] ERROR: *(?:1[0-8]|31[0-8]|.*SIM.*)\Z", re.IGNORECASE)


class Ills:
    """The faults of now. Each is reported when it begins, once an hour while it lasts, and when it is over."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def begin(self, what: str, error: str, hint: str, now: float) -> list[Report]:
        told = self._told.get(what)
        if told is not None and now - told < TELL_AGAIN:
            return []
        self._told[what] = now
        return [Trouble(what, error, hint)]

    def end(self, what: str) -> list[Report]:
        return [Recovered(what)] if self._told.pop(what, None) is not None else []


class Upkeep:
    """The regular looks at one modem."""

    def __init__(self) -> None:
        self.ills = Ills()
        self._home = "SM"
        self._kept: _Sentinel | None = None
        self._candidate = 0
        self._lost = 0  # looks in a row that found the sentinel gone
        self._repaired: dict[str, float] = {}  # faults for which the modem was set up again, and when last
        self._right = True  # nothing was wrong in this look
        self._proved = False  # this look proved which memory is read
        self._creg_says_no = False
        self._unregistered = 0
        self._empty = 0
        self._undeleted = 0

    def set_up(self, home: str) -> None:
        """Note that the modem was set up with `home` as its memory."""
        self._home = home
        self._kept = None

    def look(self) -> list[Command]:
        """Return the commands of a look. Each answer goes to `answer`, in this order."""
        self._right = True
        self._proved = False
        ask = [_SIM, _FORMAT, _INDICATIONS, _STORAGE, _NETWORK]
        if self._kept is not None:
            return [self._kept.read, *ask]
        if self._candidate < len(_SENTINELS):
            ask += _SENTINELS[self._candidate][:2]
        return ask

    def looked(self) -> bool:
        """End a look. Return whether nothing was wrong and the modem proved that it reads the memory that it was set up
        for; some can't. When nothing was wrong, earlier faults count as mended."""
        if self._right:
            self._repaired.clear()
        return self._right and self._proved

    def answer(self, done: Finished, now: float) -> tuple[list[Report], str | None, list[Command]]:
        """Take an answer. Return the reports, the fault for which the modem must be set up again, and the commands to
        ask next."""
        command, wrong = done.command, None
        reports: list[Report] = []
        more: list[Command] = []
        if self._kept is not None and command is self._kept.read:
            if not done.ok or answers.numbers(done.lines) != self._kept.wanted:
                return [], self._sentinel_gone(), []
            self._lost, self._proved = 0, True
        elif command is _SIM:
            state = answers.sim_state(done.lines)
            if _SIM_ERROR.match(done.error) or (done.ok and state and state != "READY"):
                return [], self._to_repair("the SIM is not ready", now), []
        elif command is _FORMAT:
            if answers.numbers(done.lines)[:1] == [1]:
                wrong = self._to_repair("it is in text mode", now)
        elif command is _INDICATIONS:
            reports, wrong = self._indications(done, now)
        elif command is _STORAGE:
            reports, wrong = self._where(answers.storage(done.lines), now)
        elif command in (_NETWORK, _LTE_NETWORK, _RADIO, _RADIO_ON):
            reports, more = self._network(done, now)
        elif self._candidate < len(_SENTINELS) and command is _SENTINELS[self._candidate].read:
            candidate = _SENTINELS[self._candidate]
            if done.ok and answers.numbers(done.lines) == candidate.wanted:
                # From now on a bare OK is the late answer of an earlier command.
                self._kept = candidate._replace(read=replace(candidate.read, required=True))
            else:
                self._candidate += 1
        return reports, wrong, more

    def storage(self, said: answers.Storage, now: float) -> list[Report]:
        """Report what the answer to the setting of the memories tells."""
        if said.total == 0:
            self._empty += 1
            if self._empty >= _PATIENCE:
                return self._ill(NO_MEMORY, "+CPMS tells of 0 places", now)
            return []
        if said.total is None:
            return []
        self._empty = 0
        ends = self.ills.end(NO_MEMORY)
        if said.full:
            return ends + self._ill(FULL, f"{said.used} of {said.total} places are taken", now)
        return ends + self.ills.end(FULL)

    def full(self, now: float) -> list[Report]:
        """Report that the modem said, unasked, that it is full."""
        return self._ill(FULL, "the modem says so", now)

    def elsewhere(self, where: str, now: float) -> list[Report]:
        """Report that new messages go to another memory than asked for."""
        return self._ill(ELSEWHERE, where, now)

    def unreadable(self, memory: str, error: str, now: float) -> list[Report]:
        """Report that a memory refuses to be read, though the modem named it."""
        return self._ill(UNREADABLE, f"{memory}: {error}", now)

    def illegible(self, where: str, now: float) -> list[Report]:
        """Report a message that the modem lists and does not let read."""
        return self._ill(ILLEGIBLE, where, now)

    def legible(self) -> list[Report]:
        """Report that each message that the modem lists can be read, if one could not."""
        return self.ills.end(ILLEGIBLE)

    def deleted(self) -> list[Report]:
        """Note that the modem deleted a message, and report it if it had refused to."""
        self._undeleted = 0
        return self.ills.end(UNDELETABLE)

    def undeleted(self, error: str, now: float) -> list[Report]:
        """Report a modem that refuses to delete, once it has done so several times."""
        self._undeleted += 1
        if self._undeleted < _DELETIONS:
            return [Trouble("deleting a message failed", error)]
        return self._ill(UNDELETABLE, error, now)

    def unannounced(self, error: str, now: float) -> list[Report]:
        """Report a modem that refuses to announce new messages."""
        return self._ill(UNANNOUNCED, error, now)

    # ---- inside ----

    def _ill(self, what: str, error: str, now: float) -> list[Report]:
        return self.ills.begin(what, error, _HINTS[what], now)

    def _to_repair(self, what: str, now: float) -> str | None:
        """Return `what`, or None if the modem was set up again for it a moment ago and that did not help."""
        self._right = False
        if now - self._repaired.get(what, float("-inf")) < _REPAIR_AGAIN:
            return None
        self._repaired[what] = now
        return what

    def _sentinel_gone(self) -> str | None:
        self._right = False
        self._lost += 1
        if self._lost > _LOST_MOST:  # the modem does not keep this one
            self._lost, self._kept, self._candidate = 0, None, self._candidate + 1
            return None
        return "it was restarted, or is used by another program"

    def _indications(self, done: Finished, now: float) -> tuple[list[Report], str | None]:
        said = answers.numbers(done.lines)
        if len(said) < 2:
            return [], None
        if said[0] and said[1] == 1:
            return self.ills.end(UNANNOUNCED), None
        if (wrong := self._to_repair("it does not announce messages", now)) is not None:
            return [], wrong
        return self._ill(UNANNOUNCED, f"+CNMI is {said[0]},{said[1]}", now), None

    def _where(self, said: answers.Storage, now: float) -> tuple[list[Report], str | None]:
        reports = self.storage(said, now)
        names = {said.reading, said.receiving} - {None}
        self._proved = self._proved or said.reading == self._home
        if not names or names == {self._home}:
            return reports + (self.ills.end(ELSEWHERE) if names and not said.apart else []), None
        if (wrong := self._to_repair("it uses another memory", now)) is not None:
            return reports, wrong
        return reports + self.elsewhere(f"asked for {self._home}, it uses {said.receiving}", now), None

    def _network(self, done: Finished, now: float) -> tuple[list[Report], list[Command]]:
        command = done.command
        if command is _RADIO_ON:
            return [], []
        if command is _RADIO:
            said = answers.numbers(done.lines)[:1]
            if said in ([0], [4]):
                return self._ill(NO_RADIO, f"+CFUN is {said[0]}", now), [_RADIO_ON]
            return self.ills.end(NO_RADIO), []
        registered = answers.is_registered(done.lines)
        if registered:
            self._unregistered = 0
            return self.ills.end(NO_NETWORK) + self.ills.end(NO_RADIO), []
        if command is _NETWORK:
            self._creg_says_no = registered is False
            return [], [_LTE_NETWORK]
        if registered is None and not self._creg_says_no:
            return [], []  # the modem can't tell by either command
        self._unregistered += 1
        if self._unregistered < _PATIENCE:
            return [], [_RADIO]
        return self._ill(NO_NETWORK, "+CREG and +CEREG tell of none", now), [_RADIO]
