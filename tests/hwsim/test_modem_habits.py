"""How modems start, stop, store and tell, model by model: each as its source in hwsim/modems.py says."""

from __future__ import annotations

import pytest

from hwsim.modems import MODELS, Habits
from hwsim.world.modem_messages import CMTI_FORMS

from .test_modem import OTHER, OWN, Terminal, submit

MESSAGE_COMMANDS = ("AT+CMGF=0", "AT+CNMI=2,1", 'AT+CPMS="SM"', "AT+CMGL=4", "AT+CMGS=20")


@pytest.fixture
def made(world):
    """A modem of a model, just switched on; its terminal."""

    def make(model=None, **habits):
        terminal = Terminal(world, world.relay_modem(OWN, model=model))
        terminal.modem.modem.power(False)
        for name, value in habits.items():
            setattr(terminal.modem.modem.habits, name, value)
        terminal.modem.modem.power(True)
        return terminal

    return make


def settled(terminal):
    """Ready for messages, registered, without echo."""
    terminal.world.run(terminal.modem.modem.habits.sms_s + 5)
    terminal("ATE0;+CMEE=1;+CMGF=0")
    terminal.read()
    return terminal


@pytest.mark.parametrize("model", MODELS)
def test_a_start(world, made, model):
    """Silent; then AT is answered; then, seconds later, commands for messages and the SIM."""
    habits = MODELS[model].habits
    at = made(model)
    world.run(habits.boot_s - 0.6)
    assert at("AT") == []
    world.run(0.2)
    said = at.read()
    assert [line for line in said if not line.startswith("+CPIN")] == [w for w in habits.words if w != "+CPIN"]
    at("ATE0;+CMEE=1")
    assert at("AT") == ["OK"]
    error = "ERROR" if habits.not_ready is None else f"+CMS ERROR: {habits.not_ready}"
    assert [at(command, 0.1) for command in MESSAGE_COMMANDS] == [[error]] * 5
    assert at("AT+CPIN?", 0.1) == [f"+CME ERROR: {habits.sim_not_ready}"]
    world.run(habits.sms_s - habits.boot_s)
    assert [line for line in at.read() if line in habits.sms_words] == [w for w in habits.sms_words if w != "+CPIN"]
    assert at("AT+CPIN?") == ["+CPIN: READY", "OK"]
    assert at("AT+CMGF=0") == ["OK"]


@pytest.mark.parametrize("model", MODELS)
def test_the_figures_of_every_model_have_a_source_and_are_within_what_was_reported(model):
    """Until AT at most 12 s; messages 4 to 15 s after the start; off in 0 or 2 to 7 s."""
    habits = MODELS[model].habits
    assert habits.source != Habits().source
    assert set(habits.estimates) <= set(vars(habits))
    assert habits.boot_s <= 12
    assert habits.boot_s <= habits.sms_s
    assert 4 <= habits.sms_s <= 15
    assert habits.off_s == 0 or 2 <= habits.off_s <= 7
    assert habits.cmti in CMTI_FORMS


def test_a_sim7600_restarts_in_text_mode_with_its_own_indications(world, made):
    """The AT&V after AT+CRESET: E 1, +CMGF 1, +CNMI 2,1, +CREG 0, +CTZU 0."""
    at = settled(made("SIM7600"))
    at('AT+CMGF=0;+CNMI=2,2;+CREG=2;+CTZU=1;+CPMS="ME","ME","ME"')
    at("AT+CRESET", 15)
    at.read()
    assert at("AT+CMGF?")[0] == "AT+CMGF?\r"
    at("ATE0")
    assert at("AT+CMGF?")[0] == "+CMGF: 1"
    assert at("AT+CNMI?")[0] == "+CNMI: 2,1,0,0,0"
    assert at("AT+CREG?")[0].startswith("+CREG: 0,")
    assert at("AT+CTZU?")[0] == "+CTZU: 0"
    assert at("AT+CPMS?")[0].split(",")[0::3] == ['+CPMS: "SM"', '"SM"', '"ME"']
    assert at("AT+CMGL=4") == ["+CMS ERROR: 302"]  # text mode has words for that (27.005, 3.4.2)
    assert at("AT+CMGS=20") == ["+CMS ERROR: 305"]
    assert at("AT+CMGF=0;+CMGL=4") == ["OK"]


def test_text_mode_shows_who_when_and_what(world, made):
    at = settled(made())
    at("AT+CMGF=1;+CNMI=2,1")
    world.sms.phone(OTHER).send(OWN, b"\x00\xff")
    world.run(3)
    assert at.read() == ['+CMTI: "SM",1']
    header, text, ok = at('AT+CMGL="ALL"')
    assert header.startswith(f'+CMGL: 1,"REC UNREAD","{OTHER}","","26/01/01,00:00:')
    assert (text, ok) == ("00FF", "OK")
    header, text, ok = at("AT+CMGR=1")
    assert header.startswith(f'+CMGR: "REC READ","{OTHER}","","26/01/01,00:00:')
    assert (text, ok) == ("00FF", "OK")


@pytest.mark.parametrize(("silent", "words"), [(False, ["RDY", "+CPIN: READY"]), (True, [])])
def test_a_restart_in_the_middle_of_a_message(world, made, silent, words):
    at = settled(made())
    phone = world.sms.phone(OTHER)
    pdu = submit(OTHER, b"x")
    assert at(f"AT+CMGS={len(pdu) - 1}") == ["> "]
    at.modem.endpoint.write(pdu.hex().encode() + b"\x1a")
    world.run(1)
    at.modem.modem.restart(silent=silent)
    world.run(8)
    assert at.read() == words  # no +CMGS
    assert phone.received == []
    assert at("AT")[-1] == "OK"
    at.modem.modem.restart()
    world.run(8)
    assert at.read() == ["RDY", "+CPIN: READY"]  # silent was that one


def test_a_restart_in_data_mode_says_no_carrier_to_nobody(world, made):
    at = settled(made())
    at('AT+CGDCONT=1,"IP","internet"')
    assert at("ATD*99#", 1.5)[0] == "CONNECT"
    at.modem.modem.restart(silent=True)
    at.read()
    world.run(10)
    assert at.read() == []
    assert at("AT") == ["AT\r", "OK"]  # commands again, with its echo


def test_the_pin_is_asked_for_at_every_start(world, made):
    at = settled(made())
    modem = at.modem.modem
    modem.pin = "1234"
    modem.restart()
    world.run(8)
    assert at.read() == ["RDY", "+CPIN: SIM PIN"]
    at("ATE0;+CMEE=1")
    assert at("AT+CMGL=4") == ["+CMS ERROR: 311"]
    assert at("AT+CIMI") == ["+CME ERROR: 11"]
    assert at('AT+CPIN="9999"') == ["+CME ERROR: 16"]
    assert at("AT+CREG?")[0] == "+CREG: 0,0"
    assert at('AT+CPIN="1234"') == ["OK", "+CPIN: READY"]
    world.run(5)
    assert at("AT+CREG?")[0] == "+CREG: 0,1"
    assert at("AT+CMGL=4") == ["OK"]
    modem.restart()
    world.run(8)
    at("ATE0")
    for _ in range(3):
        at('AT+CPIN="0000"')
    assert at("AT+CPIN?")[0] == "+CPIN: SIM PUK"
    assert at('AT+CPIN="1234"') == ["ERROR"]


# -- memories


def test_a_message_is_kept_in_the_third_memory_and_read_from_the_first(world, made):
    """serialport-gsm#12, gammu#550: +CMTI: "ME",0 while +CMGL reads SM, until +CPMS sets all three."""
    at = settled(made("A7670"))
    world.sms.phone(OTHER).send(OWN, b"x")
    world.run(3)
    assert at.read() == ['+CMTI: "ME",0']
    assert at("AT+CMGL=4") == ["OK"]
    assert at("AT+CMGR=0") == ["+CMS ERROR: 321"]
    assert at('AT+CPMS="ME"') == ["+CPMS: 1,20,0,20,1,20", "OK"]
    assert at("AT+CMGL=4")[0].startswith("+CMGL: 0,0,,")
    assert at("AT+CMGD=0") == ["OK"]
    assert at('AT+CPMS="MT"') == ["+CME ERROR: 50"]  # it has none
    assert at("AT+CPMS=?")[0] == '+CPMS: ("ME","SM","SR"),("ME","SM","SR"),("ME","SM","SR")'


def test_both_memories_are_one(world, made):
    at = settled(made("SIM7670G", cpms=("MT", "MT", "MT")))
    phone = world.sms.phone(OTHER)
    for _ in range(21):
        phone.send(OWN, b"x")
    world.run(5)
    assert at("AT+CPMS?")[0] == '+CPMS: "MT",21,40,"MT",21,40,"MT",21,40'
    assert [line.split(",")[1] for line in at.read()] == []
    indexes = [line.split(":")[1].split(",")[0].strip() for line in at("AT+CMGL=4") if line.startswith("+CMGL")]
    assert indexes == [str(n) for n in range(21)]
    assert at('AT+CPMS="SM"')[0].startswith("+CPMS: 1,20,")


@pytest.mark.parametrize(
    ("form", "line"),
    [("named", '+CMTI: "SM",1'), ("no index", '+CMTI: "SM"'), ("bare", "+CMTI: ,1"), ("minus", "+CMTI: ,-1")],
)
def test_how_a_message_is_told_of(world, made, form, line):
    at = settled(made(cmti=form))
    at("AT+CNMI=2,1")
    world.sms.phone(OTHER).send(OWN, b"x")
    world.run(3)
    assert at.read() == [line]
    assert len(at("AT+CMGL=4")) == 3


def test_a_full_memory_tells_or_not_and_the_rest_waits(world, made):
    at = settled(made())
    modem = at.modem.modem
    phone = world.sms.phone(OTHER)
    at("AT+CNMI=2,1")
    for _ in range(20):
        phone.send(OWN, b"x")
    world.run(5)
    at.read()
    phone.send(OWN, b"more")
    world.run(5)
    assert at.read() == []
    modem.messages.full_line = "+SMSFULL"
    phone.send(OWN, b"more")
    world.run(5)
    assert at.read() == ["+SMSFULL"]
    world.expect("sms centre", "waits")


# -- refusals


@pytest.mark.parametrize(("code", "answer"), [(0, "ERROR"), (310, "+CMS ERROR: 310"), (500, "+CMS ERROR: 500")])
def test_a_modem_that_refuses_every_command_for_messages(made, code, answer):
    """LilyGo-Modem-Series#247: an A7670E without SMS answers +CMGF with ERROR for ever; data works."""
    at = settled(made())
    at.modem.modem.messages.refused = code
    assert [at(command) for command in MESSAGE_COMMANDS] == [[answer]] * 5
    assert at("AT+CPIN?")[0] == "+CPIN: READY"
    at('AT+CGDCONT=1,"IP","internet"')
    assert at("ATD*99#", 1.5)[0] == "CONNECT"


def test_messages_refused_although_registered(world, made):
    at = settled(made())
    at.modem.modem.messages.submit_refused = 38
    assert at("AT+CREG?")[0] == "+CREG: 0,1"
    assert at.send(OTHER, b"x") == ["+CMS ERROR: 38"]
    at.modem.modem.messages.submit_refused = None
    assert at.send(OTHER, b"x")[-1] == "OK"


def test_without_a_service_centre_nothing_goes_until_one_is_set(world, made):
    at = settled(made())
    at.modem.modem.messages.centre_number = ""
    assert at("AT+CSCA?")[0] == '+CSCA: "",129'
    assert at.send(OTHER, b"x") == ["+CMS ERROR: 330"]
    world.sms.phone(OTHER).send(OWN, b"x")
    world.run(3)
    assert at("AT+CMGL=4")[1].startswith("0004")  # what comes has no centre's address
    assert at('AT+CSCA="+10000000099",145') == ["OK"]
    assert at.send(OTHER, b"x")[-1] == "OK"


# -- what a message may look like


def test_a_header_before_and_octets_behind(world, made):
    at = settled(made())
    messages = at.modem.modem.messages
    messages.adds_header, messages.behind = True, b"\xff" * 3
    world.sms.phone(OTHER).send(OWN, b"\x01\x02")
    world.run(3)
    pdu = bytes.fromhex(at("AT+CMGL=4")[1])
    assert pdu[8] & 0x40  # TP-UDHI (23.040, 9.2.3.23)
    assert pdu.endswith(bytes([8, 5, 0, 3, 0x2A, 1, 1, 1, 2]) + b"\xff" * 3)


def test_a_message_that_begins_behind_its_service_centre_and_a_line_that_cuts_in(world, made):
    """The relay's own driver reads such messages, too (relay/ingest/pdu.py); +CIEV: TinyGSM#496."""
    at = settled(made())
    messages = at.modem.modem.messages
    world.sms.phone(OTHER).send(OWN, b"\x01\x02")
    world.run(3)
    head, whole, _ = at("AT+CMGL=4")
    messages.drops_centre, messages.cuts_in = True, "+CIEV: 10"
    assert at("AT+CMGL=4")[:3] == [head.replace("1,0", "1,1"), "+CIEV: 10", whole[2 + 2 * int(whole[:2], 16) :]]


def test_settings_are_refused_until_messages_are_ready(world, made):
    """u-blox/ubxlib#287, TinyGSM#496: "SIM busy" in the first seconds, to commands that need no SIM."""
    at = made(boot_s=3.0, sms_s=8.0, settings_late=True)
    world.run(4)
    at.read()
    at("ATE0")
    assert at("AT+CMEE=1") == ["ERROR"]
    assert at("AT+COPS=3,2") == ["ERROR"]
    assert at("ATS8=93") == at("AT+COPS?")[-1:] == ["OK"]
    world.run(5)
    assert at("AT+CMEE=1")[-1] == at("AT+COPS=3,2")[-1] == "OK"


@pytest.mark.parametrize(
    ("reports", "cnmi", "line"),
    [
        ("told", "2,1,0,0,0", "+CDS: 25"),
        ("stored", "2,1,0,0,0", '+CMTI: "SM",1'),
        ("stored", "2,1,0,2,0", '+CDSI: "SR",1'),
    ],
)
def test_a_report_that_nobody_asked_for(world, made, reports, cnmi, line):
    at = settled(made())
    world.sms.phone(OTHER)
    at.modem.modem.messages.reports = reports
    at(f"AT+CNMI={cnmi}")
    assert at.send(OTHER, b"x", seconds=2)[-1] == "OK"
    world.run(4)
    assert at.read()[0] == line


@pytest.mark.parametrize("prompt", ["\r\n> ", "\r\n>\r\n", ">"])
def test_the_prompt(made, prompt):
    """27.005, 3.5.1; gammu#1176; RIOT's pull request 20016."""
    at = settled(made(prompt=prompt))
    at.modem.endpoint.read()
    at.modem.endpoint.write(b"AT+CMGS=20\r")
    at.world.run(0.1)
    assert at.modem.endpoint.read() == prompt.encode()


# -- the way that a message could leave by


def paths(world):
    return [event.detail["up"] for event in world.trace if event.who == "relay modem" and event.what == "sms path"]


def test_the_trace_tells_when_a_message_could_have_left(world):
    modem = world.relay_modem(OWN).modem
    assert paths(world) == [True]
    modem.service = False
    modem.service = True
    assert paths(world) == [True, False]  # there is a cell, and no registration
    world.run(5)
    assert paths(world) == [True, False, True]
    modem.messages.submit_refused = 500
    modem.messages.submit_refused = None
    modem.restart()
    assert paths(world)[3:] == [False, True, False]
    world.run(10)
    assert paths(world)[-1]
    modem.power(False)  # it could be switched on
    modem.power(True)
    world.run(10)
    assert paths(world)[6:] == [True]
    modem.go_off()  # nobody has seen it yet
    world.run(20)
    assert paths(world)[7:] == [False]
    modem.power(True)
    world.run(10)
    assert paths(world)[7:] == [False, True]
    modem.mute = True
    assert paths(world)[9:] == [False]
