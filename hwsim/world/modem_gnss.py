"""A GNSS receiver in a cellular modem: the commands that switch it, by model, and its sentences on the AT port.

A modem knows the commands of its model (hwsim/modems.py). Modelled: the seconds until a receiver takes
commands, sentences between the lines of an answer, none while the line carries data (no manual says what comes then).
Not modelled: positions on request, other ports, a GNSS antenna without its supply.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hwsim.modems import MODELS
from hwsim.world.modem_at import COMMANDS, AtError

if TYPE_CHECKING:
    from hwsim.world.gnss import Gnss
    from hwsim.world.modem import Modem


class AtLine:
    """The modem's own line, which the receiver has in the place of a serial line."""

    baud = None  # as the modem's
    announces = False  # the modem may say something else at any time

    def __init__(self, modem: Modem) -> None:
        self._modem = modem
        self.reported = False  # are sentences wanted on this port?
        self.on_open: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> None:
        if self.reported and not self._modem.packet.online:
            self._modem.write(data)

    def announce(self, us: int, data: bytes) -> None:
        raise RuntimeError("a receiver in the modem announces nothing: see `announces`")

    def retract(self) -> None:
        pass


class Receiver:
    def __init__(self, modem: Modem, model: str, antenna: Iterable[str], line: AtLine, gnss: Gnss) -> None:
        self._modem = modem
        self.commands = {
            part.split("=")[0]
            for command in (*MODELS[model].gnss_on, *MODELS[model].gnss_off, *antenna)
            for part in command.removeprefix("AT").split(";")
        }
        self._ready_s = MODELS[model].ready_s
        self.ready = False
        self.line = line
        self._gnss = gnss

    @property
    def on(self) -> bool:
        return self._gnss.on

    def forget(self) -> None:
        """Switch off, as the modem has lost its supply, or got it."""
        self.switch(False)

    def switch(self, on: bool) -> None:
        if on and not self.on:
            self.ready = not self._ready_s
            if self._ready_s:
                self._modem.later(self._ready_s * 1_000_000, self._started)
        elif not on:
            self.line.reported = self.ready = False
        self._gnss.power(on)

    def report(self, wanted: bool) -> None:
        if wanted and self._ready_s and not self.ready:
            raise AtError
        self.line.reported = wanted

    def _started(self) -> None:
        if self.on:
            self.ready = True
            self._modem.say("+CGNSSPWR: READY!")


def _add(*names: str) -> Callable[[Callable[[Receiver, str], None]], None]:
    def register(handler: Callable[[Receiver, str], None]) -> None:
        for name in names:
            COMMANDS.add(name)(functools.partial(_run, name, handler))

    return register


def _run(name: str, handler: Callable[[Receiver, str], None], modem: Modem, rest: str) -> list[str]:
    receiver = modem.receiver
    if receiver is None or name not in receiver.commands:
        raise AtError  # as any command that it doesn't know
    handler(receiver, rest)
    return []


def _switch(rest: str) -> bool:
    if rest not in ("=0", "=1"):
        raise AtError
    return rest == "=1"


@_add("+CGNSPWR", "+CGNSSPWR")
def _power(receiver: Receiver, rest: str) -> None:
    receiver.switch(_switch(rest))


@_add("+CGPS")
def _session(receiver: Receiver, rest: str) -> None:
    """Start or stop a session. One that runs can't be started, and one that doesn't can't be stopped."""
    if _switch(rest) == receiver.on:
        raise AtError
    receiver.switch(not receiver.on)


@_add("+CGNSTST", "+CGNSSTST")
def _report(receiver: Receiver, rest: str) -> None:
    receiver.report(_switch(rest))


@_add("+CGPSINFOCFG")
def _report_every(receiver: Receiver, rest: str) -> None:
    """Take seconds, and a bit for each kind of sentence: GGA and RMC are the lowest. Only once a second is modelled."""
    if rest not in ("=0", "=1,3"):
        raise AtError
    receiver.report(rest != "=0")


@_add("+CGNSSPORTSWITCH")
def _port(receiver: Receiver, rest: str) -> None:
    """Choose the port, once the receiver is ready (A76XX, 24.2.14). Here there are only raw sentences on the UART."""
    if not receiver.ready or rest != "=0,1":
        raise AtError


@_add("+CGPIO", "+CGDRT", "+CGSETV", "+CVAUXV", "+CVAUXS")
def _antenna(receiver: Receiver, rest: str) -> None:
    """Take any setting of the modem's pins and supplies, on which boards hang the antenna's supply."""
