"""What a person reads: each step has its verdict, on its own line when something came between."""

from __future__ import annotations

import io
import json
import sys

import pytest

from hwsim.workshop.people import Person
from hwsim.workshop.trouble import Trouble


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_verdict_stands_behind_its_step(capsys):
    person = Person(False)
    person.step("erase", 2, 13, "erase the flash")
    person.verdict("erase", True, 7.4)
    assert capsys.readouterr().out == "[ 2/13] erase the flash ... good (7 s)\n"


def test_a_verdict_after_something_else_names_its_step(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("perhaps\ny\n"))
    person = Person(False)
    person.step("selftest", 7, 13, "self-test")
    person.tell("watch the light")
    assert person.ask("seen", "Did it blink?").yes
    person.verdict("selftest", False, 7.4)
    assert capsys.readouterr().out == (
        "[ 7/13] self-test ... \nwatch the light\n\nDid it blink? [y/n] y or n:      selftest: FAILED\n"
    )


def test_progress_is_for_terminals(capsys, monkeypatch):
    person = Person(False)
    person.step("write", 3, 13, "write")
    person.progress(12)
    assert capsys.readouterr().out == "[ 3/13] write ... "
    monkeypatch.setattr(sys, "stdout", Terminal())
    for percent in (12, 13, 13, 100):
        person.progress(percent)
    person.verdict("write", True, 1)
    assert sys.stdout.getvalue() == " 13 %\b\b\b\b\b100 %\b\b\b\b\bgood (1 s)\n"


def test_programs_get_it_too_and_nobody_is_waited_for(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    person = Person(True, ["felt"])
    person.progress(5)
    assert person.ask("felt", "?").by == "not asked"
    with pytest.raises(Trouble, match="nobody answered"):
        person.ask("seen", "Did it blink?")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [{"progress": 5}, {"ask": "seen", "text": "Did it blink?"}]
