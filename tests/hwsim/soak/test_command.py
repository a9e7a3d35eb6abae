"""`hwsim soak` as it is called: its figures, its digest, its exit status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from click.testing import CliRunner

from hwsim.cli import main
from hwsim.soak import report
from hwsim.soak.draw import draw
from hwsim.soak.judge import Failure
from hwsim.soak.play import Outcome
from hwsim.world.bracelet import FIRMWARE

pytestmark = pytest.mark.xdist_group("soak")  # one worker: the lives are played for several tests


def soak(*arguments, status=0):
    result = CliRunner().invoke(main, ["soak", *arguments])
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture(scope="module")
def lives():
    return json.loads(soak("--seeds", "6", "--hours", "0.15", "--json", "--jobs", "2"))


def test_six_lives_lose_nothing(lives):
    assert lives["failures"] == []
    assert lives["seeds"] == 6
    assert lives["alarms_raised"] >= 6
    assert lives["delivered"] == lives["alarms_raised"]
    assert (lives["lost"], lives["duplicated"]) == (0, 0)
    assert 3 < lives["press_to_receipt_median_s"] <= lives["press_to_receipt_worst_s"]
    assert lives["invariants_checked"] > 250
    assert len(lives["invariants"]) >= 15
    assert set(lives["first_by_path"]) == {"mqtt", "sms"}
    assert lives["simulated_s_per_wall_s"] > 0
    assert lives["seeds_per_s"] > 0
    assert not lives["interrupted"]


@pytest.mark.long
@pytest.mark.timeout(600)  # ten lives with those of the fixture, on a machine that plays others beside them
def test_the_digest_repeats_with_one_process_or_two(lives):
    by_one, by_two = (
        json.loads(soak("--seeds", "2", "--hours", "0.15", "--json", "--jobs", jobs)) for jobs in ("1", "2")
    )
    for figure in ("digest", "alarms_raised", "invariants", "press_to_receipt_worst_s", "simulated_s", "actions"):
        assert by_one[figure] == by_two[figure]
    assert by_one["digest"] != lives["digest"]


def test_for_people():
    text = soak("--seeds", "1", "--hours", "0.15")
    assert "0 lost, 0 duplicated" in text
    assert "digest" in text


@pytest.mark.long
def test_a_failure_is_told_with_its_shortest_form_and_a_way_to_see_it_again(tmp_path):
    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    driver = firmware / "tocsin/drivers/battery.py"
    text = driver.read_text()
    assert text.count("async def run(self):") == 1
    driver.write_text(text.replace("async def run(self):", "async def run(self):\n        raise KeyError\n"))
    options = ["--first", "4", "--hours", "0.2", "--firmware", str(firmware)]
    told = json.loads(soak("--seeds", "1", "--json", *options, status=1))
    (failure,) = told["failures"]
    assert failure["seed"] == 4
    assert failure["broken"][0]["rule"] == "nothing breaks"
    assert "[[event]]" not in failure["shrunk"]  # it needs no event at all
    assert "--replay 4" in failure["replay"]
    assert told["failed_seeds"] == [4]

    (tmp_path / "life.toml").write_text(failure["shrunk"])
    again = soak("--replay", str(tmp_path / "life.toml"), "--firmware", str(firmware), status=1)
    assert "FAILED  nothing breaks" in again
    assert "@restarted" not in again.split("FAILED")[0]  # the trace has it as an event of the firmware
    assert "FAILED" not in soak("--replay", str(tmp_path / "life.toml"))
    assert "the shortest life found that fails so:" in soak("--seeds", "1", *options, status=1)


def test_a_life_on_another_board_says_so():
    told = json.loads(soak("--replay", "3", "--hours", "0.2", "--board", "devkit", "--json"))
    assert 'board = "devkit"' in told["life"]
    assert "strap_" not in told["life"]


def test_replay_shows_the_life_and_its_trace():
    life = draw(3, 0.3)
    text = soak("--replay", "3", "--hours", "0.3")
    for step in life.steps:
        assert str(step) in text
    assert text.count("scene ") >= len(life.steps)
    assert "firmware     raised" in text


@pytest.mark.parametrize(
    "arguments",
    [["--replay", "no such file"], ["--seeds", "0"], ["--jobs", "0"], ["--hours", "0"], ["--board", "none"]],
)
def test_misuse(arguments):
    soak(*arguments, status=2)


def test_an_interrupt_tells_what_was_done_and_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hwsim.cli", "soak", "--seeds", "5000", "--hours", "0.2", "--json", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's background ignores it
    )
    while not list(tmp_path.glob("hwsim-soak-*")):  # a life has begun
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()
    told = json.loads(out)
    assert told["interrupted"]
    assert told["seeds"] < 5000
    assert process.returncode == 130, err
    assert list(tmp_path.iterdir()) == []


def test_the_report_adds_up():
    outcomes = [
        Outcome(1, "aa", raised=2, delivered=2, waits=[3.0, 9.0], simulated_s=600),
        Outcome(2, "bb", raised=3, delivered=2, lost=1, duplicated=1, waits=[4.0], simulated_s=400),
    ]
    outcomes[0].sms_ways = Counter(sms=1, receipt=1)
    outcomes[1].sms_ways = Counter(late=1, excepted=2)
    outcomes[1].failures = [Failure("nothing is lost", "the relay never got message 3")]
    told = report.figures(outcomes, wall_s=2.0)
    assert (told["alarms_raised"], told["delivered"], told["lost"], told["duplicated"]) == (5, 4, 1, 1)
    assert (told["press_to_receipt_median_s"], told["press_to_receipt_worst_s"]) == (4.0, 9.0)
    assert (told["simulated_s_per_wall_s"], told["seeds_per_s"]) == (500, 1.0)
    assert told["failed_seeds"] == [2]
    assert told["sms_could_leave_for_30_s"] == {"sms": 1, "receipt": 1, "late": 1, "excepted": 2}
    assert told["sms_excepted_seeds"] == [2]
    assert "in 5 cases: 1 did, 1 had their receipt before, 1 did not; 2 excepted" in report.text(told)
    assert told["digest"] != report.figures(outcomes[::-1], wall_s=2.0)["digest"]
    assert "1 lost, 1 duplicated" in report.text(told)
    assert "no alarm got its receipt" in report.text(report.figures([], wall_s=0.0))
