"""`relay broker check` as an operator types it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay import initial
from relay.assembly import Relay
from relay.broker.nats import NatsBroker
from relay.broker.process import free_port
from relay.cli import main
from relay.datadir import DataDir


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "data")
    initial.init(made, initial.Options(listen="127.0.0.1", port=free_port("127.0.0.1")))
    return made


def check(data: DataDir, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["broker", "check", "--data", str(data.path), *arguments], input=typed)


def secret(folder: Path, text: str) -> str:
    file = folder / "secret"
    file.write_text(text)
    os.chmod(file, 0o600)
    return f"@{file}"


def test_a_broker_that_is_not_there_is_said_with_what_to_do(data: DataDir) -> None:
    done = check(data)
    assert done.exit_code == 1
    assert "can't be reached" in done.stdout
    assert "is the broker running?" in done.stdout
    (finding,) = json.loads(check(data, "--json").stdout)["findings"]
    assert finding["verdict"] == "loses"


@pytest.mark.parametrize(
    "url", ["broker.example", "http://broker.example", "mqtts://", "mqtts://h:0", "mqtts://h:99999", "mqtts://h/path"]
)
def test_a_mistyped_url_is_said_so(data: DataDir, url: str) -> None:
    done = check(data, "--url", url)
    assert done.exit_code == 2
    assert "mqtts://HOST" in done.stderr


def test_a_password_in_a_url_is_refused_and_not_repeated(data: DataDir) -> None:
    done = check(data, "--url", "mqtts://anna:hush-hush-hush@broker.example")
    assert done.exit_code == 2
    assert "hush" not in done.output
    assert "@FILE" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--password", "in-clear", "--user", "anna"),
        ("--password", "@file"),
        ("--only", "aedes"),
        ("--markdown",),
        ("--crash", "--url", "mqtts://h"),
        ("--crash", "--only", "no-such-broker"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(data: DataDir, arguments: tuple[str, ...]) -> None:
    assert check(data, *arguments).exit_code == 2


def test_a_ca_that_is_none_is_refused(data: DataDir, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    done = check(data, "--url", "mqtts://localhost", "--ca", str(tmp_path / "ca.pem"))
    assert done.exit_code == 1
    assert "is not a certificate" in done.stderr


@pytest.fixture
def broker(data: DataDir) -> Iterator[tuple[NatsBroker, Relay]]:
    relay = Relay(data)
    relay.local_subscriber()
    where = data.broker, "127.0.0.1", relay.config.mqtt.port, data.server_cert, data.server_key
    made = NatsBroker(*where, relay.users())
    made.start()
    try:
        made.wait_ready()
        yield made, relay
    finally:
        made.stop()
        relay.store.close()


@pytest.mark.long
def test_the_broker_of_relay_toml_and_one_by_its_url(data: DataDir, broker: tuple[NatsBroker, Relay]) -> None:
    done = check(data)
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith("All is well.")
    report = json.loads(check(data, "--json", "--url", f"mqtts://localhost:{broker[0].port}").stdout)
    assert report["verdict"] == "good"
    assert len(report["findings"]) == 16


@pytest.mark.long
def test_with_one_account_what_needs_several_is_unknown(
    data: DataDir, broker: tuple[NatsBroker, Relay], tmp_path: Path
) -> None:
    """`relay` has the rights of no check: much is refused, nothing is a traceback."""
    _, relay = broker
    account = ("--user", "relay")
    by_file = check(data, "--json", *account, "--password", secret(tmp_path, relay.endpoint().password))
    assert by_file.exit_code == 1
    verdicts = {finding["key"]: finding["verdict"] for finding in json.loads(by_file.stdout)["findings"]}
    assert (verdicts["accounts"], verdicts["qos"]) == ("good", "good")
    assert {verdicts[key] for key in ("client_ids", "bracelet_topics", "subscriber_topics")} == {"unknown"}
    typed = check(data, "--json", *account, typed="wrong-but-long-enough\n")
    assert typed.exit_code == 1
    assert "wrong-but" not in typed.output
