"""The command line of hwsim: mistypes, files that can't be used, colours, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hwsim.cli import main
from hwsim.powercut import command as powercut
from hwsim.scenario import command as scenarios
from hwsim.scenario import file
from hwsim.workshop import harden
from hwsim.workshop.__main__ import main as flash

SCENARIO = "pressed_by_accident_and_called_back"


def hwsim(*words: str | Path, **more: Any) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], **more)


@pytest.mark.parametrize(("program", "name"), [(main, "hwsim"), (flash, "flash.sh"), (harden.main, "flash.sh harden")])
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_every_program_tells_its_version(program: Any, name: str, option: str) -> None:
    done = CliRunner().invoke(program, [option])
    assert (done.exit_code, done.stdout.startswith(f"{name}, version 0.")) == (0, True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("bords",), "'boards'"), (("power", "--plt", "x"), "'--plot'"), (("bundle", "mkae"), "'make'")],
)
def test_a_mistype_is_answered_with_what_was_meant(words: tuple[str, ...], meant: str) -> None:
    done = hwsim(*words)
    assert (done.exit_code, f"Did you mean {meant}?" in done.stderr) == (2, True)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color(no_color: str) -> None:
    done = hwsim("run", SCENARIO, env={"NO_COLOR": no_color}, color=True)
    assert ("\x1b" in done.output) == (not no_color)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with things that are not what a command asks for."""
    (tmp_path / "garbage").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "text.toml").write_text("hello = [1\n")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


THINGS = ("missing/x", "garbage", "text.toml", "empty", "folder")
WITH_A_BOARD = (("power", "--board"), ("starts", "--board"), ("soak", "--seeds", "1", "--board"), ("usb", "--board"))


@pytest.mark.parametrize("words", WITH_A_BOARD, ids=" ".join)
@pytest.mark.parametrize("thing", [*THINGS, "nope"])
def test_what_is_no_board_is_said_in_words(here: Path, words: tuple[str, ...], thing: str) -> None:
    done = hwsim(*words, thing if thing == "nope" else here / thing)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert Path(thing).name in done.stderr


@pytest.mark.parametrize("words", [("power", "--plot"), ("run", SCENARIO, "--plot")], ids=" ".join)
@pytest.mark.parametrize("thing", ["missing/x.svg", "folder", "empty/x.svg"])
def test_a_drawing_that_can_not_be_written_is_said_before_anything_is_played(
    here: Path, words: tuple[str, ...], thing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "play", lambda *_: pytest.fail("it was played"))
    done = hwsim(*words, here / thing)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert str(here / thing) in done.stderr


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize(
    "words",
    [
        ("run", "{}"),
        ("boards", "{}"),
        ("soak", "--replay", "{}"),
        ("hand", "{}", "state"),
        ("hand", "{}", "--list"),
        ("crash", "5", "--firmware", "{}"),
        ("powercut", "--life", "mqtt", "--at", "1", "--firmware", "{}"),
        ("starts", "--call", "tls", "--firmware", "{}"),
        ("soak", "--seeds", "1", "--firmware", "{}"),
        ("bench-seal", "--against", "{}"),
        ("bundle", "key", "{}"),
        ("bundle", "make", "out", "--key", "{}"),
        ("bundle", "check", "garbage", "--public", "{}"),
        ("bundle", "check", "{}", "--public", "garbage"),
    ],
    ids=" ".join,
)
def test_no_file_makes_a_traceback(
    here: Path, words: tuple[str, ...], thing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    done = hwsim(*(word.replace("{}", thing) for word in words))
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    if words[:2] not in (("bundle", "key"), ("hand", "{}")):
        assert done.exit_code in (1, 2)
        assert done.output


def interrupted_at(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """A Ctrl-C comes in the call with this number, from 0 on."""
    calls = iter(range(number + 1))

    def wrapper(*arguments: Any) -> Any:
        if next(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return call(*arguments)

    return wrapper


def test_an_interrupt_tells_which_scenarios_were_played(monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(file.names(), key=lambda name: file.load(file.find(name)).seconds)[:3]
    monkeypatch.setattr(file, "names", lambda: names)
    monkeypatch.setattr(scenarios, "play", interrupted_at(scenarios.play, 2))
    done = hwsim("run", "--all", "--quiet")
    assert done.exit_code == 130
    assert "2 of 3 scenarios, 0 failed" in done.stdout
    assert [name for name in names if f"{name}: all " in done.stdout] == names[:2]
    monkeypatch.setattr(scenarios, "play", interrupted_at(scenarios.play, 0))
    done = hwsim("run", "--all", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (130, [])


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_tells_which_cuts_were_tried(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powercut, "play", interrupted_at(powercut.play, 3))
    done = hwsim("powercut", "--life", "sms", "--quick", "--jobs", "1", *(["--json"] if as_json else []))
    assert done.exit_code == 130
    if as_json:
        told = json.loads(done.stdout)
        assert (told["interrupted"], told["cuts"], told["failed"]) == (True, 2, 0)
    else:
        assert "2 cuts in " in done.stdout
        assert "INTERRUPTED: not all were tried" in done.stdout


def test_an_interrupt_from_the_terminal_leaves_nothing_behind(tmp_path: Path) -> None:
    """Every process of the terminal gets it, those that play too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hwsim.cli", "powercut", "--quick", "--life", "sms", "--jobs", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(tmp_path.iterdir()):  # a life has begun
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert json.loads(out)["interrupted"]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
