"""`relay bracelet list`: what the newest heartbeats say, for a person and for a script."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from relay.assembly import Relay
from relay.cli import main
from relay.datadir import DataDir
from relay.pipeline import Pipeline
from relay.verify import Heartbeat
from relay.verify.payload import Health, Network
from tests.relay.support import answer

NOW = 1_767_225_700.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "relay"
    assert CliRunner().invoke(main, ["init", str(path), "--name", "relay.example"]).exit_code == 0
    return path


def listed(folder: Path, *beats: Heartbeat) -> tuple[str, dict[str, Any]]:
    """The one bracelet's line, and its entry in the JSON, after these heartbeats."""
    relay = Relay(DataDir(folder).require())
    offered = relay.registry.offer("sparrow", now=NOW, host="h", port=1, ca_der=b"")
    document, bracelet = answer(offered)
    relay.registry.complete(document, now=NOW)
    pipeline = Pipeline(relay.store, relay.keys)
    for beat in beats:
        pipeline.process([bracelet.beat(bracelet.sealer.heartbeat(beat))], NOW)
    relay.store.close()
    run = CliRunner().invoke
    text = run(main, ["bracelet", "list", "--data", str(folder)])
    script = run(main, ["bracelet", "list", "--json", "--data", str(folder)])
    assert (text.exit_code, script.exit_code) == (0, 0)
    return text.stdout.splitlines()[-1], json.loads(script.stdout)[0]


def test_never_heard(folder: Path) -> None:
    line, entry = listed(folder)
    assert line.endswith("never")
    assert entry["heard"] is None


def test_heard_from_firmware_that_reports_nothing(folder: Path) -> None:
    line, entry = listed(folder, Heartbeat(0, 0, 80, 0))
    assert line.split("  ")[-1].strip() == "good"
    assert "80 %" in line
    assert [entry["heard"][name] for name in ("registration", "crash", "program", "lost_ms")] == [None] * 4


def test_all_is_well(folder: Path) -> None:
    beat = Heartbeat(1 << 5, 0, 80, 0, 3, Network(1, 73, 262001, 1), Health(1, 1, 0, 0), 12)
    line, entry = listed(folder, beat)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(NOW))
    assert line.split()[-10:] == [*when.split(), "80", "%", "closed", "home", "-73", "dBm", "12", "good"]
    heard = entry["heard"]
    assert (heard["at_ms"], heard["battery"], heard["strap"], heard["program"]) == (int(NOW * 1000), 80, "closed", 12)
    assert heard["down"] == 3


def test_what_is_not_well_is_said_in_words(folder: Path) -> None:
    beats = [
        Heartbeat(0, 0, 2, 0, 3, Network(5, 255, 0, 0), Health(1, 1, 0, 0)),
        Heartbeat(128, 0, 2, 4, 3, Network(3, 255, 0, 1), Health(3, 7, 305419896, 1)),
    ]
    line, entry = listed(folder, *beats)
    for words in ("denied", "battery ends", "4 unanswered", "safe mode", "7 starts", "crash 305419896"):
        assert words in line
    assert "lost" not in line, "the will was older"
    assert entry["heard"]["crash"] == 305419896


def test_a_lost_connection(folder: Path) -> None:
    beat = Heartbeat(0, 0, 80, 0, 3, Network(1, 73, 262001, 1), Health(1, 1, 0, 0))
    will = Heartbeat(0, 0, 80, 0, 3, Network(1, 73, 262001, 0), Health(1, 1, 0, 0))
    line, entry = listed(folder, beat, will)
    assert "connection lost 2026-01-01 00:01" in line
    assert entry["heard"]["lost_ms"] == int(NOW * 1000)
