"""A modem's packet data: contexts, dialling, data mode and the way back (3GPP TS 27.007, 10; ITU-T V.250, 6.3).

In data mode the serial line belongs to PPP. PPP itself (RFC 1661, 1332) is not modelled: in its place a few frames in
plain text pass between octets 0x7E. So a link comes up only where both ends really have the line, and octets that
somebody else reads are missing. The firmware's packets then go through `uplink.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hwsim.world.clock import Timer

if TYPE_CHECKING:
    from hwsim.world.modem import Modem

DIAL_US = 900_000  # until the network has let it in
GUARD_US = 1_000_000  # of silence before and after "+++" (the usual value of S12, 50 fiftieths of a second)
REQUEST_US = 1_000_000  # between two attempts of the modem to begin with PPP
REQUESTS = 10  # unanswered ones, after which it gives up
ADDRESS, PEER, NAME_SERVER = "10.64.0.2", "10.64.64.64", "10.64.64.53"
NO_NAME_SERVER = "0.0.0.0"
PUBLIC_NAME_SERVERS = ("9.9.9.9", "1.1.1.1", "8.8.8.8")  # answer everybody, over any path
CONTEXT_TYPES = ("IP", "IPV6", "IPV4V6")  # 27.007, 10.1.1: PDP_type
_FLAG = b"~"
_KEPT = 512  # octets of a frame at most


class PacketData:
    """A modem's packet data. The operator expects `apn` and `login`; packets fare by `up`, `delay_us` and `loss`."""

    def __init__(self, modem: Modem, after: Callable[[int, Callable[[], object]], Timer]) -> None:
        self._modem = modem
        self._after = after
        self.apn = "internet"
        self.login: tuple[str, str] | None = None  # (user, password) asked for by PAP (RFC 1334)
        self.name_server = NAME_SERVER  # that the peer tells; "0.0.0.0": none
        self.as_made()
        self._up = True
        self.delay_us = 60_000  # one way
        self.loss = 0.0  # part of the packets that need a second try
        self.says_goodbye = False  # True: the network ends a session in PPP as well, not only by NO CARRIER
        self.gives_addresses = True  # False: a session stands, and no packet passes
        self.on_change: list[Callable[[], object]] = []
        self._silence: Timer | None = None
        self._asking: Timer | None = None
        self.forget()

    def as_made(self) -> None:
        self.admits = set(CONTEXT_TYPES) - {"IPV6"}  # the types of context that the network lets in

    def forget(self) -> None:
        """Forget what it doesn't keep without its supply."""
        self._stop()
        self.contexts: dict[int, str] = {}  # context: access point name
        self.types: dict[int, str] = {}  # context: IP, IPV6 or IPV4V6
        self.wanted: str | None = None  # the name it dials
        self.wanted_type = "IP"
        self.open = False  # the network has it
        self.online = False  # the serial line carries data
        self.negotiated = False
        self._frame = b""
        self._still = False
        self._pluses = 0
        self._buffered: list[str] = []
        self._changed()

    @property
    def up(self) -> bool:
        """Tell whether packets pass. False is silent: nobody is told."""
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            self._modem.note("packets pass" if up else "packets are lost")
            self._changed()

    @property
    def passes(self) -> bool:
        return self.negotiated and self.open and self._up and not (self._modem.mute or self._modem.stalled)

    def _changed(self) -> None:
        for call in self.on_change:
            call()

    def _stop(self) -> None:
        for timer in (self._silence, self._asking):
            if timer:
                timer.cancel()

    # -- the network's side

    @property
    def admitted(self) -> bool:
        right = self.wanted == self.apn and self.wanted_type in self.admits
        return self._modem.registered and self._modem.data and right

    def connected(self) -> None:
        """Begin data mode, as the network let it in."""
        if not self.open:
            self._modem.note("data session")
        self.open = self.online = True
        self._frame, self._still, self._pluses = b"", False, 0
        self._silence = self._after(GUARD_US, self._quiet)
        self._request(REQUESTS)

    def refresh(self) -> None:
        """End a session when registration or service has gone."""
        if self.open and not (self._modem.registered and self._modem.data):
            self.lose()

    def lose(self) -> None:
        """End the session, as the network does."""
        if self.open:
            if self.online and self.says_goodbye:
                self._say(b"term")
            self.hang_up()
            self._command_mode("NO CARRIER")

    def forget_session(self) -> None:
        """Forget the session without a word, as a network does with what was idle: no packet passes until a redial."""
        self.negotiated = False
        self._changed()

    def hang_up(self) -> None:
        if self.open:
            self._modem.note("data session over")
        self.open = self.negotiated = False
        self._changed()

    def _command_mode(self, line: str) -> None:
        self.online = False
        self._stop()
        buffered, self._buffered = self._buffered, []
        for text in (line, *buffered):
            self._modem.say(text)

    # -- the serial line in data mode

    def hold(self, line: str) -> None:
        """Take an unsolicited line in data mode. With +CNMI=2 a message's is kept until that ends (27.005, 3.4.1)."""
        if line.startswith("+CMTI") and self._modem.cnmi[0] == 2:
            self._buffered.append(line)

    def feed(self, data: bytes) -> None:
        """Take octets from the other end."""
        pluses = self._pluses + len(data)
        if data.strip(b"+") == b"" and (self._still or self._pluses) and pluses <= 3:
            self._pluses = pluses
        else:
            self._pluses = 0
            self._take(data)
        self._still = False
        if self.online:
            if self._silence:
                self._silence.cancel()
            self._silence = self._after(GUARD_US, self._quiet)

    def _quiet(self) -> None:
        self._still = True
        escaped, self._pluses = self._pluses == 3, 0
        if escaped:
            self._command_mode("OK")

    def _request(self, left: int) -> None:
        if self.negotiated:
            return
        if left:
            self._say(b"req")
            self._asking = self._after(REQUEST_US, lambda: self._request(left - 1))
        else:
            self.lose()

    def _say(self, frame: bytes) -> None:
        self._modem.write(_FLAG + frame + _FLAG)

    def _take(self, data: bytes) -> None:
        *frames, self._frame = (self._frame + data).split(_FLAG)
        self._frame = self._frame[-_KEPT:]
        for frame in frames:
            if frame.startswith(b"conf"):
                self._configure(frame.decode("ascii", "replace").split()[1:])
            elif frame == b"bye":
                self._say(b"gone")
                self.lose()

    def _configure(self, login: list[str]) -> None:
        if self.login is not None and login != [word.encode().hex() for word in self.login]:
            self._say(b"nak")
            self.lose()
            return
        if not self.gives_addresses or self.wanted_type == "IPV6":
            return  # IPv6 comes without IPCP, so there is no address for the chip, which has IPv4 only
        self.negotiated = True
        self._say(f"ack {ADDRESS} {PEER} {self.name_server}".encode())
        self._changed()
