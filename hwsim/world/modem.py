# sans-I/O
"""A cellular modem behind its AT interface: 3GPP TS 27.007 and 27.005, PDU mode, messages in both directions.

Sans-I/O: octets come in by `feed`, go out by the given function, and time is the given scheduler's, so that the same
modem hangs on a bracelet's UART, on a PTY, or on a test. Answers are made of separate lines with time between them; an
unsolicited line can come between any two of them, as in real modems. The modem starts, stops and answers by the habits
of its model (`habits`, hwsim/modems.py). Registration and time are in modem_network.py, messages in modem_messages.py,
packet data in modem_data.py. Not modelled: calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from hwsim.modems import Habits
from hwsim.world import modem_message_commands  # noqa: F401 - its commands are known from here on
from hwsim.world.clock import Timer
from hwsim.world.modem_at import COMMANDS, LINE_US, AtError
from hwsim.world.modem_data import DIAL_US, PacketData
from hwsim.world.modem_messages import Messages, Store
from hwsim.world.modem_network import DENIED, HOME, NOT_REGISTERED, ROAMING, SEARCHING, Registration
from hwsim.world.pdu import Sms
from hwsim.world.sms import SmsCentre

if TYPE_CHECKING:
    from hwsim.world.modem_gnss import Receiver

__all__ = ["DENIED", "HOME", "NOT_REGISTERED", "ROAMING", "SEARCHING", "Modem"]

BURST_US = 20_000  # on the air for a packet of data: an estimate, no source gives a figure for a packet
# Attributes that decide, beside its registration, whether a message could leave by the modem.
_SMS_PATH = frozenset(("mute", "stalled", "locked", "denied", "_sim", "_service"))


class Modem(Registration):
    _noted_path: bool | None = None

    def __init__(
        self,
        number: str,
        who: str,
        centre: SmsCentre,
        send: Callable[[bytes], None],
        after: Callable[[int, Callable[[], object]], Timer],
        unix_time: Callable[[], int],
        note: Callable[..., None],
        habits: Habits | None = None,
    ) -> None:
        self.number, self.who = number, who
        self._made = habits or Habits()
        self.habits = replace(self._made)  # this modem's own, to be changed one by one
        self._centre = centre
        self._send = send
        self._after = after
        self.unix_time = unix_time
        self._note = note
        self.mute = False  # hung: takes nothing, says nothing, until its supply is cycled
        self.announces = True  # says when it has started
        self.on = False
        self.leaving = False  # its key has switched it off, and it is not off yet
        self.on_stall: Callable[[bool], None] = lambda on: None
        self.stalled = False  # it holds CTS off, and takes nothing (see `stall`)
        self.starting = False  # switched on, and not registered since
        self.failed = False  # it restarted, went off or hung by itself, and has not been registered since
        self.fed = True  # there is a supply that its key can switch on
        self.held: dict[int, bool] = {}  # by pin: is it at the level without which the modem does not listen?
        self.baud = self.usual_baud = 115_200  # of its serial line
        self.baud_at_start: int | None = None  # the rate whenever it starts, instead of the usual one
        self.on_baud: Callable[[int], None] = lambda baud: None
        self.receiver: Receiver | None = None  # a GNSS receiver in it
        self.on_power_change: Callable[[], None] = lambda: None
        self.on_spend: Callable[[str], None] = lambda state: None  # takes the state of its radio, for a meter
        self._sending = False
        self._timers: list[Timer] = []
        self.ready = False
        self.functional = 1
        super().__init__()
        self.packet = PacketData(self, after)
        self.messages = Messages(self, centre)
        self._forget()
        centre.subscribe(number, self)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _SMS_PATH:
            self.look_at_sms_path()

    def _forget(self) -> None:
        """Forget what the modem doesn't keep without its supply."""
        self.echo = True
        self.verbose_errors = 0
        self.comma_s = 2  # register S8
        self.operator_format = 0
        self.character_set = "GSM"
        self.functional = 1
        self.ready = False
        self.leaving = False
        self._busy = False
        self._pending: list[str] = []
        self._line = ""
        self._sending = False
        self.forget_network()
        self.messages.forget()
        self.packet.forget()
        if self.receiver:
            self.receiver.forget()

    @property
    def storage(self) -> Store:
        """The messages that its commands read: those in the first memory of +CPMS."""
        return self.messages.storage

    @storage.setter
    def storage(self, store: Store) -> None:
        self.messages.storage = store

    @property
    def cnmi(self) -> tuple[int, int]:
        return self.messages.cnmi

    @cnmi.setter
    def cnmi(self, cnmi: tuple[int, int]) -> None:
        self.messages.cnmi = cnmi

    def as_made(self) -> None:
        """Drop all oddities, and take the habits of its model from its next start on."""
        self.habits = replace(self._made)
        self.announces = True
        self.baud_at_start = None
        self.usual_forms()
        self.messages.as_made()
        self.packet.as_made()

    def note(self, what: str, **detail: object) -> None:
        self._note(self.who, what, **detail)

    # -- supply

    def power(self, on: bool, *, warm: bool = False) -> None:
        """Switch its supply; `warm` skips the start, for a modem that has been on for long."""
        if on == self.on or (on and not self.fed):
            return
        with self._at_once():
            self._stop()
            self.on = on
            self.failed = self.failed or self.mute or self.stalled
            self.mute = False
            self.stall(False)
            self.starting = on and not warm and not self.failed
            self._note(self.who, "on" if on else "off")
            self.on_power_change()
            self._spend()
            if on:
                self.set_baud(self.baud_at_start or self.usual_baud)
            if on and warm:
                self.ready = self.messages.up = True
                self._found()
            elif on:
                self.later(round(self.habits.boot_s * 1e6), self._booted)

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._forget()

    def switch_off(self) -> None:
        """Switch it off as its key or a command does: it leaves the network, and is off after some seconds."""
        if not self.on or self.leaving:
            return
        with self._at_once():
            if self.ready and self.habits.farewell:
                self.say(self.habits.farewell)
            self._stop()
            self.leaving = True
            self.later(round(self.habits.off_s * 1e6), lambda: self.power(False))
            self._spend()

    def go_off(self) -> None:
        """Go off by itself, at once."""
        if not self.on:
            return
        with self._at_once():
            self.failed = True
            self.power(False)

    def restart(self, *, silent: bool = False) -> None:
        """Restart by itself, in the middle of whatever it does; `silent`: without a word this time."""
        if not self.on:
            return
        announces = self.announces
        with self._at_once():
            self.go_off()
            self.power(True)
        if silent and announces:
            self.announces = False
            self.later(round(max(self.habits.boot_s, self.habits.sms_s) * 1e6) + 1, self._heard_again)

    def _heard_again(self) -> None:
        self.announces = True

    def feed_supply(self, fed: bool) -> None:
        """Give it the supply that its key needs, or take that away."""
        self.fed = fed
        if not fed:
            self.power(False)

    def set_baud(self, baud: int) -> None:
        """Set the rate of its end of the serial line."""
        self.baud = baud
        self.on_baud(baud)

    def stall(self, on: bool) -> None:
        """Hold CTS off, or let it go. The modem lets it go at the latest with its supply."""
        if on != self.stalled:
            self.stalled = on
            self.note("cts off" if on else "cts on")
            self.on_stall(on)

    def later(self, us: int, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.pending]
        self._timers.append(self._after(us, call))

    def _booted(self) -> None:
        """Begin to answer AT."""
        self.ready = True
        self._announce(self.habits.words)
        self._search()
        wait = round((self.habits.sms_s - self.habits.boot_s) * 1e6)
        if wait > 0:
            self.later(wait, self._messages_up)
        else:
            self._messages_up()

    def _messages_up(self) -> None:
        """Begin to take commands for messages and for the SIM."""
        self.messages.up = True
        words = self.habits.sms_words
        self._announce(words if self.sim and not self.locked else tuple(word for word in words if word == "+CPIN"))
        if self.registered:
            self._centre.reachable(self.number)
        self.look_at_sms_path()

    def _announce(self, words: tuple[str, ...]) -> None:
        if self.announces:
            for word in words:
                self.say(self.sim_line() if word == "+CPIN" else word)

    def transmit(self) -> None:
        """Be on the air for a packet of data."""
        self.sending(True)
        self.later(BURST_US, lambda: self.sending(False))

    def sending(self, on: bool) -> None:
        self._sending = on
        self._spend()

    def _spend(self) -> None:
        radio = "registered" if self.registered else "searching" if self.sim and self.functional else "idle"
        self.on_spend("off" if not self.on else "transmit" if self._sending else radio)

    def set_functional(self, level: int) -> None:
        if level == self.functional:
            return  # it stays where it is: no new search
        self.functional = level
        self._search()

    # -- messages

    @property
    def sms_path(self) -> bool:
        """Tell whether a message could leave by the modem, if the firmware did everything right: the modem is powered
        or could be, the SIM is in, the network takes messages, and after a failure of its own it has registered
        again."""
        messages = self.messages
        if not (self.sim and self.service) or self.mute or self.stalled or self.locked or self.leaving:
            return False
        if messages.refused is not None or messages.submit_refused is not None or not messages.centre_number:
            return False
        if not self.on or self.starting:
            return not self.denied and not self.failed
        return self.registered and messages.up

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Make several changes count as one for the way for messages."""
        noted, self._noted_path = self._noted_path, None
        yield
        self._noted_path = noted
        self.look_at_sms_path()

    def look_at_sms_path(self) -> None:
        """Note when a way for messages begins and when it ends; from `wired` on."""
        if self._noted_path is not None and self.sms_path != self._noted_path:
            self._noted_path = self.sms_path
            self.note("sms path", up=self.sms_path)

    def wired(self) -> None:
        """Begin to note the way for messages, as everything that hangs on the modem is in place."""
        self._noted_path = not self.sms_path
        self.look_at_sms_path()

    def take(self, sms: Sms) -> bool:
        return self.messages.take(sms)

    def deleted(self) -> None:
        """Fetch waiting messages, as there is room again."""
        if self.registered:
            self._centre.reachable(self.number)

    # -- the AT interface

    def say(self, line: str) -> None:
        if self.packet.online:
            self.packet.hold(line)
        else:
            self.write(f"\r\n{line}\r\n".encode("ascii"))

    def write(self, data: bytes) -> None:
        if self.on and not self.mute:
            self._send(data)

    def feed(self, data: bytes) -> None:
        """Take octets from the other end of the serial line."""
        if not self.ready or self.mute or self.stalled or not all(self.held.values()):
            return
        if self.packet.online:
            self.packet.feed(data)
            return
        for octet in data.decode("latin-1"):
            if self.messages.submit_length is not None and not self._busy:
                self._feed_pdu(octet)
                continue
            if self.echo:
                self.write(octet.encode("latin-1"))
            if octet == "\r":
                line, self._line = self._line.strip(), ""
                if line:
                    self._pending.append(line)
                    self._next()
            elif octet == "\x08":
                self._line = self._line[:-1]
            elif octet not in "\n\x1b\x1a":
                self._line += octet

    def _next(self) -> None:
        if self._busy or not self._pending:
            return
        self._busy = True
        line = self._pending.pop(0)
        if line[:2].upper() != "AT":
            self.later(LINE_US, lambda: self._finish([], "ERROR"))
            return
        lines: list[str] = []
        final = "OK"
        try:
            for command in _split(line[2:]):
                lines += COMMANDS.run(self, command)
        except AtError as error:
            final = error.text(self.verbose_errors)
        if self.messages.submit_length is not None and final == "OK":
            self.later(LINE_US, self._prompt)
        elif self.packet.wanted is not None and final == "OK":
            self.later(DIAL_US, self._dialled)
        else:
            self.later(LINE_US, lambda: self._finish(lines, final))

    def _finish(self, lines: list[str], final: str) -> None:
        if lines:
            self.say(lines[0])
            self.later(LINE_US, lambda: self._finish(lines[1:], final))
            return
        self.say(final)
        self._busy = False
        self.later(1, self._next)

    def _dialled(self) -> None:
        """End ATD and ATO: the line carries data from here on, or the answer is NO CARRIER."""
        admitted, self.packet.wanted = self.packet.admitted, None
        self._finish([], "CONNECT" if admitted else "NO CARRIER")
        if admitted:
            self._pending, self._line = [], ""
            self.packet.connected()

    # -- sending

    def _prompt(self) -> None:
        self._busy = False
        self.write(self.habits.prompt.encode())

    def _feed_pdu(self, octet: str) -> None:
        if self.echo:
            self.write(octet.encode("latin-1"))
        if octet == "\x1b":
            self._line, self.messages.submit_length = "", None
            self.say("OK")
        elif octet == "\x1a":
            text, self._line = self._line, ""
            self._busy = True
            self.messages.submit(text.strip(), self._finish)
        elif octet not in "\r\n":
            self._line += octet


def _split(text: str) -> list[str]:
    """Split a line into its commands: +A=1;+B. A quoted semicolon belongs to its command."""
    commands, current, quoted = [], "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == ";" and not quoted:
            commands.append(current)
            current = ""
        else:
            current += character
    return [*commands, current]
