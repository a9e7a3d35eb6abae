"""A GNSS receiver in a modem: the commands of each maker, and its sentences between the modem's own lines."""

from __future__ import annotations

import pytest

from hwsim.world import World
from hwsim.world.gnss import Track


class Typist:
    """Types at the modem of a bracelet whose processor is off: what the modem says is kept."""

    def __init__(self, world, board):
        self.world = world
        self.bracelet = world.bracelet(board=board, track=Track.still(1.0, 2.0))
        self.modem = self.bracelet.modem
        self.said = b""
        self.modem._send = self._hear
        self.modem.fed = True
        self.modem.held.update(dict.fromkeys(self.modem.held, True))
        self.modem.power(True)
        world.run(self.modem.habits.sms_s + 1)
        self("ATE0")

    def _hear(self, data):
        self.said += data

    def __call__(self, command, seconds=0.5):
        self.said = b""
        self.modem.feed(command.encode() + b"\r")
        self.world.run(seconds)
        return [line for line in self.said.decode().split("\r\n") if line]


def sentences(lines):
    return [line[3:6] for line in lines if line.startswith("$")]


def test_a_sim7000_reports_when_it_is_told_to(world):
    at = Typist(world, "lilygo-t-sim7000g")
    assert at("AT+CGNSPWR=1", 3) == ["OK"]
    assert sentences(at("AT+CGNSTST=1", 3))[:2] == ["RMC", "VTG"]
    at("AT+CGNSTST=0")
    assert at("AT", 3) == ["OK"]
    assert at("AT+CGPS=1") == at("AT+CGNSSPWR=1") == ["ERROR"]  # other makers' commands


def test_a_sim7600_knows_sessions(world):
    at = Typist(world, "lilygo-t-sim7600")
    assert at("AT+CVAUXV=2800;+CVAUXS=1") == ["OK"]
    assert at("AT+CGPS=1") == ["OK"]
    assert at("AT+CGPS=1") == ["ERROR"]  # one runs
    assert sentences(at("AT+CGPSINFOCFG=1,3", 3))
    at("AT+CGPSINFOCFG=0")
    assert at("AT+CGPS=0") == ["OK"]
    assert at("AT+CGPS=0") == ["ERROR"]
    assert not at.bracelet.gnss.on


@pytest.mark.parametrize("board", ["lilygo-t-a7670", "lilygo-t-sim7670g-s3"])
def test_an_a76_takes_nine_seconds(world, board):
    at = Typist(world, board)
    assert at("AT+CGNSSPWR=1", 5) == ["OK"]
    assert at("AT+CGNSSPORTSWITCH=0,1", 5) == ["ERROR", "+CGNSSPWR: READY!"]
    assert at("AT+CGNSSPORTSWITCH=0,1") == ["OK"]
    assert sentences(at("AT+CGNSSTST=1", 3))
    at.modem.power(False)
    assert not at.bracelet.gnss.on


def test_a_modem_without_its_supply_or_its_pins_is_deaf():
    with World(seed=1) as world:
        bracelet = world.bracelet(board="lilygo-t-a7670")
        bracelet.modem.power(True)
        assert not bracelet.modem.on  # nothing feeds it
    with World(seed=1) as world:
        at = Typist(world, "lilygo-t-sim7600")
        assert at("AT") == ["OK"]
        at.modem.held[25] = False  # flight mode
        assert at("AT") == []
