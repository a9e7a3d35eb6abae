"""The commands of the simulated modem, by clause of 3GPP TS 27.007: what each reads and sets. Those for messages are in
modem_message_commands.py, those of a receiver in modem_gnss.py.

One table shows plainly which commands the modem knows; it answers every other with ERROR.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwsim.world.modem import Modem

LINE_US = 4_000  # between two lines of an answer
RATE_US = 3 * LINE_US  # until a new rate holds
RESTART_US = 100_000  # from a command to restart to the restart
INVALID = 50  # +CME: incorrect parameters
_NO_SIM, _PIN_WANTED, _WRONG_PIN = 10, 11, 16  # +CME
_MEANING = {
    ("CME", 3): "operation not allowed",
    ("CME", 10): "SIM not inserted",
    ("CME", 11): "SIM PIN required",
    ("CME", 13): "SIM failure",
    ("CME", 14): "SIM busy",
    ("CME", 16): "incorrect password",
    ("CME", 50): "Incorrect parameters",
    ("CMS", 302): "Operation not allowed",
    ("CMS", 304): "Invalid PDU mode parameter",
    ("CMS", 305): "Invalid text mode parameter",
    ("CMS", 310): "SIM not inserted",
    ("CMS", 311): "SIM PIN required",
    ("CMS", 314): "SIM busy",
    ("CMS", 321): "Invalid memory index",
    ("CMS", 322): "Memory full",
    ("CMS", 330): "SMSC address unknown",
    ("CMS", 331): "No network service",
    ("CMS", 500): "Unknown error",
}

Handler = Callable[["Modem", str], list[str]]


class AtError(Exception):
    """A command that fails: with its number, or, without one, plain ERROR."""

    def __init__(self, code: int | None = None, family: str = "CME") -> None:
        super().__init__(code)
        self.code, self.family = code, family

    def text(self, verbose: int) -> str:
        """Format the error as +CMEE wants it (27.007, 9.1). Message errors are numbers at least (27.005, 3.2.5)."""
        if self.code is None or (verbose == 0 and self.family == "CME"):
            return "ERROR"
        if verbose == 2:
            return f"+{self.family} ERROR: {_MEANING.get((self.family, self.code), self.code)}"
        return f"+{self.family} ERROR: {self.code}"


class Commands:
    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add(self, *names: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for name in names:
                self._handlers[name] = handler
            return handler

        return register

    def run(self, modem: Modem, command: str) -> list[str]:
        """Run a command and return its information lines. Raises AtError. A handler gets what follows the name, as in
        "=1,2"."""
        command = command.strip()
        match = re.match(r"([+&]?[A-Za-z]*)(.*)", command, re.DOTALL)
        assert match is not None
        name, rest = match.group(1).upper(), match.group(2)
        if not command:
            return []
        handler = self._handlers.get(name)
        if handler is None:
            raise AtError
        # Seen of settings that have nothing to do with a SIM: u-blox/ubxlib#287 (AT&C1), TinyGSM#496 (+CSCS).
        if modem.habits.settings_late and not modem.messages.up and name[:1] == "+" and re.match(r"=[^?]", rest):
            raise AtError(modem.habits.sim_not_ready)
        return handler(modem, rest)


COMMANDS = Commands()


def _fixed(name: str, *lines: str) -> None:
    COMMANDS.add(name)(lambda modem, rest: list(lines))


_fixed("I", "Simulated modem", "hwsim")
_fixed("+CGMI", "hwsim")
_fixed("+CGMM", "Simulated modem")
_fixed("+CGMR", "1")
_fixed("+CGSN", "004999010640000")  # an IMEI of the test range
for _accepted in ("Z", "&F", "&W", "&D", "&C", "&K", "V", "Q"):
    _fixed(_accepted)
for _accepted in ("+IFC", "+CSDH", "+CTZR"):
    _fixed(_accepted)


def numbers(rest: str) -> list[int]:
    if not rest.startswith("="):
        raise AtError(INVALID)
    try:
        return [int(word) if word.strip() else 0 for word in rest[1:].split(",")]
    except ValueError:
        raise AtError(INVALID) from None


@COMMANDS.add("S")
def _register(modem: Modem, rest: str) -> list[str]:
    """Read or set a register, told in three digits (V.250, 5.3.2). Only S8, the pause of a comma (6.3.11)."""
    if rest == "8?":
        return [f"{modem.comma_s:03}"]
    match = re.fullmatch(r"8=(\d{1,3})", rest)
    if match is None or int(match.group(1)) > 255:
        raise AtError(INVALID)
    modem.comma_s = int(match.group(1))
    return []


@COMMANDS.add("E")
def _echo(modem: Modem, rest: str) -> list[str]:
    modem.echo = rest.strip() == "1"
    return []


@COMMANDS.add("+CMEE")
def _errors(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return [f"+CMEE: {modem.verbose_errors}"]
    modem.verbose_errors = numbers(rest)[0]
    return []


@COMMANDS.add("+CPIN")
def _pin(modem: Modem, rest: str) -> list[str]:
    if not modem.messages.up:
        raise AtError(modem.habits.sim_not_ready)
    if not modem.sim:
        raise AtError(_NO_SIM)
    if rest == "?":
        return [modem.sim_line()]
    match = re.fullmatch(r'="?(\d{4,8})"?', rest)
    if match is None:
        raise AtError(INVALID)
    if not modem.enter_pin(match.group(1)):
        raise AtError(_WRONG_PIN)
    return []


@COMMANDS.add("+CIMI")
def _identity(modem: Modem, rest: str) -> list[str]:
    if not modem.sim:
        raise AtError(_NO_SIM)
    if modem.locked:
        raise AtError(_PIN_WANTED)
    return [f"{modem.cell[0]:03}{modem.cell[1]:02}0000000000"]


@COMMANDS.add("+CSCS")
def _character_set(modem: Modem, rest: str) -> list[str]:
    """Read or choose the character set (27.007, 5.5). Every text that this modem says is in both."""
    if rest == "?":
        return [f'+CSCS: "{modem.character_set}"']
    if rest == "=?":
        return ['+CSCS: ("GSM","IRA")']
    chosen = rest.removeprefix("=").strip('"').upper()
    if chosen not in ("GSM", "IRA"):
        raise AtError(INVALID)
    modem.character_set = chosen
    return []


@COMMANDS.add("+CSQ")
def _signal(modem: Modem, rest: str) -> list[str]:
    return [f"+CSQ: {modem.signal if modem.service else 99},99"]


@COMMANDS.add("+CFUN")
def _functional(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return [f"+CFUN: {modem.functional}"]
    level, *restart = numbers(rest)
    if level not in (0, 1, 4):
        raise AtError(INVALID)
    if restart == [1]:
        modem.later(RESTART_US, modem.restart)
    else:
        modem.set_functional(level)
    return []


@COMMANDS.add("+CRESET")
def _restart(modem: Modem, rest: str) -> list[str]:
    """Restart as AT+CFUN=1,1 does (SIM7600 and A76XX)."""
    modem.later(RESTART_US, modem.restart)
    return []


@COMMANDS.add("+CPOF", "+CPOWD")
def _switch_off(modem: Modem, rest: str) -> list[str]:
    """Switch off: +CPOF of SIM7600 and A76XX, +CPOWD=1 of SIM800 and SIM7000."""
    modem.later(RESTART_US, modem.switch_off)
    return []


@COMMANDS.add("+IPR")
def _rate(modem: Modem, rest: str) -> list[str]:
    """Read or set the rate (V.250, 6.2.10). The new rate holds after the answer."""
    if rest == "?":
        return [f"+IPR: {modem.baud}"]
    baud = numbers(rest)[0]
    if baud not in (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600):
        raise AtError(INVALID)
    modem.later(RATE_US, lambda: modem.set_baud(baud))
    return []


for _name in ("+CLTS", "+CTZU"):

    def _follow_time(modem: Modem, rest: str, name: str = _name) -> list[str]:
        if rest == "?":
            return [f"{name}: {int(modem.follows_time and modem.habits.network_time == name)}"]
        modem.follow_time(name, bool(numbers(rest)[0]))
        return []

    COMMANDS.add(_name)(_follow_time)


def _registration(name: str) -> Handler:
    def handler(modem: Modem, rest: str) -> list[str]:
        if not modem.has(name):
            raise AtError
        if rest == "?":
            return [modem.registration_answer(name)]
        if rest == "=?":
            return [f"+{name}: (0-2)"]
        level = numbers(rest)[0]
        if level not in (0, 1, 2):
            raise AtError(INVALID)
        modem.reporting[name] = level
        return []

    return handler


for _name in ("CREG", "CGREG", "CEREG"):
    COMMANDS.add(f"+{_name}")(_registration(_name))


@COMMANDS.add("+CGATT")
def _attached(modem: Modem, rest: str) -> list[str]:
    if not modem.has("CGATT"):
        raise AtError
    return [f"+CGATT: {int(modem.attached)}"] if rest == "?" else []


@COMMANDS.add("+CGDCONT")
def _context(modem: Modem, rest: str) -> list[str]:
    """Read or define a context, its type and its access point name (27.007, 10.1.1)."""
    packet = modem.packet
    if rest == "?":
        return [f'+CGDCONT: {n},"{packet.types.get(n, "IP")}","{name}"' for n, name in sorted(packet.contexts.items())]
    match = re.fullmatch(r'=([1-9]),"(IP|IPV6|IPV4V6)","([\w.-]{1,99})"(,.*)?', rest)
    if match is None:
        raise AtError(INVALID)
    number = int(match.group(1))
    packet.types[number], packet.contexts[number] = match.group(2), match.group(3)
    return []


@COMMANDS.add("D")
def _dial(modem: Modem, rest: str) -> list[str]:
    """Dial packet data (27.007, 10.2.1.1): *99***1# or *99# asks for context 1; voice calls are not modelled."""
    match = re.fullmatch(r"\*99(?:\*\*\*([1-9]))?#", rest.strip())
    number = int(match.group(1) or 1) if match else 0
    name = modem.packet.contexts.get(number)
    if name is None:
        raise AtError
    if not modem.sim:
        raise AtError(_NO_SIM)
    modem.packet.wanted = name
    modem.packet.wanted_type = modem.packet.types.get(number, "IP")
    return []


@COMMANDS.add("O")
def _online(modem: Modem, rest: str) -> list[str]:
    """Go back to a session that "+++" left (V.250, 6.3.7)."""
    modem.packet.wanted = modem.packet.apn if modem.packet.open else ""
    return []


@COMMANDS.add("H")
def _hang_up(modem: Modem, rest: str) -> list[str]:
    """Hang up (V.250, 6.3.6)."""
    modem.packet.hang_up()
    return []


@COMMANDS.add("+COPS")
def _operator(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        if not modem.registered:
            return ["+COPS: 0"]
        name = f"{modem.cell[0]:03}{modem.cell[1]:02}" if modem.operator_format == 2 else "Test network"
        return [f'+COPS: 0,{modem.operator_format},"{name}",7']
    values = numbers(rest.split('"')[0].rstrip(","))
    if values[0] == 3 and len(values) > 1:
        modem.operator_format = values[1]
    return []


@COMMANDS.add("+CCLK")
def _clock(modem: Modem, rest: str) -> list[str]:
    return [modem.clock_line()] if rest == "?" else []
