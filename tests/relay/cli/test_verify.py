"""`relay verify` on a document as it was published, and on every kind of tampering: accepted, or the reason printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import main
from tests.relay.rebroadcast.test_rebroadcast import CHANGES, GENUINE, KEYS, canonical


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alarm.json"


def test_genuine(file: Path) -> None:
    file.write_bytes(GENUINE)
    result = CliRunner().invoke(main, ["verify", str(file), "--relay-key", KEYS.public.hex()])
    assert (result.exit_code, result.output.split()[0]) == (0, "GENUINE")


@pytest.mark.parametrize("code", CHANGES)
def test_each_kind_of_tampering_is_refused_with_its_reason(code: str, file: Path) -> None:
    document = json.loads(GENUINE)
    CHANGES[code](document)
    file.write_bytes(canonical(document))
    result = CliRunner().invoke(main, ["verify", str(file)])
    lines = result.output.splitlines()
    assert (result.exit_code, lines[0]) == (1, "NOT GENUINE")
    assert lines[1].startswith(f"  {code}: ")


def test_the_key_of_another_relay(file: Path) -> None:
    file.write_bytes(GENUINE)
    result = CliRunner().invoke(main, ["verify", str(file), "--relay-key", "11" * 32])
    assert result.exit_code == 1
    assert "relay_key" in result.output.splitlines()[1]


def test_what_is_no_document(file: Path) -> None:
    file.write_bytes(b"\xff\x00")
    assert CliRunner().invoke(main, ["verify", str(file)]).exit_code == 1
