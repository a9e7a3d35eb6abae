"""The firmware's sockets: what `socket.py` asks for, carried into the network. Includes the resolver, both the blocking
one behind `getaddrinfo` and a DNS server for those who don't want to block.

Packets pass while the bracelet is associated with its access point; data over the cellular modem isn't modelled.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hwsim.world.net import Link, Network
from hwsim.world.peripheral import Later
from hwsim.world.wifi import GATEWAY, Wifi

if TYPE_CHECKING:
    from hwsim.world.device import Device

_NO_NAME, _NO_SERVER = -2, -202  # what the port's getaddrinfo raises
_FRAME_OCTETS = 36 + 40  # of the headers: 802.11 with LLC, IP with TCP
_RESOLVER_GIVES_UP_US = 10_000_000


class Uplink:
    def __init__(self, device: Device, network: Network, wifi: Wifi) -> None:
        self._device = device
        self._network = network
        self._wifi = wifi
        self._links: dict[str, Link] = {}
        wifi.on_path_change.append(network.path_changed)
        device.wire("net", self)

    @property
    def name(self) -> str:
        return self._device.name

    @property
    def associated(self) -> bool:
        return self._wifi.associated

    @property
    def reachable(self) -> bool:
        return self._wifi.reachable

    def deliver(self, socket: str, *event: Any) -> None:
        self._device.deliver(socket, *event)

    def reset(self) -> None:
        links, self._links = self._links, {}
        for link in links.values():
            link.device_vanished()

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        if args[0].count(".") == 3 and args[0].replace(".", "").isdigit():
            return args[0]  # an address: nobody is asked
        if not self._wifi.associated:
            return {"oserror": _NO_SERVER}
        if not self._reachable():
            return Later(_RESOLVER_GIVES_UP_US, lambda: {"oserror": _NO_SERVER})
        address = self._network.resolve(args[0])
        return Later(2 * self._network.one_way_us(), lambda: {"oserror": _NO_NAME} if address is None else address)

    def _reachable(self) -> bool:
        return self._wifi.reachable and self._network.data_up

    def output(self, device: str, args: list[Any]) -> None:
        operation, socket, *rest = args
        if operation in ("connect", "send", "close", "sendto"):
            self._wifi.transmit(_FRAME_OCTETS + (len(rest[-1]) // 2 if operation in ("send", "sendto") else 0))
        if operation == "connect":
            self._links[socket] = self._network.connect(self, socket, rest[0], rest[1])
        elif operation == "send" and socket in self._links:
            self._links[socket].from_device(bytes.fromhex(rest[0]))
        elif operation == "read" and socket in self._links:
            self._links[socket].device_read(rest[0])
        elif operation == "close" and socket in self._links:
            self._links.pop(socket).device_closed()
        elif operation == "sendto":
            self._datagram(socket, rest[0], rest[1], bytes.fromhex(rest[2]))

    def _datagram(self, socket: str, address: str, port: int, data: bytes) -> None:
        if (address, port) != (GATEWAY, 53) or not self._reachable():
            return
        answer = self._dns_answer(data)
        if answer:
            delay = 2 * self._network.one_way_us()
            self._network.world.after(delay, lambda: self._dns_reply(socket, answer))

    def _dns_reply(self, socket: str, answer: bytes) -> None:
        if self._reachable():
            self.deliver(socket, "datagram", answer.hex(), GATEWAY, 53)

    def _dns_answer(self, query: bytes) -> bytes | None:
        """RFC 1035: one question for an address, answered or refused with NXDOMAIN."""
        if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
            return None
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        question = query[12 : at + 5]
        kind = query[at + 1 : at + 3]
        address = self._network.resolve(".".join(labels))
        if address is None:
            return query[:2] + b"\x81\x83" + struct.pack(">4H", 1, 0, 0, 0) + question
        if kind != b"\0\1":
            return query[:2] + b"\x81\x80" + struct.pack(">4H", 1, 0, 0, 0) + question
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes(map(int, address.split(".")))
        return query[:2] + b"\x81\x80" + struct.pack(">4H", 1, 1, 0, 0) + question + record
