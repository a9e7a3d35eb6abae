"""The modem's line at its worst: unsolicited lines everywhere in a response, splits, noise, and lines too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.at import LINE_MAX, LINES_MAX, TWO_LINES, URC, Command, Engine

# (command, what its information lines begin with, a response without echo and result)
EXCHANGES = [
    ("AT", None, []),
    ("AT+CSQ", "+CSQ:", ["+CSQ: 17,0"]),
    ("AT+COPS?", "+COPS:", ['+COPS: 0,2,"00101",7']),
    ("AT+CCLK?", "+CCLK:", ['+CCLK: "26/03/23,12:35:19+04"']),
    ("AT+CMGR=1", "+CMGR:", ["+CMGR: 0,,30", "0791AA00"]),
    ("AT+CMGL=4", "+CMGL:", ["+CMGL: 1,0,,30", "0791AA00", "+CMGL: 2,1,,30", "0791BB00", "+CMGL: 7,1,,30", "0791CC00"]),
]
RESULTS = ["OK", "ERROR", "+CME ERROR: 14", "+CMS ERROR: 38"]
ONE_LINE = [
    "RING",
    "NO CARRIER",
    '+CMTI: "SM",3',
    '+CREG: 2,"00C3","0012A3"',
    "+CREG: 0",
    "+CGREG: 1",
    "Call Ready",
    "SMS Ready",
    '+CTZV: "26/03/23,12:35:19",+4',
    "^RSSI: 17",
    "UNDER-VOLTAGE WARNNING",
    "+CPIN: READY",
    "NORMAL POWER DOWN",
    '*PSUTTZ: 2026,3,23,12,35,19,"+4",0',
    '+QIND: "SMS DONE"',
    "POWERED DOWN",
]
unsolicited = st.sampled_from(ONE_LINE) | st.sampled_from(["+CMT: ,30", "+CDS: 25", "+CBM: 88"]).map(
    lambda head: f"{head}\r\n07911326040000F0"
)
ends = st.sampled_from(["\r\n", "\r", "\n", "\r\r\n", "\r\n\r\n"])


def line(text):
    """As the line of an event, or the two lines."""
    return tuple(text.split("\r\n"))


@given(st.data())
def test_unsolicited_lines_anywhere_in_a_response_change_neither(data):
    text, expect, response = data.draw(st.sampled_from(EXCHANGES))
    result = data.draw(st.sampled_from(RESULTS))
    command = Command(text, expect)
    engine = Engine()
    engine.start(command, 0)
    told, stream = [], text + "\r"
    for answer in [*response, result]:
        for urc in data.draw(st.lists(unsolicited, max_size=2)):
            told.append(urc)
            stream += urc + data.draw(ends)
        stream += data.draw(ends) + answer + data.draw(ends)
    octets, at, events = stream.encode(), 0, []
    while at < len(octets):
        size = data.draw(st.integers(1, 60))
        events += engine.feed(octets[at : at + size], 1)
        at += size
    assert command.result == result
    assert command.lines == response
    assert [event[1:] for event in events if event[0] == "urc"] == [line(urc) for urc in told]
    assert [event[0] for event in events].count("done") == 1
    assert engine.dropped == 0


@pytest.mark.parametrize("urc", URC)
def test_every_kind_of_unsolicited_line_is_known(urc):
    events = Engine().feed(f"\r\n{urc} 1\r\n07911326\r\n".encode(), 0)
    assert events[0][:2] == ("urc", f"{urc} 1")
    assert (len(events[0]) == 3) == urc.startswith(TWO_LINES)


@given(st.integers(0, 3 * LINE_MAX), st.sampled_from([b"x", b" ", b"\xff", b'"', b">"]), st.integers(1, 97))
def test_a_line_too_long_is_dropped_and_the_next_one_read(more, filling, chunk):
    command = Command("AT+CSQ", "+CSQ:")
    engine = Engine()
    engine.start(command, 0)
    stream = b"\r\n+CSQ: " + filling * (LINE_MAX + more) + b'\r\n+CMTI: "SM",3\r\n+CSQ: 17,0\r\nOK\r\n'
    events = []
    for at in range(0, len(stream), chunk):
        events += engine.feed(stream[at : at + chunk], 1)
        assert len(engine._line) <= LINE_MAX
    assert (command.result, command.lines, engine.dropped) == ("OK", ["+CSQ: 17,0"], 1)
    assert events[0] == ("urc", '+CMTI: "SM",3')


def test_the_longest_line_is_still_read():
    for size, lines in ((LINE_MAX, 1), (LINE_MAX + 1, 0)):
        command = Command("AT+CSQ", "+CSQ:")
        engine = Engine()
        engine.start(command, 0)
        engine.feed(b"\r\n+CSQ: " + b"1" * (size - 6) + b"\r\nOK\r\n", 1)
        assert (command.result, len(command.lines)) == ("OK", lines)


NOISE = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"\r\n", b"OK\r\n", b"ERROR\r\n", b"> ", b"+CMT: ,9\r\n", b"+CMGL: 1\r\n", b"AT+CMGL=4\r"])
    | st.sampled_from([b"+CMS ", b"x" * 401, b"\r\nRDY\r\n", b"\0" * 9]),
    max_size=40,
)


@given(NOISE, st.sampled_from(EXCHANGES), st.booleans(), st.data())
def test_whatever_comes_a_command_ends_once_and_the_next_one_works(noise, exchange, prompts, data):
    text, expect, _ = exchange
    engine = Engine()
    command = Command(text, expect, 1000, b"0001" if prompts else None)
    engine.start(command, 0)
    ended = 0
    for now, piece in enumerate(noise):
        ended += sum(event[0] == "done" for event in engine.feed(piece, now))
        assert len(engine._line) <= LINE_MAX
        assert len(command.lines) <= LINES_MAX
        assert len(engine.output()) <= 4096
    ended += sum(event[0] == "done" for event in engine.time(3000))
    assert (ended, engine.deadline()) == (1, None)
    engine.feed(b"\r\n\r\nRING\r\n", 3001)  # whatever was begun ends here, be it the second line of a message
    engine.output()
    again = Command("AT+CSQ", "+CSQ:")
    engine.start(again, 3002)
    assert engine.output() == b"AT+CSQ\r"
    engine.feed(b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n", 3003)
    assert (again.result, again.lines) == ("OK", ["+CSQ: 20,99"])
