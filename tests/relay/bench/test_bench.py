"""The benchmark runs, loses nothing, and says what it measured."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from relay.bench import accounts
from relay.bench.command import describe
from relay.bench.plan import QUICK, TARGETS, ratios, targets
from relay.datadir import DataDir
from relay.store.atrest import NONCE_OCTETS
from relay.verify.keys import KEY_OCTETS

ROOT = Path(__file__).parents[3]


@pytest.mark.long
@pytest.mark.timeout(620)
def test_a_short_run_end_to_end(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "relay", "bench", "--quick", "--json", "--keep", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    sealing = [results["sealing"]["before"], results["sealing"]["after"]]
    phases = [*results["pipeline"].values(), *sealing, results["naive"]["unbounded"]]
    for phase in [*phases, results["slow_disk"]["pipeline"]]:
        assert phase["lost"] == 0
        assert phase["rebroadcasts"] == phase["alarms"]
        assert phase["receipts"] >= phase["alarms"]
        assert phase["cpu_us_per_message"] > 0
        assert 0 < phase["p50_ms"] <= phase["p99_ms"] <= phase["max_ms"]
    assert results["raw_broker_hop"]["unbounded"]["lost"] == 0
    assert results["ed25519_verify"]["cpu_us"] > 0
    assert set(results["targets"]) == set(TARGETS)
    assert results["slow_disk"]["naive"]["messages_per_s"] < 1000 / results["slow_disk"]["sync_ms"]
    # No chain skipped a message: what went over the raw hop was not taken from the bracelets of the pipeline.
    with sqlite3.connect(DataDir(kept / "data").db_url.removeprefix("sqlite:///")) as store:
        moved = store.execute("SELECT count(*), max(length(state_sealed)) FROM chain WHERE next > 0").fetchone()
    assert moved[0] > QUICK.bracelets
    assert moved[1] == NONCE_OCTETS + KEY_OCTETS + 16  # the key alone, and AES-GCM-SIV's tag
    assert "bench: pipeline, paced" in done.stderr
    assert "pipeline, paced" in describe(results)


@pytest.mark.long
def test_many_accounts_are_let_in_and_alarms_answered_meanwhile() -> None:
    command = [sys.executable, "-m", "relay", "bench", "--accounts", "300", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert (results["accounts"], results["connects"]["connected"], results["connects"]["refused"]) == (300, 60, 0)
    assert all(set(memory) == {"relay", "broker", "gate"} for memory in results["memory_mib"].values())
    assert all(mib > 5 for memory in results["memory_mib"].values() for mib in memory.values())
    assert all(0 < row["p50_ms"] <= row["p99_ms"] <= row["slowest_ms"] for row in results["receipts"].values())
    assert "300 accounts" in accounts.describe(results)


def phase(per_s: float, cpu: float, p99: float = 10.0, lost: int = 0) -> dict[str, float]:
    return {"messages_per_s": per_s, "offered_per_s": 2000, "cpu_us_per_message": cpu, "p99_ms": p99, "lost": lost}


def made_up(**paced: float) -> dict:
    results = {
        "pipeline": {"paced": phase(2000, 140, **paced), "unbounded": phase(6000, 100)},
        "sealing": {"cpu_us": 4.2, "before": phase(4000, 200), "after": phase(3900, 210)},
        "naive": {"unbounded": phase(1500, 500)},
        "slow_disk": {"pipeline": phase(5000, 100), "naive": phase(100, 500)},
        "raw_broker_hop": {"unbounded": {"messages_per_s": 60_000}},
        "ed25519_verify": {"cpu_us": 40.0},
    }
    return results | {"ratios": ratios(results)}


def test_ratios_and_targets() -> None:
    results = made_up()
    assert results["ratios"]["pipeline_to_naive"] == 4
    assert results["ratios"]["pipeline_to_naive_slow_disk"] == 50
    assert results["ratios"]["sealed_cpu_to_clear"] == 1.05
    assert all(target["met"] for target in targets(results).values())


def test_a_target_that_is_missed_says_so() -> None:
    missed = targets(made_up(p99=300.0, lost=1))
    assert missed["cpu_us_per_message"] == {"wanted": "at most 150", "value": 140, "met": True}
    assert not missed["paced_p99_ms"]["met"]
    assert missed["paced_p99_ms"]["value"] == 300.0
    assert not missed["lost"]["met"]
