"""Configuration and data folder: what is accepted, and that an error names file, key and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay import config, initial, log
from relay.assembly import Relay
from relay.config import Config, ConfigError
from relay.datadir import DataDir, DataDirError, read_secret, write_private


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    initial.init(data, initial.Options(names=("relay.example", "localhost"), port=8884))
    return data


def test_the_file_that_init_writes_is_read_back(data: DataDir) -> None:
    loaded = config.load(data)
    assert loaded.mqtt.port == 8884
    assert loaded.mqtt.public_host == "relay.example"
    assert loaded.broker.names == ["relay.example", "localhost"]
    assert loaded.broker.embedded
    assert loaded.sms.port is None


def test_commented_lines_are_valid_when_uncommented(data: DataDir) -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", data.config.read_text(), flags=re.MULTILINE).replace("+…", "+10000000009")
    data.config.write_text(text)
    assert config.load(data).sms.port == "/dev/ttyUSB2"


def test_the_environment_wins(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_MQTT__PORT", "9999")
    assert config.load(data).mqtt.port == 9999


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[mqtt]\nport = 0", ["mqtt.port", "a TCP port, 1 to 65535", "TOCSIN_MQTT__PORT"]),
        ("[mqtt]\nprot = 1", ["mqtt.prot", "there is no such key", "client_id", "port"]),
        ("[mtqq]\nport = 1", ["mtqq", "there is no such key", "mqtt"]),
        ('[sms]\nnumber = "0171"', ["sms.number", "must be + and 7 to 15 digits"]),
        ('[limits]\nbatch = "many"', ["limits.batch", "messages in one transaction"]),
        ("[mqtt\n", ["is not TOML", "line 1"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(data: DataDir, line: str, words: list[str]) -> None:
    data.config.write_text(line)
    with pytest.raises(ConfigError) as error:
        config.load(data)
    assert str(error.value).startswith(f"{data.config}: ")
    for word in words:
        assert word in str(error.value)


def test_every_key_has_a_description() -> None:
    for section in Config.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            assert field.description, name


def test_a_secret_that_others_can_read_is_refused(data: DataDir) -> None:
    file = data.secrets / "mqtt-relay"
    file.chmod(0o640)
    with pytest.raises(DataDirError, match="chmod 600"):
        read_secret(file)


def test_a_missing_or_broken_key_is_explained(data: DataDir) -> None:
    file = data.keys / "store.key"
    file.write_text("short")
    with pytest.raises(DataDirError, match="64 hexadecimal digits"):
        data.store_key()
    file.unlink()
    with pytest.raises(DataDirError, match="is missing"):
        data.store_key()


def test_a_private_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = write_private(tmp_path / "secret", b"old")
    assert write_private(file, b"new").read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("pin", ["", "12", "pin 1234", "1234\n5678", "１２３４", "123456789"])
def test_a_pin_file_without_a_pin_is_refused_and_not_quoted(tmp_path: Path, pin: str) -> None:
    made = DataDir(tmp_path / "sms")
    initial.init(made, initial.Options(sms_port="/dev/ttyUSB2"))
    made.config.write_text(made.config.read_text().replace("# pin_file", "pin_file"))
    file = made.resolve("secrets/sim-pin")
    write_private(file, pin.encode())
    with pytest.raises(ConfigError, match="holds no PIN") as refused:
        Relay(made).sms_link(log.get())
    assert pin == "" or pin not in str(refused.value).replace(str(tmp_path), "")
    write_private(file, b"1234\n")
    assert Relay(made).sms_link(log.get()) is not None
