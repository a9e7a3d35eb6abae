"""Processes that work off tasks: every task once, whoever dies, and nobody is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwsim.soak.workers import work


def square(number):
    return number * number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def say_who(folder):
    mine = Path(folder) / str(os.getpid())
    mine.touch()
    try:
        time.sleep(60)
    finally:
        mine.unlink()


class Fragile:
    """Something that the collector, or the end of a function, runs code for."""

    def __init__(self, folder):
        self._folder = folder

    def __del__(self):
        (self._folder / "dying").touch()
        time.sleep(60)


def drop_something(folder):
    mine = Path(folder) / "working"
    mine.touch()
    fragile = Fragile(Path(folder))
    try:
        del fragile
        time.sleep(60)
    finally:
        mine.unlink()


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_every_task_once(jobs):
    assert dict(work(square, range(5), jobs)) == {number: number**2 for number in range(5)}


def test_no_tasks():
    assert list(work(square, [], 2)) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_loses_its_task_alone(jobs):
    assert dict(work(die_at_three, range(6), jobs)) == {0: 0, 1: 1, 2: 2, 3: None, 4: 4, 5: 5}


def test_an_interrupt_leaves_no_process_behind_and_they_clean_up(tmp_path):
    def interrupted(number, frame):
        raise KeyboardInterrupt

    def interrupt_when_both_work():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupted)
    threading.Thread(target=interrupt_when_both_work, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(work(say_who, [str(tmp_path)] * 4, 2))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


KILLED = """
import sys
from hwsim.soak.workers import work
from tests.hwsim.soak.test_workers import say_who

if __name__ == "__main__":
    list(work(say_who, [sys.argv[1]] * 2, 2))
"""


def test_they_end_with_whoever_started_them(tmp_path):
    marks, script = tmp_path / "marks", tmp_path / "script.py"
    marks.mkdir()
    script.write_text(KILLED)
    root = str(Path(__file__).resolve().parents[3])
    process = subprocess.Popen([sys.executable, str(script), str(marks)], env=os.environ | {"PYTHONPATH": root})
    while len(list(marks.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    while list(marks.iterdir()):  # the time limit of a test ends this
        time.sleep(0.05)


def test_one_that_is_told_to_end_while_exceptions_are_lost_ends_all_the_same(tmp_path, capfd):
    def interrupted(number, frame):
        raise KeyboardInterrupt

    def interrupt_when_it_dies():
        while not (tmp_path / "dying").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupted)
    threading.Thread(target=interrupt_when_it_dies, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(work(drop_something, [str(tmp_path)], 1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not (tmp_path / "working").exists(), "it has cleaned up, and was not killed"
    assert "Traceback" not in capfd.readouterr().err
