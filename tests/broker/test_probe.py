"""The relay's look at a broker it did not configure."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path

import pytest

from hwsim import toolchain
from relay.broker import Broker, BrokerError
from relay.broker.mosquitto import MosquittoBroker
from relay.broker.probe import probe

from .conftest import PARTNER, PASSWORDS, everyone

RELAY = ("relay", PASSWORDS["relay"])
SUBSCRIBER = (PARTNER, PASSWORDS[PARTNER])


def look(broker: Broker, tls: Path) -> list[str]:
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    return probe(broker.host, broker.port, context, RELAY, SUBSCRIBER)


def test_a_broker_as_we_configure_it_gives_no_warning(broker: Broker, tls_files: Path) -> None:
    assert look(broker, tls_files) == []


def test_the_probe_leaves_no_session_behind(broker: Broker, tls_files: Path) -> None:
    assert look(broker, tls_files) == look(broker, tls_files)


def test_a_broker_that_refuses_the_relay_is_an_error(broker: Broker, tls_files: Path) -> None:
    context = ssl.create_default_context(cafile=str(tls_files / "ca.pem"))
    with pytest.raises(BrokerError, match="refuses the relay's user"):
        probe(broker.host, broker.port, context, ("relay", "wrong"))


def test_a_broker_that_is_not_there_is_an_error(broker: Broker, tls_files: Path) -> None:
    broker.stop()
    with pytest.raises(BrokerError, match="can't be reached"):
        look(broker, tls_files)


def test_subscribers_that_may_do_anything_are_noticed(broker: Broker, tls_files: Path) -> None:
    relay, subscriber, *bracelets = everyone()
    free = dataclasses.replace(subscriber, publish=("b/+/+/alarm",), subscribe=("s/#", "b/#"))
    broker.reload([relay, free, *bracelets])
    assert look(broker, tls_files) == [
        "On the broker, subscribers can read the receipts to bracelets.",
        "On the broker, subscribers can write to the topics of bracelets.",
    ]


class CarelessMosquitto(MosquittoBroker):
    """mosquitto as people set it up in a minute: no accounts, no limits on who does what."""

    extra = "sys_interval 1"

    def write_configuration(self) -> None:
        super().write_configuration()
        file = self.folder / "mosquitto.conf"
        careful = ("allow_anonymous", "password_file", "acl_file", "sys_interval")
        lines = [line for line in file.read_text().splitlines() if not line.startswith(careful)]
        file.write_text("\n".join([*lines, "allow_anonymous true", self.extra, ""]))


class ForgetfulMosquitto(CarelessMosquitto):
    """Beside that, it hands on no message for sure."""

    extra = "max_qos 0"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            CarelessMosquitto,
            ["read the receipts", "write to the topics", "mosquitto version", "without a password", "any password"],
        ),
        (ForgetfulMosquitto, ["not grant QoS 1", "without a password"]),
    ],
)
def test_a_careless_broker_is_noticed(
    kind: type[CarelessMosquitto], expected: list[str], tmp_path: Path, tls_files: Path
) -> None:
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem", everyone())
    broker = kind(*where, program=toolchain.mosquitto())
    broker.start()
    try:
        broker.wait_ready()
        warnings = "\n".join(look(broker, tls_files))
    finally:
        broker.stop()
    assert [words for words in expected if words not in warnings] == []
