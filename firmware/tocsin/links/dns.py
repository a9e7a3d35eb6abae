# hwsim: no-float
"""A name to an IPv4 address without blocking the loop, which MicroPython's own getaddrinfo does for many seconds.

Only A records, from the resolver the network gave us (RFC 1035), over UDP. Answers aren't trusted: TLS proves who is
there, a false address merely doesn't work.
"""

import asyncio
import socket
from asyncio import core

TRIES = 3
WAIT_MS = 2000
SIZE_MAX = 512
NAME_MAX = 253


def query(name, number):
    """The question for the address of `name`."""
    return number.to_bytes(2, "big") + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + _question(name)


def _question(name):
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError
    out = b""
    for label in name.split("."):
        if not 0 < len(label) < 64:
            raise ValueError
        out += bytes((len(label),)) + label.encode()
    return out + b"\x00\x00\x01\x00\x01"


def answer(data, name, number):
    """The first address in the answer to query(name, number); None when there is none; ValueError when it isn't that
    answer."""
    question = _question(name)
    at = 12 + len(question)
    if len(data) < at or data[:2] != number.to_bytes(2, "big") or not data[2] & 0x80:
        raise ValueError
    if data[12:at].lower() != question.lower():
        raise ValueError
    if data[3] & 15:
        return None  # no such name
    try:
        for _ in range(data[6] << 8 | data[7]):
            at = _skip_name(data, at)
            kind, length = data[at : at + 4], data[at + 8] << 8 | data[at + 9]
            at += 10
            if kind == b"\x00\x01\x00\x01" and length == 4:
                return "%d.%d.%d.%d" % (data[at], data[at + 1], data[at + 2], data[at + 3])
            at += length  # an alias, whose address follows
    except IndexError:
        raise ValueError
    return None


def _skip_name(data, at):
    while True:
        length = data[at]
        if length >= 0xC0:  # a pointer ends a name
            return at + 2
        at += 1 + length
        if not length:
            return at


def is_address(host):
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) < 4 for part in parts)


async def resolve(host, server, random_byte):
    """The address as text. OSError when there is none or nobody answers."""
    if is_address(host):
        return host
    where = socket.getaddrinfo(server, 53)[0][-1]  # of an address: no question is asked
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for _ in range(TRIES):
            number = random_byte() << 8 | random_byte()
            sock.sendto(query(host, number), where)
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
            return answer(sock.recvfrom(SIZE_MAX)[0], host, number)
        except (OSError, ValueError):  # not for us: keep waiting
            pass


def _readable(sock):
    yield core._io_queue.queue_read(sock)
