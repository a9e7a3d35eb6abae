"""The relay's modem: takes alarms out of the modem's memories and sends receipts, without I/O.

A message stays in its memory until `release` is called, which is after it is on disk; what a crash left there is found
again at the next start. Every memory that can hold a message is also swept at intervals, so that a lost notification
costs time and not an alarm. The sweep doubles as the watchdog: a modem that does not answer it is declared dead, and
one that was restarted or used by somebody else is set up again. Octets to write and events come out of it, octets and
the time go in; the port is in `relay.ingest.serial_port`, the setting up in `initialise`, the looking after it in
`upkeep`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from relay.ingest import answers, pdu
from relay.ingest.at import Command, Dead, Engine, Event, Finished, Unsolicited
from relay.ingest.initialise import (
    LIST,
    NO_PIN,
    NO_SIM,
    PDU_MODE,
    PUK,
    RETRY,
    SIM,
    WAIT,
    Initialise,
    Pin,
    read_storage,
)
from relay.ingest.reports import (
    Incoming,
    Outgoing,
    Ready,
    Recovered,
    Ref,
    Report,
    Sent,
    Silent,
    Trouble,
    Unsent,
)
from relay.ingest.upkeep import Upkeep

__all__ = [
    "Incoming",
    "Modem",
    "Outgoing",
    "Ready",
    "Recovered",
    "Ref",
    "Report",
    "Sent",
    "Silent",
    "Trouble",
    "Unsent",
]

SWEEP_INTERVAL = 20.0  # three a minute: what keeps new messages out must be told within one
INIT_RETRY = RETRY
SEND_RETRY = (2.0, 5.0, 15.0, 60.0, 300.0)
_SEND_TIMEOUT = 60.0  # 27.005 lets the network take its time
_LOOK_AFTER = 2.0  # from a sweep to the look at the settings
_SOON = 2.0
_SETTLE = 0.2  # after a start-up word
_HURRY = 5.0  # an answer that is due when the modem starts will hardly come
_QUIET = 3.0  # a modem that said nothing for so long may have been restarted meanwhile
_SWEEP_FAILURES = 2

_Doing = Literal["setting up", "moving", "reading", "deleting", "sending", "looking", ""]
_Key = tuple[str, int | str]  # a memory, and a place in it, or the message where the place has no number


@dataclass
class _Held:
    text: str
    released: bool = False
    doubtful: bool = False  # it is of no use, if it reads the same a second time
    sure: bool = True  # it is in the memory that it was put down for, and not in another after an unnoticed restart


class _Read(NamedTuple):
    """A message to be read, or with `place` None all of a memory."""

    memory: str
    place: int | None = None


class Modem:
    """One modem on an open port."""

    def __init__(self, *, storage: str = "SM", pin: str | None = None, queue: int = 500) -> None:
        self._storage = storage
        self._pin = Pin(pin)
        self._queue = queue
        self._at = Engine()
        self._session = 0
        self._sends: deque[Outgoing] = deque()
        self._sending: Outgoing | None = None
        self._forget()

    def _forget(self) -> None:
        self._pin.started()
        self._setup = Initialise(self._storage)
        self._upkeep = Upkeep()
        self._held: dict[_Key, _Held] = {}
        self._script: deque[Command] = deque()
        self._reads: deque[_Read] = deque()
        self._deletes: deque[Ref] = deque()
        self._looks: deque[Command] = deque()
        self._turn = 0
        self._ready = False
        self._may_send = False  # it is in PDU mode, whatever else it can't do
        self._again = False  # it started anew while it was set up
        self._sweep_failures = 0
        self._sweep_at: float | None = None
        self._look_at: float | None = None
        self._init_at: float | None = None
        self._hold_sends = 0.0
        self._send_failures = 0
        self._doing: _Doing = ""
        self._reading: _Read | None = None
        self._deleting: Ref | None = None
        self._memory: str | None = None  # the one that is read now, None when that is not certain
        self._sure = True  # it was not restarted since its memory was set
        self._moving_to = ""
        self._heard_at = 0.0  # when it last answered
        self._sweeps = 0
        self._named: set[str] = set()  # memories that it has told of
        self._direct = False  # the next line is a message that it hands over without storing it

    # ---- from outside ----

    def opened(self, now: float) -> None:
        """The port was opened: start over. Messages still to be sent are kept."""
        self.closed()
        self._session += 1
        self._begin()
        self._next(now)

    def closed(self) -> None:
        """The port is gone. Messages still to be sent wait for the next `opened`."""
        self._at.reset()
        self._forget()
        if self._sending is not None:
            self._sends.appendleft(self._sending)
            self._sending = None

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def unsent(self) -> int:
        return len(self._sends) + (self._sending is not None)

    def release(self, ref: Ref, now: float) -> None:
        """The message is on disk: it may be deleted."""
        if held := self._holding(ref):
            held.released = True
            self._delete_soon(ref)
            self._next(now)

    def reject(self, ref: Ref, now: float) -> None:
        """The message is not an alarm as it was read. A serial line may garble a genuine one, and the modem has the
        only copy: it is deleted only when it reads the same again."""
        if held := self._holding(ref):
            held.doubtful = True
            if ref.index >= 0:
                self._read_soon(_Read(ref.memory, ref.index))
            self._next(now)

    def _read_soon(self, read: _Read) -> None:
        if read not in self._reads:
            self._reads.append(read)

    def _delete_soon(self, ref: Ref) -> None:
        if ref.index >= 0 and ref not in self._deletes:
            self._deletes.append(ref)

    def _holding(self, ref: Ref) -> _Held | None:
        held = self._held.get(_key(ref))
        return held if ref.session == self._session and held is not None and held.text == ref.text else None

    def send(self, message: Outgoing, now: float) -> bool:
        """Queue a message. False: it was dropped, because the queue is full or nobody can be reached at this
        address. What is waiting already isn't queued twice."""
        waiting = [*self._sends, self._sending] if self._sending else self._sends
        if any(m.recipient == message.recipient and m.octets == message.octets for m in waiting):
            return True
        try:
            pdu.encode_submit(pdu.Submit(message.recipient, message.octets))
        except pdu.PduError:
            return False
        if self.unsent >= self._queue:
            return False
        self._sends.append(message)
        self._next(now)
        return True

    def take_output(self) -> bytes:
        return self._at.take_output()

    def receive(self, data: bytes, now: float) -> list[Report]:
        return self._handle(self._at.receive(data, now), now)

    def tick(self, now: float) -> list[Report]:
        reports = self._handle(self._at.tick(now), now)
        if self._init_at is not None and now >= self._init_at and not self._at.busy:
            self._begin()
        if self._ready and self._sweep_at is not None and now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            self._read_soon(_Read(self._setup.memory))
        if self._ready and self._look_at is not None and now >= self._look_at:
            self._look(now)
        self._next(now)
        return reports

    def deadline(self) -> float | None:
        """When `tick` should be called at the latest."""
        times = [self._at.deadline(), self._init_at]
        if self._ready:
            times += [self._sweep_at, self._look_at]
        if (self._ready or self._may_send) and self._sends and not self._at.busy:
            times.append(max(self._hold_sends, min(m.not_before for m in self._sends)))
        return min((t for t in times if t is not None), default=None)

    # ---- set-up ----

    def _begin(self) -> None:
        self._init_at = None
        self._ready = False
        self._may_send = False
        self._again = False
        self._looks.clear()
        self._script = deque(self._setup.script())

    def _start_over(self, at: float) -> None:
        """Set it up again. What was read and not yet released stays known."""
        self._ready = False
        self._script.clear()
        self._looks.clear()
        self._again = False
        self._init_at = at

    def _repair(self, why: str, now: float) -> list[Report]:
        self._start_over(now)
        return [Trouble("the modem is set up again", why)]

    def _started(self, now: float) -> None:
        """It says that it has started, or its SIM."""
        self._at.hurry(now + _HURRY)
        self._pin.started()
        self._setup.started()
        if self._script or self._doing == "setting up":
            self._again = True
            return
        self._may_send = False
        self._start_over(now + _SETTLE)

    def _init_failed(self, what: str, error: str, now: float, hint: str = WAIT) -> list[Report]:
        self._script.clear()
        retry, for_long = self._setup.failed(now)
        self._init_at = now + _SOON if self._again else retry
        self._again = False
        return [Trouble(what, error, hint if for_long else "")]

    def _setting_up(self, done: Finished, now: float) -> list[Report]:
        command = done.command
        if self._init_at is not None:
            return []
        if command is SIM and not self._setup.may_go_on(done):
            return self._pin_state(done, now)
        if command.line.startswith("AT+CPIN="):
            if not self._pin.given(done):
                what = "SIM did not answer to its PIN" if self._pin.known else _REFUSED
                return self._init_failed(what, done.error, now)
            return []
        if done.ok and command is LIST:
            return self._set_up(done, now)
        if done.ok:
            self._may_send = self._may_send or command is PDU_MODE
            return self._upkeep.storage(answers.storage(done.lines), now) if command is self._setup.storage else []
        if self._setup.may_go_on(done):
            return []
        if self._setup.is_indications(command) and done.error != "timeout":
            if (other := self._setup.indications_refused()) is not None:
                self._script.appendleft(other)
            return []
        if command is self._setup.storage and done.error != "timeout":
            self._setup.storage_refused()
        return self._init_failed(f"set-up failed at {command.line}", done.error, now)

    def _set_up(self, done: Finished, now: float) -> list[Report]:
        if answers.is_text_mode(done.lines):
            return self._init_failed("set-up failed: the modem stays in text mode", "", now)
        self._ready = True
        self._setup.succeeded()
        self._memory = self._setup.memory
        self._be_sure()
        self._sweep_failures = 0
        self._sweep_at = now + SWEEP_INTERVAL
        self._look_at = None
        self._sweeps = 0
        self._upkeep.set_up(self._setup.memory)
        self._heard_at = now
        found = self._listed(done, _Read(self._setup.memory), now)
        reports = [Ready(sum(isinstance(r, Incoming) for r in found)), *found]
        if not self._setup.announces:
            reports += self._upkeep.unannounced("AT+CNMI was refused", now)
        if self._again:
            self._start_over(now + _SOON)
        return reports

    def _pin_state(self, done: Finished, now: float) -> list[Report]:
        state = done.lines[-1].partition(":")[2].strip(' "').upper() if done.lines else ""
        if done.ok and state == "READY":
            return []
        if done.ok and state == "SIM PIN":
            if (command := self._pin.give(now)) is not None:
                self._script.appendleft(command)
                return []
            return self._init_failed("SIM is not ready", state, now, WAIT if self._pin.known else NO_PIN)
        return self._init_failed("SIM is not ready", state or done.error, now, PUK if "PUK" in state else NO_SIM)

    # ---- work ----

    def _next(self, now: float) -> None:
        """Start the next command: set-up first, then reading, deleting, sending and looking after it in turn, so that
        none starves. A modem that can't be read may still send."""
        if self._at.busy:
            return
        if self._script:
            self._do("setting up", self._script.popleft(), now)
        elif self._ready:
            starters = (self._start_read, self._start_delete, self._start_send, self._start_look)
            for offset in range(len(starters)):
                turn = (self._turn + offset) % len(starters)
                if starters[turn](now):
                    self._turn = (turn + 1) % len(starters)
                    return
        elif self._may_send and self._init_at is not None and now < self._init_at:
            self._start_send(now)

    def _do(self, doing: _Doing, command: Command, now: float) -> bool:
        if now - self._heard_at > _QUIET:
            self._sure = False
        self._doing = doing
        self._at.submit(command, now)
        return True

    def _move(self, memory: str, now: float) -> bool:
        """Have another memory read; at home also the other two settings are made again."""
        home = memory == self._setup.memory
        command = self._setup.storage if home else read_storage(memory)
        if command is None:
            self._memory = memory
            return False
        self._moving_to = memory
        self._memory = None
        return self._do("moving", command, now)

    def _start_read(self, now: float) -> bool:
        if not self._reads:
            home = self._setup.memory
            return self._memory != home and not self._deletes and self._move(home, now)
        read = next((r for r in self._reads if r.memory == self._memory), self._reads[0])
        if read.memory != self._memory:
            if any(ref.memory == self._memory for ref in self._deletes):
                return False  # what there is to do in one memory is done before it is left
            if self._move(read.memory, now):
                return True
        self._reads.remove(read)
        self._reading = read
        one = Command(f"AT+CMGR={read.place}", prefix="+CMGR:", followed=True)
        return self._do("reading", LIST if read.place is None else one, now)

    def _start_delete(self, now: float) -> bool:
        while self._deletes:
            ref = next((r for r in self._deletes if r.memory == self._memory), self._deletes[0])
            held = self._held.get(_key(ref))
            # The place may hold another message by now; only what was released is deleted.
            if held is None or not held.released or held.text != ref.text:
                self._deletes.remove(ref)
                continue
            # After a restart the same place may be one of another memory, with an alarm that nobody has read.
            if now - self._heard_at > _QUIET:
                if not self._looks:
                    self._look(now)
                return self._start_look(now)
            if ref.memory != self._memory:
                if any(read.memory == self._memory for read in self._reads):
                    return False
                if self._move(ref.memory, now):
                    return True
            self._deletes.remove(ref)
            self._deleting = ref
            return self._do("deleting", Command(f"AT+CMGD={ref.index}", timeout=10.0), now)
        return False

    def _start_send(self, now: float) -> bool:
        if now < self._hold_sends:
            return False
        for i, message in enumerate(self._sends):
            if message.not_before <= now:
                del self._sends[i]
                text, length = pdu.encode_submit(pdu.Submit(message.recipient, message.octets))
                self._sending = message
                send = Command(f"AT+CMGS={length}", timeout=_SEND_TIMEOUT, prefix="+CMGS:", data=text)
                return self._do("sending", send, now)
        return False

    def _look(self, now: float) -> None:
        """Ask whether all is as it was set up; at every second time read the other memories too."""
        self._look_at = None
        if not self._looks:
            self._looks = deque(self._upkeep.look())
            self._sweeps += 1

    def _start_look(self, now: float) -> bool:
        return bool(self._looks) and self._do("looking", self._looks.popleft(), now)

    def _handle(self, events: Iterable[Event], now: float) -> list[Report]:
        reports: list[Report] = []
        for event in events:
            if isinstance(event, Unsolicited):
                reports += self._unsolicited(event.line, now)
            elif isinstance(event, Dead):
                reports.append(Silent())
            else:
                reports += self._finished(event, now)
        self._next(now)
        return reports

    def _unsolicited(self, line: str, now: float) -> list[Report]:
        direct, self._direct = self._direct, line.startswith("+CMT:")
        if direct and answers.is_hex(line):
            self._look_at = now  # it was told to store messages
            return self._decoded(Ref(self._session, -1, line), None)
        if (told := answers.told(line)) is not None:
            memory = told.memory or self._setup.memory
            if told.memory is not None:
                self._named.add(told.memory)
            self._read_soon(_Read(memory, told.place if memory == self._setup.memory else None))
            if told.memory is None:
                self._read_others()
        elif answers.has_started(line):
            self._started(now)
        elif answers.is_full(line):
            return self._upkeep.full(now)
        return []

    def _read_others(self) -> None:
        if self._setup.storage is not None:
            for memory in dict.fromkeys((*answers.LOCATIONS, *self._named)):
                if memory != self._setup.memory:
                    self._read_soon(_Read(memory))

    def _finished(self, done: Finished, now: float) -> list[Report]:
        doing, self._doing = self._doing, ""
        self._heard_at = float("-inf") if done.error == "timeout" else now
        if doing == "setting up":
            return self._setting_up(done, now)
        if doing == "moving":
            return self._moved(done, now)
        if doing == "reading":
            return self._read(done, now)
        if doing == "deleting":
            return self._deleted(done)
        if doing == "looking":
            return self._looked(done, now)
        return self._sent(done, now)

    def _looked(self, done: Finished, now: float) -> list[Report]:
        if not self._ready:
            return []
        reports, wrong, more = self._upkeep.answer(done, now)
        if wrong is not None:
            return reports + self._repair(wrong, now)
        self._looks.extendleft(reversed(more))
        if not self._looks:
            if self._upkeep.looked():
                self._sure = True
                for held in self._held.values():
                    held.sure = True
            else:
                self._memory = None
            self._heard_at = now  # what it does not answer does not matter: it is as it was set up
            if self._sweeps % 2:
                self._read_others()
                self._memory = None  # so that the way home makes all three settings again
        return reports

    def _moved(self, done: Finished, now: float) -> list[Report]:
        memory = self._moving_to
        if not self._ready:
            return []
        if done.ok:
            self._be_sure()
        if memory == self._setup.memory:
            if not done.ok:
                return self._sweep_failed(f"AT+CPMS: {done.error}", now)
            said = answers.storage(done.lines)
            self._memory = memory
            reports = self._upkeep.storage(said, now)
            if said.apart or said.receiving not in (None, memory):
                reports += self._upkeep.elsewhere(f"asked for {memory}, its sizes or names are others", now)
            return reports
        if done.ok:
            self._memory = memory
            return []
        self._reads = deque(r for r in self._reads if r.memory != memory)
        self._deletes = deque(r for r in self._deletes if r.memory != memory)
        if memory in self._named and done.error != "timeout":
            return self._upkeep.unreadable(memory, done.error, now)
        return []

    def _be_sure(self) -> None:
        """The memory was set. What was read before in another, unnoticed, is forgotten and read again: to delete its
        place here could take an alarm that nobody has read."""
        if not self._sure:
            self._held = {key: held for key, held in self._held.items() if held.sure}
        self._sure = True

    def _sweep_failed(self, error: str, now: float) -> list[Report]:
        self._sweep_failures += 1
        if self._sweep_failures >= _SWEEP_FAILURES:
            return self._repair(error, now)
        self._sweep_at = now + _SOON
        return [Trouble("reading the SIM failed", error)]

    def _read(self, done: Finished, now: float) -> list[Report]:
        assert self._reading is not None
        read = self._reading
        home = read.memory == self._setup.memory
        if self._memory != read.memory or not self._ready:
            return []  # it was moved or restarted meanwhile
        if not done.ok:
            if read.place is None and home:
                return self._sweep_failed(done.error, now)
            self._sweep_at = now + SEND_RETRY[0]  # the sweep finds it
            return [Trouble("reading a message failed", done.error)]
        if answers.is_text_mode(done.lines):
            return self._repair("it is in text mode", now)
        if read.place is None:
            if home:
                self._sweep_failures = 0
                self._look_at = now + _LOOK_AFTER
            return self._listed(done, read, now)
        entry = next(iter(answers.listing(done.lines)), None)
        if entry is None or entry.text is None:
            # The place is empty: read and deleted by an earlier sweep, or the message is elsewhere.
            self._sweep_at = min(self._sweep_at or now, now) + SEND_RETRY[0]
            return []
        return self._seen(read.memory, read.place, entry.text, entry.length)

    def _listed(self, done: Finished, read: _Read, now: float) -> list[Report]:
        entries = answers.listing(done.lines)
        places = {_place(read.memory, entry.place, entry.text) for entry in entries}
        for key in [k for k in self._held if k[0] == read.memory and k not in places]:
            del self._held[key]
        reports: list[Report] = []
        for entry in entries:
            if entry.text is not None:
                reports += self._seen(read.memory, entry.place, entry.text, entry.length)
                continue
            if entry.place is not None:
                self._read_soon(_Read(read.memory, entry.place))
            reports.append(Trouble("a message in the SIM could not be read", "garbled or empty"))
        return reports

    def _seen(self, memory: str, index: int | None, text: str, length: int | None) -> list[Report]:
        """A memory has this at this place."""
        key = _place(memory, index, text)
        held = self._held.get(key)
        ref = Ref(self._session, -1 if index is None else index, text, memory)
        if held is None or held.text != text:
            # MT shows what is in SM and ME: once is enough while the modem has it there.
            if any(h.text == text and k[0] != memory for k, h in self._held.items()):
                return []
            self._held[key] = _Held(text, sure=self._sure)
            return self._decoded(ref, length)
        if held.doubtful:
            held.doubtful = False
            held.released = True
        if held.released:  # else an earlier deletion failed
            self._delete_soon(ref)
        return []

    def _decoded(self, ref: Ref, length: int | None) -> list[Report]:
        try:
            message = pdu.decode_deliver(ref.text, length)
        except pdu.PduError as error:
            # A delivery report or noise; it must not fill the memory. Noise is read again before it is deleted.
            if held := self._holding(ref):
                held.doubtful = True
                if ref.index >= 0:
                    self._read_soon(_Read(ref.memory, ref.index))
            return [Trouble("a message in the SIM is no SMS-DELIVER", str(error))]
        return [Incoming(ref, message.sender, message.octets)]

    def _deleted(self, done: Finished) -> list[Report]:
        assert self._deleting is not None
        if done.ok:
            self._held.pop(_key(self._deleting), None)
            return []
        # Whether it is gone is unknown, and its place may be taken by a new message: the next sweep compares before it
        # deletes again.
        return [Trouble("deleting a message failed", done.error)]

    def _sent(self, done: Finished, now: float) -> list[Report]:
        message, self._sending = self._sending, None
        if message is None:
            return []
        if done.ok:
            self._send_failures = 0
            return [Sent(message)]
        if done.error == "timeout":  # each such try keeps reading waiting
            self._hold_sends = now + SEND_RETRY[min(self._send_failures, 3)]
            self._send_failures += 1
        tries = message.tries + 1
        if tries > len(SEND_RETRY):
            return [Unsent(message, done.error, final=True)]
        self._sends.append(replace(message, tries=tries, not_before=now + SEND_RETRY[tries - 1]))
        return [Unsent(message, done.error, final=False)]


_REFUSED = "SIM refused the PIN; correct the file and restart"


def _place(memory: str, index: int | None, text: str | None) -> _Key:
    return memory, index if index is not None else text or ""


def _key(ref: Ref) -> _Key:
    return _place(ref.memory, ref.index if ref.index >= 0 else None, ref.text)
