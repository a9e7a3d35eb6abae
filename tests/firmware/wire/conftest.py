"""`device`: the firmware as it is. `both`: the same tests with native code, and where it can't load."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .interpreter import ROOT, Device, without_native_code

VECTORS = ROOT / "tests" / "vectors"


@pytest.fixture(scope="session")
def device() -> Iterator[Device]:
    with Device() as running:
        yield running


@pytest.fixture(scope="session")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with Device(without_native_code(tmp_path_factory.mktemp("firmware"))) as running:
        yield running


@pytest.fixture(params=["native", pytest.param("fallback", marks=pytest.mark.long)])
def both(request: pytest.FixtureRequest) -> Device:
    running: Device = request.getfixturevalue("device" if request.param == "native" else "fallback")
    return running


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], dict[str, Any]]:
    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
        return found

    return load


@pytest.fixture(scope="session")
def make() -> dict[str, Any]:
    """The names that tests/vectors/make.py defines: an independent implementation of the wire format."""
    return runpy.run_path(str(VECTORS / "make.py"))
