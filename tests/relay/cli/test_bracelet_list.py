"""`relay bracelet list`: what the newest heartbeats say, for a person and for a script."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from relay.assembly import Relay
from relay.cli import main
from relay.datadir import DataDir
from relay.downlink import Desk
from relay.pipeline import Pipeline
from relay.store import schema
from relay.verify import Heartbeat
from relay.verify.payload import Health, Network
from tests.relay.support import answer

NOW = 1_767_225_700.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "relay"
    assert CliRunner().invoke(main, ["init", str(path), "--name", "relay.example"]).exit_code == 0
    return path


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, in its only item."""
    now = [NOW + 60]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def listed(folder: Path, *beats: Heartbeat) -> tuple[str, dict[str, Any]]:
    """What people see of the one bracelet, in one line, and its entry in the JSON, after these heartbeats."""
    relay = Relay(DataDir(folder).require())
    offered = relay.registry.offer("sparrow", now=NOW, host="h", port=1, ca_der=b"")
    document, bracelet = answer(offered)
    relay.registry.complete(document, now=NOW)
    pipeline = Pipeline(relay.store, relay.keys)
    for beat in beats:
        pipeline.process([bracelet.beat(bracelet.sealer.heartbeat(beat))], NOW)
    relay.store.close()
    return seen(folder)


def seen(folder: Path) -> tuple[str, dict[str, Any]]:
    run = CliRunner().invoke
    text = run(main, ["bracelet", "list", "--data", str(folder)])
    script = run(main, ["bracelet", "list", "--json", "--data", str(folder)])
    assert (text.exit_code, script.exit_code) == (0, 0)
    assert all(len(line) <= 80 for line in text.stdout.splitlines()), text.stdout
    return " ".join(text.stdout.split()), json.loads(script.stdout)[0]


def test_an_offer_says_what_is_still_to_do(folder: Path) -> None:
    relay = Relay(DataDir(folder).require())
    relay.registry.offer("sparrow", now=NOW, host="h", port=1, ca_der=b"")
    relay.store.close()
    line, _ = seen(folder)
    assert line.endswith("complete with: relay bracelet add --answer FILE")


def test_never_heard(folder: Path) -> None:
    line, entry = listed(folder)
    assert line.endswith("no heartbeat was ever heard")
    assert "good" not in line
    assert entry["heard"] is None


def test_heard_from_firmware_that_reports_nothing(folder: Path) -> None:
    line, entry = listed(folder, Heartbeat(0, 0, 80, 0))
    assert "2026-01-01T00:01:40Z good; heard" in line
    assert "80 %" in line
    assert [entry["heard"][name] for name in ("registration", "crash", "program", "lost_ms")] == [None] * 4


def test_all_is_well(folder: Path) -> None:
    beat = Heartbeat(1 << 5, 0, 80, 0, 3, Network(1, 73, 262001, 1), Health(1, 1, 0, 0), 12)
    line, entry = listed(folder, beat)
    assert line.endswith(
        "good; heard 2026-01-01T00:01:40Z, 60 s ago, battery 80 %, strap closed, network home -73 dBm, version 12"
    )
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
    assert "connection lost 2026-01-01T00:01:40Z" in line
    assert entry["heard"]["lost_ms"] == int(NOW * 1000)


GOOD = Heartbeat(1 << 5, 0, 80, 0, 3, Network(1, 73, 262001, 1), Health(1, 1, 0, 0), 12)


def test_silence_is_never_good(folder: Path, clock: list[float]) -> None:
    line, entry = listed(folder, GOOD)
    assert (entry["health"], entry["silent_since"]) == (["good"], None)
    clock[0] = NOW + 3 * 900
    assert "good" in seen(folder)[0], "three intervals are not over"
    clock[0] = NOW + 3 * 900 + 2
    line, entry = seen(folder)
    assert "SILENT since 2026-01-01T00:01:40Z, for 45 min; heard" in line
    assert "good" not in line
    assert entry["silent_since"] == "2026-01-01T00:01:40Z"
    clock[0] = NOW + 21 * 86400
    assert "SILENT since 2026-01-01T00:01:40Z, for 21 days" in seen(folder)[0]


def test_nor_is_what_a_clock_dated_that_was_ahead(folder: Path, clock: list[float]) -> None:
    listed(folder, GOOD)
    clock[0] = NOW - 365 * 86400
    line, entry = seen(folder)
    assert "perhaps SILENT" in line
    assert "good" not in entry["health"]
    assert "good;" not in line


def test_one_that_was_never_heard_is_silent_since_it_was_made(folder: Path, clock: list[float]) -> None:
    listed(folder)
    clock[0] = NOW + 7200
    assert "SILENT since 2026-01-01T00:01:40Z, for 2 h, never heard" in seen(folder)[0]


def test_an_alarm_message_is_a_sign_of_life_too(folder: Path, clock: list[float]) -> None:
    relay = Relay(DataDir(folder).require())
    offered = relay.registry.offer("sparrow", now=NOW, host="h", port=1, ca_der=b"")
    document, bracelet = answer(offered)
    relay.registry.complete(document, now=NOW)
    pipeline = Pipeline(relay.store, relay.keys)
    pipeline.process([bracelet.beat(bracelet.sealer.heartbeat(GOOD))], NOW)
    pipeline.process([bracelet.by_sms(bracelet.alarm())], NOW + 7200)
    clock[0] = NOW + 7260
    assert "good" in seen(folder)[0]
    clock[0] = NOW + 14_400
    assert "SILENT since 2026-01-01T02:01:40Z" in seen(folder)[0]
    relay.store.close()


def test_the_interval_is_the_one_that_the_bracelet_was_told(folder: Path, clock: list[float]) -> None:
    listed(folder, GOOD)
    relay = Relay(DataDir(folder).require())
    (entry,) = relay.registry.list()
    desk = Desk(relay.store, relay.registry)
    desk.configure(entry.kid, {"heartbeat_s": 60}, now=NOW)
    clock[0] = NOW + 200
    assert "good" in seen(folder)[0], "perhaps it has not come"
    with relay.store.write() as connection:
        connection.execute(update(schema.command).values(done_ms=1, result="arrived"))
    assert "SILENT" in seen(folder)[0]
    desk.configure(entry.kid, {"heartbeat_s": 86400}, now=NOW)
    assert "SILENT" not in seen(folder)[0]
    relay.store.close()


def test_of_a_revoked_one_nothing_is_said_to_be_good(folder: Path, clock: list[float]) -> None:
    kid = listed(folder, GOOD)[1]["kid"]
    assert CliRunner().invoke(main, ["bracelet", "revoke", kid, "--yes", "--now", "--data", str(folder)]).exit_code == 0
    clock[0] = NOW + 86400
    line, _ = seen(folder)
    assert "revoked sparrow" in line
    assert "good" not in line
    assert "SILENT" not in line


def test_a_long_code_name_fits(folder: Path) -> None:
    offer = ["bracelet", "add", "a long name " * 5, "--offer", str(folder.parent / "o"), "--data", str(folder)]
    assert CliRunner().invoke(main, offer).exit_code == 0
    seen(folder)
