"""`relay backup` and `relay restore`, as somebody types them: on a folder whose relay may run, and in anger."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from relay.assembly import Relay
from relay.backup import recovery
from relay.backup.restore import steps_for
from relay.cli import main
from relay.datadir import DataDir
from relay.pipeline import Pipeline
from relay.store.chains import LEAP, leap
from relay.verify import parse
from relay.verify.ratchet import MAX_STEPS
from tests.relay.support import NOW, SOMEWHERE, Bracelet, answer


def relay(*arguments: str | Path, input: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=input, prog_name="relay")


class Life:
    """A relay with one bracelet and some alarms, and its backup."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "data"
        self.key_file = tmp_path / "recovery"
        self.file = tmp_path / "relay.backup"
        self.made = json.loads(relay("init", self.folder, "--recovery-key", self.key_file, "--json").stdout)
        self.opened = Relay(DataDir(self.folder))
        registry = self.opened.registry
        offer = registry.offer("heron", now=NOW, host="relay.example", port=8883, ca_der=b"der")
        document, self.bracelet = answer(offer)
        registry.complete(document, now=NOW)
        self.pipeline = Pipeline(self.opened.store, self.opened.keys)
        self.last = self.alarm(self.pipeline, self.bracelet)

    def alarm(self, pipeline: Pipeline, bracelet: Bracelet) -> bytes:
        (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
        assert item.receipt is not None
        return item.receipt

    def backup(self) -> Result:
        return relay("backup", self.file, "--data", self.folder)

    def restore(self, target: Path, *more: str | Path) -> Result:
        return relay("restore", self.file, "--recovery-key", self.key_file, "--data", target, *more)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What a folder holds but for its database, with the rights of each file."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("relay.sqlite3")]
    return {str(f.relative_to(folder)): (stat.S_IMODE(f.stat().st_mode), f.read_bytes()) for f in files}


def test_what_is_restored_is_the_same_relay(life: Life, tmp_path: Path) -> None:
    """The same keys, passwords and alarms; the next receipt is one that no bracelet can have had."""
    done = life.backup()
    assert done.exit_code == 0, done.output
    assert "found good" in done.output
    later = [life.alarm(life.pipeline, life.bracelet) for _ in range(3)]  # a life that the backup knows nothing of
    target = tmp_path / "new"
    done = life.restore(target, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["relay_id"] == life.made["relay_id"]
    assert contents(target) == contents(life.folder)
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    again = Relay(DataDir(target))
    (entry,) = again.registry.list()
    assert entry.code_name == "heron"
    receipt = life.alarm(Pipeline(again.store, again.keys), life.bracelet)
    assert parse(receipt).counter > max(parse(each).counter for each in later) + LEAP
    life.bracelet.confirmed(later[-1])
    life.bracelet.confirmed(receipt)
    again.store.close()


def test_a_backup_says_nothing_without_its_key(life: Life) -> None:
    life.backup()
    octets = life.file.read_bytes()
    assert stat.S_IMODE(life.file.stat().st_mode) == 0o600
    place = SOMEWHERE.lat_e7
    secrets = [
        *(b"heron", life.bracelet.kid.encode(), bytes.fromhex(life.bracelet.kid), b"relay.toml", b"alarm"),
        *(place.to_bytes(4, "big"), place.to_bytes(4, "little"), str(place).encode()),
        *(life.opened.data.signing_seed(), life.opened.data.store_key()),
    ]
    assert not any(secret in octets for secret in secrets)
    assert life.key_file.read_bytes().strip() not in octets


def test_it_is_never_written_over(life: Life) -> None:
    life.file.write_bytes(b"kept")
    done = life.backup()
    assert (done.exit_code, life.file.read_bytes()) == (1, b"kept")
    assert "exists already" in done.output


@pytest.mark.parametrize("links", [True, False], ids=["", "no links"])
def test_nor_what_came_while_it_was_made(life: Life, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    from relay.backup import save

    prove = save._prove

    def slow(*arguments: Any) -> Any:
        life.file.write_bytes(b"another one's")
        return prove(*arguments)

    def no_links(*_: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(save, "_prove", slow)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    done = life.backup()
    assert (done.exit_code, life.file.read_bytes()) == (1, b"another one's")
    assert "exists already" in done.output
    assert not list(life.file.parent.glob(".*.tmp"))


def test_of_two_restores_at_once_neither_spoils_the_other(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.backup()
    mkdir = Path.mkdir

    def after_another(path: Path, *arguments: Any, **more: Any) -> None:
        if path.name.endswith(".restoring"):
            mkdir(path)
            (path / "its").touch()
        mkdir(path, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", after_another)
    done = life.restore(tmp_path / "new")
    assert (done.exit_code, "is under way" in done.output) == (1, True)
    assert (tmp_path / ".new.restoring" / "its").exists()


@pytest.mark.parametrize("heard", [None, 0, 10, 3000])
def test_a_step_is_one_that_a_bracelet_takes_for_a_step(heard: int | None) -> None:
    """A shorter one reads as messages that it misses; a longer one it can't follow."""
    for number in range(0, 6000, 7):
        step = steps_for(number, 0, heard)
        wide = leap(number, step) if step else 0
        assert wide == 0 or wide >= LEAP
        assert wide == 0 or number + wide - (heard or 0) < MAX_STEPS - 300


def test_nor_is_a_folder(life: Life, tmp_path: Path) -> None:
    life.backup()
    before = contents(life.folder)
    done = life.restore(life.folder)
    assert done.exit_code == 1
    assert "is not empty" in done.output
    assert contents(life.folder) == before


@pytest.mark.parametrize("how", ["cut off", "altered", "longer", "another file", "an empty file"])
def test_what_is_damaged_is_refused_and_leaves_nothing(life: Life, tmp_path: Path, how: str) -> None:
    life.backup()
    octets = life.file.read_bytes()
    at = len(octets) // 2
    life.file.write_bytes(
        {
            "cut off": octets[:-1],
            "altered": octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :],
            "longer": octets + b"\0",
            "another file": b"PK\3\4" + octets,
            "an empty file": b"",
        }[how]
    )
    done = life.restore(tmp_path / "new")
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert "damaged" in done.output or "no backup of a Tocsin relay" in done.output
    assert not [left for left in tmp_path.iterdir() if "new" in left.name]


def test_another_key_and_a_misread_one_are_told_apart(life: Life, tmp_path: Path) -> None:
    life.backup()
    other, _ = recovery.new()
    life.key_file.write_text(other)
    assert "does not open this backup" in life.restore(tmp_path / "new").output
    misread = other[:-1] + ("A" if other[-1] != "A" else "B")
    life.key_file.write_text(misread)
    assert "misread" in life.restore(tmp_path / "new").output
    assert not (tmp_path / "new").exists()


def test_the_key_is_asked_for_and_taken_from_standard_input(life: Life, tmp_path: Path) -> None:
    life.backup()
    key = life.key_file.read_text()
    done = relay("restore", life.file, "--data", tmp_path / "asked", input=key)
    assert done.exit_code == 0, done.output
    assert key.strip() not in done.output
    done = relay("restore", life.file, "--recovery-key", "-", "--data", tmp_path / "piped", input=key.lower())
    assert done.exit_code == 0, done.output


def test_nobody_there_to_type_the_key_is_told_how_to_give_it(life: Life, tmp_path: Path) -> None:
    life.backup()
    done = relay("restore", life.file, "--data", tmp_path / "asked", input="")
    assert done.exit_code == 2
    assert "name the file that holds it with --recovery-key" in done.output
    assert not (tmp_path / "asked").exists()


def test_a_new_recovery_key_opens_what_is_made_after_it(life: Life, tmp_path: Path) -> None:
    new = tmp_path / "other-key"
    done = relay("backup", life.file, "--new-recovery-key", new, "--data", life.folder)
    assert done.exit_code == 0, done.output
    assert life.restore(tmp_path / "by-the-former").exit_code == 1
    life.key_file = new
    assert life.restore(tmp_path / "by-the-new").exit_code == 0


def test_a_recovery_key_is_not_kept_where_the_thief_of_the_disk_finds_it(life: Life) -> None:
    key = life.key_file.read_text().strip()
    private = recovery.read(key)
    for mode, octets in contents(life.folder).values():
        assert key.encode() not in octets, mode
        assert private not in octets
        assert private.hex().encode() not in octets
    inside = life.folder / "recovery"
    done = relay("backup", life.file, "--new-recovery-key", inside, "--data", life.folder)
    assert (done.exit_code, inside.exists(), life.file.exists()) == (1, False, False)


def test_a_full_or_missing_disk_is_one_sentence(life: Life, tmp_path: Path) -> None:
    life.file = Path("/dev/full/relay.backup")
    done = life.backup()
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert done.output.count("\n") == 1
    life.file = tmp_path / "nowhere" / "relay.backup"
    assert "No such file" in life.backup().output


def test_what_lies_outside_the_folder_is_not_written_there(life: Life, tmp_path: Path) -> None:
    """A file that somebody made with the public half of the key can't write where it wants."""
    from relay.backup import contents as form
    from relay.backup import sealed

    public = life.opened.data.recovery_public()
    for name in ("../outside", str(tmp_path / "outside"), "keys/../../outside"):
        with life.file.open("wb") as out:
            writer = sealed.Writer(out, public)
            about: dict[str, Any] = form.About(life.opened.keys.id, 0, "0001")._asdict()
            writer.write(["about", about])
            writer.write(["file", name, b"x", False])
            writer.write(["end", {}], last=True)
        done = life.restore(tmp_path / "new")
        assert (done.exit_code, (tmp_path / "outside").exists()) == (1, False)
        assert "outside its folder" in done.output
        assert not (tmp_path / "new").exists()


ABOUT = {"relay_id": b"", "made_ms": 1, "schema": "0001"}
KEY = ["file", "keys/relay-signing.key", b"00" * 32, False]
STRANGE: dict[str, list[Any]] = {
    "a number": [1],
    "nothing": [[]],
    "about nothing": [["about", {}]],
    "more about it": [["about", ABOUT | {"more": 1}]],
    "a file without octets": [["about", ABOUT], ["file", 5]],
    "another table": [
        ["about", ABOUT],
        KEY,
        [*KEY[:1], "keys/store.key", *KEY[2:]],
        ["file", "relay.toml", b"", False],
        ["table", "nope", []],
        ["end", {}],
    ],
}


@pytest.mark.parametrize("how", STRANGE)
def test_a_form_that_is_not_known_is_said_in_words(life: Life, tmp_path: Path, how: str) -> None:
    """Of a later version, or of whoever has the public half of the key."""
    from relay.backup import sealed

    with life.file.open("wb") as out:
        writer = sealed.Writer(out, life.opened.data.recovery_public())
        for number, record in enumerate(STRANGE[how], 1):
            writer.write(record, last=number == len(STRANGE[how]))
    done = life.restore(tmp_path / "new")
    assert (done.exit_code, "a form that this version does not know" in done.output) == (1, True), done.output
    assert [file.name for file in tmp_path.iterdir() if "new" in file.name] == []


def test_a_recovery_key_that_is_none_makes_no_backup(life: Life) -> None:
    life.opened.data.write_recovery_public(bytes(32))
    done = life.backup()
    assert (done.exit_code, "--new-recovery-key" in done.output, life.file.exists()) == (1, True, False)
