"""The workshop's way to a board: pulled out, changed for another, restarted or taken while programs work at it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import serial

from hwsim.workshop import batch, harden
from hwsim.workshop.bench import Options
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.trouble import Trouble

from .conftest import PATIENCE


def test_esptool_does_not_go_on_at_whatever_comes_to_the_port_next(pulled, tmp_path):
    """It would by itself: it opens the port again, and writes the whole image there."""
    with pytest.raises(Trouble, match="the board is gone from"):
        Cable(str(tmp_path / "ttyUSB0"), tmp_path / "log").esptool(*pulled, within=PATIENCE)
    said = (tmp_path / "log").read_text()
    assert "Lost connection" in said
    assert "--- esptool: status -9" in said  # ended by us


def test_which_board_it_is_is_known_from_the_first_look(usb, tmp_path):
    known: list[str | None] = []
    options = Options(None, tmp_path / "state", tmp_path / "records", 1.0)
    port = str(tmp_path / "ttyUSB0")
    row = batch.at(port, usb.board, Person(True), options, lambda chip, cable: known.append(cable.mac))
    assert (row.trouble, known) == ("", [usb.unique_id])


def test_another_board_at_the_port_is_told_of_and_gets_no_file(usb, tmp_path):
    cable = Cable(str(tmp_path / "ttyUSB0"), tmp_path / "log")
    cable.mac = usb.unique_id
    (tmp_path / "file").write_bytes(b"secret")
    assert cable.mpremote("exec", "print(1)", within=PATIENCE).strip() == "1"
    cable.mac = "0" * 12
    with pytest.raises(Trouble, match="another board is at"):
        cable.mpremote("fs", "cp", str(tmp_path / "file"), ":file", within=PATIENCE)
    with pytest.raises(Trouble, match="another board is at"):
        cable.esptool("flash-id", within=PATIENCE)
    assert "board.json" in usb.files.names() and "file" not in usb.files.names()


def test_it_writes_as_fast_as_it_is_told_says_how_far_and_what_lies_there_is_compared(usb, tmp_path):
    cable = Cable(str(tmp_path / "ttyUSB0"), tmp_path / "log", 921600)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(0x40000))
    percents: list[int] = []
    cable.esptool("write-flash", "0x200000", str(file), within=PATIENCE, progress=percents.append)
    assert "baud rate to 921600" in (tmp_path / "log").read_text()
    assert percents == sorted(percents) and percents[-1] == 100 and len(percents) > 5
    harden.check_written(str(usb.port.path), 0x200000, file)
    with pytest.raises(Trouble, match="is not what lies at 0x300000 of the flash; first: esptool --port"):
        harden.check_written(str(usb.port.path), 0x300000, file)


RUN = """
import sys
from pathlib import Path
from hwsim.workshop.tools import Cable
Cable(sys.argv[1], Path(sys.argv[2])).mpremote("exec", "import time; time.sleep(900)", within=900, line=print)
"""


def test_what_it_runs_ends_with_it_however_that_ends(usb, tmp_path):
    words = [sys.executable, "-c", RUN, str(tmp_path / "ttyUSB0"), str(tmp_path / "log")]
    with subprocess.Popen(words) as process:
        usb.world.expect("usb", "opened", within=PATIENCE)
        process.kill()
    usb.world.expect("usb", "closed", within=PATIENCE)


def test_a_port_that_another_program_has_is_told_of(usb, tmp_path):
    port = str(tmp_path / "ttyUSB0")
    with serial.Serial(port, exclusive=True):
        cable = Cable(port, tmp_path / "log")
        for work, words in ((cable.esptool, ["flash-id"]), (cable.mpremote, ["eval", "1"])):
            with pytest.raises(Trouble, match="can't be opened: another program has it open"):
                work(*words, within=PATIENCE)


def test_a_board_that_starts_anew_in_the_middle_is_not_waited_for(usb, tmp_path):
    def reset(text: str) -> None:
        usb.world.call(usb.reset)

    with pytest.raises(Trouble, match="started anew in the middle of it: is its supply strong enough"):
        cable = Cable(str(tmp_path / "ttyUSB0"), tmp_path / "log")
        cable.mpremote("exec", "import time; print(1); time.sleep(900)", within=900, line=reset)
