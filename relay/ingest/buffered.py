"""Give paho a socket that reads ahead and writes together.

paho reads each packet in three calls and writes each packet by itself. Over TLS each of these calls would be a record,
and a thousand messages would cost four thousand system calls. `fill` and `flush` do the real I/O; everything else works
on the octets they hold. `recv` takes octets from there; a caller may also read `input` from `at` on, and move `at`. The
socket never blocks, and it knows nothing of MQTT.
"""

from __future__ import annotations

import socket
import ssl

_RECV = 65536
READ_AHEAD = 128 * 1024  # octets; enough for the topic, the id and an alarm of any PUBLISH
_SEND_CHUNK = 64 * 1024
_LINGER_S = 2.0


class BufferedSocket:
    """A connected, non-blocking socket, plain or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.input = b""
        self.at = 0
        self._ended = False
        self._output = bytearray()
        self._chunk = b""
        self.linger = False  # write what is left before closing

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def close(self) -> None:
        if self.linger and not self._ended:
            self._sock.settimeout(_LINGER_S)
            self.flush()
        self._sock.close()

    def pending(self) -> int:
        """Count the octets that can be read without asking the network."""
        return len(self.input) - self.at

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def unsent(self) -> int:
        return len(self._chunk) + len(self._output)

    def abandon(self) -> None:
        """Close the socket and drop what it holds, as if the other side had closed."""
        self.input, self.at, self._ended = b"", 0, True
        self._output.clear()
        self._chunk = b""
        self._sock.close()

    def recv(self, size: int) -> bytes:
        part = self.input[self.at : self.at + size]
        if part:
            self.at += len(part)
            return part
        if self._ended:
            return b""
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        self._output += data
        return len(data)

    def fill(self) -> None:
        """Read what the network has. TLS keeps decrypted octets that select can't see, so read until the network has no
        more."""
        parts = [self.input[self.at :]]
        size = len(parts[0])
        while size < READ_AHEAD and not self._ended:
            try:
                part = self._sock.recv(_RECV)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError:
                part = b""
            if not part:
                self._ended = True
            parts.append(part)
            size += len(part)
        self.input = b"".join(parts)
        self.at = 0

    def flush(self) -> None:
        """Write as much as the network takes. A chunk that TLS has begun stays apart, because it must be offered again
        unchanged."""
        while self._chunk or self._output:
            if not self._chunk:
                self._chunk = bytes(self._output[:_SEND_CHUNK])
                del self._output[:_SEND_CHUNK]
            try:
                sent = self._sock.send(self._chunk)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._ended = True
                return
            self._chunk = self._chunk[sent:]
