"""The firmware's sockets: the requests of `socket.py`, carried into the network. Includes the resolver: the blocking
one behind `getaddrinfo`, and a DNS server for firmware that doesn't want to block.

There are two paths: Wi-Fi, while the station is associated, and PPP over the cellular modem. As in lwIP one of them is
the default route: Wi-Fi when it gets its address, PPP when it begins to connect (ports/esp32/network_ppp.c of
MicroPython); a path that goes takes the route with it. A connection whose path is not the route stands still: its
packets would leave the other way, with an address that nobody there knows.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hwsim.world import modem_data
from hwsim.world.net import Link, Network
from hwsim.world.peripheral import Later
from hwsim.world.wifi import GATEWAY, Wifi

if TYPE_CHECKING:
    from hwsim.world.device import Device
    from hwsim.world.modem import Modem

_NO_NAME, _NO_SERVER = -2, -202  # errors that the port's getaddrinfo raises
_FRAME_OCTETS = 36 + 40  # of the headers: 802.11 with LLC, IP with TCP
_RESOLVER_GIVES_UP_US = 10_000_000


class Path:
    """A way of packets into the world; by itself, none at all."""

    wireless_lan = False

    @property
    def name_server(self) -> str:
        """The name server that the path's peer tells of."""
        return ""

    @property
    def captive(self) -> bool:
        """Tell whether a portal answers in the world's place."""
        return False

    @property
    def there(self) -> bool:
        """Tell whether the chip has an address on the path."""
        return False

    @property
    def passes(self) -> bool:
        """Tell whether packets pass now."""
        return False

    def one_way_us(self) -> int:
        return 0

    def sent(self, octets: int) -> None:
        """Count a packet that leaves the bracelet."""


class WifiPath(Path):
    wireless_lan = True

    def __init__(self, network: Network, wifi: Wifi) -> None:
        self._network, self._wifi = network, wifi

    @property
    def name_server(self) -> str:
        return GATEWAY

    @property
    def captive(self) -> bool:
        return self._network.captive

    @property
    def there(self) -> bool:
        return self._wifi.associated

    @property
    def passes(self) -> bool:
        return self._wifi.reachable and self._network.data_up

    def one_way_us(self) -> int:
        return self._network.one_way_us(self._network.delay_us, self._network.loss)

    def sent(self, octets: int) -> None:
        self._wifi.transmit(_FRAME_OCTETS + octets)


class MobilePath(Path):
    """The path over PPP, which needs both ends, the chip's and the modem's."""

    def __init__(self, network: Network, modem: Modem) -> None:
        self._network, self._modem = network, modem
        self.up = False  # as the chip sees it

    @property
    def name_server(self) -> str:
        return self._modem.packet.name_server

    @property
    def there(self) -> bool:
        return self.up

    @property
    def passes(self) -> bool:
        return self.up and self._modem.packet.passes

    def one_way_us(self) -> int:
        return self._network.one_way_us(self._modem.packet.delay_us, self._modem.packet.loss)

    def sent(self, octets: int) -> None:
        if self._modem.packet.passes:
            self._modem.transmit()


class Uplink:
    def __init__(self, device: Device, network: Network, wifi: Wifi, modem: Modem) -> None:
        self._device = device
        self._network = network
        self._links: dict[str, Link] = {}
        self._nowhere = Path()
        self._wifi = WifiPath(network, wifi)
        self._mobile = MobilePath(network, modem)
        self.route: Path = self._nowhere
        self._on_wifi = False
        wifi.on_path_change.append(self._wifi_changed)
        modem.packet.on_change.append(network.path_changed)
        device.wire("net", self)
        device.wire("ppp", self)

    @property
    def name(self) -> str:
        return self._device.name

    def deliver(self, socket: str, *event: Any) -> None:
        self._device.deliver(socket, *event)

    def reset(self) -> None:
        self.route = self._wifi if self._wifi.there else self._nowhere
        self._mobile.up = False
        links, self._links = self._links, {}
        for link in links.values():
            link.device_vanished()

    def _wifi_changed(self) -> None:
        was, self._on_wifi = self._on_wifi, self._wifi.there
        if self._on_wifi and not was:
            self.route = self._wifi
        elif was and not self._on_wifi and self.route is self._wifi:
            self.route = self._nowhere
        self._network.path_changed()

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        if function == "take":
            socket, octets = args
            taken, left = self._links[socket].take(octets) if socket in self._links else (b"", 0)
            return taken.hex(), left
        return self._resolve(args)

    def _resolve(self, args: list[Any]) -> Any:
        if args[0].count(".") == 3 and args[0].replace(".", "").isdigit():
            return args[0]  # an address: nobody is asked
        path = self.route
        if not path.there or path.name_server == modem_data.NO_NAME_SERVER:
            return {"oserror": _NO_SERVER}  # lwIP's dns.c asks nobody without a server
        if not path.passes:
            return Later(_RESOLVER_GIVES_UP_US, lambda: {"oserror": _NO_SERVER})
        address = self._network.resolve(args[0], path)
        return Later(2 * path.one_way_us(), lambda: {"oserror": _NO_NAME} if address is None else address)

    def _ppp(self, what: str) -> None:
        """Follow the chip's end of PPP, which takes the route when it begins."""
        self._mobile.up = what == "up"
        if what == "connect":
            self.route = self._mobile
        elif what == "down" and self.route is self._mobile:
            self.route = self._nowhere
        self._network.path_changed()

    def output(self, device: str, args: list[Any]) -> None:
        if device == "ppp":
            self._ppp(args[0])
            return
        operation, socket, *rest = args
        if operation in ("connect", "send", "close", "sendto"):
            path = self._links[socket].path if socket in self._links else self._towards(rest[0] if rest else "")
            path.sent(len(rest[-1]) // 2 if operation in ("send", "sendto") else 0)
        if operation == "connect":
            self._links[socket] = self._network.connect(self, socket, rest[0], rest[1])
        elif operation == "send" and socket in self._links:
            self._links[socket].from_device(bytes.fromhex(rest[0]))
        elif operation == "close" and socket in self._links:
            self._links.pop(socket).device_closed()
        elif operation == "sendto":
            self._datagram(socket, rest[0], rest[1], bytes.fromhex(rest[2]))

    def _towards(self, address: str) -> Path:
        """Return the path to an address: the access point is a neighbour, whatever the route."""
        return self._wifi if address == GATEWAY and self._wifi.there else self.route

    def _datagram(self, socket: str, address: str, port: int, data: bytes) -> None:
        path = self._towards(address)
        served = address in modem_data.PUBLIC_NAME_SERVERS or address == path.name_server != modem_data.NO_NAME_SERVER
        if not served or port != 53 or not path.passes:
            return
        answer = self._dns_answer(data, path)
        if answer:
            self._network.world.after(2 * path.one_way_us(), lambda: self._dns_reply(socket, answer, path, address))

    def _dns_reply(self, socket: str, answer: bytes, path: Path, address: str) -> None:
        if path.passes:
            self.deliver(socket, "datagram", answer.hex(), address, 53)

    def _dns_answer(self, query: bytes, path: Path) -> bytes | None:
        """Answer one question for an address, or refuse it with NXDOMAIN (RFC 1035)."""
        if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
            return None
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        question = query[12 : at + 5]
        kind = query[at + 1 : at + 3]
        address = self._network.resolve(".".join(labels), path)
        if address is None:
            return query[:2] + b"\x81\x83" + struct.pack(">4H", 1, 0, 0, 0) + question
        if kind != b"\0\1":
            return query[:2] + b"\x81\x80" + struct.pack(">4H", 1, 0, 0, 0) + question
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes(map(int, address.split(".")))
        return query[:2] + b"\x81\x80" + struct.pack(">4H", 1, 1, 0, 0) + question + record
