# sans-I/O
"""Run the relay's modem without I/O: take alarms out of its memories, and send receipts.

A message stays in its memory until `release` is called, which is after it is on disk; a message that a crash left there
is found again at the next start. Every memory that can hold a message is also swept at intervals, so that a lost
notification costs time and not an alarm. The sweep doubles as the watchdog: a modem that does not answer it is declared
dead, and one that was restarted or used by another program is set up again. Octets and the time go in, octets to write
and events come out; the port is in `relay.ingest.serial_port`.

This module decides what the modem does next, and in which memory. `initialise` knows how it is set up, `holdings` what
it holds, `send_queue` what it has still to send, and `upkeep` whether it is as it should be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from relay.ingest import answers
from relay.ingest.at import Command, Dead, Engine, Event, Finished, Unsolicited
from relay.ingest.holdings import Holdings, Read
from relay.ingest.initialise import LIST, Initialise, Pin, read_storage
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
from relay.ingest.send_queue import SEND_RETRY, SendQueue
from relay.ingest.upkeep import Upkeep

__all__ = [
    "SEND_RETRY",
    "SWEEP_INTERVAL",
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

SWEEP_INTERVAL = 20.0  # three a minute: the operator must hear within a minute of anything that keeps new messages out
_LOOK_AFTER = 2.0  # from a sweep to the look at the settings
_SOON = 2.0
_SETTLE = 0.2  # after a start-up word
_HURRY = 5.0  # an answer that is due when the modem starts will hardly come
_QUIET = 3.0  # a modem that said nothing for so long may have been restarted meanwhile
_SWEEP_FAILURES = 2

_Doing = Literal["setting up", "moving", "reading", "deleting", "sending", "looking", ""]


class Modem:
    """A modem on an open port."""

    def __init__(self, *, storage: str = "SM", pin: str | None = None, queue: int = 500) -> None:
        self._storage = storage
        self._pin = Pin(pin)
        self._sends = SendQueue(queue)
        self._at = Engine()
        self._session = 0
        self._forget()

    def _forget(self) -> None:
        self._pin.started()
        self._setup = Initialise(self._storage, self._pin)
        self._upkeep = Upkeep()
        self._holdings = Holdings(self._session)
        self._looks: deque[Command] = deque()
        self._turn = 0
        self._sweep_failures = 0
        self._sweep_at: float | None = None
        self._look_at: float | None = None
        self._doing: _Doing = ""
        self._reading: Read | None = None
        self._deleting: Ref | None = None
        self._memory: str | None = None  # the one that is read now, None when that is not certain
        self._moving_to = ""
        self._heard_at = 0.0  # when it last answered
        self._sweeps = 0
        self._named: set[str] = set()  # memories that the modem has named in notifications
        self._direct = ""  # the line before a message that the modem passes on without storing it

    # ---- from outside ----

    def opened(self, now: float) -> None:
        """Start over, because the port was opened. Messages still to be sent are kept."""
        self._session += 1
        self.closed()
        self._begin()
        self._next(now)

    def closed(self) -> None:
        """Forget the port, which is gone. Messages still to be sent wait for the next `opened`."""
        self._at.reset()
        self._forget()
        self._sends.closed()

    @property
    def ready(self) -> bool:
        return self._setup.ready

    @property
    def unsent(self) -> int:
        return len(self._sends)

    def release(self, ref: Ref, now: float) -> None:
        """Let a message be deleted: it is on disk."""
        if self._holdings.release(ref):
            self._next(now)

    def reject(self, ref: Ref, now: float) -> None:
        """Note that a message is not an alarm as it was read. It is deleted only when it reads the same again."""
        if self._holdings.reject(ref):
            self._next(now)

    def send(self, message: Outgoing, now: float) -> bool:
        """Queue a message. Return False if it was dropped, because the queue is full or nobody can be reached at this
        address. A message that is waiting already isn't queued twice."""
        if self._sends.has(message):
            return True
        if not self._sends.add(message):
            return False
        self._next(now)
        return True

    def take_output(self) -> bytes:
        return self._at.take_output()

    def receive(self, data: bytes, now: float) -> list[Report]:
        return self._handle(self._at.receive(data, now), now)

    def tick(self, now: float) -> list[Report]:
        reports = self._handle(self._at.tick(now), now)
        if self._setup.retry_at is not None and now >= self._setup.retry_at and not self._at.busy:
            self._begin()
        if self.ready and self._sweep_at is not None and now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            self._holdings.read_soon(Read(self._setup.memory))
        if self.ready and self._look_at is not None and now >= self._look_at:
            self._look(now)
        self._next(now)
        return reports

    def deadline(self) -> float | None:
        """Return the latest time at which `tick` should be called."""
        times = [self._at.deadline()]
        if not self._at.busy:
            times.append(self._setup.retry_at)
        if self.ready:
            times += [self._sweep_at, self._look_at]
        if (self.ready or self._setup.may_send) and not self._at.busy:
            times.append(self._sends.due())
        return min((t for t in times if t is not None), default=None)

    # ---- set-up ----

    def _begin(self) -> None:
        self._looks.clear()
        self._setup.begin()

    def _start_over(self, at: float) -> None:
        """Set the modem up again at `at`. Messages read and not yet released stay known."""
        self._looks.clear()
        self._setup.start_over(at)

    def _repair(self, why: str, now: float) -> list[Report]:
        self._start_over(now)
        return [Trouble("the modem is set up again", why)]

    def _started(self, now: float) -> None:
        """Deal with a modem that says that it, or its SIM, has started."""
        self._at.hurry(now + _HURRY)
        self._setup.started()
        if self._setup.is_under_way or self._doing == "setting up":
            self._setup.again = True
            return
        self._setup.may_send = False
        self._start_over(now + _SETTLE)

    def _setting_up(self, done: Finished, now: float) -> list[Report]:
        if self._setup.retry_at is not None:
            return []  # this attempt was ended meanwhile
        if done.ok and done.command is LIST:
            return self._set_up(done, now)
        if done.ok and done.command is self._setup.storage:
            return self._upkeep.storage(answers.storage(done.lines), now)
        return self._setup.answer(done, now)

    def _set_up(self, done: Finished, now: float) -> list[Report]:
        if answers.is_text_mode(done.lines):
            return self._setup.fail("set-up failed: the modem stays in text mode", "", now)
        self._setup.succeeded()
        self._memory = self._setup.memory
        self._holdings.memory_was_set()
        self._sweep_failures = 0
        self._sweep_at = now + SWEEP_INTERVAL
        self._look_at = None
        self._sweeps = 0
        self._upkeep.set_up(self._setup.memory)
        self._heard_at = now
        found = self._holdings.listed(self._setup.memory, answers.listing(done.lines))
        reports = [Ready(sum(isinstance(r, Incoming) for r in found)), *found]
        if not self._setup.announces:
            reports += self._upkeep.unannounced("AT+CNMI was refused", now)
        if self._setup.again:
            self._start_over(now + _SOON)
        return reports

    # ---- work ----

    def _next(self, now: float) -> None:
        """Start the next command: set-up first, then reading, deleting, sending and looking in turn, so that none
        starves. A modem that can't be read may still send."""
        if self._at.busy:
            return
        if self._setup.is_under_way:
            self._do("setting up", self._setup.next_command(), now)
        elif self.ready:
            starters = (self._start_read, self._start_delete, self._start_send, self._start_look)
            for offset in range(len(starters)):
                turn = (self._turn + offset) % len(starters)
                if starters[turn](now):
                    self._turn = (turn + 1) % len(starters)
                    return
        elif self._setup.may_send and self._setup.retry_at is not None and now < self._setup.retry_at:
            self._start_send(now)

    def _do(self, doing: _Doing, command: Command, now: float) -> bool:
        if now - self._heard_at > _QUIET:
            self._holdings.doubt()
        self._doing = doing
        self._at.submit(command, now)
        return True

    def _move(self, memory: str, now: float) -> bool:
        """Make the modem read another memory. For the configured one, make the other two settings again as well."""
        home = memory == self._setup.memory
        command = self._setup.storage if home else read_storage(memory)
        if command is None:
            self._memory = memory
            return False
        self._moving_to = memory
        self._memory = None
        return self._do("moving", command, now)

    def _start_read(self, now: float) -> bool:
        read = self._holdings.next_read(self._memory)
        if read is None:
            home = self._setup.memory
            return self._memory != home and not self._holdings.awaits_deletions and self._move(home, now)
        if read.memory != self._memory:
            if self._holdings.has_deletions(self._memory):
                return False  # the work in one memory is done before it is left
            if self._move(read.memory, now):
                return True
        self._holdings.reading(read)
        self._reading = read
        one = Command(f"AT+CMGR={read.place}", prefix="+CMGR:", followed=True)
        return self._do("reading", LIST if read.place is None else one, now)

    def _start_delete(self, now: float) -> bool:
        ref = self._holdings.next_deletion(self._memory)
        if ref is None:
            return False
        # After a restart the same place may be in another memory, with an alarm that nobody has read.
        if now - self._heard_at > _QUIET:
            return self._look_first(now)
        if ref.memory != self._memory:
            if self._holdings.has_reads(self._memory):
                return False
            if self._move(ref.memory, now):
                return True
        self._holdings.deleting(ref)
        self._deleting = ref
        return self._do("deleting", Command(f"AT+CMGD={ref.index}", timeout=10.0), now)

    def _start_send(self, now: float) -> bool:
        # After a restart the modem may be in text mode, and take the length for a telephone number (27.005, 3.5.1).
        due = self._sends.due() if self.ready else None
        if due is not None and due <= now and now - self._heard_at > _QUIET:
            return self._look_first(now)
        command = self._sends.start(now)
        return command is not None and self._do("sending", command, now)

    def _look_first(self, now: float) -> bool:
        if not self._looks:
            self._look(now)
        return self._start_look(now)

    def _look(self, now: float) -> None:
        """Ask whether the modem is still as it was set up; every second time, read the other memories too."""
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
        direct, self._direct = self._direct, line if line.startswith("+CMT:") else ""
        if direct and answers.is_hex(line):
            self._look_at = now  # the modem was told to store messages
            return self._holdings.handed_over(line, answers.text_mode_sender(direct))
        if (told := answers.told(line)) is not None:
            memory = told.memory or self._setup.memory
            if told.memory is not None:
                self._named.add(told.memory)
            self._holdings.read_soon(Read(memory, told.place if memory == self._setup.memory else None))
            if told.memory is None or told.place is None:
                self._holdings.read_soon(Read(self._setup.memory))
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
                    self._holdings.read_soon(Read(memory))

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
            return self._deleted(done, now)
        if doing == "looking":
            return self._looked(done, now)
        return self._sends.finished(done, now)

    def _looked(self, done: Finished, now: float) -> list[Report]:
        if not self.ready:
            return []
        reports, wrong, more = self._upkeep.answer(done, now)
        if wrong is not None:
            return reports + self._repair(wrong, now)
        self._looks.extendleft(reversed(more))
        if not self._looks:
            if self._upkeep.looked():
                self._holdings.memory_was_right()
            else:
                self._memory = None
            self._heard_at = now  # a missing answer does not matter: the modem is as it was set up
            if self._sweeps % 2:
                self._read_others()
                self._memory = None  # so that the return to the configured memory makes all three settings again
        return reports

    def _moved(self, done: Finished, now: float) -> list[Report]:
        memory = self._moving_to
        if not self.ready:
            return []
        if done.ok:
            self._holdings.memory_was_set()
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
        self._holdings.give_up(memory)
        if memory in self._named and done.error != "timeout":
            return self._upkeep.unreadable(memory, done.error, now)
        return []

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
        if self._memory != read.memory or not self.ready:
            return []  # the modem was moved or restarted meanwhile
        if not done.ok:
            if read.place is None and home:
                return self._sweep_failed(done.error, now)
            if self._holdings.is_without_text(read):
                return self._upkeep.illegible(done.error, now)
            self._sweep_at = now + _SOON  # the sweep finds it
            return [Trouble("reading a message failed", done.error)]
        if answers.is_text_mode(done.lines):
            return self._repair("it is in text mode", now)
        if read.place is None:
            if home:
                self._sweep_failures = 0
                self._look_at = now + _LOOK_AFTER
            reports = self._holdings.listed(read.memory, answers.listing(done.lines))
            return reports + (self._upkeep.legible() if self._holdings.all_have_text else [])
        entry = next(iter(answers.listing(done.lines)), None)
        if entry is None or entry.text is None:
            if self._holdings.is_without_text(read):
                return self._upkeep.illegible("it is listed without its text", now)
            # The place is empty: read and deleted by an earlier sweep, or the message is elsewhere.
            self._sweep_at = min(self._sweep_at or now, now) + _SOON
            self._read_others()
            return []
        return self._holdings.seen(read.memory, read.place, entry.text, entry.length)

    def _deleted(self, done: Finished, now: float) -> list[Report]:
        assert self._deleting is not None
        if done.ok:
            self._holdings.deleted(self._deleting)
            return self._upkeep.deleted()
        # The message may be gone or not, and a new one may have its place: the next sweep compares before it deletes
        # again.
        return self._upkeep.undeleted(done.error, now)
