"""A new certificate for a running broker: shown to who connects next, nothing lost, tried again when it failed."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import pki
from relay.broker import Broker
from relay.broker.process import ChildBroker
from tests.broker.conftest import ANNA, Connect, everyone, make, running
from tests.broker.test_durability import ALARM, wait_until


@pytest.fixture
def own_files(tmp_path: Path, tls_files: Path) -> Path:
    """Certificates that a test may replace."""
    return Path(shutil.copytree(tls_files, tmp_path / "tls"))


@pytest.fixture(params=["nats", "mosquitto"])
def renewable(request: pytest.FixtureRequest, tmp_path: Path, own_files: Path) -> Iterator[ChildBroker]:
    with running(request.param, tmp_path / "broker", own_files) as made:
        yield made


def shown(broker: Broker) -> str:
    """The certificate that a new connection is shown, in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((broker.host, broker.port), 10) as plain, context.wrap_socket(plain) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


def replace(folder: Path) -> str:
    cert, key = pki.issue_server(pki.create_ca(), ["127.0.0.1"])
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    return cert.decode()


def test_the_new_certificate_is_shown_and_sessions_stay(
    renewable: ChildBroker, own_files: Path, connect: Connect
) -> None:
    relay = connect(renewable, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.close()
    anna = connect(renewable, ANNA)
    for number in range(20):
        anna.publish(ALARM, b"%d" % number)
    new = replace(own_files)
    renewable.renew()
    renewable.wait_ready()
    assert shown(renewable) == new


def test_a_stopped_broker_is_not_started_by_it(renewable: ChildBroker) -> None:
    renewable.stop()
    renewable.renew()
    assert renewable.pid is None


def test_messages_that_were_acknowledged_before_are_delivered_after(
    renewable: ChildBroker, own_files: Path, tls_files: Path, connect: Connect
) -> None:
    relay = connect(renewable, "relay", clean=False)
    relay.subscribe("b/+/+/alarm")
    relay.close()
    anna = connect(renewable, ANNA)
    for number in range(20):
        anna.publish(ALARM, b"%d" % number)
    replace(own_files)
    renewable.renew()
    renewable.wait_ready()
    for name in ("cert.pem", "key.pem"):  # and back to what this test's clients trust
        shutil.copy(tls_files / name, own_files / name)
    renewable.renew()
    renewable.wait_ready()
    back = connect(renewable, "relay", clean=False)
    assert back.session_present
    received = [back.receive() for _ in range(20)]
    assert sorted(int(message.payload) for message in received) == list(range(20))


def test_a_start_that_fails_is_made_up_for(tmp_path: Path, own_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = make("nats", tmp_path / "broker", own_files, everyone())
    broker.start()
    try:
        broker.wait_ready()
        new = replace(own_files)
        in_the_way = broker.folder / "nats.conf.new"  # its configuration can't be written
        in_the_way.mkdir()
        with pytest.raises(OSError, match=r"nats\.conf"):
            broker.renew()
        in_the_way.rmdir()
        wait_until(broker.ensure_running)
        broker.wait_ready()
        assert shown(broker) == new
    finally:
        broker.stop()
