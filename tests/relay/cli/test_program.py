"""What all of relay's commands have in common: mistypes, colours, the version, files that can't be used."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click import termui
from click.testing import CliRunner, Result

from relay.cases import listing
from relay.cli import main
from tests.relay.rebroadcast.test_rebroadcast import GENUINE


def relay(*words: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env=env, prog_name="relay", color=True)


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    done = relay(option)
    assert (done.exit_code, done.stdout.startswith("relay, version 0.")) == (0, True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("verfy",), "'verify'"),
        (("verify", "--jsn", "x"), "'--json'"),
        (("bracelet", "lst"), "'list'"),
        (("subscriber", "rotat"), "'rotate'"),
        (("alarm",), "'alarms'"),
    ],
)
def test_a_mistype_is_answered_with_what_was_meant(words: tuple[str, ...], meant: str) -> None:
    done = relay(*words)
    assert (done.exit_code, f"Did you mean {meant}?" in done.stderr) == (2, True), done.stderr


def test_what_resembles_nothing_gets_no_suggestion() -> None:
    done = relay("xyzzy")
    assert (done.exit_code, "Did you mean" in done.stderr) == (2, False)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color(no_color: str, tmp_path: Path) -> None:
    file = tmp_path / "alarm.json"
    file.write_bytes(GENUINE)
    done = relay("verify", file, env={"NO_COLOR": no_color})
    assert ("\x1b" in done.output) == (not no_color)


def test_an_interrupt_is_told_by_the_exit_status(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "in_order", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    done = relay("alarms", "--data", made)
    assert (done.exit_code, done.stderr) == (130, "Interrupted.\n")


THINGS = ("missing/x", "garbage", "text", "empty", "folder", "empty/x")
WORDS = [
    "verify {}", "verify garbage --relay-key {}", "verify garbage --known-keys {}", "subscribe {}",
    "subscribe text --key {}", "subscribe --new-key {}", "restore {} --recovery-key text --data new",
    "restore garbage --recovery-key {} --data new", "backup {} --data data",
    "backup b --new-recovery-key {} --data data",
    "bracelet add x --offer {} --data data", "bracelet add --answer {} --data data", "bracelet import {} --data data",
    "bracelet export {} x --data data", "bracelet update 00000001 {} --data data", "bracelet withdraw {} --data data",
    "bracelet add @{} --offer o --data data", "bracelet add x --offer o --wifi @{} --data data",
    "subscriber add x --file {} --data data", "broker accounts --out {} --data data", "init {}",
    "alarms --data {}", "watch --data {}", "run --data {}", "bracelet list --data {}", "accept c0ffee01-0 --data {}",
    "backup b --data {}", "subscriber list --data {}", "broker accounts --out o --data {}",
]  # a table, read by rows # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert CliRunner().invoke(main, ["init", str(folder / "data")]).exit_code == 0
    return folder / "data"


@pytest.mark.parametrize("words", WORDS)
def test_no_file_makes_a_traceback(made: Path, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(made)
    Path("garbage").write_bytes(bytes(range(256)) * 8)
    Path("text").write_text("hello = [1\n")
    Path("empty").touch()
    Path("folder").mkdir()
    for thing in THINGS:
        done = relay(*words.replace("{}", thing).split())
        assert done.exception is None or isinstance(done.exception, SystemExit), (thing, repr(done.exception))
        assert done.exit_code in (0, 1, 2), thing
        assert done.output, thing


@pytest.mark.parametrize(("before", "ends"), [("default_int_handler", True), ("SIG_IGN", False)])
def test_ctrl_c_in_an_import_is_no_traceback(before: str, ends: bool) -> None:
    program = (
        "import os, signal; from relay.program import nothing_begun\n"
        f"signal.signal(signal.SIGINT, signal.{before})\n"
        "with nothing_begun():\n    os.kill(os.getpid(), signal.SIGINT)\n"
        f"assert signal.getsignal(signal.SIGINT) is signal.{before}; print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    told = (done.returncode, done.stdout, done.stderr)
    assert told == ((130, "", "Interrupted.\n") if ends else (0, "went on\n", ""))


def test_ctrl_c_where_something_is_asked_for_ends_as_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    file = tmp_path / "backup"
    file.touch()
    words = ["restore", str(file), "--data", str(tmp_path / "new")]
    with monkeypatch.context() as patched:
        patched.setattr(termui, "hidden_prompt_func", interrupted)
        done = main.main(words, standalone_mode=False)
    assert done == 130
    assert relay(*words).exit_code == 2, "nothing was there to be read"
