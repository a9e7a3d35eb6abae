"""A modem's packet data: as a transcript on its serial end, and PPP on a bracelet's UART."""

from __future__ import annotations

import pytest

from .test_modem import OTHER, OWN, Terminal

DIALLED = 'AT+CGDCONT=1,"IP","internet"'


@pytest.fixture
def at(world):
    terminal = Terminal(world, world.relay_modem(OWN))
    terminal("ATE0")
    terminal("AT+CMEE=1;+CNMI=2,1")
    return terminal


@pytest.fixture
def online(at):
    """In data mode, with PPP up."""
    at(DIALLED)
    at.modem.endpoint.write(b"ATD*99***1#\r")
    at.world.run(2)
    at.modem.endpoint.write(b"~conf~")
    at.world.run(0.1)
    assert at.modem.modem.packet.passes
    at.modem.endpoint.read()
    return at


def escape(at, before=1.1, after=1.1, text=b"+++"):
    at.world.run(before)
    at.modem.endpoint.write(text)
    at.world.run(after)
    return at.read()


def test_contexts_are_set_and_read(at):
    assert at(DIALLED) == ["OK"]
    assert at('AT+CGDCONT=2,"IP","other.apn"') == ["OK"]
    assert at("AT+CGDCONT?") == ['+CGDCONT: 1,"IP","internet"', '+CGDCONT: 2,"IP","other.apn"', "OK"]
    assert at("AT+CGDCONT=1") == ["+CME ERROR: 50"]


@pytest.mark.parametrize("command", ["ATD*99#", "ATD*99***1#"])
def test_dialling_takes_the_line(at, command):
    at(DIALLED)
    lines = at(command, 1.5)
    assert lines[0] == "CONNECT" and lines[1].startswith("~req~")
    assert at("AT") != ["OK"]


@pytest.mark.parametrize(
    ("hinder", "answer"),
    [
        (lambda modem: modem.packet.contexts.clear(), "ERROR"),
        (lambda modem: setattr(modem, "service", False), "NO CARRIER"),
        (lambda modem: setattr(modem, "data", False), "NO CARRIER"),
        (lambda modem: setattr(modem, "sim", False), "+CME ERROR: 10"),
        (lambda modem: setattr(modem.packet, "apn", "another"), "NO CARRIER"),
    ],
)
def test_dialling_is_refused(at, hinder, answer):
    at(DIALLED)
    hinder(at.modem.modem)
    at.world.run(0.1)
    assert at("ATD*99***1#", 2)[-1] == answer
    assert at("AT") == ["OK"]


def test_pluses_with_silence_around_them_lead_back(online):
    assert escape(online) == ["OK"]
    assert online.modem.modem.packet.open
    assert online("ATO", 1)[0] == "CONNECT"
    escape(online)
    assert online("ATH") == ["OK"]
    assert not online.modem.modem.packet.open
    assert online("ATO", 2) == ["NO CARRIER"]


@pytest.mark.parametrize(
    ("before", "after", "text"), [(0.5, 1.1, b"+++"), (1.1, 1.1, b"++++"), (1.1, 1.1, b"++"), (1.1, 0.5, b"+++")]
)
def test_without_silence_they_are_data(online, before, after, text):
    online.modem.endpoint.write(b"data")
    assert escape(online, before, after, text) == []
    if after < 1:
        online.modem.endpoint.write(b"data")
        online.world.run(2)
    assert online("AT") == []


def test_what_comes_in_data_mode_is_told_after_it(online):
    online.world.sms.phone(OTHER, "other").send(OWN, b"hello")
    online.world.run(10)
    assert online.read() == []
    assert escape(online) == ["OK", '+CMTI: "SM",1']


@pytest.mark.parametrize("says_goodbye", [False, True])
def test_the_network_ends_the_session(online, says_goodbye):
    online.modem.modem.packet.says_goodbye = says_goodbye
    online.modem.modem.data = False
    online.world.run(0.1)
    assert online.read() == (["~term~", "NO CARRIER"] if says_goodbye else ["NO CARRIER"])
    assert online("AT") == ["OK"]


def test_nobody_at_the_other_end(at):
    at(DIALLED)
    lines = at("ATD*99#", 15)
    assert lines == ["CONNECT", "~req~" * 10, "NO CARRIER"]


def test_the_wrong_password(at):
    at.modem.modem.packet.login = ("user", "secret")
    at(DIALLED)
    at("ATD*99#", 1)
    at.modem.endpoint.write(b"~conf 75736572 00~")
    at.world.run(0.1)
    assert at.read()[-2:] == ["~nak~", "NO CARRIER"]


@pytest.mark.parametrize("only", ["IP", "IPV4V6"])
def test_a_network_that_admits_one_type_of_context(at, only):
    """27.007, 10.1.1: PDP_type."""
    at.modem.modem.packet.admits = {only}
    other = "IPV4V6" if only == "IP" else "IP"
    assert at(f'AT+CGDCONT=1,"{other}","internet"') == ["OK"]
    assert at("ATD*99#", 1.5) == ["NO CARRIER"]
    assert at(f'AT+CGDCONT=1,"{only}","internet"') == ["OK"]
    assert at("AT+CGDCONT?")[0] == f'+CGDCONT: 1,"{only}","internet"'
    assert at("ATD*99#", 1.5)[0] == "CONNECT"


def test_ipv6_alone_gives_the_chip_no_address(at):
    at.modem.modem.packet.admits = {"IPV6"}
    at('AT+CGDCONT=1,"IPV6","internet"')
    assert at("ATD*99#", 1.5)[0] == "CONNECT"
    at.modem.endpoint.write(b"~conf~")
    at.world.run(0.5)
    assert b"ack" not in at.modem.endpoint.read()
    assert not at.modem.modem.packet.passes


def test_a_peer_that_tells_of_no_name_server(online):
    online.modem.modem.packet.name_server = "0.0.0.0"
    online.modem.endpoint.write(b"~conf~")
    online.world.run(0.1)
    assert b"~ack 10.64.0.2 10.64.64.64 0.0.0.0~" in online.modem.endpoint.read()


FIRMWARE = """
import network, time
from machine import UART

uart = UART(2, baudrate=115200, tx=17, rx=16, rxbuf=1024)
ppp = network.PPP(uart)


def ask(text):
    uart.write(text + "\\r")
    time.sleep_ms(1500)
    return uart.read() or b""


def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__ + "_" + str(error.args[0]).replace(" ", "_")
    return "no"


print("@api active=%d status=%d dns=%s" % (ppp.active(), ppp.status(), ppp.ifconfig()[3]))
print("@errors ip=%s auth=%s user=%s" % (
    refused(lambda: ppp.ipconfig("addr4")), refused(lambda: ppp.connect(security=9)),
    refused(lambda: ppp.connect(security=network.PPP.SEC_PAP)),
))
time.sleep(15)
while b"OK" not in ask("AT+CREG?") or b",1" not in ask("AT+CREG?"):
    pass
ask('AT+CGDCONT=1,"IP","internet"')
print("@dialled ok=%d" % (b"CONNECT" in ask("ATD*99***1#")))
ppp.connect()
again = refused(ppp.connect)
time.sleep(3)
print("@up is=%d status=%d again=%s" % (ppp.isconnected(), ppp.status(), again))
print("@has addr=%s gw=%s dns=%s" % (ppp.ipconfig("addr4")[0], ppp.ipconfig("gw4"), ppp.ifconfig()[3]))
ppp.config(stream=None)
print("@suspended is=%d" % ppp.isconnected())
ppp.active(False)
print("@down is=%d active=%d" % (ppp.isconnected(), ppp.active()))
time.sleep_ms(1100)
uart.write("+++")
time.sleep_ms(1100)
print("@back ok=%d" % (b"OK" in (uart.read() or b"")))
print("@hung ok=%d" % (b"OK" in ask("ATH")))
"""


def test_ppp_as_the_port_has_it(world, tmp_path):
    (tmp_path / "main.py").write_text(FIRMWARE)
    bracelet = world.bracelet(firmware=tmp_path)
    bracelet.modem.power(True)
    bracelet.boot()
    world.expect("firmware", "api", within=2, active=0, status=0, dns="None")
    world.expect(
        "firmware",
        "errors",
        within=1,
        ip="ValueError_PPP_not_active",
        auth="ValueError_invalid_auth",
        user="TypeError_can't_convert_to_str_implicitly",
    )
    world.expect("firmware", "dialled", within=40, ok=1)
    world.expect("firmware", "up", within=5, status=4, again="OSError_114", **{"is": 1})
    world.expect("firmware", "has", within=1, addr="10.64.0.2", gw="10.64.64.64", dns="10.64.64.53")
    world.expect("firmware", "suspended", within=1, **{"is": 1})
    world.expect("firmware", "down", within=1, active=0, **{"is": 0})
    world.expect("firmware", "back", within=4, ok=1)
    world.expect("firmware", "hung", within=4, ok=1)


ENDING = """
import asyncio, network, time
from machine import UART

uart = UART(2, baudrate=115200, tx=17, rx=16, rxbuf=1024)
ppp = network.PPP(uart)


def ask(text, ms=1500):
    uart.write(text + "\\r")
    time.sleep_ms(ms)
    return uart.read() or b""


def again():
    try:
        ppp.connect()
    except OSError as error:
        return error.args[0]
    return 0


time.sleep(15)
ask('AT+CGDCONT=1,"IP","internet"')
ask("ATD*99***1#")
ppp.connect()
time.sleep(2)
print("@up is=%d" % ppp.isconnected())
"""


def ending(world, tmp_path, rest):
    (tmp_path / "main.py").write_text(ENDING + rest)
    bracelet = world.bracelet(firmware=tmp_path)
    bracelet.modem.power(True)
    bracelet.boot()
    world.expect("firmware", "up", within=40, **{"is": 1})
    return bracelet.modem


def test_ppp_that_the_peer_ends_keeps_its_state_for_six_seconds(world, tmp_path):
    """lwIP, fsm_rtermreq: until FSM_DEFTIMEOUT; and active(False) doesn't shorten it (ppp_close: ERR_INPROGRESS)."""
    modem = ending(
        world,
        tmp_path,
        """
while ppp.ifconfig()[0] != "0.0.0.0":
    time.sleep_ms(50)
print("@ended status=%d again=%d" % (ppp.status(), again()))
ppp.active(False)
time.sleep(5)
print("@still status=%d again=%d" % (ppp.status(), again()))
time.sleep(2)
print("@over status=%d again=%d" % (ppp.status(), again()))
""",
    )
    modem.packet.says_goodbye = True
    world.call(modem.packet.lose)
    world.expect("firmware", "ended", within=1, status=4, again=114)
    world.expect("firmware", "still", within=6, status=4, again=114)
    world.expect("firmware", "over", within=3, status=0, again=0)


@pytest.mark.parametrize(("peer", "seconds"), [(True, 0), (False, 12)])
def test_ppp_that_is_closed_in_order_waits_for_its_peer(world, tmp_path, peer, seconds):
    """lwIP, terminate_layer: FSM_DEFMAXTERMREQS times FSM_DEFTIMEOUT (espressif/esp-idf#1666: over ten seconds)."""
    modem = ending(
        world,
        tmp_path,
        """
time.sleep(1)
began = time.ticks_ms()
ppp.disconnect()
while ppp.status():
    time.sleep_ms(50)
print("@closed s=%d" % ((time.ticks_ms() - began + 500) // 1000))
""",
    )
    if not peer:
        world.call(lambda: setattr(modem, "mute", True))
    world.expect("firmware", "closed", within=20, s=seconds)


def test_ppp_that_is_left_while_it_connects_stays_for_twelve_seconds(world, tmp_path):
    ending(
        world,
        tmp_path,
        """
ppp.active(False)
ask("")
ppp.connect()
print("@connecting status=%d" % ppp.status())
ppp.config(stream=None)
ppp.active(False)
time.sleep(11)
print("@still again=%d" % again())
time.sleep(2)
print("@over again=%d" % again())
""",
    )
    world.expect("firmware", "connecting", within=3, status=3)
    world.expect("firmware", "still", within=13, again=114)
    world.expect("firmware", "over", within=3, again=0)
