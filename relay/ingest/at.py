# sans-I/O
"""Speak AT commands (3GPP TS 27.007, 27.005) without I/O: octets and time go in, octets to write and events come out.

One command is on the way at a time. The engine distinguishes its answer from echoes, from unsolicited results that
arrive in the middle of it, and from the late answer of a command that was given up. The engine knows nothing of SMS;
that is `relay.ingest.sms`.

    engine = Engine()
    engine.submit(Command("AT+CMGD=3"), now)
    port.write(engine.take_output())                     # b"AT+CMGD=3\\r"
    engine.receive(b'\\r\\n+CMTI: "SM",4\\r\\n\\r\\nOK\\r\\n', now)    # [Unsolicited('+CMTI: "SM",4'), Finished(...)]
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_LINE = 1024  # a PDU with its service centre is at most 352 characters; more is noise
_FINAL_ERRORS = (
    "ERROR",
    "NO CARRIER",
    "BUSY",
    "NO ANSWER",
    "NO DIALTONE",
    "COMMAND NOT SUPPORT",
    "TOO MANY PARAMETERS",
)
_RING = ("RING", "+CRING")  # an incoming call (27.007, 6.11); nobody takes it, and it ends with one of these:
_CALL_ENDS = ("NO CARRIER", "BUSY", "NO ANSWER")
_WITH_PDU = ("+CMT:", "+CDS:", "+CBM:")  # unsolicited, and followed by a line in hexadecimal (27.005, 3.4.1)
_ESCAPE = b"\x1b"
_SUBMIT = b"\x1a"
# Tries before a modem counts as dead. They last longer than a modem takes to start without a word (12 s seen), so that
# it is not switched off while it starts.
_RESYNC_TRIES = 5
_RESYNC_LEAST = 2
_RESYNC_TIMEOUT = 3.0
_PROMPT = 15.0  # the wait for a modem to ask for the data: it asks at once, or was restarted
_PROGRESS = 5.0  # a long listing may go on for this long after each line of it
_PROGRESS_MOST = 10  # but for no longer than this many times the command's timeout


@dataclass(frozen=True)
class Command:
    """A command line, without its carriage return.

    prefix    the start of the answer's information lines, for example "+CMGR:"; other lines are unsolicited
    data      sent after the prompt, then Ctrl-Z
    followed  each information line is followed by one line in hexadecimal (a PDU)
    required  the answer is only complete with at least one information line; a bare OK belongs to another command
    """

    line: str
    timeout: float = 5.0
    prefix: str | None = None
    data: str | None = None
    followed: bool = False
    required: bool = False


@dataclass(frozen=True)
class Finished:
    """The final result of a command. `error` is empty when it succeeded, else "timeout" or what the modem said."""

    command: Command
    lines: tuple[str, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


@dataclass(frozen=True)
class Unsolicited:
    """A line that no command asked for."""

    line: str


@dataclass(frozen=True)
class Dead:
    """The modem no longer answers "AT". Commands are refused until `reset`."""


Event = Finished | Unsolicited | Dead

# An answer with an information line is a fresh one: the late OK of an abandoned command has no such line.
_RESYNC = Command("AT+CMGF?", timeout=_RESYNC_TIMEOUT, prefix="+CMGF:", required=True)


class Engine:
    """The conversation with one modem."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: the port was opened anew or the modem was switched off and on."""
        self._input = bytearray()
        self._output = bytearray()
        self._command: Command | None = None
        self._lines: list[str] = []
        self._deadline = 0.0
        self._data_sent = False
        self._hex_due = False
        self._resync = 0  # tries left; 0: in step
        self._answered = False  # the modem said something final in answer to the last of these tries
        self._skipping = False  # in the middle of a line that is too long
        self._hex_unsolicited = False  # the next line belongs to an unsolicited one
        self._latest = 0.0
        self._rings = False  # somebody calls
        self._dead = False

    @property
    def busy(self) -> bool:
        return self._command is not None or self._dead

    def deadline(self) -> float | None:
        """Return the time at which `tick` has something to do, None while no command is on the way."""
        return self._deadline if self._command is not None else None

    def take_output(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    def submit(self, command: Command, now: float) -> None:
        """Send a command. The engine must not be busy."""
        if self.busy:
            raise RuntimeError("a command is already on the way")
        if any(c in command.line for c in "\r\n\x1a\x1b"):
            raise ValueError("control character in a command")
        self._start(command, now)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take in octets that the modem wrote, and return the events they complete."""
        events: list[Event] = []
        self._input += data
        while True:
            end = self._end_of_line()
            if end is None:
                break
            line = self._input[:end].decode("latin-1").strip("\r\n\x00 ")
            skip = self._skipping or (end > MAX_LINE and not self._begins_well(line))
            self._skipping = False
            del self._input[: end + 1]
            if line and not skip:
                events += self._line(line[:MAX_LINE], now)
        if self._input.lstrip(b"\r\n \x00").startswith(b">") and self._at_prompt():
            self._input.clear()
            self._prompt(now)
        if len(self._input) > MAX_LINE:
            if not self._skipping and self._begins_well(start := self._input[:MAX_LINE].decode("latin-1").lstrip()):
                events += self._line(start, now)
            self._input.clear()
            self._skipping = True
        return events

    def hurry(self, until: float) -> None:
        """Wait for the answer that is due no longer than `until`: the modem has probably started anew."""
        self._deadline = min(self._deadline, until)

    def tick(self, now: float) -> list[Event]:
        """Let time pass: give up a command that got no answer."""
        if self._command is None or now < self._deadline:
            return []
        command, self._command = self._command, None
        if command is _RESYNC:
            return self._resync_failed(now)
        if command.data is not None:
            self._output += _ESCAPE  # a modem that still waits for data must not take the next command for it
        self._resync = _RESYNC_TRIES
        self._answered = False
        finished = Finished(command, tuple(self._lines), "timeout")
        self._start(_RESYNC, now)
        return [finished]

    # ---- inside ----

    def _start(self, command: Command, now: float) -> None:
        self._command = command
        self._lines = []
        self._data_sent = False
        self._hex_due = False
        self._deadline = now + command.timeout
        self._latest = now + _PROGRESS_MOST * command.timeout
        if command.data is not None:
            self._deadline = now + min(command.timeout, _PROMPT)
        self._output += command.line.encode("ascii") + b"\r"

    def _begins_well(self, line: str) -> bool:
        """Tell whether `line` says enough by how it begins, even if it is too long: an information line of the answer
        may announce a PDU, a notification a message."""
        prefix = self._command.prefix if self._command is not None else None
        return line.startswith("+CMTI") or (prefix is not None and line.startswith(prefix))

    def _end_of_line(self) -> int | None:
        ends = [i for i in (self._input.find(b"\r"), self._input.find(b"\n")) if i >= 0]
        return min(ends) if ends else None

    def _at_prompt(self) -> bool:
        return self._command is not None and self._command.data is not None and not self._data_sent

    def _prompt(self, now: float) -> None:
        assert self._command is not None
        assert self._command.data is not None
        self._data_sent = True
        self._deadline = now + self._command.timeout
        self._output += self._command.data.encode("ascii") + _SUBMIT

    def _line(self, line: str, now: float) -> list[Event]:
        command = self._command
        belongs, self._hex_unsolicited = self._hex_unsolicited, False
        if belongs and _is_hex(line):
            return [Unsolicited(line)]
        if command is None:
            return [] if _is_final(line) or line.startswith("AT") else self._unsolicited(line)
        if line == command.line or (self._data_sent and line.rstrip(_SUBMIT.decode()).endswith(command.data or "\0")):
            return []  # echo
        if line.startswith(">") and self._at_prompt():
            self._prompt(now)
            return []
        if line == ">":
            return []  # a prompt in two pieces
        if self._rings and line in _CALL_ENDS:
            self._rings = False
            return self._unsolicited(line)
        if self._hex_due and _is_hex(line):
            self._hex_due = False
            self._lines.append(line)
            self._deadline = min(max(self._deadline, now + _PROGRESS), self._latest)
            return []
        if command.prefix is not None and line.startswith(command.prefix):
            self._lines.append(line)
            self._hex_due = command.followed
            return []
        error = _final(line)
        if error is None:
            return [] if line.startswith("AT") else self._unsolicited(line)
        self._answered = True
        if not error and command.required and not self._lines:
            return []  # the late answer of an earlier command
        if not error and command.data is not None and not self._data_sent:
            return []  # likewise: nothing can be finished before its data was sent
        if command is _RESYNC:
            return self._resynced() if not error else []
        self._command = None
        return [Finished(command, tuple(self._lines), error)]

    def _unsolicited(self, line: str) -> list[Event]:
        self._hex_unsolicited = line.startswith(_WITH_PDU)
        self._rings = self._rings or line.startswith(_RING)
        return [Unsolicited(line)]

    def _resynced(self) -> list[Event]:
        self._command = None
        self._resync = 0
        return []

    def _resync_failed(self, now: float) -> list[Event]:
        self._resync -= 1
        if self._answered and self._resync <= _RESYNC_TRIES - _RESYNC_LEAST:
            # The modem refuses AT+CMGF?, as a modem without SMS or with a busy SIM does. But it answers, so it is not
            # dead, and by now no late answer can come.
            return self._resynced()
        self._answered = False
        if self._resync > 0:
            self._start(_RESYNC, now)
            return []
        self._dead = True
        return [Dead()]


def _is_hex(line: str) -> bool:
    return len(line) % 2 == 0 and all(c in "0123456789abcdefABCDEF" for c in line)


def _is_final(line: str) -> bool:
    return _final(line) is not None


def _final(line: str) -> str | None:
    """Return an empty text for success, the line itself for an error, None when it is no final result."""
    if line == "OK":
        return ""
    if line in _FINAL_ERRORS or line.startswith(("+CME ERROR", "+CMS ERROR")):
        return line
    return None
