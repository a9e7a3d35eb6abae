"""What a modem says of the network: forms of registration that disagree, cells that are none, a clock that waits to be
told to follow."""

from __future__ import annotations

import pytest

from hwsim.modems import MODELS
from hwsim.world.modem_network import PLACEHOLDERS

from .test_modem import OTHER, OWN, Terminal


@pytest.fixture
def at(world):
    terminal = Terminal(world, world.relay_modem(OWN))
    terminal("ATE0;+CMEE=1;+CREG=2;+CEREG=2")
    return terminal


@pytest.mark.parametrize(
    ("form", "creg", "cereg"),
    [
        ("standard", '+CREG: 2,1,"1A2B","0001C3D4"', '+CEREG: 2,1,"1A2B","0001C3D4",7'),
        ("padded", '+CREG:002,001,"1a2b","1c3d4"', '+CEREG:002,001,"1a2b","1c3d4"'),
        ("rac", '+CREG: 2,1,"1A2B","0001C3D4"', "+CEREG: 2,1, 1A2B, 20 ,0001C3D4 ,7"),
        (
            "more",
            '+CREG: 2,1,"1A2B","0001C3D4",7,,,"11100000","11100000"',
            '+CEREG: 2,1,"1A2B","0001C3D4",7,,,"11100000","11100000"',
        ),
        ("blank", '+CREG: 2,1,"",""', '+CEREG: 2,1,"","",7'),
        ("lte", '+CREG: 2,1,"FFFE","0001C3D4",7', '+CEREG: 2,1,"1A2B","0001C3D4",7'),
    ],
)
def test_how_registration_looks(at, form, creg, cereg):
    at.modem.modem.registration_form = form
    assert at("AT+CREG?")[0] == creg
    assert at("AT+CEREG?")[0] == cereg


def test_more_fields_while_there_is_no_registration(at):
    """nrfconnect/sdk-nrf#12927: a cause and its kind, or empty fields and timers."""
    modem = at.modem.modem
    modem.denied = True
    modem.service = False
    modem.service = True
    at.world.run(5)
    modem.registration_form = "more"
    assert at("AT+CEREG?")[0] == "+CEREG: 2,3,,,,0,15"
    modem.registration_form = "blank"
    assert at("AT+CEREG?")[0] == '+CEREG: 2,3,,,,,,"11100000","11100000"'


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_cell_that_is_none(at, placeholder):
    at.modem.modem.placeholder = placeholder
    assert at("AT+CREG?")[0] == '+CREG: 2,1,"{}","{}"'.format(*placeholder)


def test_commands_that_are_missing_or_deny_it(world, at):
    """botletics/SIM7000-LTE-Shield#50: +CREG 0,2 while +CEREG and +CGATT say yes, and data works."""
    modem = at.modem.modem
    modem.missing = {"CREG", "CGATT"}
    assert at("AT+CREG?") == at("AT+CREG=2") == at("AT+CGATT?") == ["ERROR"]
    assert at("AT+CEREG?")[0].startswith("+CEREG: 2,1,")
    modem.service = False
    world.run(1)
    assert at.read() == ["+CEREG: 2"]  # and nothing of +CREG unasked
    modem.service = True
    world.run(5)
    modem.missing.clear()
    modem.tells_instead = {"CREG": 2, "CGATT": 0}
    assert at("AT+CREG?")[0] == "+CREG: 2,2"
    assert at("AT+CGATT?")[0] == "+CGATT: 0"
    world.sms.phone(OTHER)
    assert at.send(OTHER, b"x")[-1] == "OK"
    at('AT+CGDCONT=1,"IP","internet"')
    assert at("ATD*99#", 1.5)[0] == "CONNECT"


def test_a_sim800_has_no_cereg(world):
    terminal = Terminal(world, world.relay_modem(OWN, model="SIM800L"))
    terminal("ATE0")
    assert terminal("AT+CEREG?") == ["ERROR"]
    assert terminal("AT+CGREG?") == ["+CGREG: 0,1", "OK"]


@pytest.mark.parametrize("model", MODELS)
def test_the_clock_follows_the_network_only_when_its_own_command_said_so(world, model):
    """LilyGO's TinyGSM: +CLTS=1 on SIM800, 7000, 7080, +CTZU=1 on the others. TinyGSM#289: 2004 until then."""
    own = "+CLTS" if model in ("SIM800L", "SIM7000G", "SIM7080G") else "+CTZU"
    other = "+CTZU" if own == "+CLTS" else "+CLTS"
    terminal = Terminal(world, world.relay_modem(OWN, model=model))
    terminal("ATE0")
    unset = f'+CCLK: "{MODELS[model].habits.clock_unset}"'
    assert terminal("AT+CCLK?")[0] == unset
    terminal(f"AT{other}=1")
    assert terminal("AT+CCLK?")[0] == unset
    assert terminal(f"AT{own}=1") == ["OK"]
    assert terminal("AT+CCLK?")[0].startswith('+CCLK: "26/01/01,01:00:')
    terminal.modem.modem.restart()
    world.run(20)
    terminal("ATE0")
    assert terminal("AT+CCLK?")[0] == unset


def test_a_clock_that_is_set_at_the_next_registration_only(world):
    terminal = Terminal(world, world.relay_modem(OWN, model="SIM7000G"))
    modem = terminal.modem.modem
    modem.clock_at_registration = True
    terminal("ATE0")
    terminal("AT+CLTS=1")
    assert "80/01/06" in terminal("AT+CCLK?")[0]
    modem.service = False
    modem.service = True
    world.run(5)
    assert "26/01/01" in terminal("AT+CCLK?")[0]


@pytest.mark.parametrize(
    ("form", "begins", "ends"),
    [("standard", '"26', '+04"'), ("no quotes", "26", "+04"), ("no zone", '"26', '"'), ("neither", "26", "")],
)
def test_how_the_time_looks(at, form, begins, ends):
    at.modem.modem.clock_form = form
    line = at("AT+CCLK?")[0]
    assert line.startswith(f"+CCLK: {begins}/01/01,01:00:")
    assert line.endswith(ends)
    assert len(line) == len("+CCLK: 26/01/01,01:00:00") + 2 * ('"' in begins) + 3 * ("+04" in ends)
