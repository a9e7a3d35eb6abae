"""The recovery key: each backup has a key that opens it, wherever making a new key ends; another relay's is refused."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay import together
from relay.assembly import Relay
from relay.backup import BackupError, recovery, save, sealed
from relay.cli import main
from relay.datadir import DataDir
from tests.relay.backup.test_command import contents, relay
from tests.relay.ingest.fake_broker import Recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert relay("init", tmp_path / "data", "--recovery-key", tmp_path / "first").exit_code == 0
    return tmp_path / "data"


def opens(file: Path, key_file: Path) -> bool:
    with file.open("rb") as read:
        try:
            return bool(next(sealed.read(read, private=recovery.read(key_file.read_text()))))
        except BackupError:
            return False


def raises(error: BaseException) -> Callable[..., Any]:
    def stand_in(*_: Any, **__: Any) -> Any:
        raise error

    return stand_in


@pytest.mark.parametrize("how", ["exists", "not good", "full disk", "folder not synced", "Ctrl-C"])
def test_a_backup_that_fails_leaves_the_former_key_in_force(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before, file, key_file = contents(folder), tmp_path / "b", tmp_path / "second"
    with monkeypatch.context() as patch:
        if how == "exists":
            file.write_bytes(b"kept")
        elif how == "not good":
            patch.setattr(save, "_prove", raises(BackupError("a value in it does not open")))
        elif how == "full disk":
            patch.setattr(save, "_prove", raises(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        elif how == "folder not synced":
            patch.setattr(save, "sync_folder", raises(OSError(errno.EIO, os.strerror(errno.EIO))))
        else:
            patch.setattr(save, "sync_folder", raises(KeyboardInterrupt()))
        done = relay("backup", file, "--new-recovery-key", key_file, "--data", folder)
    assert done.exit_code != 0
    assert not key_file.exists()
    assert file.exists() == (how == "exists"), "there is no backup that nobody can open"
    assert contents(folder) == before
    assert relay("backup", tmp_path / "c", "--data", folder).exit_code == 0
    assert opens(tmp_path / "c", tmp_path / "first")


def test_a_folder_that_does_not_take_the_new_key_costs_no_backup(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key_file = tmp_path / "b", tmp_path / "second"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "keys"))
    with monkeypatch.context() as patch:
        patch.setattr(together, "give_recovery", raises(full))
        done = relay("backup", file, "--new-recovery-key", key_file, "--data", folder)
    assert (done.exit_code, "may still need the former key" in done.output) == (1, True), done.output
    assert opens(file, key_file)
    assert relay("backup", tmp_path / "c", "--data", folder).exit_code == 0
    assert opens(tmp_path / "c", tmp_path / "first")


def test_what_is_restored_goes_on_with_the_key_that_opened_it(folder: Path, tmp_path: Path) -> None:
    """The backup that a new key is made with holds the new public half, though the folder got it only afterwards."""
    file, key_file, new = tmp_path / "b", tmp_path / "second", tmp_path / "new"
    assert relay("backup", file, "--new-recovery-key", key_file, "--data", folder).exit_code == 0
    assert relay("restore", file, "--recovery-key", key_file, "--data", new).exit_code == 0
    assert contents(new) == contents(folder)
    assert relay("backup", tmp_path / "c", "--data", new).exit_code == 0
    assert opens(tmp_path / "c", key_file)
    assert not opens(tmp_path / "c", tmp_path / "first")


def ends_at(number: int, *arguments: str | Path) -> bool:
    """Run a command in a process that dies at its nth fsync; tell whether it died."""
    child = os.fork()
    if child == 0:
        fsync, left = os.fsync, [number]

        def dies(descriptor: int) -> None:
            left[0] -= 1
            if not left[0]:
                os._exit(99)
            fsync(descriptor)

        os.fsync = dies
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            main([str(each) for each in arguments], standalone_mode=False)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 99)
    return status == 99


def test_a_crash_at_any_point_leaves_no_backup_without_a_key(folder: Path, tmp_path: Path) -> None:
    number, died = 0, True
    while died:
        number += 1
        place = tmp_path / f"crash{number}"
        shutil.copytree(folder, place / "data")
        file, key_file, later = place / "b", place / "second", place / "c"
        died = ends_at(number, "backup", file, "--new-recovery-key", key_file, "--data", place / "data")
        assert not file.exists() or opens(file, key_file), number
        assert relay("backup", later, "--data", place / "data").exit_code == 0, number
        keys = [key for key in (tmp_path / "first", key_file) if key.exists() and key.stat().st_size]
        assert any(opens(later, key) for key in keys), number
    assert number > 8
    assert len(DataDir(place / "data").recovery_marks()) == 1


def test_a_crash_of_init_leaves_no_relay_whose_key_is_lost(tmp_path: Path) -> None:
    number, died = 0, True
    while died:
        number += 1
        made = DataDir(tmp_path / f"data{number}")
        key_file = tmp_path / f"key{number}"
        died = ends_at(number, "init", made.path, "--recovery-key", key_file)
        if made.exists():
            assert recovery.public_of(recovery.read(key_file.read_text())) == made.recovery_public(), number
    assert number > 8


def test_a_folder_of_an_earlier_version_is_marked_at_its_next_start_and_guarded_then(
    folder: Path, tmp_path: Path
) -> None:
    data = DataDir(folder)
    (data.keys / "recovery.sig").unlink()
    assert relay("bracelet", "list", "--data", folder).exit_code == 0
    log = Recorder()
    for _ in range(2):
        opened = Relay(data)
        opened.service(log).close()
        opened.store.close()
    assert log.events.count("recovery_key.marked") == 1
    assert len(data.recovery_marks()) == 1
    other = tmp_path / "other"
    assert relay("init", other).exit_code == 0
    (other / "keys" / "recovery.sig").unlink()
    shutil.copy(other / "keys" / "recovery.pub", data.keys)
    done = relay("bracelet", "list", "--data", folder)
    assert (done.exit_code, "is not the recovery key of this relay" in done.output) == (1, True)


def test_a_lost_recovery_key_is_replaced_as_the_refusal_says(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert relay("init", other).exit_code == 0
    shutil.copy(other / "keys" / "recovery.pub", folder / "keys")
    command = ("backup", tmp_path / "b", "--new-recovery-key", tmp_path / "second", "--data", folder)
    assert relay(*command).exit_code == 1
    (folder / "keys" / "recovery.pub").unlink()
    assert relay(*command).exit_code == 0
    assert opens(tmp_path / "b", tmp_path / "second")
    assert relay("bracelet", "list", "--data", folder).exit_code == 0


def test_keys_that_may_not_be_written_keep_no_relay_from_its_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, log = DataDir(folder), Recorder()
    (data.keys / "recovery.sig").unlink()
    monkeypatch.setattr(DataDir, "write_recovery_marks", raises(OSError(errno.EROFS, os.strerror(errno.EROFS))))
    opened = Relay(data)
    opened.service(log).close()
    opened.store.close()
    assert "recovery_key.not_marked" in log.events
