"""One account against another's connection: MQTT lets whoever comes with a client id throw off who has it.

Before client ids were bound to accounts, any account threw any bracelet off: 10 of 10 times, and at a round trip of
1.2 s she got no receipt at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.broker import Broker
from tests.broker.conftest import (  # noqa: F401  # fixtures
    ANNA,
    BORIS,
    PARTNER,
    PASSWORDS,
    Connect,
    broker,
    tls_files,
)
from tests.broker.conftest import connect as honest  # noqa: F401

from .attacker import connect

TRIES = 10


@pytest.mark.parametrize("attacker", [BORIS, PARTNER])
def test_no_account_takes_anothers_connection(
    broker: Broker,  # noqa: F811
    honest: Connect,  # noqa: F811
    tls_files: Path,  # noqa: F811
    attacker: str,
) -> None:
    anna = honest(broker, ANNA)
    anna.subscribe(f"b/0/{ANNA}/ack")
    relay = honest(broker, "relay")
    for number in range(TRIES):
        for client_id in (ANNA, "relay", "intake-1-a"):
            _, connection = connect(
                broker, tls_files / "ca.pem", client_id, attacker, PASSWORDS[attacker], clean=bool(number % 2)
            )
            connection.close()
        relay.publish(f"b/0/{ANNA}/ack", b"%d" % number)
        assert anna.receive().payload == b"%d" % number, "the receipt did not reach her"
        assert anna.paho.is_connected()
        assert relay.paho.is_connected()
