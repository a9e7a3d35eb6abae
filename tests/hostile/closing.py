"""A broker that ends the connection on a PUBLISH that its rules forbid, as RabbitMQ and aedes do: nats-server behind a
proxy that reads what the client sends."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from relay.ingest import qos1


class ClosingProxy:
    """Listens on `port` with the broker's certificate; a PUBLISH on a topic with `forbidden` ends its connection."""

    def __init__(self, to: int, cert: Path, key: Path, forbidden: str) -> None:
        self.forbidden: str | None = forbidden
        self.closed = 0
        self._to = to
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

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
        with suppress(OSError):
            near = self._tls.wrap_socket(plain, server_side=True)
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            far = trusting.wrap_socket(socket.create_connection(("127.0.0.1", self._to)))
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            self._forward(near, far)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()
            near.close()
            far.close()

    def _forward(self, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        waiting = b""
        while part := near.recv(65536):
            waiting += part
            while (head := qos1.head(waiting, 0)) is not None and head.end <= len(waiting):
                topic = qos1.read_publish(waiting, head, 0).topic.decode() if head.kind == qos1.PUBLISH else ""
                if self.forbidden is not None and self.forbidden in topic:
                    self.closed += 1
                    return
                far.sendall(waiting[: head.end])
                waiting = waiting[head.end :]


def _copy(source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
