"""The data network: names, delays, outages, and TCP between a bracelet and servers that live in the world.

A connection behaves as TCP does above the packets: in order, nothing lost unless it breaks; a path that is down or
loses packets shows as delay. A connection keeps to the path it was made on, Wi-Fi or mobile network (`uplink.py`); the
settings here are those of Wi-Fi's way into the world. A captive portal can stand on that way, which answers every name
and every connection itself, with a redirection to its login page. Time does not depend on the number of octets, so that
TLS (whose records differ in length from run to run) leaves the trace alone. Not modelled: bandwidth, segment sizes,
receive windows, IPv6.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hwsim.world.clock import Timer
from hwsim.world.tls import TlsServer

if TYPE_CHECKING:
    from hwsim.world.uplink import Path, Uplink
    from hwsim.world.world import World

RETRANSMIT_US = 1_000_000  # after an outage the first packet that passes is a retransmission
RECEIVE_WINDOW = 5760  # octets the chip takes before the firmware reads (ESP-IDF, CONFIG_LWIP_TCP_WND_DEFAULT)
CONNECT_TIMEOUT_US = 20_000_000


class Endpoint(Protocol):
    """A server's end of a connection."""

    def received(self, data: bytes) -> None: ...

    def closed(self) -> None:
        """Learn, once, that the other side closed or the connection broke."""


class Stream(Protocol):
    """The stream on which an endpoint answers."""

    @property
    def peer(self) -> str:
        """The bracelet's name."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


EndpointFactory = Callable[[Stream], Endpoint]


PORTAL_ADDRESS = "10.77.255.1"
_LOGIN = b"HTTP/1.1 302 Found\r\nLocation: http://login.invalid/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Portal:
    """A captive portal's end of a connection: it answers everything as a web server would (RFC 9110, 15.4.3)."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def received(self, data: bytes) -> None:
        self._stream.write(_LOGIN)
        self._stream.close()

    def closed(self) -> None:
        pass


class Pipe:
    """A direction of a connection: in order, with a delay, standing still while the path is down."""

    def __init__(self, link: Link, arrived: Callable[[bytes | None], None]) -> None:
        self._link = link
        self._arrived = arrived
        self._queue: deque[tuple[int, bytes | None]] = deque()  # None: the end
        self._timer: Timer | None = None

    def push(self, item: bytes | None) -> None:
        network = self._link.network
        due = network.world.now_us + self._link.path.one_way_us()
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, item))
        if self._timer is None and self._link.path_up():
            self._timer = network.world.at(due, self._due)

    def path_restored(self) -> None:
        if self._queue and self._timer is None:
            self._timer = self._link.network.world.after(RETRANSMIT_US, self._due)

    def drop(self) -> None:
        self._queue.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        world = self._link.network.world
        while self._queue and self._queue[0][0] <= world.now_us:
            if not self._link.path_up():
                return
            self._arrived(self._queue.popleft()[1])
        if self._queue and self._timer is None:
            self._timer = world.at(self._queue[0][0], self._due)


class Link:
    """A TCP connection, seen from the middle, and the Stream of the server's endpoint."""

    def __init__(self, network: Network, uplink: Uplink, path: Path, socket: str, host: str, port: int) -> None:
        self.network = network
        self.uplink = uplink
        self.path = path
        self.socket = socket
        self.host, self.port = host, port
        self.open = False
        self._endpoint: Endpoint | None = None
        self._device_there = True
        self._arrived = bytearray()  # octets that the chip holds until its firmware reads them
        self._held = bytearray()  # octets that wait for room there
        self._ended = False  # the end comes behind them
        self._up = Pipe(self, self._at_server)
        self._down = Pipe(self, self._at_device)

    @property
    def peer(self) -> str:
        return self.uplink.name

    @property
    def unread(self) -> int:
        """Octets that the chip holds until its firmware reads them."""
        return len(self._arrived)

    def path_up(self) -> bool:
        return self.path.passes and self.uplink.route is self.path

    def path_restored(self) -> None:
        self._up.path_restored()
        self._down.path_restored()

    # -- opening

    def accept(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.open = True
        self.network.note("connected", peer=self.peer, host=self.host, port=self.port)
        if self._device_there:
            self.uplink.deliver(self.socket, "open")

    def fail(self, code: str) -> None:
        """Break the connection, or give up making it."""
        was_open, self.open = self.open, False
        self.network.forget(self)
        self._up.drop()
        self._down.drop()
        if self._device_there:
            self._device_there = False
            self.uplink.deliver(self.socket, "error", code)
        if was_open:
            self.network.note("broken", peer=self.peer, host=self.host, port=self.port, error=code)
            self._end_server()

    # -- the device's side

    def from_device(self, data: bytes) -> None:
        if self.open:
            self._up.push(data)

    def device_closed(self) -> None:
        self._device_there = False
        if self.open:
            self._up.push(None)
        else:
            self.network.forget(self)

    def device_vanished(self) -> None:
        """Let go of a device that was reset or lost its supply. No packet tells the server, which finds out when it
        next sends."""
        self._device_there = False
        self._up.drop()
        if not self.open:
            self.network.forget(self)

    def _at_device(self, item: bytes | None) -> None:
        if not self._device_there:
            self.fail("ECONNRESET")
        else:
            self._ended = self._ended or item is None
            self._held += item or b""
            self._fill()

    def take(self, octets: int) -> tuple[bytes, int]:
        """Take at most so many arrived octets for the firmware, and tell how many are left."""
        taken = bytes(self._arrived[:octets])
        del self._arrived[: len(taken)]
        if len(self._arrived) <= RECEIVE_WINDOW // 2:  # the other side is told of room when half is free, as TCP does
            self._fill()
        return taken, len(self._arrived)

    def _fill(self) -> None:
        part = self._held[: RECEIVE_WINDOW - len(self._arrived)]
        if part and self._device_there:
            del self._held[: len(part)]
            known = bool(self._arrived)
            self._arrived += part
            if not known:  # else the firmware learns of it as it reads
                self.uplink.deliver(self.socket, "data", len(part))
        if self._ended and not self._held and self._device_there:
            self._ended = False
            self.uplink.deliver(self.socket, "end")

    # -- the server's side

    def write(self, data: bytes) -> None:
        if self.open and data:
            self._down.push(data)

    def close(self) -> None:
        if self.open:
            self._down.push(None)
            self._end_server()

    def _at_server(self, item: bytes | None) -> None:
        if self._endpoint is None:
            if item is None:
                self._finish()
        elif item is None:
            self._end_server()
            self._finish()
        else:
            self.network.world.after(self.path.one_way_us(), lambda: self._acknowledge(len(item)))
            self._endpoint.received(item)

    def _acknowledge(self, octets: int) -> None:
        if self._device_there:
            self.uplink.deliver(self.socket, "acked", octets)

    def _end_server(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint:
            endpoint.closed()

    def _finish(self) -> None:
        self.open = False
        self._up.drop()
        self._down.drop()
        self.network.forget(self)
        self.network.note("closed", peer=self.peer, host=self.host, port=self.port)


class Network:
    def __init__(self, world: World) -> None:
        self.world = world
        self.delay_us = 40_000  # one way
        self.loss = 0.0  # part of the packets that need a second try
        self._random = world.random("network")
        self._data_up = True
        self._captive = False
        self._addresses: dict[str, str] = {}
        self._services: dict[tuple[str, int], Callable[[Link], None]] = {}
        self._links: list[Link] = []

    def note(self, what: str, **detail: object) -> None:
        self.world.note("network", what, **detail)

    # -- what is there

    def listen(self, host: str, port: int, factory: EndpointFactory, tls: ssl.SSLContext | None = None) -> None:
        """Put a server into the world. With `tls`, the endpoint sees the plain octets."""

        def accept(link: Link) -> None:
            link.accept(TlsServer(link, factory, tls, self.note) if tls else factory(link))

        self._services[self._name(host), port] = accept

    def unlisten(self, host: str, port: int) -> None:
        """Remove a server: its connections break, new ones are refused."""
        self._services.pop((self._name(host), port), None)
        for link in [link for link in self._links if (link.host, link.port) == (host, port)]:
            link.fail("ECONNRESET")

    def route(self, host: str, port: int, real_host: str, real_port: int) -> None:
        """Carry connections to this name on to a real server. Only in real time: the wall clock rules the peer."""
        from hwsim.world.bridge import Bridge

        if not self.world.realtime:
            raise RuntimeError("a real server can't take part in virtual time: World(realtime=True)")
        self._services[self._name(host), port] = Bridge(self.world, real_host, real_port).open

    def _name(self, host: str) -> str:
        if host not in self._addresses:
            plain = _is_address(host)
            self._addresses[host] = host if plain else f"10.77.0.{len(self._addresses) + 1}"
        return self._addresses[host]

    def resolve(self, host: str, path: Path | None = None) -> str | None:
        """Return the address that a name has for somebody on this path (by default Wi-Fi), or the address itself."""
        if _is_address(host):
            return host
        if self._captive if path is None else path.captive:
            return PORTAL_ADDRESS
        return self._addresses.get(host)

    # -- its state

    @property
    def data_up(self) -> bool:
        return self._data_up

    @data_up.setter
    def data_up(self, up: bool) -> None:
        if up == self._data_up:
            return
        self._data_up = up
        self.note("up" if up else "down")
        if up:
            self.path_changed()

    @property
    def captive(self) -> bool:
        """Tell whether a portal stands between the access point and the world."""
        return self._captive

    @captive.setter
    def captive(self, captive: bool) -> None:
        if captive == self._captive:
            return
        self._captive = captive
        self.note("captive portal" if captive else "no captive portal")
        for link in list(self._links):
            if link.path.wireless_lan:  # the other side knows nothing of these connections
                link.fail("ECONNRESET")

    def path_changed(self) -> None:
        for link in list(self._links):
            if link.path_up():
                link.path_restored()

    def one_way_us(self, delay_us: int, loss: float) -> int:
        """Return how long a packet takes now; a lost one comes again."""
        retransmissions = 0
        while loss and self._random.random() < loss and retransmissions < 6:
            retransmissions += 1
        return delay_us + retransmissions * RETRANSMIT_US

    def cut(self) -> None:
        """Break every connection, as a middlebox that forgets its state does."""
        self.note("cut")
        for link in list(self._links):
            link.fail("ECONNRESET")

    # -- connections

    def links(self) -> list[Link]:
        """List the connections that are, or are being made."""
        return list(self._links)

    def connect(self, uplink: Uplink, socket: str, address: str, port: int) -> Link:
        host = next((name for name, known in self._addresses.items() if known == address), address)
        path = uplink.route
        link = Link(self, uplink, path, socket, host, port)
        self._links.append(link)
        if not path.there:
            link.fail("EHOSTUNREACH")
        else:
            deadline = self.world.now_us + CONNECT_TIMEOUT_US
            self.world.after(2 * path.one_way_us(), lambda: self._reach(link, address, deadline))
        return link

    def _reach(self, link: Link, address: str, deadline: int) -> None:
        if link not in self._links or link.open:
            return
        service = self._services.get((address, link.port))
        if link.path_up() and link.path.captive:
            link.accept(Portal(link))
        elif link.path_up() and service:
            service(link)
        elif link.path_up() and address in self._addresses.values():
            link.fail("ECONNREFUSED")
        elif self.world.now_us >= deadline:
            link.fail("ETIMEDOUT")
        else:  # the next try of a packet that gets no answer
            self.world.after(3_000_000, lambda: self._reach(link, address, deadline))

    def forget(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)


def _is_address(host: str) -> bool:
    return host.count(".") == 3 and host.replace(".", "").isdigit()
