"""What the tests of the check share: looking at a broker as the tests' accounts, and brokers that are set up badly."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hwsim import toolchain
from relay.broker import Broker
from relay.broker.check import Finding, Verdict
from relay.broker.check.examine import Target
from relay.broker.check.visit import Roles
from relay.broker.mosquitto import MosquittoBroker
from tests.broker.conftest import PARTNER, PASSWORDS, everyone


def roles(password: str = PASSWORDS["relay"]) -> Roles:
    return Roles.of_relay(password)


def target(broker: Broker, tls: Path, password: str = PASSWORDS["relay"]) -> Target:
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    return Target(broker.host, broker.port, context, roles(password)).with_subscriber(PARTNER, PASSWORDS[PARTNER])


def look(broker: Broker, tls: Path, *only: str, password: str = PASSWORDS["relay"]) -> list[Finding]:
    return target(broker, tls, password).examine(only)


def bad(findings: list[Finding]) -> dict[str, str]:
    """What is not good, by its key."""
    return {finding.key: finding.came for finding in findings if finding.verdict is not Verdict.GOOD}


class AlteredMosquitto(MosquittoBroker):
    """mosquitto as it should be set up, but for the settings in `altered`; None takes one out."""

    altered: Mapping[str, str | None] = {}

    def write_configuration(self) -> None:
        super().write_configuration()
        file = self.folder / "mosquitto.conf"
        kept = [line for line in file.read_text().splitlines() if line.split()[0] not in self.altered]
        added = [f"{name} {value}" for name, value in self.altered.items() if value is not None]
        file.write_text("\n".join([*kept, *added, ""]))


def altered_in(where: tuple, settings: Mapping[str, str | None]) -> AlteredMosquitto:
    """A mosquitto with other settings, ready; `where` as brokers take it."""
    broker = AlteredMosquitto(*where, program=toolchain.mosquitto())
    broker.altered = settings
    broker.start()
    broker.wait_ready()
    return broker


@contextmanager
def altered(folder: Path, tls: Path, settings: Mapping[str, str | None]) -> Iterator[AlteredMosquitto]:
    """The same for the tests' accounts, until the end."""
    broker = altered_in((folder, "127.0.0.1", 0, tls / "cert.pem", tls / "key.pem", everyone()), settings)
    try:
        yield broker
    finally:
        broker.stop()
