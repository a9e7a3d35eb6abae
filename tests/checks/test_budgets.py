"""The firmware stays within firmware/budgets.toml."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from hwsim import bench_seal, budgets, bundle, mpy
from hwsim.serial import image
from relay.ingest import pdu
from relay.verify import envelope

from . import FIRMWARE

BUDGETS: dict[str, Any] = tomllib.loads((FIRMWARE / "budgets.toml").read_text())


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Octets of each module compiled for the ESP32."""
    return budgets.code_sizes()


def test_all_code_together(sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    assert total <= BUDGETS["code"]["octets"], f"the firmware has {total} octets"


def test_the_image_fits_its_part_of_the_partition() -> None:
    """Three of them share it; what installs one has a header before it."""
    (size,) = (size for name, *_, size in image.PARTITIONS if name == b"romfs")
    assert mpy.rom(FIRMWARE, budgets.CHIP).stat().st_size <= bundle.IMAGE_MAX < size // 3


def test_the_largest_module(sizes: dict[str, int]) -> None:
    limit = BUDGETS["code"]["largest_module"]
    assert {name: size for name, size in sizes.items() if size > limit} == {}


def test_native_code(sizes: dict[str, int]) -> None:
    native = {name: size for name, size in sizes.items() if mpy.NATIVE.search((FIRMWARE / name).read_text())}
    assert native, "no module has native code: the pattern does not fit any more"
    assert sum(native.values()) <= BUDGETS["code"]["native_octets"], native


def test_everyone_means_the_same_message_size() -> None:
    octets = BUDGETS["message"]["octets"]
    assert {pdu.MAX_OCTETS, envelope.MAX_OCTETS} == {octets}
    assert re.search(rf"^LIMIT = {octets}\b", (FIRMWARE / "tocsin/envelope.py").read_text(), re.MULTILINE)
    assert re.search(rf"^DATA_MAX = {octets}\b", (FIRMWARE / "tocsin/pdu.py").read_text(), re.MULTILINE)


def test_sealing_a_message() -> None:
    budget, variants = BUDGETS["seal"], bench_seal.measure()["variants"]
    assert all(variant["octets"] <= BUDGETS["message"]["octets"] for variant in variants.values())
    assert variants["fallback"]["times_faster"] >= budget["fallback_times_faster"]
    assert variants["native"]["allocated"] <= budget["native_allocated"]
    assert variants["native"]["times_faster"] >= budget["native_times_faster"]


@pytest.mark.long
def test_the_command_compares_all_of_them() -> None:
    items = list(budgets.measure())
    assert [item for item in items if not item.met] == []
    compared = {item.name for item in items if item.budget is not None}
    assert {"code, all", "heap armed", "heap alarm", "from power-on to armed", "sectors erased in a day"} <= compared
    assert {"flash reads until armed, ROMFS", "flash reads until armed, bundle"} <= compared
    assert {"heap allocated by a seal", "a typical message", "charge of a day at peace"} <= compared
