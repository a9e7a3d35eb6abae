"""Resolve a name to an IPv4 address without blocking the loop; MicroPython's getaddrinfo blocks it for many seconds.

It asks the name server that the network gave us, over UDP. Answers aren't trusted: TLS proves who is there, a false
address merely doesn't work.
"""

import asyncio
import socket
from asyncio import core

from tocsin.links import dns

TRIES = 3
WAIT_MS = 2000
SIZE_MAX = 512


async def resolve(host, server, random_byte):
    """Return the address as text. `server`: an address, or None. OSError when there is none or nobody answers."""
    if dns.is_address(host):
        return host
    if not server:  # the link has just gone
        raise OSError(-2)  # EAI_NONAME
    where = socket.getaddrinfo(server, 53)[0][-1]  # of an address: no question is asked
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for _ in range(TRIES):
            number = random_byte() << 8 | random_byte()
            sock.sendto(dns.query(host, number), where)
            try:
                found = await asyncio.wait_for_ms(_receive(sock, host, number), WAIT_MS)
            except asyncio.TimeoutError:
                continue
            if found is None:
                raise OSError(-2)  # EAI_NONAME
            return found
        raise OSError(110)  # ETIMEDOUT
    finally:
        sock.close()


async def _receive(sock, host, number):
    while True:
        await _readable(sock)
        try:
            return dns.answer(sock.recvfrom(SIZE_MAX)[0], host, number)
        except (OSError, ValueError):  # not for us: keep waiting
            pass


def _readable(sock):
    yield core._io_queue.queue_read(sock)
