"""The AT engine as a transcript: > is what it writes, < is what the modem says."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ingest.at import MAX_LINE, Command, Dead, Engine, Event, Finished, Unsolicited

CMGL = Command("AT+CMGL=4", prefix="+CMGL:", followed=True)
CMGS = Command("AT+CMGS=16", prefix="+CMGS:", data="0001", timeout=60.0)


def hear(engine: Engine, *lines: str, now: float = 0.0) -> list[Event]:
    return engine.receive("".join(f"\r\n{line}\r\n" for line in lines).encode(), now)


def started(command: Command, now: float = 0.0) -> Engine:
    engine = Engine()
    engine.submit(command, now)
    assert engine.take_output() == command.line.encode() + b"\r"
    return engine


def test_a_plain_command() -> None:
    command = Command("AT+CMGF=0")
    engine = started(command)
    assert engine.busy
    assert hear(engine, "OK") == [Finished(command)]
    assert not engine.busy
    assert engine.deadline() is None


@pytest.mark.parametrize("error", ["ERROR", "+CME ERROR: 10", "+CMS ERROR: 500", "NO CARRIER"])
def test_an_error_is_reported_in_the_modems_words(error: str) -> None:
    command = Command("AT+CMGD=1")
    assert hear(started(command), error) == [Finished(command, (), error)]


def test_the_echo_is_not_an_answer() -> None:
    command = Command("ATE0")
    engine = started(command)
    assert engine.receive(b"ATE0\r\r\nOK\r\n", 0.0) == [Finished(command)]


def test_an_unsolicited_line_in_mid_response() -> None:
    engine = started(CMGL)
    events = hear(engine, "+CMGL: 1,0,,5", "00AABB", '+CMTI: "SM",2', "+CMGL: 2,1,,4", "RING", "00CC", "OK")
    assert events == [
        Unsolicited('+CMTI: "SM",2'),
        Unsolicited("RING"),
        Finished(CMGL, ("+CMGL: 1,0,,5", "00AABB", "+CMGL: 2,1,,4", "00CC")),
    ]


def test_the_prompt_without_a_line_end() -> None:
    engine = started(CMGS)
    assert engine.receive(b"\r\n> ", 0.0) == []
    assert engine.take_output() == b"0001\x1a"
    assert hear(engine, "+CMGS: 7", "OK") == [Finished(CMGS, ("+CMGS: 7",))]


def test_an_unsolicited_line_before_the_prompt_and_echoed_data() -> None:
    engine = started(CMGS)
    assert engine.receive(b'\r\n+CMTI: "SM",1\r\n\r\n> ', 0.0) == [Unsolicited('+CMTI: "SM",1')]
    assert engine.take_output() == b"0001\x1a"
    assert engine.receive(b"0001\x1a\r\n\r\n+CMGS: 7\r\n\r\nOK\r\n", 0.0) == [Finished(CMGS, ("+CMGS: 7",))]


def test_a_send_refused_before_the_prompt() -> None:
    engine = started(CMGS)
    assert hear(engine, "+CMS ERROR: 304") == [Finished(CMGS, (), "+CMS ERROR: 304")]
    assert engine.take_output() == b""


def test_a_prompt_that_nobody_asked_for_is_ignored() -> None:
    engine = started(Command("AT"))
    assert engine.receive(b"\r\n> ", 0.0) == []
    assert engine.take_output() == b""


def test_a_timeout_puts_the_conversation_in_step_before_the_next_command() -> None:
    engine = started(Command("AT+CMGD=3", timeout=5.0), now=100.0)
    assert engine.tick(104.9) == []
    assert engine.tick(105.0) == [Finished(Command("AT+CMGD=3", timeout=5.0), (), "timeout")]
    assert engine.take_output() == b"AT+CMGF?\r"
    assert engine.busy
    assert hear(engine, "OK", now=105.5) == []  # the late answer to CMGD, not to this
    assert engine.busy
    assert hear(engine, "+CMGF: 0", "OK", now=105.6) == []
    assert not engine.busy


def test_a_send_given_up_leaves_the_prompt_by_escape() -> None:
    engine = started(CMGS)
    engine.receive(b"\r\n> ", 0.0)
    engine.take_output()
    assert engine.tick(60.0) == [Finished(CMGS, (), "timeout")]
    assert engine.take_output() == b"\x1bAT+CMGF?\r"


def test_a_modem_that_answers_nothing_is_dead() -> None:
    engine = started(Command("AT", timeout=2.0))
    seen: list[Event] = []
    for second in range(30):
        seen += engine.tick(float(second))
    assert seen == [Finished(Command("AT", timeout=2.0), (), "timeout"), Dead()]
    assert engine.busy
    with pytest.raises(RuntimeError):
        engine.submit(Command("AT"), 30.0)
    engine.reset()
    assert not engine.busy


def test_one_command_at_a_time_and_no_control_characters() -> None:
    with pytest.raises(RuntimeError):
        started(Command("AT")).submit(Command("AT"), 0.0)
    with pytest.raises(ValueError, match="control character"):
        Engine().submit(Command("AT\rAT+CMGD=1,4"), 0.0)


def test_a_finished_command_only_counts_when_its_data_was_sent() -> None:
    engine = started(CMGS)
    assert hear(engine, "OK") == []
    assert engine.busy


def test_an_endless_line_is_not_kept() -> None:
    engine = Engine()
    engine.receive(b"\xff" * 100_000, 0.0)
    assert hear(engine, "RING") == [Unsolicited("RING")]


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(data), *(i % (len(data) + 1) for i in at)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_it_does_not_matter_how_the_octets_arrive(places: list[int]) -> None:
    said = b'AT+CMGL=4\r\r\n+CMGL: 1,0,,5\r\n00AABB\r\n\r\n+CMTI: "SM",2\r\n+CMGL: 2,1,,4\r\n00CC\r\n\r\nOK\r\n'
    engine = started(CMGL)
    events = [e for part in cut(said, places) for e in engine.receive(part, 0.0)]
    assert events == [
        Unsolicited('+CMTI: "SM",2'),
        Finished(CMGL, ("+CMGL: 1,0,,5", "00AABB", "+CMGL: 2,1,,4", "00CC")),
    ]


@given(st.lists(st.tuples(st.binary(max_size=60), st.floats(0, 30)), max_size=30))
def test_noise_never_raises_and_a_reset_always_helps(noise: list[tuple[bytes, float]]) -> None:
    engine = started(CMGS)
    now = 0.0
    for octets, pause in noise:
        engine.receive(octets, now)
        now += pause
        engine.tick(now)
        if not engine.busy:
            engine.submit(CMGL, now)
    engine.reset()
    engine.take_output()
    engine.submit(Command("AT"), now)
    assert hear(engine, "OK") == [Finished(Command("AT"))]


@pytest.mark.parametrize("prompt", [b"\r\n> ", b"\r\n>\r\n", b">", b"> ", b"\r\n>\r\n> "])
def test_each_form_of_the_prompt_gets_the_data_once(prompt: bytes) -> None:
    engine = started(CMGS)
    assert engine.receive(prompt, 0.0) == []
    assert engine.take_output() == b"0001\x1a"
    assert hear(engine, "+CMGS: 7", "OK") == [Finished(CMGS, ("+CMGS: 7",))]


@pytest.mark.parametrize("refusal", ["ERROR", "+CME ERROR: 14", "OK"])
def test_a_modem_that_answers_but_not_about_messages_is_not_dead(refusal: str) -> None:
    engine = started(Command("AT+CPMS?", timeout=5.0))
    events: list[Event] = []
    for second in range(5, 60):
        events += engine.tick(float(second))
        if engine.take_output().endswith(b"AT+CMGF?\r"):
            hear(engine, refusal, now=float(second))
    assert [type(event) for event in events] == [Finished]
    assert not engine.busy


def test_a_line_that_is_too_long_is_not_read_and_its_end_is_no_answer() -> None:
    engine = started(Command("AT+CMGD=1"))
    assert engine.receive(b"\r\n+CMGL: " + b"9" * 5000 + b"\r\n", 0.0) == []
    assert engine.receive(b"9" * 5000, 0.0) == []
    assert engine.receive(b"OK\r\n", 0.0) == []
    assert engine.busy
    assert hear(engine, "OK") == [Finished(Command("AT+CMGD=1"))]


def test_a_message_handed_over_in_the_middle_of_a_listing_is_not_part_of_it() -> None:
    engine = started(CMGL)
    events = hear(engine, "+CMGL: 1,0,,2", "+CMT: ,2", "0099", "00AA", "OK")
    assert events == [
        Unsolicited("+CMT: ,2"),
        Unsolicited("0099"),
        Finished(CMGL, ("+CMGL: 1,0,,2", "00AA")),
    ]


def test_a_long_listing_has_time_as_long_as_it_goes_on_but_not_for_ever() -> None:
    command = Command("AT+CMGL=4", prefix="+CMGL:", followed=True, timeout=20.0)
    engine = started(command)
    for second in range(60):
        assert hear(engine, f"+CMGL: {second},1,,2", "00AA", now=float(second)) == []
        assert engine.tick(float(second)) == []
    second = 60
    while not engine.tick(float(second)):
        hear(engine, "+CMGL: 1,1,,2", "00AA", now=float(second))
        second += 1
    assert second == 200


def test_a_modem_that_starts_anew_is_not_waited_for() -> None:
    engine = started(CMGS, now=100.0)
    engine.hurry(105.0)
    assert engine.tick(104.0) == []
    assert engine.tick(105.0) == [Finished(CMGS, (), "timeout")]


def test_the_end_of_a_call_that_nobody_took_is_no_answer() -> None:
    """Somebody rings up the relay while a receipt is on its way: it would be sent again, and the next answer be taken
    for another's."""
    engine = started(CMGS)
    engine.receive(b"\r\n> ", 0.0)
    assert hear(engine, "RING", "NO CARRIER") == [Unsolicited("RING"), Unsolicited("NO CARRIER")]
    assert hear(engine, "+CMGS: 1", "OK") == [Finished(CMGS, ("+CMGS: 1",))]
    engine.submit(CMGL, 0.0)
    assert hear(engine, "NO CARRIER") == [Finished(CMGL, (), "NO CARRIER")]


@pytest.mark.parametrize("piece", [10_000, 1000, 7])
def test_a_message_after_a_line_that_is_too_long_is_not_lost(piece: int) -> None:
    engine = started(CMGL)
    said = b"\r\n+CMGL: " + b"9" * 5000 + b",1,,2\r\n00AA\r\n+CMGL: 2,1,,2\r\n00BB\r\n\r\nOK\r\n"
    events = [e for i in range(0, len(said), piece) for e in engine.receive(said[i : i + piece], 0.0)]
    (done,) = events
    assert isinstance(done, Finished)
    assert done.lines[1:] == ("00AA", "+CMGL: 2,1,,2", "00BB")
    assert all(len(line) <= MAX_LINE for line in done.lines)
