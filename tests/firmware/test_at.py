"""Transcripts with a modem: what goes out, what comes in, what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.at import (
    BARE_MS,
    LINE_MAX,
    LINES_MAX,
    REGISTERED,
    Command,
    Engine,
    fields,
    memories,
    network_time,
    registration,
    signal,
    sim,
)


def exchange(command, *parts):
    engine = Engine()
    engine.start(command, 0)
    engine.output()
    events = []
    for part in parts:
        events += engine.feed(part, 1)
    return engine, events


def urcs(events):
    return [event[1:] for event in events if event[0] == "urc"]


def test_plain_command():
    engine = Engine()
    engine.start(Command("AT"), 0)
    assert engine.output() == b"AT\r"
    ((kind, command),) = engine.feed(b"AT\r\r\nOK\r\n", 5)
    assert (kind, command.ok, command.lines) == ("done", True, [])
    assert engine.deadline() is None


def test_information_lines():
    command = Command("AT+CSQ", "+CSQ:")
    exchange(command, b"\r\n+CSQ: 17,0\r\n\r\nOK\r\n")
    assert command.lines == ["+CSQ: 17,0"]


def test_sentences_of_a_receiver_in_the_modem_come_between_any_two_lines():
    command = Command("AT+CMGR=3", "+CMGR:")
    sentence = b"$GPRMC,120000.00,V,,,,,,,010125,,,N*7C\r\n"
    parts = b"+CMGR: 1,,3\r\n", sentence, b"07ABCD\r\n", sentence, b"\r\nOK\r\n"
    _, events = exchange(command, *parts)
    assert (command.ok, command.lines) == (True, ["+CMGR: 1,,3", "07ABCD"])
    assert urcs(events) == [(sentence.decode().strip(),)] * 2
    _, events = exchange(Command("AT"), b"+CMT: ,3\r\n", sentence, b"07ABCD\r\n")
    assert urcs(events) == [(sentence.decode().strip(),), ("+CMT: ,3", "07ABCD")]


@pytest.mark.parametrize("result", ["ERROR", "+CME ERROR: 14", "+CMS ERROR: 38", "ABORTED"])
def test_errors(result):
    command = Command("AT+CMGF=0")
    exchange(command, b"\r\n" + result.encode() + b"\r\n")
    assert (command.result, command.ok) == (result, False)


def test_unsolicited_lines_in_the_middle_of_a_response():
    command = Command("AT+CSQ", "+CSQ:")
    _, events = exchange(command, b'\r\n+CMTI: "SM",3\r\n+CSQ: 17,0\r\n+CREG: 5\r\nRING\r\nOK\r\n')
    assert command.lines == ["+CSQ: 17,0"]
    assert urcs(events) == [('+CMTI: "SM",3',), ("+CREG: 5",), ("RING",)]


def test_pdu_lines_of_a_listing():
    command = Command("AT+CMGL=4", "+CMGL:")
    _, events = exchange(
        command, b'+CMGL: 1,0,,30\r\n0791AA\r\n+CMTI: "SM",4\r\n+CMGL: 2,1,,30\r\n0791BB\r\n\r\nOK\r\n'
    )
    assert command.lines == ["+CMGL: 1,0,,30", "0791AA", "+CMGL: 2,1,,30", "0791BB"]
    assert urcs(events) == [('+CMTI: "SM",4',)]


def test_unsolicited_line_between_a_header_and_its_pdu():
    command = Command("AT+CMGR=1", "+CMGR:")
    _, events = exchange(command, b"+CMGR: 0,,30\r\n+CREG: 1\r\n0791AA\r\nOK\r\n")
    assert command.lines == ["+CMGR: 0,,30", "0791AA"]
    assert urcs(events) == [("+CREG: 1",)]


def test_unsolicited_line_of_two():
    command = Command("AT")
    _, events = exchange(command, b"\r\n+CMT: ,30\r\n0791AA\r\nOK\r\n")
    assert urcs(events) == [("+CMT: ,30", "0791AA")]
    assert command.ok


# +CIEV: a SIM800 says it unasked (TinyGSM#496). The others: SIMCom's menu of the SIM, 3GPP TS 27.007, 7.15 and 10.1.19.
CUTS_IN = [b'+CIEV: 10,"00101","Test","Test", 0, 0', b"+STIN: 25", b"+CUSD: 4", b"+CGEV: ME PDN ACT 1", b"123"]


@pytest.mark.parametrize("line", CUTS_IN)
def test_what_is_no_pdu_is_not_taken_for_one(line):
    command = Command("AT+CMGL=4", "+CMGL:")
    exchange(command, b"+CMGL: 1,0,,30\r\n\r\n", line, b"\r\n0791AA\r\n+CMGL: 2,0,,30\r\n0791bb\r\nOK\r\n")
    assert command.lines == ["+CMGL: 1,0,,30", "0791AA", "+CMGL: 2,0,,30", "0791bb"]
    command = Command("AT")
    _, events = exchange(command, b"+CMT: ,30\r\n", line, b"\r\n0791AA\r\nOK\r\n")
    assert urcs(events) == [("+CMT: ,30", "0791AA")]
    assert command.ok


def test_a_message_whose_pdu_never_comes_takes_no_other_ones():
    command = Command("AT+CMGL=4", "+CMGL:")
    _, events = exchange(command, b"+CMT: ,30\r\n+CMGL: 1,0,,30\r\n0791AA\r\nOK\r\n")
    assert (command.ok, command.lines, urcs(events)) == (True, ["+CMGL: 1,0,,30", "0791AA"], [])


def test_prompt():
    engine = Engine()
    command = Command("AT+CMGS=18", "+CMGS:", data=b"0001")
    engine.start(command, 0)
    assert engine.output() == b"AT+CMGS=18\r"
    assert engine.feed(b"AT+CMGS=18\r\r\n>", 1) == []
    assert engine.output() == b""
    engine.feed(b" ", 2)
    assert engine.output() == b"0001\x1a"
    engine.feed(b"\r\n+CMGS: 7\r\n\r\nOK\r\n", 3)
    assert command.ok
    assert command.lines == ["+CMGS: 7"]


def test_prompt_nobody_asked_for_is_left():
    engine = Engine()
    engine.feed(b"\r\n> ", 0)
    assert engine.output() == b"\x1b"


def test_time_out_ends_the_command_and_leaves_the_prompt():
    engine = Engine()
    command = Command("AT+CMGS=18", data=b"0001", timeout=1000)
    engine.start(command, 0)
    engine.output()
    assert engine.deadline() == 1000
    assert engine.time(999) == []
    assert engine.time(1000) == [("done", command)]
    assert command.result == "timeout"
    assert engine.output() == b"\x1b"


def test_one_command_at_a_time():
    engine = Engine()
    engine.start(Command("AT"), 0)
    with pytest.raises(RuntimeError):
        engine.start(Command("AT"), 0)


def test_floods_are_bounded():
    command = Command("AT+CMGL=4", "+CMGL:")
    engine, _ = exchange(command, b"x" * 10_000, b"\r\n", b"+CMGL: 1\r\n" * 100, b"OK\r\n")
    assert command.ok
    assert len(command.lines) == LINES_MAX
    assert engine.dropped == 1 + 100 - LINES_MAX


def test_fields():
    assert fields('+CMTI: "SM",3') == ["SM", "3"]
    assert fields('+CCLK: "26/01/01,00:00:00+04"') == ["26/01/01,00:00:00+04"]
    assert fields("+X:") == [""]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("+CREG: 1", (1, None, None)),
        ("+CREG: 5", (5, None, None)),
        ("+CREG: 0,1", (1, None, None)),
        ("+CREG: 0,2", (2, None, None)),
        ("+CREG: 0", (0, None, None)),
        ("+CREG: 0,3", (3, None, None)),
        ('+CREG: 2,1,"00C3","0012A3"', (1, 0xC3, 0x12A3)),
        ('+CREG: 1,"00C3","0012A3"', (1, 0xC3, 0x12A3)),
        ('+CREG: 1,"00C3","0012A3",7', (1, 0xC3, 0x12A3)),
        ("+CREG: 2,5,00C3,12A3,7", (5, 0xC3, 0x12A3)),
        ("+CREG: 5,00C3,12A3", (5, 0xC3, 0x12A3)),
        ('+CREG: 2,1,"zz","12A3"', (1, None, None)),
        ("+CREG:", (4, None, None)),
        ("+CREG: x", (4, None, None)),
        ("+CREG: 0,99", (4, None, None)),
    ],
)
def test_registration_in_the_ways_of_different_makers(line, expected):
    assert registration(line) == expected


@pytest.mark.parametrize(("stat", "registered"), list(enumerate([0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 0])))
def test_on_lte_some_modems_are_registered_for_sms_only(stat, registered):
    """<stat> 6, 7, 9 and 10 of 3GPP TS 27.007, 7.2: messages can be sent."""
    for line in (f"+CREG: {stat}", f"+CREG: 2,{stat}", f'+CREG: 2,{stat},"00C3","0012A3",7'):
        assert (registration(line)[0] in REGISTERED) == bool(registered)


@pytest.mark.parametrize(
    ("line", "dbm"),
    [
        ("+CSQ: 0,99", 113),
        ("+CSQ: 31,0", 51),
        ("+CSQ: 20,99", 73),
        ("+CSQ: 99,99", 255),
        ("+CSQ: 32,0", 255),
        ("+CSQ: 199,99", 255),
        ("+CSQ: -1,0", 255),
        ("+CSQ:", 255),
        ("+CSQ: ,", 255),
        ('+CSQ: "7",1', 99),
    ],
)
def test_signal(line, dbm):
    assert signal(line) == dbm


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_line_has_a_registration_and_a_signal_that_fit_the_wire(text):
    state, lac, cid = registration("+CREG: " + text)
    assert 0 <= state <= 5
    assert lac is None or (0 <= lac <= 0xFFFF and 0 <= cid <= 0xFFFFFFF)
    assert 51 <= signal("+CSQ: " + text) <= 255


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"OK",
        b"ERROR",
        b"+CMTI: ",
        b'"SM",1',
        b"+CMT: ,20",
        b"> ",
        b"+CSQ: 1",
        b"\xff\x00",
        b"AT+CSQ",
        b"a" * 500,
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=60))
def test_whatever_comes_the_engine_ends_its_command_and_stays_bounded(pieces):
    engine = Engine()
    command = Command("AT+CSQ", "+CSQ:", 1000)
    engine.start(command, 0)
    done = 0
    for piece in pieces:
        done += sum(event[0] == "done" for event in engine.feed(piece, 10))
        assert len(engine._line) <= LINE_MAX
    done += sum(event[0] == "done" for event in engine.time(1000))
    assert done == 1
    engine.output()
    # and it works afterwards
    engine.feed(b"\r\n\r\n", 1001)
    again = Command("AT")
    engine.start(again, 1002)
    engine.feed(b"\r\nOK\r\n", 1003)
    engine.feed(b"\r\nOK\r\n", 1003)  # if the first was the second line of a +CMT
    assert again.ok


@given(st.data())
def test_the_split_makes_no_difference(data):
    stream = b'AT+CMGL=4\r\r\n+CMGL: 1,0,,30\r\n0791AA\r\n+CMTI: "SM",4\r\n\r\nOK\r\nRING\r\n'
    command = Command("AT+CMGL=4", "+CMGL:")
    engine = Engine()
    engine.start(command, 0)
    events, at = [], 0
    while at < len(stream):
        n = data.draw(st.integers(1, 20))
        events += engine.feed(stream[at : at + n], 1)
        at += n
    assert command.lines == ["+CMGL: 1,0,,30", "0791AA"]
    assert [event[0] for event in events] == ["urc", "done", "urc"]


def test_a_modem_that_shows_no_prompt_is_not_waited_for_as_long_as_for_the_network():
    engine = Engine()
    command = Command("AT+CMGS=18", "+CMGS:", 60000, b"0001")
    engine.start(command, 0)
    assert engine.deadline() == 10000
    engine.feed(b"\r\n> ", 9000)
    assert engine.deadline() == 69000


def test_a_restart_ends_the_command_in_flight():
    engine = Engine()
    assert engine.restarted() == []
    command = Command("AT+CMGS=18", "+CMGS:", 60000, b"0001")
    engine.start(command, 0)
    assert engine.restarted() == [("done", command)]
    assert (command.ok, command.result, engine.deadline()) == (False, "restarted", None)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b"+CPIN: READY\r\n\r\nOK", "ready"),
        (b"+CPIN: SIM PIN\r\n\r\nOK", "locked"),
        (b"+CME ERROR: 10", "missing"),
        (b"+CME ERROR: 12", "locked"),
        (b"+CME ERROR: 13", "failed"),
        (b"ERROR", "failed"),
    ],
)
def test_the_state_of_the_sim(answer, state):
    command = Command("AT+CPIN?", "+CPIN:")
    exchange(command, b"\r\n" + answer + b"\r\n")
    assert sim(command) == state


@pytest.mark.parametrize("result", ["CONNECT", "CONNECT 115200", "NO CARRIER", "BUSY", "ERROR"])
def test_dialling_ends_with_what_else_comes_unasked(result):
    command = Command("ATD*99***1#")
    exchange(command, b"\r\n" + result.encode() + b"\r\n")
    assert command.result == result
    other = Command("AT+CSQ", "+CSQ:")
    exchange(other, b"\r\nNO CARRIER\r\n")
    assert other.result is None


@pytest.mark.parametrize("prompt", [b"\r\n> ", b"\r\n>\r\n", b"\r\n>", b">", b"\r\n>\n"])
def test_each_form_of_the_prompt(prompt):
    """3GPP TS 27.005, 3.5.1; gammu#1176 (SIM7670G); u-blox and others (RIOT PR 20016)."""
    engine = Engine()
    command = Command("AT+CMGS=18", "+CMGS:", data=b"0001")
    engine.start(command, 0)
    engine.output()
    engine.feed(prompt, 5)
    assert engine.output() == b"0001\x1a"
    engine.feed(b" \r\n+CMGS: 7\r\n\r\nOK\r\n", 9)
    assert (command.ok, command.lines) == (True, ["+CMGS: 7"])


def test_a_bare_prompt_of_a_modem_that_echoes_may_still_get_its_space():
    engine = Engine()
    engine.start(Command("AT+CMGS=18", "+CMGS:", data=b"0001"), 0)
    engine.output()
    engine.feed(b"AT+CMGS=18\r\r\n>", 1)
    assert (engine.output(), engine.next_at()) == (b"", 1 + BARE_MS)
    engine.time(1 + BARE_MS)
    assert engine.output() == b"0001\x1a"


def test_the_receiver_in_it_may_cut_in_behind_a_bare_prompt():
    engine = Engine()
    engine.start(Command("AT+CMGS=18", "+CMGS:", data=b"0001"), 0)
    engine.output()
    events = engine.feed(b"AT+CMGS=18\r\r\n>$GPRMC,,V,,,,,,,,,,N*53\r\n", 1)
    assert engine.output() == b"0001\x1a"
    assert urcs(events) == [("$GPRMC,,V,,,,,,,,,,N*53",)]


def test_who_waits_for_the_network_asks_whether_the_modem_is_still_there():
    engine = Engine()
    command = Command("AT+CMGS=18", "+CMGS:", 60000, b"0001", 8000)
    engine.start(command, 0)
    engine.feed(b"\r\n> ", 10)
    engine.output()
    assert (engine.deadline(), engine.next_at()) == (60010, 8010)
    engine.time(8010)
    assert (engine.output(), engine.next_at()) == (b"AT\r", 9510)
    engine.feed(b"\r\n+CMGS: 7\r\n\r\nOK\r\n\r\nOK\r\n", 9000)  # it was only slow
    assert (command.ok, command.lines, engine.next_at()) == (True, ["+CMGS: 7"], None)


def test_one_that_has_restarted_meanwhile_answers_with_an_echo_and_without_a_reference():
    engine = Engine()
    command = Command("AT+CMGS=18", "+CMGS:", 60000, b"0001", 8000)
    engine.start(command, 0)
    engine.feed(b"\r\n> ", 10)
    engine.suspect(500)
    engine.time(500)
    assert engine.output().endswith(b"AT\r")
    engine.feed(b"AT\r\r\nOK\r\n", 510)
    assert (command.ok, command.lines, engine.echoed) == (True, [], True)


@pytest.mark.parametrize(
    ("line", "asked", "expected"),
    [
        ('+CREG: 1,"00C3","0012A3"', False, (1, 0xC3, 0x12A3)),
        ('+CREG: 1,"00C3","0012A3",7', False, (1, 0xC3, 0x12A3)),
        ('+CREG: 1,"00C3","0012A3",7', True, (1, 0xC3, 0x12A3)),  # by itself, in the middle of an answer
        ('+CREG: 2,1,"00C3","0012A3"', False, (1, 0xC3, 0x12A3)),  # an answer that came too late
        ("+CREG: 2,1,00C3,12", True, (1, 0xC3, 0x12)),
        ("+CREG: 1,3,12A3,7", True, (3, 0x12A3, 7)),
        ("+CREG: 1,3,12A3,7", False, (1, None, None)),
        ("+CREG: 1,3,12A3,7", None, (3, None, None)),
        ("+CREG:002,005", True, (5, None, None)),
        ("+CREG: 2, 1 , 00c3 , 12a3 ", True, (1, 0xC3, 0x12A3)),
        ("+CEREG: 5, 1F00, 20 ,79D903 ,7", False, (5, 0x1F00, 0x79D903)),
        ('+CEREG: 0,1,""', None, (1, None, None)),
        ('+CREG: 1,"","",7', False, (1, None, None)),
        ('+CREG: 1,"FFFF","FFFFFFFF",7', False, (1, None, None)),
        ('+CREG: 1,"1A2B","FFFFFFFF"', False, (1, None, None)),
        ('+CREG: 1,"1A2B","0FFFFFFF"', False, (1, None, None)),
        ('+CREG: 1,"FFFE","01C3D4"', False, (1, None, None)),
        ('+CREG: 1,"0","0"', False, (1, None, None)),
        ('+CREG: 1,"1A2B3C","01C3D4"', False, (1, None, None)),  # more than an area has
        ('+CREG: 1,"1_2B","01C3D4"', False, (1, None, None)),
        ("+CEREG: 5,,", False, (5, None, None)),
        ("+CEREG: 5,", False, (5, None, None)),
        ("+CEREG: 1,5,7", True, (5, None, None)),  # <n>,<stat> and an access technology
        ('+CREG: 2,1,"1A2B"', True, (1, None, None)),  # <n>,<stat> and an area whose cell has no number
    ],
)
def test_registration_by_the_number_of_fields_and_by_who_asked(line, asked, expected):
    """3GPP TS 27.007, 7.2 and 10.1.22; 3GPP TS 23.003, 4.1 for areas that are none."""
    assert registration(line, asked) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ('"26/01/01,01:00:00+04"', 1767225600),
        ("26/01/01,01:00:00+04", 1767225600),
        ('"25/12/31,19:00:00-20"', 1767225600),
        ('"26/01/01,01:00:00+4"', 1767225600),
        ('"26/01/01,01:00:00"', None),
        ("26/01/01,01:00:00", None),
        ('"80/01/06,00:00:00+00"', None),
        ('"04/01/01,00:00:40+12"', None),
        ('"70/01/01,00:00:00+00"', None),
        ('"00/01/01,00:00:00+00"', None),
        ('"26/13/01,00:00:00+00"', None),
        ('"26/01/01,24:00:00+00"', None),
        ('""', None),
        ("", None),
    ],
)
def test_network_time(text, seconds):
    if seconds is None:
        with pytest.raises(ValueError):
            network_time("+CCLK: " + text)
    else:
        assert network_time("+CCLK: " + text) == seconds


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_whatever_a_clock_says_is_a_time_of_our_days_or_a_value_error(text):
    try:
        assert 1735603200 <= network_time("+CCLK: " + text) < 2871763200
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('+CPMS: ("SM"),("SM"),("SM")', ["SM"]),
        ('+CPMS: ("ME","MT","SM","SR"),("ME","MT","SM"),("ME","SM")', ["ME", "SM", "SR"]),
        ('+CPMS: ("MT","BM"),("MT"),("MT")', ["MT"]),
        ("+CPMS: 0,20,0,20,0,20", []),
        ("+CPMS:", []),
    ],
)
def test_memories(line, names):
    assert memories(line) == names
