"""Carries a simulated connection on to a real TCP server, in real time. It passes octets and doesn't look at them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwsim.world.net import Link
    from hwsim.world.world import World


class Bridge:
    """The way to a real server."""

    def __init__(self, world: World, host: str, port: int) -> None:
        self._world = world
        self._address = (host, port)

    def open(self, link: Link) -> None:
        peer = socket.socket()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = peer.fileno()

        def decided() -> None:
            error = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._world.unwatch(fd)
            if error:
                peer.close()
                link.fail("ECONNREFUSED")
            else:
                link.accept(_Peer(self._world, link, peer))

        try:
            peer.connect(self._address)
        except BlockingIOError:
            self._world.watch(fd, None, decided)
        except OSError:
            peer.close()
            link.fail("ECONNREFUSED")
        else:
            decided()


class _Peer:
    def __init__(self, world: World, link: Link, peer: socket.socket) -> None:
        self._world = world
        self._link = link
        self._peer = peer
        self._fd = peer.fileno()
        self._unsent = b""
        self._closing = False
        world.at_close(self._shut)
        self._watch()

    def _watch(self) -> None:
        self._world.watch(self._fd, None if self._closing else self._readable, self._send if self._unsent else None)

    def received(self, data: bytes) -> None:
        self._unsent += data
        self._send()

    def _send(self) -> None:
        try:
            sent = self._peer.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._broken()
            return
        self._unsent = self._unsent[sent:]
        if self._closing and not self._unsent:
            self._shut()
        else:
            self._watch()

    def _readable(self) -> None:
        try:
            data = self._peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._broken()
            return
        if data:
            self._link.write(data)
        else:
            self._link.close()
            self._shut()

    def _broken(self) -> None:
        self._shut()
        self._link.fail("ECONNRESET")

    def closed(self) -> None:
        """Close the peer, as the bracelet's side is gone; octets that the bracelet had sent still go out."""
        self._closing = True
        if self._unsent:
            self._watch()
        else:
            self._shut()

    def _shut(self) -> None:
        if self._peer.fileno() != -1:
            self._world.unwatch(self._fd)
            self._peer.close()
