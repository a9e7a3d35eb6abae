"""Where a board stands, through every interruption."""

from __future__ import annotations

import json
import stat

import pytest

from hwsim.workshop import plan
from hwsim.workshop.plan import STEPS, Progress


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_the_next_run_goes_on_where_the_last_one_ended(tmp_path, done):
    file = tmp_path / "state" / "board.json"
    progress = Progress("devkit")
    for step in list(STEPS)[:done]:
        assert progress.next() == step
        progress.did(step, {step: done})
        plan.save(file, progress)
    again = plan.load(file, "devkit")
    assert again == progress
    assert again.next() == (list(STEPS)[done] if done < len(STEPS) else None)


def test_a_step_out_of_turn_is_refused():
    with pytest.raises(ValueError, match="not the next"):
        Progress("devkit").did("write", {})


def test_what_failed_is_noted_until_it_has_worked():
    progress = Progress("devkit")
    progress.stopped("image")
    assert (progress.failed, progress.next()) == ("image", "image")
    progress.did("image", {})
    assert progress.failed == ""


def test_what_no_longer_holds_is_done_again():
    progress = Progress("devkit", list(STEPS)[:8])
    progress.again_from("install")
    assert (progress.next(), progress.done) == ("install", list(STEPS)[:5])
    progress.again_from("selftest")
    assert progress.next() == "install"


def test_a_finished_board_has_nothing_left_and_forgets_its_key_id(tmp_path):
    progress = Progress("devkit", list(STEPS), {"kid": "c0ffee01"})
    progress.finish("2026-11-21")
    plan.save(tmp_path / "board.json", progress)
    assert plan.load(tmp_path / "board.json", "devkit").next() is None
    assert "c0ffee01" not in (tmp_path / "board.json").read_text()


def test_another_kind_of_board_begins_anew(tmp_path):
    plan.save(tmp_path / "board.json", Progress("devkit", ["image"]))
    assert plan.load(tmp_path / "board.json", "walter") == Progress("walter")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 2, "board": "devkit"}',
        b'{"format": 1, "board": "devkit", "what": 1}',
        json.dumps({"format": 1, "board": "devkit", "done": ["write"]}).encode(),
    ],
)
def test_a_damaged_file_begins_anew(tmp_path, content):
    (tmp_path / "board.json").write_bytes(content)
    assert plan.load(tmp_path / "board.json", "devkit") == Progress("devkit")
    assert plan.load(tmp_path / "none.json", "devkit") == Progress("devkit")


def test_it_is_for_its_owner_only(tmp_path):
    plan.save(tmp_path / "s" / "board.json", Progress("devkit"))
    assert stat.S_IMODE((tmp_path / "s" / "board.json").stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "s").iterdir()] == ["board.json"]
