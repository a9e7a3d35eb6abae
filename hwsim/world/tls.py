"""Server-side TLS for endpoints in the world: CPython's own, between two memory buffers.

The firmware's side is MicroPython's own TLS library, so a handshake here is a real one. Its octets differ from run to
run and therefore never reach the trace; the trace tells its success, or the reason of its failure.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwsim.world.net import Endpoint, EndpointFactory, Stream


class TlsServer:
    """An endpoint that speaks TLS on its stream, and the stream of the plain endpoint behind it."""

    def __init__(
        self, stream: Stream, factory: EndpointFactory, context: ssl.SSLContext, note: Callable[..., None]
    ) -> None:
        self._stream = stream
        self._factory = factory
        self._note = note
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_side=True)
        self._plain: Endpoint | None = None
        self._over = False

    @property
    def peer(self) -> str:
        return self._stream.peer

    def received(self, data: bytes) -> None:
        self._from_peer.write(data)
        try:
            if self._plain is None and not self._over:
                self._tls.do_handshake()
                self._note("tls ready", peer=self.peer, version=self._tls.version())
                self._plain = self._factory(self)
            while not self._over:
                plain = self._tls.read(16384)
                if not plain:  # the peer's close_notify; it closes the connection next
                    break
                assert self._plain is not None
                self._plain.received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError as error:
            self._note("tls refused", peer=self.peer, reason=error.reason or "unknown")
            self._flush()
            self._over = True
            self._stream.close()
            return
        self._flush()

    def closed(self) -> None:
        self._over = True
        plain, self._plain = self._plain, None
        if plain:
            plain.closed()

    def write(self, data: bytes) -> None:
        if not self._over:
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        if self._over:
            return
        self._over = True
        with contextlib.suppress(ssl.SSLError):  # the peer's close_notify has not come: nobody waits for it
            self._tls.unwrap()
        self._flush()
        self._stream.close()

    def _flush(self) -> None:
        data = self._to_peer.read()
        if data:
            self._stream.write(data)
