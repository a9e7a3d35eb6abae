"""The relay's modem: takes alarms out of the SIM's storage and sends receipts, without I/O.

A message stays in the SIM until `release` is called, which is after it is on disk; what a crash left there is found
again at the next start. The storage is also swept at intervals, so that a lost notification costs time and not an
alarm. The sweep doubles as the watchdog: a modem that does not answer it is declared dead. Octets to write and events
come out of it, octets and the time go in; the port is in `relay.ingest.serial_port`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from relay.ingest import pdu
from relay.ingest.at import Command, Dead, Engine, Event, Finished, Unsolicited

SWEEP_INTERVAL = 60.0
INIT_RETRY = (1.0, 2.0, 5.0, 15.0, 60.0)
SEND_RETRY = (2.0, 5.0, 15.0, 60.0, 300.0)
_SEND_TIMEOUT = 60.0  # 27.005 lets the network take its time
_LIST_TIMEOUT = 20.0
_CMTI = re.compile(r'\+CMTI: *"?([A-Z]+)"?, *(\d+)')
_LISTED = re.compile(r"\+CMG[LR]: *(\d+)")


@dataclass(frozen=True)
class Ref:
    """Which message in the SIM: valid for one session with the modem."""

    session: int
    index: int
    text: str


@dataclass(frozen=True)
class Incoming:
    """A message was read from the SIM. Call `release(ref)` once it is on disk, `reject(ref)` if it is of no use."""

    ref: Ref
    sender: str
    octets: bytes


@dataclass(frozen=True)
class Outgoing:
    """A message to send. `tag` comes back in the report."""

    recipient: str
    octets: bytes
    tag: object = None
    tries: int = 0
    not_before: float = 0.0


@dataclass(frozen=True)
class Sent:
    """The network took it."""

    message: Outgoing


@dataclass(frozen=True)
class Unsent:
    """Not sent. `final`: it was given up; else it is tried again."""

    message: Outgoing
    error: str
    final: bool


@dataclass(frozen=True)
class Ready:
    """The modem is set up; the SIM's storage has been read."""

    messages: int


@dataclass(frozen=True)
class Trouble:
    """Something an operator should read in the log. `what` is a short name, `error` what the modem said."""

    what: str
    error: str


@dataclass(frozen=True)
class Silent:
    """The modem answers nothing any more: switch it off and on, open the port again, call `opened`."""


Report = Incoming | Sent | Unsent | Ready | Trouble | Silent


@dataclass
class _Held:
    text: str
    released: bool = False
    doubtful: bool = False  # it is of no use, if it reads the same a second time


class Modem:
    """One modem on an open port."""

    def __init__(self, *, storage: str = "SM", pin: str | None = None, queue: int = 500) -> None:
        self._storage = storage
        self._pin = pin
        self._queue = queue
        self._at = Engine()
        self._session = 0
        self._sends: deque[Outgoing] = deque()
        self._sending: Outgoing | None = None
        self._forget()

    def _forget(self) -> None:
        self._pin_tried = False  # a SIM that lost power asks again
        self._held: dict[int, _Held] = {}
        self._script: deque[Command] = deque()
        self._reads: deque[int] = deque()
        self._deletes: deque[Ref] = deque()
        self._turn = 0
        self._ready = False
        self._failures = 0
        self._sweep_at: float | None = None
        self._init_at: float | None = None
        self._current: Ref | int | None = None

    # ---- from outside ----

    def opened(self, now: float) -> None:
        """The port was opened: start over. Messages still to be sent are kept."""
        self.closed()
        self._session += 1
        self._begin(now)
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
            self._deletes.append(ref)
            self._next(now)

    def reject(self, ref: Ref, now: float) -> None:
        """The message is not an alarm as it was read. A serial line may garble a genuine one, and the SIM has the only
        copy: it is deleted only when it reads the same again."""
        if held := self._holding(ref):
            held.doubtful = True
            self._read_soon(ref.index)
            self._next(now)

    def _read_soon(self, index: int) -> None:
        if index not in self._reads:
            self._reads.append(index)

    def _holding(self, ref: Ref) -> _Held | None:
        held = self._held.get(ref.index)
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
            self._begin(now)
        if self._sweep_at is not None and now >= self._sweep_at and self._ready:
            self._sweep_at = now + SWEEP_INTERVAL
            self._read_soon(_ALL)
        self._next(now)
        return reports

    def deadline(self) -> float | None:
        """When `tick` should be called at the latest."""
        times = [self._at.deadline(), self._init_at, self._sweep_at]
        if self._ready and self._sends and not self._at.busy:
            times.append(min(m.not_before for m in self._sends))
        return min((t for t in times if t is not None), default=None)

    # ---- set-up ----

    def _begin(self, now: float) -> None:
        self._init_at = None
        self._ready = False
        s = self._storage
        self._script = deque(
            (
                Command("AT", timeout=2.0),
                Command("ATE0", timeout=2.0),
                Command("AT+CMEE=1"),
                Command("AT+CPIN?", prefix="+CPIN:", required=True),
                Command("AT+CMGF=0"),
                Command(f'AT+CPMS="{s}","{s}","{s}"', prefix="+CPMS:", timeout=10.0),
                Command("AT+CNMI=2,1,0,0,0"),
                _LIST,
            )
        )

    def _init_failed(self, what: str, error: str, now: float) -> list[Report]:
        self._script.clear()
        self._init_at = now + INIT_RETRY[min(self._failures, len(INIT_RETRY) - 1)]
        self._failures += 1
        return [Trouble(what, error)]

    def _setting_up(self, done: Finished, now: float) -> list[Report]:
        name = done.command.line
        if name == "AT+CPIN?":
            return self._pin_state(done, now)
        if name.startswith("AT+CPIN="):
            if not done.ok:
                self._pin = None  # a second wrong try would bring the SIM nearer to its lock
                return self._init_failed("SIM refused the PIN; correct the file and restart", done.error, now)
            return []
        if done.command is _LIST and done.ok:
            self._ready = True
            self._failures = 0
            self._sweep_at = now + SWEEP_INTERVAL
            found = self._listed(done, now)
            return [Ready(sum(isinstance(r, Incoming) for r in found)), *found]
        if not done.ok:
            return self._init_failed(f"set-up failed at {name}", done.error, now)
        return []

    def _pin_state(self, done: Finished, now: float) -> list[Report]:
        state = done.lines[-1].partition(":")[2].strip() if done.lines else ""
        if done.ok and state == "READY":
            return []
        if done.ok and state == "SIM PIN" and self._pin and not self._pin_tried:
            self._pin_tried = True
            self._script.appendleft(Command(f"AT+CPIN={self._pin}", timeout=20.0))
            return []
        return self._init_failed("SIM is not ready", state or done.error, now)

    # ---- work ----

    def _next(self, now: float) -> None:
        """Start the next command: set-up first, then reading, deleting and sending in turn, so that none starves."""
        if self._at.busy:
            return
        if self._script:
            self._at.submit(self._script.popleft(), now)
            return
        if not self._ready:
            return
        starters = (self._start_read, self._start_delete, self._start_send)
        for offset in range(3):
            turn = (self._turn + offset) % 3
            if starters[turn](now):
                self._turn = (turn + 1) % 3
                return

    def _start_read(self, now: float) -> bool:
        if not self._reads:
            return False
        index = self._reads.popleft()
        self._current = index
        self._at.submit(_LIST if index == _ALL else Command(f"AT+CMGR={index}", prefix="+CMGR:", followed=True), now)
        return True

    def _start_delete(self, now: float) -> bool:
        while self._deletes:
            ref = self._deletes.popleft()
            held = self._held.get(ref.index)
            # The place may hold another message by now; only what was released is deleted.
            if held is not None and held.released and held.text == ref.text:
                self._current = ref
                self._at.submit(Command(f"AT+CMGD={ref.index}", timeout=10.0), now)
                return True
        return False

    def _start_send(self, now: float) -> bool:
        for i, message in enumerate(self._sends):
            if message.not_before <= now:
                del self._sends[i]
                text, length = pdu.encode_submit(pdu.Submit(message.recipient, message.octets))
                self._sending = message
                self._at.submit(Command(f"AT+CMGS={length}", timeout=_SEND_TIMEOUT, prefix="+CMGS:", data=text), now)
                return True
        return False

    def _handle(self, events: Iterable[Event], now: float) -> list[Report]:
        reports: list[Report] = []
        for event in events:
            if isinstance(event, Unsolicited):
                self._unsolicited(event.line)
            elif isinstance(event, Dead):
                reports.append(Silent())
            else:
                reports += self._finished(event, now)
        self._next(now)
        return reports

    def _unsolicited(self, line: str) -> None:
        if match := _CMTI.match(line):
            index = int(match[2]) if match[1] == self._storage else _ALL
            self._read_soon(index)

    def _finished(self, done: Finished, now: float) -> list[Report]:
        if not self._ready:
            return self._setting_up(done, now)
        verb = done.command.line[:7]
        if done.command is _LIST:
            return self._listed(done, now) if done.ok else [Trouble("reading the SIM failed", done.error)]
        if verb == "AT+CMGR":
            return self._read_one(done, now)
        if verb == "AT+CMGD":
            return self._deleted(done)
        return self._sent(done, now)

    def _listed(self, done: Finished, now: float) -> list[Report]:
        found: dict[int, str | None] = {}  # None: the line with the message did not come through
        index = _ALL
        for line in done.lines:
            if match := _LISTED.match(line):
                index = int(match[1])
                found[index] = None
            elif index in found:
                found[index] = line
        for index in [i for i in self._held if i not in found]:
            del self._held[index]
        reports: list[Report] = []
        for index, text in found.items():
            if text is not None:
                reports += self._seen(index, text, now)
            else:
                self._read_soon(index)
                reports.append(Trouble("a message in the SIM could not be read", "garbled or empty"))
        return reports

    def _seen(self, index: int, text: str, now: float) -> list[Report]:
        """The SIM has this at this place."""
        held = self._held.get(index)
        if held is None or held.text != text:
            return self._take(index, text, now)
        if held.doubtful:
            held.doubtful = False
            held.released = True
            self._deletes.append(Ref(self._session, index, text))
        elif held.released:  # an earlier deletion failed
            self._deletes.append(Ref(self._session, index, text))
        return []

    def _read_one(self, done: Finished, now: float) -> list[Report]:
        assert isinstance(self._current, int)
        if not done.ok:
            self._sweep_at = now + SEND_RETRY[0]  # the sweep finds it
            return [Trouble("reading a message failed", done.error)]
        if len(done.lines) < 2:
            return []  # the place is empty: read and deleted by an earlier sweep
        return self._seen(self._current, done.lines[1], now)

    def _take(self, index: int, text: str, now: float) -> list[Report]:
        self._held[index] = _Held(text)
        ref = Ref(self._session, index, text)
        try:
            message = pdu.decode_deliver(text)
        except pdu.PduError as error:
            self.reject(ref, now)  # a delivery report or noise; it must not fill the SIM
            return [Trouble("a message in the SIM is no SMS-DELIVER", str(error))]
        return [Incoming(ref, message.sender, message.octets)]

    def _deleted(self, done: Finished) -> list[Report]:
        assert isinstance(self._current, Ref)
        if done.ok:
            self._held.pop(self._current.index, None)
            return []
        # Whether it is gone is unknown, and its place may be taken by a new message: the next sweep compares before it
        # deletes again.
        return [Trouble("deleting a message failed", done.error)]

    def _sent(self, done: Finished, now: float) -> list[Report]:
        message, self._sending = self._sending, None
        if message is None:
            return []
        if done.ok:
            return [Sent(message)]
        tries = message.tries + 1
        if tries > len(SEND_RETRY):
            return [Unsent(message, done.error, final=True)]
        self._sends.append(replace(message, tries=tries, not_before=now + SEND_RETRY[tries - 1]))
        return [Unsent(message, done.error, final=False)]


_ALL = -1
_LIST = Command("AT+CMGL=4", timeout=_LIST_TIMEOUT, prefix="+CMGL:", followed=True)
