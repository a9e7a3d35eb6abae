"""`relay broker accounts`: what it writes is taken by a real mosquitto, and says nothing that it need not."""

from __future__ import annotations

import json
import re
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from hwsim import toolchain
from relay import initial
from relay.assembly import Relay
from relay.broker.export import rabbitmq
from relay.broker.mosquitto import MosquittoBroker
from relay.cli import main
from relay.datadir import DataDir
from relay.store import schema
from tests.hostile.attacker import connect
from tests.relay.support import NOW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initial.init(DataDir(tmp_path / "data"), initial.Options())
    return tmp_path / "data"


def offered(folder: Path) -> tuple[str, str, str]:
    relay = Relay(DataDir(folder))
    offer = relay.registry.offer("heron", now=NOW, host="h", port=1, ca_der=b"")
    relay.store.close()
    return offer["mqtt"]["user"], offer["mqtt"]["password"], offer["kid"]


def test_a_mosquitto_takes_the_files(folder: Path, tmp_path: Path) -> None:
    name, password, kid = offered(folder)
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["broker", "accounts", "--data", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()} == {0o600}
    assert not any(password in file.read_text() for file in out.iterdir())

    class FromFiles(MosquittoBroker):
        """mosquitto with the files that were written, and one more account to see that it serves."""

        def write_configuration(self) -> None:
            super().write_configuration()
            for name in ("passwords", "acl"):
                own = (self.folder / name).read_text()
                (self.folder / name).write_text((out / name).read_text() + own)

    data = DataDir(folder)
    where = (tmp_path / "broker", "127.0.0.1", 0, data.server_cert, data.server_key)
    relay = Relay(data)
    broker = FromFiles(*where, [relay.own_users()[-1]], program=toolchain.mosquitto())
    broker.start()
    try:
        broker.wait_ready()
        code, connection = connect(broker, data.ca_cert, name, name, password)
        connection.close()
        assert code == 0
        code, connection = connect(broker, data.ca_cert, name, name, "wrong-but-long-enough")
        connection.close()
        assert code != 0
    finally:
        broker.stop()
        relay.store.close()
    assert f"topic write b/{kid[0]}/{kid}/alarm" in (out / "acl").read_text()
    assert isinstance(connection, ssl.SSLSocket)


def test_rabbitmqs_patterns_hold_a_bracelet_to_its_topics(folder: Path) -> None:
    name, _, kid = offered(folder)
    relay = Relay(DataDir(folder))
    definitions = json.loads(rabbitmq(relay.users())["definitions.json"])
    relay.store.close()
    (rights,) = (one for one in definitions["topic_permissions"] if one["user"] == name)
    base = f"b.{kid[0]}.{kid}"
    assert re.search(rights["write"], f"{base}.alarm")
    assert not re.search(rights["write"], f"{base}.ack")
    assert not re.search(rights["write"], "b.0.00000000.alarm")
    assert re.search(rights["read"], f"{base}.ack")
    assert not re.search(rights["read"], "r.00000000.alarm")
    (own,) = (one for one in definitions["permissions"] if one["user"] == name)
    assert re.search(own["configure"], f"mqtt-subscription-{name}qos1")
    assert not re.search(own["configure"], "mqtt-subscription-relayqos1")


def test_json_has_everyone_with_its_rights(folder: Path) -> None:
    name, password, _ = offered(folder)
    done = CliRunner().invoke(main, ["broker", "accounts", "--format", "json", "--data", str(folder)])
    listed = json.loads(done.stdout)
    (own,) = (one for one in listed if one["user"] == name)
    assert (own["password"], own["client_ids"]) == (password, [name])


def test_a_subscriber_whose_password_is_damaged_gets_no_empty_one(folder: Path) -> None:
    relay = Relay(DataDir(folder))
    with relay.store.write() as connection:
        connection.execute(update(schema.subscriber).values(profile_sealed=bytes(60)))
    relay.store.close()
    done = CliRunner().invoke(main, ["broker", "accounts", "--format", "json", "--data", str(folder)])
    assert [one["user"] for one in json.loads(done.stdout) if not one["password"]] == []


def test_the_relay_notices_when_the_broker_lacks_an_account(folder: Path) -> None:
    relay = Relay(DataDir(folder))
    assert relay.lacks_accounts(), "it was never given any"
    assert CliRunner().invoke(main, ["broker", "accounts", "--data", str(folder)]).exit_code == 0
    assert not relay.lacks_accounts()
    _, _, kid = offered(folder)
    assert relay.lacks_accounts()
    CliRunner().invoke(main, ["broker", "accounts", "--data", str(folder)])
    relay.registry.revoke(kid, now=NOW)
    assert relay.lacks_accounts(), "a revoked bracelet's account is still there"
    relay.store.close()


def test_who_is_added_while_the_files_are_written_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Relay.users

    def meanwhile(relay: Relay) -> Any:
        written = users(relay)
        offered(folder)
        return written

    monkeypatch.setattr(Relay, "users", meanwhile)
    assert CliRunner().invoke(main, ["broker", "accounts", "--data", str(folder)]).exit_code == 0
    assert Relay(DataDir(folder)).lacks_accounts()


def test_an_unknown_format_is_mistyped(folder: Path) -> None:
    assert CliRunner().invoke(main, ["broker", "accounts", "--format", "emqx", "--data", str(folder)]).exit_code == 2
