"""A TLS proxy between a client and a broker; tests decide what becomes of the packets that clients send."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from relay.ingest import qos1


class TlsProxy:
    """Listens on `port` with the broker's certificate, and passes on what a client and the broker at port `to` say."""

    def __init__(self, to: int, cert: Path, key: Path) -> None:
        self._to = to
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def sees(self, packet: bytes, kind: int) -> None:
        """Look at a client's packet of the type `kind` before it goes on; ConnectionError ends that connection."""

    def joined(self, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        """Note that a client is connected."""

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(plain,), daemon=True).start()

    def _join(self, plain: socket.socket) -> None:
        """One thread for both directions: OpenSSL's connections are not made for two, which ended in a crash."""
        with suppress(OSError):
            near = self._tls.wrap_socket(plain, server_side=True)
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            far = trusting.wrap_socket(socket.create_connection(("127.0.0.1", self._to)))
            self.joined(near, far)
            waiting = b""
            with near, far:
                while True:
                    ready = [one for one in (near, far) if one.pending()] or select.select([near, far], [], [])[0]
                    if far in ready:
                        near.sendall(_some(far))
                    if near in ready:
                        waiting = self._forward(waiting + _some(near), far)

    def _forward(self, waiting: bytes, far: ssl.SSLSocket) -> bytes:
        """Pass on whole packets; returns the beginning of the next."""
        while (head := qos1.head(waiting, 0)) is not None and head.end <= len(waiting):
            packet, waiting = waiting[: head.end], waiting[head.end :]
            self.sees(packet, head.kind)
            far.sendall(packet)
        return waiting


def _some(source: ssl.SSLSocket) -> bytes:
    """Read what has come; nothing if that was TLS's own."""
    source.setblocking(False)
    try:
        octets = source.recv(65536)
    except ssl.SSLWantReadError:
        return b""
    finally:
        source.setblocking(True)
    if not octets:
        raise ConnectionError
    return octets
