"""Whatever a broker does is a result: no traceback, and never without an end."""

from __future__ import annotations

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
from tests.broker.conftest import PASSWORDS, Connect
from tests.relay.ingest.fake_broker import FakeBroker
from tests.tls_proxy import TlsProxy

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


class Stumbling(TlsProxy):
    """Ends every connection after so many packets of clients."""

    def __init__(self, to: int, tls: Path, packets: int) -> None:
        self._left, self._lock = packets, threading.Lock()
        self._ends: list[socket.socket] = []
        super().__init__(to, tls / "cert.pem", tls / "key.pem")

    def joined(self, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        self._ends += [near, far]

    def sees(self, packet: bytes, kind: int) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                for end in self._ends:
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                raise ConnectionError


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
