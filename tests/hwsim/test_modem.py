"""The modem: as a transcript on its serial end, and on a bracelet's UART."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.world import World
from hwsim.world.pdu import PduError, Sms, decode_submit, encode_deliver, tpdu_length

OWN, OTHER = "+10000000002", "+10000000003"


class Terminal:
    """Types at a modem and reads what it says."""

    def __init__(self, world, modem):
        self.world, self.modem = world, modem

    def __call__(self, command, seconds=0.5):
        self.modem.endpoint.read()
        self.modem.endpoint.write(command.encode() + b"\r")
        self.world.run(seconds)
        return self.read()

    def read(self):
        return [line for line in self.modem.endpoint.read().decode().split("\r\n") if line]

    def send(self, recipient, data, seconds=5):
        pdu = submit(recipient, data)
        assert self(f"AT+CMGS={len(pdu) - 1}") == ["> "]
        self.modem.endpoint.write(pdu.hex().encode() + b"\x1a")
        self.world.run(seconds)
        return self.read()


def submit(recipient, data, first=0x01, coding=0x04):
    digits = recipient.lstrip("+")
    padded = digits + "F" * (len(digits) % 2)
    address = bytes(int(padded[i + 1] + padded[i], 16) for i in range(0, len(padded), 2))
    period = {0x00: b"", 0x10: b"\xa7", 0x08: bytes(7), 0x18: bytes(7)}[first & 0x18]
    return bytes([0, first, 0, len(digits), 0x91]) + address + bytes([0, coding]) + period + bytes([len(data)]) + data


@pytest.fixture
def at(world):
    terminal = Terminal(world, world.relay_modem(OWN))
    terminal("ATE0")
    terminal("AT+CMEE=1")
    return terminal


def test_echo_and_the_end_of_it(world):
    modem = world.relay_modem(OWN)
    modem.endpoint.write(b"AT\r")
    world.run(0.1)
    assert modem.endpoint.read() == b"AT\r\r\nOK\r\n"
    modem.endpoint.write(b"ate0\r\nAT\r")
    world.run(0.1)
    assert modem.endpoint.read() == b"ate0\r\r\nOK\r\n\r\nOK\r\n"
    modem.endpoint.write(b"AT\r")
    world.run(0.1)
    assert modem.endpoint.read() == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("AT", ["OK"]),
        ("AT+CPIN?", ["+CPIN: READY", "OK"]),
        ("AT+CSQ", ["+CSQ: 20,99", "OK"]),
        ("AT+CREG?", ["+CREG: 0,1", "OK"]),
        ("AT+CREG=2;+CREG?", ['+CREG: 2,1,"1A2B","0001C3D4"', "OK"]),
        ("AT+COPS=3,2;+COPS?", ['+COPS: 0,2,"00101",7', "OK"]),
        ("AT+CGATT?", ["+CGATT: 1", "OK"]),
        ("AT+CMGF=0", ["OK"]),
        ("AT+CMGF=1", ["OK"]),
        ("AT+CNMI=2,1,0,0,0;+CNMI?", ["+CNMI: 2,1,0,0,0", "OK"]),
        ('AT+CPMS="SM","SM","SM"', ["+CPMS: 0,20,0,20,0,20", "OK"]),
        ("AT+CMGR=1", ["+CMS ERROR: 321"]),
        ("AT+CMGD=1", ["+CMS ERROR: 321"]),
        ("AT+CMGL=4", ["OK"]),
        ("AT+NOSUCH", ["ERROR"]),
        ("AT+CREG=9", ["+CME ERROR: 50"]),
        ("nonsense", ["ERROR"]),
    ],
)
def test_what_it_answers(at, command, answer):
    assert at(command) == answer


def test_the_time_comes_from_the_network_with_its_zone(at):
    assert re.fullmatch(r'\+CCLK: "26/01/01,01:00:0\d\+04"', at("AT+CCLK?")[0])
    at.modem.modem.zone_quarters = -14
    assert re.fullmatch(r'\+CCLK: "25/12/31,20:30:0\d-14"', at("AT+CCLK?")[0])


def test_errors_in_words_and_without(at):
    at("AT+CMEE=2")
    assert at("AT+CMGR=7") == ["+CMS ERROR: Invalid memory index"]
    at("AT+CMEE=0")
    assert at("AT+CREG=9") == ["ERROR"]


def test_a_message_goes_out(world, at):
    phone = world.sms.phone(OTHER)
    data = bytes(range(140))
    assert at.send(OTHER, data) == ["+CMGS: 1", "OK"]
    world.run(3)
    assert [(sms.sender, sms.data, sms.coding) for sms in phone.received] == [(OWN, data, 4)]
    assert at.send(OTHER, b"second")[0] == "+CMGS: 2"


def test_a_message_comes_in_is_listed_read_and_deleted(world, at):
    phone = world.sms.phone(OTHER)
    at("AT+CNMI=2,1,0,0,0")
    phone.send(OWN, b"\x00\xff")
    world.run(3)
    assert at.read() == ['+CMTI: "SM",1']
    pdu = "07910100000090F9040B910100000000F30004621010000050000200FF"
    [header, shown, ok] = at("AT+CMGL=4")
    assert (header, ok) == ("+CMGL: 1,0,,21", "OK")
    assert shown[:32] == pdu[:32]
    assert shown[-6:] == "0200FF"
    assert at("AT+CMGR=1")[0] == "+CMGR: 1,,21"
    assert at("AT+CMGD=1") == ["OK"]
    assert at("AT+CMGL=4") == ["OK"]


def test_messages_can_be_shown_at_once(world, at):
    phone = world.sms.phone(OTHER)
    at("AT+CNMI=2,2,0,0,0")
    phone.send(OWN, b"now")
    world.run(3)
    header, pdu = at.read()
    assert header == "+CMT: ,22"
    assert pdu.endswith("036E6F77")
    assert at("AT+CMGL=4") == ["OK"]


def test_an_unsolicited_line_comes_between_the_lines_of_an_answer(world, at):
    phone = world.sms.phone(OTHER)
    at("AT+CNMI=2,1,0,0,0")
    phone.send(OWN, b"x")
    world.sms.delay_us = 0
    world.run(2.5 - 0.006)  # it arrives 6 ms after the next command was typed
    assert at("AT+CSQ") == ["+CSQ: 20,99", '+CMTI: "SM",1', "OK"]


def test_without_service_a_message_fails_and_one_for_it_waits(world, at):
    phone = world.sms.phone(OTHER)
    at("AT+CREG=1")
    at.modem.modem.service = False
    assert at("AT+CREG?")[:1] == ["+CREG: 1,2"]
    assert at("AT+CSQ") == ["+CSQ: 99,99", "OK"]
    assert at.send(OTHER, b"lost", seconds=6) == ["+CMS ERROR: 331"]
    phone.send(OWN, b"waits")
    world.run(5)
    world.expect("sms centre", "waits")
    at.modem.modem.service = True
    world.run(6)
    assert at.read() == ["+CREG: 1"]
    assert at("AT+CMGL=4")[0].startswith("+CMGL: 1,0")


def test_service_lost_while_sending(world, at):
    at("AT")
    world.after(3_000_000, lambda: setattr(at.modem.modem, "service", False))
    world.run(1.4)
    assert at.send(OTHER, b"x", seconds=3) == ["+CMS ERROR: 331"]


def test_data_can_be_refused_while_messages_pass(at):
    at.modem.modem.data = False
    assert at("AT+CGATT?") == ["+CGATT: 0", "OK"]
    assert at("AT+CGREG?") == ["+CGREG: 0,0", "OK"]
    assert at("AT+CREG?") == ["+CREG: 0,1", "OK"]


def test_a_full_storage_keeps_the_rest_at_the_centre(world, at):
    phone = world.sms.phone(OTHER)
    for n in range(22):
        phone.send(OWN, bytes([n]))
    world.run(5)
    assert at("AT+CPMS?")[0] == '+CPMS: "SM",20,20,"SM",20,20,"SM",20,20'
    assert at("AT+CMGD=1") == ["OK"]
    world.run(5)
    assert at("AT+CMGR=1")[1].endswith("0114")
    assert at("AT+CMGD=1,4") == ["OK"]
    world.run(5)
    assert at("AT+CPMS?")[0].startswith('+CPMS: "SM",1,')


def test_a_hung_modem_says_nothing_until_its_supply_is_cycled(world, at):
    at.modem.modem.mute = True
    assert at("AT") == []
    at.modem.modem.power(False)
    at.modem.modem.power(True)
    world.run(8)
    assert "RDY" in at.read()
    assert at("AT")[-1] == "OK"


def test_a_broken_submission(at):
    assert at("AT+CMGS=10") == ["> "]
    at.modem.endpoint.write(b"00zz\x1a")
    at.world.run(1)
    assert at.read() == ["+CMS ERROR: 304"]
    assert at("AT+CMGS=10") == ["> "]
    at.modem.endpoint.write(b"0011\x1b")
    at.world.run(1)
    assert at.read() == ["OK"]
    assert at("AT") == ["OK"]


def test_the_centre_drops_duplicates_and_reorders(world):
    one, two = world.sms.phone(OWN, "one"), world.sms.phone(OTHER, "two")
    world.sms.drop = lambda sms: sms.data == b"b"
    world.sms.duplicate = lambda sms: int(sms.data == b"c")
    world.sms.delay_us = lambda sms: {b"a": 9_000_000}.get(sms.data, 1_000_000)
    for data in (b"a", b"b", b"c"):
        one.send(OTHER, data)
    world.run(20)
    assert [sms.data for sms in two.received] == [b"c", b"c", b"a"]
    one.send("+19999999999", b"?")
    world.run(2)
    world.expect("sms centre", "unknown number")


number = st.from_regex(r"\+?[1-9][0-9]{2,19}", fullmatch=True)


@given(
    number, number, st.binary(max_size=140), st.sampled_from([0x01, 0x11, 0x09, 0x19]), st.sampled_from([0x04, 0xF5])
)
def test_user_data_passes_unchanged(sender, recipient, data, first, coding):
    pdu = submit(recipient, data, first, coding)
    if not recipient.startswith("+"):
        pdu = pdu[:4] + b"\x81" + pdu[5:]
    sms = decode_submit(pdu, sender)
    assert (sms.recipient, sms.data, sms.coding) == (recipient, data, coding)
    shown = encode_deliver(sms, 1_767_225_600, "+10000000099")
    assert shown.endswith(bytes([len(data)]) + data)
    assert tpdu_length(shown) == len(shown) - 8


@given(st.binary(max_size=200))
def test_no_octets_upset_the_decoder(pdu):
    try:
        assert isinstance(decode_submit(pdu, OWN), Sms)
    except PduError:
        pass


@given(st.binary(max_size=300))
def test_no_octets_upset_the_modem(noise):
    with World() as world:
        terminal = Terminal(world, world.relay_modem(OWN))
        terminal.modem.endpoint.write(noise)
        world.run(10)
        terminal.modem.endpoint.write(b"\x1b\r")
        world.run(10)
        assert terminal("AT", seconds=2)[-1] == "OK"


@pytest.fixture
def talker(firmware):
    return firmware(
        """
        import asyncio, json, machine, sys
        with open("/board.json") as f:
            wiring = json.load(f)["modem"]
        uart = machine.UART(2, wiring["baud"], tx=wiring["tx"], rx=wiring["rx"], rxbuf=2048)
        lines = asyncio.StreamReader(uart)
        status = machine.Pin(wiring["status"]) if "status" in wiring else None
        if status: status.init(machine.Pin.IN)
        async def read():
            while True:
                line = (await lines.readline()).strip()
                if line:
                    print("@says line=" + line.decode().replace(" ", "_"))
        async def main():
            reader = asyncio.create_task(read())
            if "power_key" in wiring and not status.value():
                key = machine.Pin(wiring["power_key"], machine.Pin.OUT, value=1)
                await asyncio.sleep_ms(wiring["power_key_ms"] + 50)
                key.value(0)
                print(f"@status level={status.value()}")
            else:
                print("@already on=1")
            await asyncio.sleep(9)
            uart.write(b"ATE0\\r")
            await asyncio.sleep_ms(200)
            uart.write(b"AT+CLTS=1\\r")
            await asyncio.sleep_ms(200)
            uart.write(b"AT+CCLK?\\r")
            await asyncio.sleep(1000)
        asyncio.run(main())
        """
    )


def test_a_bracelet_switches_its_modem_on_and_talks_to_it(world, talker):
    bracelet = world.bracelet(firmware=talker)
    bracelet.boot()
    world.expect("modem", "on", within=3)
    world.expect("firmware", "status", within=1, level=1)
    world.expect("firmware", "says", within=5, line="RDY")
    world.expect("modem", "registered", within=6)
    world.expect("firmware", "says", within=8, line=lambda line: line.startswith('+CCLK:_"26/01/01,01:00:1'))
    bracelet.reset()
    world.expect("firmware", "already", within=1)  # the modem has its own supply
    bracelet.power_cut()
    world.expect("modem", "off")


def test_a_board_without_a_key_has_its_modem_on(world, talker):
    bracelet = world.bracelet(board="devkit", firmware=talker)
    bracelet.boot()
    world.expect("modem", "on", within=1)
    world.expect("firmware", "says", within=11, line="SMS_Ready")
    assert not any(event.detail.get("line") == "RDY" for event in world.trace)  # it detects the rate


def test_told_again_to_be_on_it_stays_registered(at):
    assert at("AT+CREG?") == ["+CREG: 0,1", "OK"]
    assert at("AT+CFUN=1", 0.1) == ["OK"]
    assert at("AT+CREG?") == ["+CREG: 0,1", "OK"]
    assert at("AT+CFUN=7") == ["+CME ERROR: 50"]


def test_the_character_set_is_asked_for_and_chosen(at):
    assert at("AT+CSCS=?") == ['+CSCS: ("GSM","IRA")', "OK"]
    assert at('AT+CSCS="IRA"') == ["OK"]
    assert at("AT+CSCS?") == ['+CSCS: "IRA"', "OK"]
    assert at('AT+CSCS="UCS2"') == ["+CME ERROR: 50"]


def test_a_sim_that_loses_contact(world, at):
    modem = at.modem.modem
    at("AT+CREG=1")
    modem.storage[1] = (False, encode_deliver(Sms(OTHER, OWN, b"x"), world.unix_time, OTHER))
    modem.sim = False
    world.run(0.1)
    assert at.read() == ["+CPIN: NOT INSERTED", "+CREG: 0"]
    assert at("AT+CPIN?") == ["+CME ERROR: 10"]
    for command in ("AT+CMGL=4", "AT+CMGR=1", "AT+CMGD=1", "AT+CMGS=20", "AT+CPMS?"):
        assert at(command) == ["+CMS ERROR: 310"]
    at("AT+CMEE=2")
    assert at("AT+CMGR=1") == ["+CMS ERROR: SIM not inserted"]
    modem.sim = True
    world.run(modem.register_us / 1e6 + 0.1)
    assert at.read() == ["+CPIN: READY", "+CREG: 2", "+CREG: 1"]
    assert len(at("AT+CMGL=4")) == 3  # what is stored is on the card


def test_a_foreign_network(world, at):
    modem = at.modem.modem
    at("AT+CREG=2")
    modem.service = False
    modem.roaming, modem.data, modem.cell = True, False, (1, 2, 0xABC, 0xDEF)
    modem.service = True
    world.run(5)
    assert at("AT+CREG?")[0] == '+CREG: 2,5,"0ABC","00000DEF"'
    assert at("AT+CGATT?")[0] == "+CGATT: 0"
    at("AT+COPS=3,2")
    assert at("AT+COPS?")[0] == '+COPS: 0,2,"00102",7'


def test_a_network_that_tells_a_wrong_time(at):
    at.modem.modem.zone_quarters = 0
    at.modem.modem.nitz_offset_s = -86400
    assert at("AT+CCLK?")[0].startswith('+CCLK: "25/12/31,00:00:')  # the world begins on 2026-01-01


@pytest.mark.parametrize("announces", [True, False])
def test_a_restart_forgets_how_it_was_set_up(world, at, announces):
    modem = at.modem.modem
    modem.announces = announces
    at("AT+CNMI=2,1,0,0,0")
    modem.power(False)
    modem.power(True)
    world.run(4)
    assert at.read() == (["RDY", "+CPIN: READY"] if announces else [])
    assert "+CNMI: 0,0,0,0,0" in at("AT+CNMI?")
