"""The benchmark measures all three variants, and what they allocate stands in the order that justifies the code."""

from __future__ import annotations

import json
import platform
import tomllib

import pytest

from hwsim import bench_seal, toolchain

BUDGET = tomllib.loads((bench_seal.FIRMWARE / "budgets.toml").read_text())["seal"]


def test_native_code_beats_big_integers_beat_double_and_add(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_seal.main(json=True) == 0
    variants = json.loads(capsys.readouterr().out)["variants"]
    assert set(variants) == set(bench_seal.VARIANTS)
    assert len({cost["octets"] for cost in variants.values()}) == 1
    assert variants["native"]["allocated"] * 10 < variants["fallback"]["allocated"]
    assert variants["fallback"]["allocated"] < variants["double_and_add"]["allocated"]
    assert all(cost["us"] > 0 for cost in variants.values())


def test_in_turn_with_another_firmware(capsys: pytest.CaptureFixture[str]) -> None:
    """With itself: what is allocated is the same."""
    assert bench_seal.main(json=True, other=bench_seal.FIRMWARE, pairs=3) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["allocated"] == found["other_allocated"] > 0
    assert found["lowest"] <= found["ratio"] <= found["highest"]


def test_what_is_allocated_in_words_of_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in toolchain.ARCHITECTURE_32:
        with pytest.raises(toolchain.ToolchainError, match="no 32-bit Debian package is known"):
            toolchain.find_micropython(32)
        return
    monkeypatch.setenv("HWSIM_BITS", "32")
    report = bench_seal.measure()
    assert report["word_bits"] == 32
    assert report["variants"]["native"]["allocated"] <= BUDGET["native_allocated_32"] == 20480


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_seal.main(json=False) == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in bench_seal.VARIANTS.values())
