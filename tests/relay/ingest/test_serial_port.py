"""The port in the loop, on real PTYs: lost and found, never blocking, power cycle of a hung modem."""

from __future__ import annotations

import itertools
import os
import pty
import select
import stat
import termios
import tty
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import serial

from relay.ingest.serial_port import Port, SmsLink, open_serial
from relay.ingest.sms import Modem, Outgoing, Silent

PATIENCE = 30.0


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _note(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    debug = info = warning = error = _note

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class Line:
    """A serial line: the far end is the test, the near end a path that can be opened."""

    def __init__(self) -> None:
        self.far, self._near = pty.openpty()
        tty.setraw(self._near)
        os.set_blocking(self.far, False)
        self.path = os.ttyname(self._near)

    def hears(self, wanted: bytes) -> None:
        """Octets cross a pseudo-terminal a moment after the write returns."""
        heard = b""
        while len(heard) < len(wanted) and select.select([self.far], [], [], PATIENCE)[0]:
            heard += os.read(self.far, 65536)
        assert heard == wanted

    def forget(self) -> None:
        """Drop what was said before, on its way or come."""
        termios.tcflush(self._near, termios.TCOFLUSH)
        while select.select([self.far], [], [], 0)[0]:
            os.read(self.far, 65536)

    def unplug(self) -> None:
        os.close(self._near)
        os.close(self.far)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    for fd in (made.far, made._near):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.fixture
def log() -> Recorder:
    return Recorder()


def link_to(path: str, log: Recorder, **options: Any) -> SmsLink:
    return SmsLink(Modem(), partial(open_serial, path, 115200), log, **options)


def test_it_opens_and_talks(line: Line, log: Recorder) -> None:
    link = link_to(line.path, log)
    link.tick(0.0)
    assert link.fileno() is not None
    line.hears(b"AT\r")
    os.write(line.far, b"\r\nOK\r\n")
    assert select.select([link.fileno()], [], [], PATIENCE)[0]
    link.readable(0.1)
    line.hears(b"ATE0\r")
    link.close()


def test_the_port_belongs_to_one_process(line: Line, log: Recorder) -> None:
    link = link_to(line.path, log)
    link.tick(0.0)
    with pytest.raises(serial.SerialException):
        open_serial(line.path, 115200)
    link.close()
    open_serial(line.path, 115200).close()


def test_a_port_that_is_missing_is_tried_again_ever_more_rarely(tmp_path: Path, log: Recorder) -> None:
    link = link_to(str(tmp_path / "nothing"), log)
    tries = []
    now = 0.0
    for _ in range(5):
        now = max(now, link.deadline())
        tries.append(now)
        link.tick(now)
    pauses = [round(b - a) for a, b in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert log.names() == ["sms.port_unavailable"] * 5
    assert link.fileno() is None


def test_a_port_that_is_unplugged_is_opened_again(log: Recorder) -> None:
    lines = [Line(), Line()]

    def plugged_in() -> Port:
        return open_serial(lines[0].path, 115200)

    link = SmsLink(Modem(), plugged_in, log)
    link.tick(0.0)
    lines[0].hears(b"AT\r")
    lines.pop(0).unplug()
    link.readable(0.1)
    assert log.names() == ["sms.port_lost"]
    assert link.fileno() is None
    link.tick(link.deadline())
    lines[0].hears(b"AT\r")
    link.close()
    lines[0].unplug()


def test_a_modem_that_reads_nothing_does_not_block_the_loop(line: Line, log: Recorder) -> None:
    class Flood(Modem):
        def take_output(self) -> bytes:
            return bytes(1 << 20)

    link = SmsLink(Flood(), partial(open_serial, line.path, 115200), log)
    link.tick(0.0)
    assert link.wants_write
    link.close()


def test_a_silent_modem_is_switched_off_and_on(line: Line, log: Recorder, tmp_path: Path) -> None:
    script = tmp_path / "power-cycle"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/cycled\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    link = link_to(line.path, log, power_cycle=[str(script)])
    reports = []
    now = 0.0
    while "sms.power_cycle" not in log.names():
        reports += link.tick(now)
        now += 1.0
        assert now < 60
    assert any(isinstance(report, Silent) for report in reports)
    assert "sms.port_lost" in log.names()
    assert link._cycling is not None
    link._cycling.wait(10)
    assert (tmp_path / "cycled").exists()
    line.forget()
    link.tick(now + 15)
    line.hears(b"AT\r")
    link.close()


def test_a_power_cycle_that_can_not_be_started_is_logged(line: Line, log: Recorder, tmp_path: Path) -> None:
    link = link_to(line.path, log, power_cycle=[str(tmp_path / "missing")])
    for second in range(60):
        link.tick(float(second))
    assert "sms.power_cycle_failed" in log.names()
    link.close()


def test_what_is_to_be_sent_waits_for_the_port(line: Line, log: Recorder) -> None:
    link = link_to(line.path, log)
    assert link.send(Outgoing("+10000000001", b"receipt"), 0.0)
    assert link.unsent == 1
    link.tick(0.0)
    line.hears(b"AT\r")
    assert link.unsent == 1
    link.close()


@pytest.mark.parametrize("body", ["exec sleep 600", "exit 3"])
def test_a_power_cycle_that_hangs_or_fails_is_logged_and_the_port_opened_again(
    line: Line, log: Recorder, tmp_path: Path, body: str
) -> None:
    script = tmp_path / "power-cycle"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    link = link_to(line.path, log, power_cycle=[str(script)])
    now = 0.0
    while "sms.power_cycle" not in log.names():
        link.tick(now)
        now += 1.0
    assert link._cycling is not None
    if body == "exit 3":
        link._cycling.wait(PATIENCE)
    line.forget()
    link.tick(now + 70)
    assert "sms.power_cycle_failed" in log.names()
    line.hears(b"AT\r")
    link.close()
