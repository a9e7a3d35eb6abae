"""The certificates against the TLS library that bracelets have: MicroPython's, in a real interpreter."""

from __future__ import annotations

import datetime
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import pytest
from cryptography import x509

from hwsim import toolchain
from relay import pki

NAME = "relay.example.org"
DAY = datetime.timedelta(days=1)
# The way links/ opens its connection: certificate required, our CA alone, the broker's name.
BRACELET = """
import socket, sys, tls
port, name, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_REQUIRED
with open(ca, "rb") as file:
    context.load_verify_locations(file.read())
plain = socket.socket()
plain.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
try:
    secure = context.wrap_socket(plain, server_hostname=name)
    print("answer", secure.read(2).decode())
except (OSError, ValueError) as error:
    print("refused", error)
"""


@contextmanager
def tls_server(folder: Path, cert: bytes, key: bytes) -> Iterator[int]:
    """A TLS server that says hello to each of its visitors; yields its port."""
    (folder / "server.pem").write_bytes(cert + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(b"hi")
            except OSError:
                pass  # refused by the client, or nobody came

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def visit(folder: Path, authority: pki.Authority, cert: bytes, key: bytes, name: str = NAME) -> str:
    """What a bracelet that trusts `authority` says of a server with `cert`."""
    (folder / "ca.der").write_bytes(authority.cert_der)
    (folder / "bracelet.py").write_text(BRACELET)
    with tls_server(folder, cert, key) as port:
        arguments = [str(folder / "bracelet.py"), str(port), name, str(folder / "ca.der")]
        done = subprocess.run(
            [*toolchain.micropython(), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.create_ca()


@pytest.mark.parametrize("name", [NAME, "second.example.org", "127.0.0.1"])
def test_a_bracelet_accepts_every_name_of_its_server(authority: pki.Authority, tmp_path: Path, name: str) -> None:
    cert, key = pki.issue_server(authority, [NAME, "second.example.org", "127.0.0.1", "::1"])
    assert visit(tmp_path, authority, cert, key, name) == "answer hi"


@pytest.mark.parametrize("name", ["other.example.org", "relay.example.or", "127.0.0.2", "example.org"])
def test_a_bracelet_refuses_another_name(authority: pki.Authority, tmp_path: Path, name: str) -> None:
    cert, key = pki.issue_server(authority, [NAME, "127.0.0.1"])
    assert "does not match" in visit(tmp_path, authority, cert, key, name)


def test_a_bracelet_refuses_another_authority_of_the_same_name(authority: pki.Authority, tmp_path: Path) -> None:
    cert, key = pki.issue_server(pki.create_ca(), [NAME])
    assert "not correctly signed" in visit(tmp_path, authority, cert, key)


def test_a_bracelet_refuses_an_expired_certificate(authority: pki.Authority, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    cert, key = pki.issue_server(authority, [NAME], now - 3 * DAY, now - DAY)
    assert "has expired" in visit(tmp_path, authority, cert, key)


def test_a_bracelet_refuses_a_certificate_of_the_future(authority: pki.Authority, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    cert, key = pki.issue_server(authority, [NAME], now + DAY, now + 3 * DAY)
    assert "in the future" in visit(tmp_path, authority, cert, key)


def test_a_bracelet_refuses_an_expired_authority(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    expired = pki.create_ca(not_before=now - 3 * DAY, not_after=now - DAY)
    cert, key = pki.issue_server(expired, [NAME], now - 3 * DAY)
    assert "has expired" in visit(tmp_path, expired, cert, key)


def test_a_server_can_not_play_authority(authority: pki.Authority, tmp_path: Path) -> None:
    cert_pem, key_pem = pki.issue_server(authority, [NAME])
    false_authority = pki.load_ca(cert_pem, key_pem)
    cert, key = pki.issue_server(false_authority, [NAME])
    assert "not correctly signed" in visit(tmp_path, authority, cert + cert_pem, key)


def test_an_authority_survives_being_saved(authority: pki.Authority, tmp_path: Path) -> None:
    loaded = pki.load_ca(authority.cert_pem, authority.key_pem)
    assert loaded.cert_der == authority.cert_der
    cert, key = pki.issue_server(loaded, [NAME])
    assert visit(tmp_path, authority, cert, key) == "answer hi"


def test_a_key_of_another_authority_is_noticed(authority: pki.Authority) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        pki.load_ca(authority.cert_pem, pki.create_ca().key_pem)


def test_no_server_outlives_its_authority() -> None:
    now = datetime.datetime.now(datetime.UTC)
    short = pki.create_ca(not_after=now + DAY)
    cert, _ = pki.issue_server(short, [NAME])
    assert x509.load_pem_x509_certificate(cert).not_valid_after_utc == short.certificate.not_valid_after_utc


def test_a_ca_takes_little_of_a_bracelets_memory(authority: pki.Authority) -> None:
    assert len(authority.cert_der) < 512
