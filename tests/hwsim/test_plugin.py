"""The pytest plugin and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim import cli, toolchain

ROOT = Path(__file__).resolve().parents[2]


def test_a_failing_test_shows_the_trace_of_its_world(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from importlib.metadata import entry_points\n"
        "if not entry_points(group='pytest11', name='hwsim'):\n"
        "    pytest_plugins = ['hwsim.pytest_plugin']\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.world(seed=42, start=0)\n"
        "def test_fails(world):\n"
        "    assert world.seed == 42 and world.unix_time == 0\n"
        "    world.note('somebody', 'did something', n=7)\n"
        "    world.expect('nobody', 'anything')\n"
        "def test_passes(world):\n"
        "    world.note('somebody', 'said nothing')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "."],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "trace of the world (seed 42" in done.stdout
    assert "did something  n=7" in done.stdout
    assert "said nothing" not in done.stdout


def test_the_toolchain_is_shown():
    done = CliRunner().invoke(cli.main, ["toolchain"])
    assert done.exit_code == 0
    assert done.output.startswith(f"MicroPython {toolchain.find_micropython().version}, ")


@pytest.mark.parametrize("command", [["toolchain"], ["bench-seal"], ["bench-seal", "--json"]], ids=" ".join)
def test_a_missing_interpreter_is_one_sentence(monkeypatch, command):
    def missing():
        raise toolchain.ToolchainError("MicroPython is missing.")

    monkeypatch.setattr(toolchain, "find_micropython", missing)
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 1
    assert done.output == "Error: MicroPython is missing.\n"


def test_the_cost_of_a_seal():
    done = subprocess.run(
        [sys.executable, "-m", "hwsim.cli", "bench-seal", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    variants = json.loads(done.stdout)["variants"]
    assert variants["double_and_add"]["times_faster"] == 1
    for cost in variants.values():
        assert min(cost["us"], cost["allocated"], cost["times_faster"], cost["times_less_allocated"]) > 0
