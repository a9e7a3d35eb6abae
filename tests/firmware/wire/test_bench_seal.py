"""The benchmark measures all three variants, and they stand in the order that justifies the code."""

from __future__ import annotations

import json

import pytest

from hwsim import bench_seal


def test_native_code_beats_big_integers_beat_double_and_add(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_seal.main(json=True) == 0
    variants = json.loads(capsys.readouterr().out)["variants"]
    assert set(variants) == set(bench_seal.VARIANTS)
    assert len({cost["octets"] for cost in variants.values()}) == 1
    assert variants["native"]["allocated"] * 10 < variants["fallback"]["allocated"]
    assert variants["fallback"]["allocated"] < variants["double_and_add"]["allocated"]
    assert variants["native"]["us"] < variants["double_and_add"]["us"]


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_seal.main(json=False) == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in bench_seal.VARIANTS.values())
