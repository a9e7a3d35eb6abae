"""The commands of the simulated modem: what each reads and sets. 3GPP TS 27.007 and 27.005 by clause.

One table, so that it is plain what is understood; everything else is answered with ERROR.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from hwsim.world.pdu import tpdu_length
from hwsim.world.sms import CENTRE_NUMBER

if TYPE_CHECKING:
    from hwsim.world.modem import Modem

_CAPACITY = 20
_INVALID = 50  # +CME: incorrect parameters
_NO_SIM = 10
_INVALID_INDEX = 321  # +CMS
_NO_SIM_FOR_SMS = 310  # +CMS
_MEANING = {
    ("CME", 3): "operation not allowed",
    ("CME", 10): "SIM not inserted",
    ("CME", 50): "Incorrect parameters",
    ("CMS", 304): "Invalid PDU mode parameter",
    ("CMS", 310): "SIM not inserted",
    ("CMS", 321): "Invalid memory index",
    ("CMS", 331): "No network service",
}

Handler = Callable[["Modem", str], list[str]]


class AtError(Exception):
    """A command that fails: with its number, or, without one, plain ERROR."""

    def __init__(self, code: int | None = None, family: str = "CME") -> None:
        super().__init__(code)
        self.code, self.family = code, family

    def text(self, verbose: int) -> str:
        """How +CMEE wants it (27.007, 9.1). Message errors are numbers at least (27.005, 3.2.5)."""
        if self.code is None or (verbose == 0 and self.family == "CME"):
            return "ERROR"
        if verbose == 2:
            return f"+{self.family} ERROR: {_MEANING[self.family, self.code]}"
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
        """The information lines of one command; raises AtError. A handler gets what follows the name, as in "=1,2"."""
        command = command.strip()
        match = re.match(r"([+&]?[A-Za-z]*)(.*)", command, re.DOTALL)
        assert match is not None
        name, rest = match.group(1).upper(), match.group(2)
        if not command:
            return []
        handler = self._handlers.get(name)
        if handler is None:
            raise AtError
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
for _accepted in ("+IPR", "+IFC", "+CSDH", "+CTZU", "+CTZR", "+CLTS", "+CNMA"):
    _fixed(_accepted)


def _numbers(rest: str) -> list[int]:
    if not rest.startswith("="):
        raise AtError(_INVALID)
    try:
        return [int(word) if word.strip() else 0 for word in rest[1:].split(",")]
    except ValueError:
        raise AtError(_INVALID) from None


@COMMANDS.add("S")
def _register(modem: Modem, rest: str) -> list[str]:
    """V.250, 5.3.2: a register, told in three digits. Only S8, the pause of a comma (6.3.11)."""
    if rest == "8?":
        return [f"{modem.comma_s:03}"]
    match = re.fullmatch(r"8=(\d{1,3})", rest)
    if match is None or int(match.group(1)) > 255:
        raise AtError(_INVALID)
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
    modem.verbose_errors = _numbers(rest)[0]
    return []


@COMMANDS.add("+CPIN")
def _pin(modem: Modem, rest: str) -> list[str]:
    if not modem.sim:
        raise AtError(_NO_SIM)
    return ["+CPIN: SIM PIN" if modem.locked else "+CPIN: READY"]


@COMMANDS.add("+CIMI")
def _identity(modem: Modem, rest: str) -> list[str]:
    if not modem.sim:
        raise AtError(_NO_SIM)
    return [f"{modem.cell[0]:03}{modem.cell[1]:02}0000000000"]


@COMMANDS.add("+CSCS")
def _character_set(modem: Modem, rest: str) -> list[str]:
    """27.007, 5.5. Every text that this modem says is in both."""
    if rest == "?":
        return [f'+CSCS: "{modem.character_set}"']
    if rest == "=?":
        return ['+CSCS: ("GSM","IRA")']
    chosen = rest.removeprefix("=").strip('"').upper()
    if chosen not in ("GSM", "IRA"):
        raise AtError(_INVALID)
    modem.character_set = chosen
    return []


@COMMANDS.add("+CSQ")
def _signal(modem: Modem, rest: str) -> list[str]:
    return [f"+CSQ: {modem.signal if modem.service else 99},99"]


@COMMANDS.add("+CFUN")
def _functional(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return [f"+CFUN: {modem.functional}"]
    level = _numbers(rest)[0]
    if level not in (0, 1, 4):
        raise AtError(_INVALID)
    modem.set_functional(level)
    return []


def _registration(name: str) -> Handler:
    def handler(modem: Modem, rest: str) -> list[str]:
        if rest == "?":
            return [f"+{name}: {modem.reporting[name]},{modem.registration_text(name)}"]
        if rest == "=?":
            return [f"+{name}: (0-2)"]
        level = _numbers(rest)[0]
        if level not in (0, 1, 2):
            raise AtError(_INVALID)
        modem.reporting[name] = level
        return []

    return handler


for _name in ("CREG", "CGREG", "CEREG"):
    COMMANDS.add(f"+{_name}")(_registration(_name))


@COMMANDS.add("+CGATT")
def _attached(modem: Modem, rest: str) -> list[str]:
    return [f"+CGATT: {int(modem.registered and modem.data)}"] if rest == "?" else []


@COMMANDS.add("+CGDCONT")
def _context(modem: Modem, rest: str) -> list[str]:
    """27.007, 10.1.1: a context and its access point name."""
    if rest == "?":
        return [f'+CGDCONT: {number},"IP","{name}"' for number, name in sorted(modem.packet.contexts.items())]
    match = re.fullmatch(r'=([1-9]),"(?:IP|IPV4V6)","([\w.-]{1,99})"(,.*)?', rest)
    if match is None:
        raise AtError(_INVALID)
    modem.packet.contexts[int(match.group(1))] = match.group(2)
    return []


@COMMANDS.add("D")
def _dial(modem: Modem, rest: str) -> list[str]:
    """27.007, 10.2.1.1: *99***1# or *99# asks for packet data by context 1; voice calls are not modelled."""
    match = re.fullmatch(r"\*99(?:\*\*\*([1-9]))?#", rest.strip())
    name = modem.packet.contexts.get(int(match.group(1) or 1)) if match else None
    if name is None:
        raise AtError
    if not modem.sim:
        raise AtError(_NO_SIM)
    modem.packet.wanted = name
    return []


@COMMANDS.add("O")
def _online(modem: Modem, rest: str) -> list[str]:
    """V.250, 6.3.7: back to a session that "+++" left."""
    modem.packet.wanted = modem.packet.apn if modem.packet.open else ""
    return []


@COMMANDS.add("H")
def _hang_up(modem: Modem, rest: str) -> list[str]:
    """V.250, 6.3.6."""
    modem.packet.hang_up()
    return []


@COMMANDS.add("+COPS")
def _operator(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        if not modem.registered:
            return ["+COPS: 0"]
        name = f"{modem.cell[0]:03}{modem.cell[1]:02}" if modem.operator_format == 2 else "Test network"
        return [f'+COPS: 0,{modem.operator_format},"{name}",7']
    values = _numbers(rest.split('"')[0].rstrip(","))
    if values[0] == 3 and len(values) > 1:
        modem.operator_format = values[1]
    return []


@COMMANDS.add("+CCLK")
def _clock(modem: Modem, rest: str) -> list[str]:
    return [f'+CCLK: "{modem.clock_text()}"'] if rest == "?" else []


@COMMANDS.add("+CSMS")
def _service(modem: Modem, rest: str) -> list[str]:
    return ["+CSMS: 0,1,1,1"] if rest == "?" else ["+CSMS: 1,1,1"]


@COMMANDS.add("+CSCA")
def _centre(modem: Modem, rest: str) -> list[str]:
    return [f'+CSCA: "{CENTRE_NUMBER}",145'] if rest == "?" else []


@COMMANDS.add("+CMGF")
def _format(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return ["+CMGF: 0"]
    if rest == "=?":
        return ["+CMGF: (0)"]
    if _numbers(rest)[0] != 0:  # text mode isn't modelled, and the modem says so
        raise AtError(_INVALID)
    return []


def _need_sim(modem: Modem) -> None:
    """Messages live on the card: without one there are none (27.005, 3.2.5)."""
    if not modem.sim:
        raise AtError(_NO_SIM_FOR_SMS, "CMS")


@COMMANDS.add("+CPMS")
def _storage(modem: Modem, rest: str) -> list[str]:
    _need_sim(modem)
    used = len(modem.storage)
    if rest == "=?":
        return ['+CPMS: ("SM"),("SM"),("SM")']
    if rest == "?":
        return ["+CPMS: " + ",".join([f'"SM",{used},{_CAPACITY}'] * 3)]
    if not re.fullmatch(r'="SM"(,"SM"){0,2}', rest):
        raise AtError(_INVALID)
    return ["+CPMS: " + ",".join([f"{used},{_CAPACITY}"] * 3)]


@COMMANDS.add("+CNMI")
def _indications(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return [f"+CNMI: {modem.cnmi[0]},{modem.cnmi[1]},0,0,0"]
    if rest == "=?":
        return ["+CNMI: (0-2),(0-2),(0),(0),(0,1)"]
    values = [*_numbers(rest), 0, 0]
    if values[0] > 2 or values[1] > 2:
        raise AtError(_INVALID)
    modem.cnmi = (values[0], values[1])
    return []


@COMMANDS.add("+CMGS")
def _send(modem: Modem, rest: str) -> list[str]:
    _need_sim(modem)
    modem.begin_submit(_numbers(rest)[0])
    return []


@COMMANDS.add("+CMGR")
def _read(modem: Modem, rest: str) -> list[str]:
    _need_sim(modem)
    place = _numbers(rest)[0]
    if place not in modem.storage:
        raise AtError(_INVALID_INDEX, "CMS")
    read, pdu = modem.storage[place]
    modem.storage[place] = (True, pdu)
    return [f"+CMGR: {int(read)},,{tpdu_length(pdu)}\r\n{pdu.hex().upper()}"]


@COMMANDS.add("+CMGL")
def _list(modem: Modem, rest: str) -> list[str]:
    _need_sim(modem)
    wanted = _numbers(rest)[0] if rest else 0
    lines = []
    for place, (read, pdu) in sorted(modem.storage.items()):
        if wanted in (4, int(read)):
            lines.append(f"+CMGL: {place},{int(read)},,{tpdu_length(pdu)}\r\n{pdu.hex().upper()}")
            modem.storage[place] = (True, pdu)
    return lines


@COMMANDS.add("+CMGD")
def _delete(modem: Modem, rest: str) -> list[str]:
    _need_sim(modem)
    place, *flag = _numbers(rest)
    if flag and flag[0]:
        for key, (read, _) in list(modem.storage.items()):
            if read or flag[0] == 4:
                del modem.storage[key]
    elif place not in modem.storage:
        raise AtError(_INVALID_INDEX, "CMS")
    else:
        del modem.storage[place]
    modem.deleted()
    return []
