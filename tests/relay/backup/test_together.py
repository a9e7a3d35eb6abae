"""What does not belong together is refused at the start, by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay import store
from relay.cli import main

LIST = ["bracelet", "list"]
COMMANDS = [["run"], LIST, ["backup", "FILE"]]
FOREIGN = [
    (["keys/relay-signing.key"], "relay-signing.pub"),
    (["keys/relay-signing.pub"], "relay-signing.pub"),
    (["keys/relay-signing.key", "keys/relay-signing.pub"], "relay-signing.key"),
    (["keys/store.key"], "store.key"),
    (["relay.sqlite3"], "relay-signing.key"),
    (["tls/ca.pem", "tls/ca.key"], "ca.pem"),
    (["tls/ca.key"], "ca.key"),
    (["tls/ca.pem"], "ca.key"),
    (["keys/recovery.pub"], "recovery.pub"),
    (["keys/recovery.pub", "keys/recovery.sig"], "recovery.pub"),
    (["keys/recovery.sig"], "recovery.pub"),
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = []
    for name in ("one", "other"):
        folder = tmp_path_factory.mktemp("relays") / name
        assert CliRunner().invoke(main, ["init", str(folder)]).exit_code == 0
        made.append(folder)
    return made[0], made[1]


@pytest.mark.parametrize(
    ("foreign", "named", "command"),
    [(*case, LIST) for case in FOREIGN]
    + [(*case, command) for case in (FOREIGN[3], FOREIGN[8]) for command in COMMANDS if command is not LIST],
    ids=lambda value: "+".join(Path(name).name for name in value) if isinstance(value, list) else "",
)
def test_files_of_another_relay(
    two: tuple[Path, Path], tmp_path: Path, foreign: list[str], named: str, command: list[str]
) -> None:
    mine, other = two
    folder = tmp_path / "data"
    shutil.copytree(mine, folder)
    for name in foreign:
        for end in ("", "-wal", "-shm"):
            (folder / (name + end)).unlink(missing_ok=True)
        shutil.copy(other / name, folder / name)
    refused(command, folder, tmp_path, named)


@pytest.mark.parametrize(
    "missing", ["relay.sqlite3", "keys/relay-signing.pub", "keys/relay-signing.key", "keys/store.key"]
)
@pytest.mark.parametrize(("how", "command"), [("missing", COMMANDS[0]), ("empty", LIST), ("missing", COMMANDS[2])])
def test_what_is_missing(two: tuple[Path, Path], tmp_path: Path, missing: str, how: str, command: list[str]) -> None:
    folder = tmp_path / "data"
    shutil.copytree(two[0], folder)
    for end in ("", "-wal", "-shm"):
        (folder / (missing + end)).unlink(missing_ok=True)
    if how == "empty":
        (folder / missing).touch(mode=0o600)
    refused(command, folder, tmp_path, Path(missing).name)
    assert how == "empty" or not (folder / missing).exists(), "nothing new is made in its place"


@pytest.mark.parametrize("missing", ["tls", "tls/ca.pem"])
@pytest.mark.parametrize("command", [["run"], ["subscriber", "add", "x"], ["backup", "FILE"]], ids=" ".join)
def test_a_ca_that_is_missing_is_said_to_be(
    two: tuple[Path, Path], tmp_path: Path, missing: str, command: list[str]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(two[0], folder)
    (folder / missing).rename(tmp_path / "gone")
    refused(command, folder, tmp_path, "is missing; restore it from")


def test_a_server_certificate_that_is_missing_is_made_at_the_next_start(two: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(two[0], folder)
    (folder / "tls" / "server.pem").unlink()
    refused(["bracelet", "add", "x", "--offer", str(tmp_path / "o")], folder, tmp_path, "start the relay")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("how", ["missing", "empty", "new"])
def test_a_database_elsewhere_that_is_not_there(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A disk that was not mounted, or a name that was mistyped, once these keys have a bracelet."""
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    shutil.copytree(two[0], folder)
    monkeypatch.setenv("TOCSIN_STORE__URL", f"sqlite:///{elsewhere}")
    for command in (["bracelet", "add", "heron", "--offer", str(tmp_path / "offer")], LIST):
        done = CliRunner().invoke(main, [*command, "--data", str(folder)])
        assert done.exit_code == 0, "the first one may be new: there is nothing to lose"
    for end in ("", "-wal", "-shm"):
        Path(f"{elsewhere}{end}").unlink(missing_ok=True)
    if how != "missing":
        elsewhere.touch(mode=0o600)
    if how == "new":
        store.open(f"sqlite:///{elsewhere}", bytes(32)).close()
    refused(LIST, folder, tmp_path, "store.url" if how == "new" else "elsewhere")
    assert how != "missing" or not elsewhere.exists()


def refused(command: list[str], folder: Path, tmp_path: Path, named: str) -> None:
    arguments = [str(tmp_path / "a.backup") if each == "FILE" else each for each in command]
    done = CliRunner().invoke(main, [*arguments, "--data", str(folder)])
    assert done.exit_code == 1, done.output
    assert named in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "a.backup").exists()
