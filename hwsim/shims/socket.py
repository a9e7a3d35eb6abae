"""`socket` over the world's network. TCP clients and UDP (for a resolver that doesn't block); no servers, no IPv6.
In real time the world carries the same streams on to real peers, so this file is the same in both modes.
"""

import io
from binascii import hexlify, unhexlify

import _hw
import uerrno
from micropython import const

AF_INET = 2
AF_INET6 = 10
SOCK_STREAM = 1
SOCK_DGRAM = 2
IPPROTO_TCP = 6
IPPROTO_UDP = 17
SOL_SOCKET = 1
SO_REUSEADDR = 4
SO_KEEPALIVE = 8
TCP_NODELAY = 1

_SEND_BUFFER = const(5744)  # lwIP's TCP_SND_BUF in the ESP32 build

_PART = const(512)  # octets asked for at once; the rest stays outside of this heap, as lwIP's buffers are on the chip

_NEW = const(0)
_CONNECTING = const(1)
_OPEN = const(2)
_CLOSED = const(3)
_opened = 0


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    # Blocks the caller, as on the chip.
    if not isinstance(host, str):  # mp_obj_str_get_str in ports/esp32/modsocket.c
        raise TypeError("can't convert object to str implicitly")
    address = _hw.call("net", "resolve", host)
    return [(AF_INET, type or SOCK_STREAM, proto, "", (address, port))]


class socket(io.IOBase):
    def __init__(self, af=AF_INET, type=SOCK_STREAM, proto=0):
        global _opened
        _hw.driver("socket")
        _opened += 1
        self._device = "socket%d" % _opened
        self._udp = type == SOCK_DGRAM
        self._state = _NEW
        self._timeout = None
        self._in = 0  # octets that have arrived and were not read, as far as known: a read tells of more
        self._datagrams = []
        self._ended = False
        self._error = 0
        self._room = _SEND_BUFFER
        _hw.on(self._device, self._event)

    def _event(self, event):
        kind = event[1]
        if kind == "data":
            self._in = event[2]
        elif kind == "datagram":
            self._datagrams.append((unhexlify(event[2]), (event[3], event[4])))
        elif kind == "open":
            self._state = _OPEN
        elif kind == "acked":
            self._room += event[2]
        elif kind == "end":
            self._ended = True
        elif kind == "error":
            self._error = getattr(uerrno, event[2])

    def setblocking(self, on):
        self._timeout = None if on else 0

    def settimeout(self, seconds):
        self._timeout = seconds

    def setsockopt(self, *args):
        pass

    def _block_until(self, condition):
        # Return True when the condition is true, False when a non-blocking socket would block; raise at the timeout.
        if self._timeout == 0:
            return condition()
        end = _hw.FOREVER if self._timeout is None else _hw.clock() + int(self._timeout * 1000000)
        while not condition():
            if _hw.wait(end) and not condition():
                raise OSError(uerrno.ETIMEDOUT)
        return True

    def connect(self, address):
        if self._state != _NEW:
            raise OSError(uerrno.EALREADY if self._state == _CONNECTING else uerrno.EISCONN)
        code = _hw.call("memory", "socket", self._device, 0)
        if code:
            raise OSError(code)
        self._state = _CONNECTING
        _hw.post("net", "connect", self._device, address[0], address[1])
        if not self._block_until(lambda: self._state == _OPEN or self._error):
            raise OSError(uerrno.EINPROGRESS)
        if self._error:
            raise OSError(self._error)

    def _sim_ready(self, mask):
        if self._error:
            return mask | 8  # POLLERR
        ready = 0
        if self._in or self._ended or self._datagrams:
            ready = mask & 1
        if self._udp or (self._state == _OPEN and self._room > 0):
            ready |= mask & 4
        return ready

    def ioctl(self, request, argument):
        if request == 3:
            return self._sim_ready(argument)
        if request == 4:
            self.close()
        return 0

    def _take(self, into):
        # Fill a buffer with the octets that have arrived, as far as they go.
        at = 0
        while self._in and at < len(into):
            part, self._in = _hw.call("net", "take", self._device, min(_PART, len(into) - at))
            part = unhexlify(part)
            into[at : at + len(part)] = part
            at += len(part)
        return at

    def _wait_for_octets(self):
        # Return True when there are octets, False at the end, None when it would block.
        _hw.tick()
        if self._state == _CLOSED:
            raise OSError(uerrno.EBADF)
        if not self._block_until(lambda: self._in or self._ended or self._error):
            return None
        if not self._in and self._error:
            raise OSError(self._error)
        return self._in > 0

    def recv(self, n):
        # Return at most n octets as soon as there are any, b"" at the end, None when it would block.
        there = self._wait_for_octets()
        if not there:
            return None if there is None else b""
        data = bytearray(min(n, self._in))
        return bytes(memoryview(data)[: self._take(data)])

    def read(self, n=-1):
        if n is None or n < 0:
            return self.recv(1 << 30) if self._timeout == 0 else self._read_all()
        if self._timeout == 0:
            return self.recv(n)
        out = b""
        while len(out) < n:
            part = self.recv(n - len(out))
            if not part:
                break
            out += part
        return out

    def _read_all(self):
        out = b""
        while True:
            part = self.recv(4096)
            if not part:
                return out
            out += part

    def readinto(self, buf, n=-1):
        there = self._wait_for_octets()
        if not there:
            return None if there is None else 0
        return self._take(memoryview(buf)[: len(buf) if n < 0 else n])

    def readline(self):
        # Read one octet at a time, as MicroPython's own streams do (py/stream.c, stream_unbuffered_readline).
        line = b""
        while not line.endswith(b"\n"):
            part = self.recv(1)
            if part is None:
                return line or None
            if not part:
                break
            line += part
        return line

    def send(self, data):
        _hw.tick()
        if self._state == _CLOSED:
            raise OSError(uerrno.EBADF)
        if self._error:
            raise OSError(self._error)
        if self._state == _NEW:
            raise OSError(uerrno.ENOTCONN)
        if not self._block_until(lambda: (self._state == _OPEN and self._room > 0) or self._error):
            return None
        if self._error:
            raise OSError(self._error)
        n = min(len(data), self._room)
        self._room -= n
        _hw.post("net", "send", self._device, hexlify(bytes(data[:n])).decode())
        return n

    def write(self, data):
        if self._timeout == 0:
            return self.send(data)
        self.sendall(data)
        return len(data)

    def sendall(self, data):
        view = memoryview(data)
        sent = 0
        while sent < len(view):
            n = self.send(view[sent:])
            if n is None:
                raise OSError(uerrno.EAGAIN)
            sent += n

    def sendto(self, data, address):
        _hw.post("net", "sendto", self._device, address[0], address[1], hexlify(bytes(data)).decode())
        return len(data)

    def recvfrom(self, n):
        _hw.tick()
        if not self._block_until(lambda: self._datagrams):
            raise OSError(uerrno.EAGAIN)
        data, sender = self._datagrams.pop(0)
        return data[:n], sender

    def makefile(self, mode=None, buffering=0):
        return self

    def fileno(self):
        return -1

    def close(self):
        if self._state != _CLOSED:
            if self._state != _NEW or self._udp:
                _hw.post("net", "close", self._device)
                _hw.post("memory", "give", self._device)
            self._state = _CLOSED
            _hw.forget(self._device)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()
