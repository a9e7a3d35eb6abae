"""Small firmwares for the simulator's own tests: a folder beside this file, or a few lines in the test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def basic() -> Path:
    return HERE / "fw_basic"


@pytest.fixture
def firmware(tmp_path: Path) -> Callable[[str], Path]:
    """A firmware folder whose main.py is the given text."""

    def make(text: str, name: str = "firmware") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(textwrap.dedent(text))
        return folder

    return make
