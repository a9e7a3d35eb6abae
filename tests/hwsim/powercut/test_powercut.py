"""`hwsim powercut`: the real firmware comes back from every cut that is tried here, and broken ones are found out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from hwsim.cli import main
from hwsim.powercut import command, judge
from hwsim.powercut.life import CLEAN, TORN, Cut, Life
from hwsim.world.bracelet import FIRMWARE


def powercut(*args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["powercut", "--json", "--jobs", "1", *args])
    return done.exit_code, json.loads(done.stdout)


def powercut_by_two(*args: str) -> tuple[int, dict[str, Any]]:
    """As it is called: a process of its own, with two that play the lives."""
    words = [sys.executable, "-m", "hwsim.cli", "powercut", "--json", "--jobs", "2", *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=170, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


# By MQTT the broken ones below are played; `hwsim powercut` plays every cut of all lives.
@pytest.mark.long
@pytest.mark.parametrize(("life", "played"), [("sms", powercut_by_two), ("worn", powercut)])
def test_quick_run_of_the_real_firmware(life, played):
    status, report = played("--quick", "--life", life)
    assert report["failures"] == []
    assert status == 0
    row = report["lives"][0]
    assert row["clean"] + row["torn"] == row["passed"] == report["cuts"] == -(-row["operations"] // 11)
    assert row["operations"] > 60
    assert row["of_nvs"] > (40 if life == "worn" else 0)
    assert row["most_erases_of_a_sector"] > 0


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A copy of the firmware in which one file is changed. What is wrong with it shows at many cuts: few are enough."""
    monkeypatch.setattr(command, "QUICK_STEP", 31)

    def make(name: str, *changes: tuple[str, str]) -> str:
        folder = tmp_path / "firmware"
        shutil.copytree(FIRMWARE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / "tocsin" / name
        text = file.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        file.write_text(text)
        return str(folder)

    return make


def reasons(report: dict[str, Any]) -> str:
    return "\n".join(reason for failure in report["failures"] for reason in failure["failures"])


@pytest.mark.long
def test_a_journal_that_confirms_before_it_has_written_is_found(broken):
    folder = broken(
        "journal.py",
        (
            "    def save(self, content):\n",
            "    def save(self, content):\n"
            "        late, self._late = getattr(self, '_late', None), content\n"
            "        self._save(late or content)\n\n"
            "    def _save(self, content):\n",
        ),
    )
    status, report = powercut("--quick", "--life", "mqtt", "--firmware", folder)
    assert status == 1
    assert "was confirmed and never reached the relay" in reasons(report)


@pytest.mark.long
def test_a_journal_that_takes_a_counter_twice_is_found(broken):
    folder = broken(
        "journal.py",
        ("VERSION = 2  #", "_first = []\nVERSION = 2  #"),
        ("        for items in (self.alarm_tx,", "        for items in ((_first or [self.alarm_tx])[0],"),
        ("        skipped = {}\n", "        _first.append(alarm_tx)\n        skipped = {}\n"),
    )
    status, report = powercut("--quick", "--life", "mqtt", "--firmware", folder)
    assert status == 1
    assert "used for 2 different messages" in reasons(report)
    failure = report["failures"][-1]
    words = failure["replay"].split()
    assert words[:2] == ["hwsim", "powercut"]
    status, again = powercut(*words[2:])
    assert status == 1
    assert again["failures"] == failure["failures"]


@pytest.mark.long
def test_a_journal_that_keeps_what_was_before_is_found(broken):
    kept = "        self._next = 1 - self._next\n"
    folder = broken("journal.py", (kept + "        self._erase(self._next)\n", kept))
    status, report = powercut("--quick", "--life", "mqtt", "--firmware", folder)
    assert status == 1
    assert "is kept although it was delivered" in reasons(report)


def test_a_journal_in_files_is_found_because_a_file_system_does_not_erase(broken):
    """Two files written in turn, both overwritten each time: good enough for whoever reads files, not for a dump."""
    folder = broken(
        "journal.py",
        (
            "class Record:",
            "class Journal:\n"
            "    def __init__(self, flash):\n"
            "        pass\n\n"
            "    def load(self):\n"
            "        try:\n"
            "            with open('/journal', 'rb') as file:\n"
            "                return file.read()\n"
            "        except OSError:\n"
            "            return None\n\n"
            "    def save(self, content):\n"
            "        import os\n"
            "        with open('/journal.new', 'wb') as file:\n"
            "            file.write(b''.join(content))\n"
            "        os.rename('/journal.new', '/journal')\n\n\n"
            "class Record:",
        ),
    )
    result = command.play(command.Job("mqtt", None, 1, folder))
    assert any("is on the chip although its message was sent" in failure for failure in result.failures)


def test_a_track_on_flash_is_found(broken):
    folder = broken(
        "state.py",
        (
            "        seconds = self._clock.time()\n",
            "        seconds = self._clock.time()\n"
            "        if fix:\n"
            "            with open('/track', 'w') as file:\n"
            "                file.write('%d %d' % (fix[0], fix[1]))\n",
        ),
    )
    result = command.play(command.Job("mqtt", None, 1, folder))
    assert any("position is readable on the chip as text, 10^-7 degrees" in failure for failure in result.failures)


@pytest.mark.parametrize("how", [CLEAN, TORN])
def test_the_same_cut_is_the_same_life(how):
    traces = []
    for _ in range(2):
        with Life("mqtt", Cut(70, how)) as life:
            course = life.live()
            assert course.cut
            assert judge.failures(course, "mqtt") == []
            traces.append(life.world.digest())
    assert traces[0] == traces[1]


def test_every_operation_is_cut_in_a_full_run_and_every_eleventh_in_a_quick_one():
    full = list(command.jobs("mqtt", 30, seed=1, quick=False, firmware=None))
    assert [(job.cut.at, job.cut.how) for job in full] == [(at, how) for at in range(1, 31) for how in (CLEAN, TORN)]
    quick = list(command.jobs("mqtt", 30, seed=1, quick=True, firmware=None))
    assert [(job.cut.at, job.cut.how) for job in quick] == [(1, CLEAN), (12, TORN), (23, CLEAN)]


@pytest.mark.parametrize("args", [["--life", "none"], ["--at", "3"], ["--at", "-1", "--life", "sms"]])
def test_misuse(args):
    assert CliRunner().invoke(main, ["powercut", *args]).exit_code == 2


@pytest.mark.parametrize(
    ("life", "at", "how"),
    [
        ("update", 150, TORN),
        ("files", 49, TORN),
        *(
            pytest.param("update", *cut, marks=pytest.mark.long)
            for cut in [(60, TORN), (100, CLEAN), (176, TORN), (184, CLEAN), (190, TORN)]
        ),
        *(pytest.param("files", *cut, marks=pytest.mark.long) for cut in [(45, TORN), (47, CLEAN), (54, TORN)]),
    ],
)
def test_an_update_is_cut(life, at, how):
    """While it is written, checked, marked, tried and kept; `hwsim powercut --life update` cuts everywhere."""
    result = command.play(command.Job(life, Cut(at, how), 1))
    assert result.failures == []
    assert result.stage == "update"
