"""Whatever a broker does is a result: no traceback, and never without an end."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from relay.broker import PROBE
from relay.broker.check import Verdict
from relay.broker.check.examine import Target
from relay.broker.nats import NatsBroker
from relay.ingest import qos1
from tests.broker.conftest import PASSWORDS, Connect
from tests.relay.ingest.fake_broker import FakeBroker

from .looking import roles

SECONDS, PATIENCE = 8.0, 0.3
BOUND = 60.0  # far more than that, for a busy machine; without bounds it would not end at all


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"on_connect": "closes"}, "closed the connection before it answered"),
        ({"on_connect": "is silent"}, "did not answer"),
        ({"connack": 5}, "refused"),
        ({"connack": 77}, "refused"),
        ({"on_connect": "closes on SUBSCRIBE"}, "closed the connection"),
        ({"suback": None}, "gave no answer"),
        ({"suback": 0x80}, "refused"),
        ({"says": b"\xff\xff\xff\xff\xff\xff"}, "closed the connection"),
        ({"says": bytes(8)}, "closed the connection"),
        ({"acks": 0}, "gave no answer"),
        ({"hangs_up": True}, "closed the connection"),
        ({}, "not deliver"),
    ],
    ids=str,
)
def test_what_a_strange_broker_does_is_a_result(how: dict, said: str) -> None:
    broker = FakeBroker(**how)
    began = time.monotonic()
    findings = Target("127.0.0.1", broker.port, None, roles()).examine(seconds=SECONDS, patience=PATIENCE)
    broker.close()
    assert time.monotonic() - began < BOUND
    assert any(said in finding.came for finding in findings), [finding.came for finding in findings]
    assert any(finding.verdict is Verdict.LOSES for finding in findings)


def test_a_port_that_takes_connections_and_says_nothing_is_a_result(tls_files: Path) -> None:
    """Not even TLS comes about."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        context = ssl.create_default_context(cafile=str(tls_files / "ca.pem"))
        where = "127.0.0.1", listening.getsockname()[1], context, roles()
        (finding,) = Target(*where).examine(seconds=SECONDS, patience=PATIENCE)
    assert finding.verdict is Verdict.LOSES


class Stumbling:
    """Passes on what a client and the broker say, and ends every connection after so many packets of clients."""

    def __init__(self, to: int, tls: Path, packets: int) -> None:
        self._to, self._left, self._lock = to, packets, threading.Lock()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        self._ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(plain,), daemon=True).start()

    def _join(self, plain: socket.socket) -> None:
        """One thread for both directions: OpenSSL's connections are not made for two."""
        with suppress(OSError):
            near = self._tls.wrap_socket(plain, server_side=True)
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            far = trusting.wrap_socket(socket.create_connection(("127.0.0.1", self._to)))
            self._ends += [near, far]
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
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    for end in self._ends:
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                    raise ConnectionError
            far.sendall(waiting[: head.end])
            waiting = waiting[head.end :]
        return waiting

    def close(self) -> None:
        self._listening.close()


def _some(source: ssl.SSLSocket) -> bytes:
    """What has come; nothing if that was TLS's own."""
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


@contextmanager
def stumbling(broker: NatsBroker, tls: Path, packets: int) -> Iterator[Stumbling]:
    proxy = Stumbling(broker.port, tls, packets)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.mark.long
@pytest.mark.parametrize("packets", [1, 3, 8, 21, 55, 1000])
def test_a_broker_that_closes_in_mid_check_is_a_result_and_nothing_stays(
    nats: NatsBroker, tls_files: Path, connect: Connect, packets: int
) -> None:
    """It stumbles once: what it did not do then is said, and what was made before is removed all the same."""
    with stumbling(nats, tls_files, packets) as proxy:
        context = ssl.create_default_context(cafile=str(tls_files / "ca.pem"))
        findings = Target("127.0.0.1", proxy.port, context, roles()).examine()
    assert findings
    assert connect(nats, PROBE, password=PASSWORDS["relay"], clean=False).session_present is False
    bracelet = connect(nats, "probe-bracelet", password=PASSWORDS["relay"])
    for piece in range(8):
        bracelet.subscribe(f"fw/probe/{piece}")
    assert bracelet.received.empty()
