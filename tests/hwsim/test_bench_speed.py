"""The benchmark of the simulator's speed: what it counts must not depend on the machine; how fast it is must."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hwsim import bench_speed, cli


@pytest.mark.long
def test_exchanges_and_events_are_the_same_each_time_and_few():
    first = bench_speed.measure(idle_s=3600, rounds=1)
    second = bench_speed.measure(idle_s=3600, rounds=1)
    for name in bench_speed.TARGETS:
        counted = [(speed.exchanges, speed.one_way, speed.events) for speed in (first[name], second[name])]
        assert counted[0] == counted[1]
    # At peace only the duties; in an alarm what modem, battery and broker need, and one for the receiver's sentences of
    # up to eight seconds, and what comes by the network, in parts. What costs time.
    assert first["idle"].exchanges < 0.2
    assert first["alarm"].exchanges < 1.25
    assert first["idle"].one_way < 0.1


def test_the_command_prints_both_situations(monkeypatch):
    monkeypatch.setattr(bench_speed, "ROUNDS", 1)
    monkeypatch.setattr(bench_speed, "TARGETS", {"idle": 0, "alarm": 0})  # this machine may be slow
    monkeypatch.setattr(bench_speed, "ALARM_S", 60)
    done = CliRunner().invoke(cli.main, ["bench-speed", "--seconds", "3600", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    for speed in report.values():
        assert speed["met"] and speed["times_life"] > 0
        assert speed["device_us"] > 0 and speed["world_us"] > 0


def test_a_missed_target_is_a_failure(monkeypatch):
    monkeypatch.setattr(bench_speed, "TARGETS", {"idle": 10**9, "alarm": 1})
    monkeypatch.setattr(bench_speed, "ALARM_S", 60)
    done = CliRunner().invoke(cli.main, ["bench-speed", "--seconds", "60"])
    assert done.exit_code == 1
    assert "faster than life" in done.output
