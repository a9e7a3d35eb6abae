"""Describe where and as whom the relay connects to a broker, with what TLS, and what to do when that fails."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL (x509_vfy.h), for which ssl has no name
_BY_TIME = (9, 10, 14)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _ERROR_IN_CERT_NOT_AFTER_FIELD


class NoAnswer(Exception):
    """A connection on which no answer to CONNECT came."""


def client_tls(ca: Path | None, *, pem: str | None = None, check_time: bool = True) -> ssl.SSLContext:
    """Return a TLS context that trusts this CA alone (a file, or its text), and checks the broker's name and the
    certificate's times. It does not check the times if `check_time` is False, because this machine's clock says nothing
    about a certificate that this machine made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=None if ca is None else os.fspath(ca), cadata=pem)
    if not check_time:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


@dataclass(frozen=True)
class Endpoint:
    """The broker's address, and the account to connect with."""

    host: str
    port: int
    client_id: str
    user: str
    password: str
    tls: ssl.SSLContext | None
    keepalive: int = 30
    clean: bool = False  # the broker keeps nothing for us while we are away
    if_refused: str = (  # the hint when the broker refuses this account
        "check user and password file in relay.toml, and the broker's users; at its start it may refuse all"
    )

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port})"


def hint_for(error: object) -> str:
    """Return advice for the operator about a connection that did not come about."""
    if isinstance(error, NoAnswer):
        return (
            "is it a broker that takes MQTT 3.1.1, and with TLS if relay.toml says so? check host and port in [mqtt], "
            "and the broker's log, which says why it closes"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _BY_TIME:
            today = datetime.now(UTC).strftime("%Y-%m-%d")
            return (
                f"the broker's certificate is not valid on {today}, which is today by this machine's clock: if that is "
                "wrong, set the clock; else the certificate is expired, or made for a later time: renew it"
            )
        return "the broker's certificate was refused: wrong CA, wrong name, or expired"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: is the broker running?"
    if isinstance(error, socket.gaierror):
        return "the broker's name can't be resolved"
    return "trying again"
