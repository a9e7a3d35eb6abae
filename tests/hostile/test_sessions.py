"""One account against the broker's store: sessions that nobody ends.

Before there was the gate, an account filled the embedded broker's store of 1 GiB in nine minutes with sessions whose
client ids have 60,000 characters: each leaves a record of 60 KB. Then nobody got a PUBACK any more, the relay itself
could not connect, and a restart did not help.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.broker import own_users
from relay.broker.nats import NatsBroker
from tests.broker.conftest import ANNA, PARTNER, PASSWORDS, everyone, tls_files  # noqa: F401  # a fixture
from tests.broker.test_durability import wait_until

from .attacker import connect, stored

ATTEMPTS, LONG = 200, 60_000


@pytest.mark.parametrize("name", [ANNA, *(pytest.param(n, marks=pytest.mark.long) for n in (PARTNER, "intake-1-a"))])
def test_an_account_can_not_fill_the_store_with_sessions(name: str, tmp_path: Path, tls_files: Path) -> None:  # noqa: F811
    broker = NatsBroker(tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem", everyone())
    broker.start()
    try:
        broker.wait_ready()
        before = stored(broker.folder)
        codes = []
        for number in range(ATTEMPTS):
            client_id = f"{number:06d}".ljust(LONG, "x")
            code, connection = connect(broker, tls_files / "ca.pem", client_id, name, PASSWORDS[name])
            connection.close()
            codes.append(code)
        grown = stored(broker.folder) - before
        assert 0 not in codes, "the broker let in a client id that is not the account's"
        assert grown < 100_000, f"the store grew by {grown} octets in {ATTEMPTS} attempts"
        code, connection = connect(broker, tls_files / "ca.pem", "relay", "relay", PASSWORDS["relay"])
        connection.close()
        assert code == 0
    finally:
        broker.stop()


@pytest.mark.long
def test_a_store_that_is_full_of_sessions_is_cleared_before_the_relay_connects(
    tmp_path: Path,
    tls_files: Path,  # noqa: F811
) -> None:
    """What an earlier release let in, or what the relay's own password was abused for."""
    users = own_users(PASSWORDS["relay"])
    where = (tmp_path / "broker", "127.0.0.1", 0, tls_files / "cert.pem", tls_files / "key.pem")
    broker = NatsBroker(*where, users, max_file_store=8 << 20)
    ca = tls_files / "ca.pem"
    account = "relay", PASSWORDS["relay"]
    broker.start()
    try:
        broker.wait_ready()
        code, own = connect(broker, ca, "relay", *account)
        own.close()
        assert code == 0
        refused, opened = 0, []  # while they are connected, the gate does not end their sessions
        for number in range(600):
            code, connection = connect(broker, ca, f"{number:06d}".ljust(LONG, "x"), *account)
            opened.append(connection)
            refused += code != 0
            if refused == 5:
                break
        assert refused == 5, "the store could not be filled, so this test shows nothing"
        broker.stop()
        for connection in opened:
            connection.close()
        broker.start()
        broker.wait_ready()
        code, connection = connect(broker, ca, "relay", *account)
        connection.close()
        assert code == 0
        wait_until(lambda: stored(broker.folder) < 2 << 20, 20)
        said = (broker.folder / "gate.log").read_text()
        assert "broker.sessions_ended" in said
        assert "xxxx" not in said
    finally:
        broker.stop()
