"""A cellular modem behind its AT interface: 3GPP TS 27.007 and 27.005, PDU mode, messages in both directions.

Sans-I/O: octets come in by `feed`, go out by the given function, and time is the given scheduler's, so that the same
modem hangs on a bracelet's UART, on a PTY, or on a test. Answers are made of separate lines with time between them; an
unsolicited line can come between any two of them, as real modems do. Packet data is in modem_data.py. Not modelled:
text mode, calls, SIM PIN entry, flow control.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hwsim.world.clock import Timer
from hwsim.world.modem_at import COMMANDS, AtError
from hwsim.world.modem_data import DIAL_US, PacketData
from hwsim.world.pdu import PduError, Sms, decode_submit, encode_deliver, tpdu_length
from hwsim.world.sms import CENTRE_NUMBER, SmsCentre

if TYPE_CHECKING:
    from hwsim.world.modem_gnss import Receiver

BOOT_US = 3_000_000
LINE_US = 4_000  # between two lines of an answer
SUBMIT_US = 1_800_000  # until the network has confirmed a message
BURST_US = 20_000  # on the air for a packet of data: an estimate, no source gives a figure for a packet
NO_SERVICE_US = 5_000_000
CAPACITY = 20

NOT_REGISTERED, HOME, SEARCHING, DENIED, ROAMING = 0, 1, 2, 3, 5


class Modem:
    def __init__(
        self, number: str, who: str, centre: SmsCentre, send: Callable[[bytes], None],
        after: Callable[[int, Callable[[], object]], Timer], unix_time: Callable[[], int],
        note: Callable[..., None],
    ) -> None:  # fmt: skip
        self.number, self.who = number, who
        self._centre = centre
        self._send = send
        self._after = after
        self.unix_time = unix_time
        self._note = note
        self.register_us = 4_000_000  # from the first cell heard to the registration
        self.mute = False  # hung: takes nothing, says nothing, until its supply is cycled
        self._sim = True
        self.locked = False  # the SIM asks for its PIN; there is no way to enter it
        self.announces = True  # says so when it has started
        self.roaming = False  # the network it finds next is a foreign one
        self.denied = False  # and does not take this SIM
        self.nitz = True  # the network tells the time
        self.nitz_offset_s = 0  # how wrong the time is that the network tells
        self.zone_quarters = 4  # its zone, in quarters of an hour
        self.signal = 20  # +CSQ
        self.cell = (1, 1, 0x1A2B, 0x01C3D4)  # country, network, area, cell: the test network 001 01
        self._service = True
        self._data = True
        self.on = False
        self.fed = True  # there is a supply that its key can switch on
        self.held: dict[int, bool] = {}  # pins that must be at a level, or it does not listen: are they?
        self.tells = "CREG"  # the command that tells of its registration; CEREG: there is nothing to tell by CREG
        self.receiver: Receiver | None = None  # a GNSS receiver in it
        self.on_power_change: Callable[[], None] = lambda: None
        self.on_spend: Callable[[str], None] = lambda state: None  # what it does to its supply, for a meter
        self._sending = False
        self._timers: list[Timer] = []
        self.cnmi = (0, 0)
        self._registration = NOT_REGISTERED
        self.packet = PacketData(self, after)
        self.storage: dict[int, tuple[bool, bytes]] = {}  # place: (read, PDU); on the SIM, so kept without supply
        self._forget()
        centre.subscribe(number, self)

    def _forget(self) -> None:
        """What the modem doesn't keep without its supply."""
        self.echo = True
        self.verbose_errors = 0
        self.comma_s = 2  # register S8
        self.reporting = {"CREG": 0, "CGREG": 0, "CEREG": 0}
        self.cnmi = (0, 0)
        self.operator_format = 0
        self.character_set = "GSM"
        self.functional = 1
        self.clock_known = False
        self.ready = False
        self._registration = NOT_REGISTERED
        self._busy = False
        self._pending: list[str] = []
        self._line = ""
        self._submit_length: int | None = None
        self._reference = 0
        self._sending = False
        self.packet.forget()
        if self.receiver:
            self.receiver.forget()

    def note(self, what: str, **detail: object) -> None:
        self._note(self.who, what, **detail)

    # -- supply

    def power(self, on: bool, *, warm: bool = False) -> None:
        """Switch its supply; `warm` skips the start, for a modem that has been on for long."""
        if on == self.on or (on and not self.fed):
            return
        self.on = on
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._forget()
        self.mute = False
        self._note(self.who, "on" if on else "off")
        self.on_power_change()
        self._spend()
        if on and warm:
            self.ready = True
            self._found()
        elif on:
            self.later(BOOT_US, self._booted)

    def feed_supply(self, fed: bool) -> None:
        """The supply that its key needs comes or goes."""
        self.fed = fed
        if not fed:
            self.power(False)

    def later(self, us: int, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.pending]
        self._timers.append(self._after(us, call))

    def _booted(self) -> None:
        self.ready = True
        if self.announces:
            self.say("RDY")
            self.say("+CPIN: READY" if self.sim else "+CPIN: NOT INSERTED")
        self._search()

    def transmit(self) -> None:
        """A packet of data leaves."""
        self._sending = True
        self._spend()
        self.later(BURST_US, self._sent)

    def _sent(self) -> None:
        self._sending = False
        self._spend()

    def _spend(self) -> None:
        radio = "registered" if self.registered else "searching" if self.sim and self.functional else "idle"
        self.on_spend("off" if not self.on else "transmit" if self._sending else radio)

    # -- the network

    @property
    def service(self) -> bool:
        """Whether there is a cell for it."""
        return self._service

    @service.setter
    def service(self, service: bool) -> None:
        if service == self._service:
            return
        self._service = service
        self._note(self.who, "service" if service else "no service")
        if self.ready:
            self._search()

    @property
    def sim(self) -> bool:
        """Whether there is a SIM card in it. Taken out and put back at any time (hot swap), the modem notices."""
        return self._sim

    @sim.setter
    def sim(self, sim: bool) -> None:
        if sim == self._sim:
            return
        self._sim = sim
        self._note(self.who, "sim in" if sim else "sim out")
        if self.ready:
            self.say("+CPIN: READY" if sim else "+CPIN: NOT INSERTED")
            self._search()

    @property
    def data(self) -> bool:
        """Whether the network lets it attach to packet data (+CGATT, +CGREG)."""
        return self._data

    @data.setter
    def data(self, data: bool) -> None:
        if data != self._data:
            self._data = data
            self._note(self.who, "data" if data else "no data")
            self._report("CGREG")
            self._report("CEREG")
            self.packet.refresh()

    @property
    def registered(self) -> bool:
        return self._registration in (HOME, ROAMING)

    def registration(self, name: str) -> int:
        if name != self.tells and self.registered and (name == "CREG" or not self._data):
            return NOT_REGISTERED
        return self._registration

    def _search(self) -> None:
        if not self.sim or self.locked or not self.functional:
            self._register(NOT_REGISTERED)
            return
        self._register(SEARCHING)
        if self._service:
            self.later(self.register_us, self._found)

    def _found(self) -> None:
        if self._service and self._sim and self.functional and not self.registered:
            if self.denied:
                self._register(DENIED)
                return
            self.clock_known = self.clock_known or self.nitz
            self._register(ROAMING if self.roaming else HOME)
            self._centre.reachable(self.number)

    def _register(self, state: int) -> None:
        if state == self._registration:
            return
        was = self.registered
        self._registration = state
        self._spend()
        if self.registered != was:
            self._note(self.who, "registered" if self.registered else "not registered")
        for name in self.reporting:
            self._report(name)
        self.packet.refresh()

    def _report(self, name: str) -> None:
        if self.ready and self.reporting[name]:
            self.say(f"+{name}: {self.registration_text(name)}")

    def registration_text(self, name: str) -> str:
        state = self.registration(name)
        if self.reporting[name] < 2 or state not in (HOME, ROAMING):
            return str(state)
        access = ",7" if name == "CEREG" else ""
        return f'{state},"{self.cell[2]:04X}","{self.cell[3]:08X}"{access}'

    def set_functional(self, level: int) -> None:
        if level == self.functional:
            return  # it stays where it is: no new search
        self.functional = level
        self._search()

    def clock_text(self) -> str:
        if not self.clock_known:
            return "80/01/06,00:00:00+00"
        local = datetime.fromtimestamp(self.unix_time() + self.nitz_offset_s + self.zone_quarters * 900, UTC)
        return local.strftime("%y/%m/%d,%H:%M:%S") + f"{self.zone_quarters:+03}"

    # -- messages from the network

    def take(self, sms: Sms) -> bool:
        place = next((n for n in range(1, CAPACITY + 1) if n not in self.storage), None)
        if not self.on or not self.registered or self.mute:
            return False
        pdu = encode_deliver(sms, self.unix_time(), CENTRE_NUMBER)
        if self.cnmi[1] == 2 and not self.packet.online:
            self.say(f"+CMT: ,{tpdu_length(pdu)}\r\n{pdu.hex().upper()}")
            return True
        if place is None:
            return False
        self.storage[place] = (False, pdu)
        if self.cnmi[1] == 1:
            self.say(f'+CMTI: "SM",{place}')
        return True

    def deleted(self) -> None:
        """There is room again."""
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
        """Octets from the other end of the serial line."""
        if not self.ready or self.mute or not all(self.held.values()):
            return
        if self.packet.online:
            self.packet.feed(data)
            return
        for octet in data.decode("latin-1"):
            if self._submit_length is not None and not self._busy:
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
        if self._submit_length is not None and final == "OK":
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
        """The end of ATD and ATO: the line is data from here on, or NO CARRIER."""
        admitted, self.packet.wanted = self.packet.admitted, None
        self._finish([], "CONNECT" if admitted else "NO CARRIER")
        if admitted:
            self._pending, self._line = [], ""
            self.packet.connected()

    # -- sending

    def begin_submit(self, length: int) -> None:
        self._submit_length = length

    def _prompt(self) -> None:
        self._busy = False
        self.write(b"\r\n> ")

    def _feed_pdu(self, octet: str) -> None:
        if self.echo:
            self.write(octet.encode("latin-1"))
        if octet == "\x1b":
            self._line, self._submit_length = "", None
            self.say("OK")
        elif octet == "\x1a":
            text, self._line = self._line, ""
            length, self._submit_length = self._submit_length, None
            self._submit(text.strip(), length)
        elif octet not in "\r\n":
            self._line += octet

    def _submit(self, text: str, length: int | None) -> None:
        self._busy = True
        try:
            pdu = bytes.fromhex(text)
            if not pdu or tpdu_length(pdu) != length:
                raise PduError("another length than announced")
            sms = decode_submit(pdu, self.number)
        except ValueError:
            self.later(LINE_US, lambda: self._finish([], AtError(304, "CMS").text(self.verbose_errors)))
            return
        if not self.registered:
            self.later(NO_SERVICE_US, lambda: self._finish([], AtError(331, "CMS").text(self.verbose_errors)))
            return
        self._sending = True
        self._spend()
        self.later(SUBMIT_US, lambda: self._submitted(sms))

    def _submitted(self, sms: Sms) -> None:
        self._sending = False
        self._spend()
        if not self.registered:
            self._finish([], AtError(331, "CMS").text(self.verbose_errors))
            return
        self._reference = (self._reference + 1) % 256
        self._centre.submit(sms)
        self._finish([f"+CMGS: {self._reference}"], "OK")


def _split(text: str) -> list[str]:
    """The commands of one line: +A=1;+B. A quoted semicolon belongs to its command."""
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
