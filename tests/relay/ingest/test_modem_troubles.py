"""What a modem says of itself, as transcripts: restarts, other memories, PINs, and whatever keeps new messages out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.ingest import upkeep
from relay.ingest.pdu import encode_deliver
from relay.ingest.sms import Incoming, Modem, Outgoing, Ready, Recovered, Report, Sent, Silent, Trouble, Unsent
from tests.relay.ingest.test_sms import ALARM, ALARM_PDU, OTHER_PDU, RECEIPT, SENDER, Talk

Answer = Callable[[str], list[str]]


def drive(talk: Talk, seconds: float, answer: Answer) -> list[Report]:
    """Let time pass; `answer` says what the modem answers to a command, by default OK."""
    reports: list[Report] = []
    end = talk.now + seconds
    while talk.now < end:
        commands = [line for line in talk.modem.take_output().decode().replace("\x1b", "").split("\r") if line]
        if not commands:
            reports += talk.wait(1.0)
        for command in commands:
            reports += talk.hears(*answer(command))
    return reports


def usual(**other: list[str]) -> Answer:
    """A modem that works, but for these answers; `_` stands for what a Python name may not have."""
    said = {
        "AT+CPIN?": ["+CPIN: READY", "OK"],
        "AT+CREG?": ["+CREG: 0,1", "OK"],
        "AT+CNMI?": ["+CNMI: 2,1,0,0,0", "OK"],
        "AT+CMGF?": ["+CMGF: 0", "OK"],
        "AT+CSMP?": ["+CSMP: 17,173,0,4", "OK"],
        "AT+CPMS?": ['+CPMS: "SM",0,20,"SM",0,20,"SM",0,20', "OK"],
    } | {f"AT+{name}?": lines for name, lines in other.items()}
    return lambda command: said.get(command, ["OK"])


def errors(reports: list[Report]) -> list[str]:
    return [report.what for report in reports if isinstance(report, Trouble) and report.hint]


def test_a_modem_that_works_gives_no_trouble() -> None:
    talk = Talk()
    talk.set_up()
    assert drive(talk, 600, usual()) == []


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"CREG": ["+CREG: 0,0", "OK"], "CEREG": ["+CEREG: 0,2", "OK"]}, upkeep.NO_NETWORK),
        ({"CREG": ["+CREG: 2,3", "OK"], "CEREG": ["ERROR"]}, upkeep.NO_NETWORK),
        ({"CREG": ["+CREG: 0,0", "OK"], "CFUN": ["+CFUN: 4", "OK"]}, upkeep.NO_RADIO),
        ({"CNMI": ["+CNMI: 0,0,0,0,0", "OK"]}, upkeep.UNANNOUNCED),
        ({"CNMI": ["+CNMI: 2,2,0,0,0", "OK"]}, upkeep.UNANNOUNCED),
        ({"CPMS": ['+CPMS: "SM",20,20,"SM",20,20,"SM",20,20', "OK"]}, upkeep.FULL),
        ({"CPMS": ['+CPMS: "SM",0,0,"SM",0,0,"SM",0,0', "OK"]}, upkeep.NO_MEMORY),
        ({"CPMS": ['+CPMS: "SM",0,20,"SM",0,20,"ME",3,23', "OK"]}, upkeep.ELSEWHERE),
    ],
)
def test_what_keeps_new_messages_out_is_told_within_a_minute(said: dict[str, list[str]], what: str) -> None:
    talk = Talk()
    talk.set_up()
    assert what in errors(drive(talk, 60, usual(**said)))
    later = drive(talk, 1200, usual(**said))
    assert errors(later).count(what) == 0, "once an hour is enough"
    assert Recovered(what) in drive(talk, 200, usual())


@pytest.mark.parametrize(
    "said",
    [
        {"CREG": ["+CREG: 0,3", "OK"], "CEREG": ["+CEREG: 0,5", "OK"]},
        {"CREG": ["+CREG: 0,6", "OK"]},  # for SMS only
        {"CREG": ['+CREG: 1,"1A2B","01C3D4"', "OK"]},
        {"CREG": ['+CREG:002,001,"18d8","ffff"', "OK"]},  # padded
        {"CREG": ["+CREG: 2,0", "OK"], "CEREG": ["+CEREG: 2,1, 1F00, 20 ,79D903 ,7", "OK"]},
        {"CREG": ["ERROR"], "CEREG": ["ERROR"]},
        {"CREG": ["OK"]},
    ],
)
def test_a_registered_modem_or_one_that_can_not_tell_gives_no_trouble(said: dict[str, list[str]]) -> None:
    talk = Talk()
    talk.set_up()
    assert errors(drive(talk, 300, usual(**said))) == []


@pytest.mark.parametrize("line", ['^SMMEMFULL: "SM"', '+CIEV: "SMSFULL"', '+QIND: "SMSFULL"', "SMS FULL"])
def test_a_modem_that_says_that_it_is_full_is_believed_at_once(line: str) -> None:
    talk = Talk()
    talk.set_up()
    assert errors(talk.hears(line)) == [upkeep.FULL]


def test_memories_of_other_sizes_than_asked_are_another_memory() -> None:
    """As in gammu/gammu#323: +CPMS: 0,23,0,23,1,25 in answer to ME."""
    talk = Talk()
    talk.set_up()

    def answer(command: str) -> list[str]:
        return ["+CPMS: 0,23,0,23,1,25", "OK"] if command.startswith("AT+CPMS=") else usual(CPMS=["OK"])(command)

    assert upkeep.ELSEWHERE in errors(drive(talk, 60, answer))


@pytest.mark.parametrize("index", ["9" * 5000, "99999999", "-1", "", "x"])
def test_an_index_that_is_none_harms_nobody_and_loses_nothing(index: str) -> None:
    talk = Talk()
    reports = talk.set_up(f"+CMGL: {index},1,,140", ALARM_PDU, "+CMGL: 2,1,,140", OTHER_PDU)
    known = [r for r in reports if isinstance(r, Incoming)]
    assert [r.ref.index for r in known][-1] == 2
    assert all(len(str(r)) < 2000 for r in reports)
    for report in known:
        talk.modem.release(report.ref, talk.now)
    assert talk.says() == "AT+CMGD=2"
    assert talk.hears("OK") == []
    talk.wait(20)
    talk.says()
    again = talk.hears(f"+CMGL: {index},1,,140", ALARM_PDU, "OK")
    assert not [r for r in again if isinstance(r, Incoming)], "it is reported once"


@pytest.mark.parametrize(
    "header",
    ["+CMGL: 3,1,,140", "+CMGL:3,1,,140", '+CMGL: 3,1,"",140', "+CMGL: 3 , 1 , , 140", "+CMGL: 3,1", "+CMGL: 3"],
)
def test_odd_forms_of_a_listing(header: str) -> None:
    talk = Talk()
    reports = talk.set_up(header, ALARM_PDU.lower())
    assert [(r.octets, r.ref.index) for r in reports if isinstance(r, Incoming)] == [(ALARM, 3)]


def test_a_listing_in_text_mode_leads_to_the_set_up() -> None:
    talk = Talk()
    talk.set_up()
    talk.wait(20)
    assert talk.says() == "AT+CMGL=4"
    (report,) = talk.hears('+CMGL: 1,"REC UNREAD","+10000000001",,"26/11/29,00:00:00+00"', "text", "OK")
    assert isinstance(report, Trouble)
    talk.wait(0.1)
    assert talk.says() == "ATE0"


def test_a_message_that_is_handed_over_without_being_stored_is_taken() -> None:
    talk = Talk()
    talk.set_up()
    (report,) = talk.hears("+CMT: ,140", ALARM_PDU)
    assert isinstance(report, Incoming)
    assert report.octets == ALARM
    talk.modem.release(report.ref, talk.now)  # it is nowhere, so nothing is deleted
    assert "CMGD" not in talk.says()


def test_a_message_that_is_handed_over_in_text_mode_is_taken() -> None:
    """Restarted without a word, with +CMGF: 1 and +CNMI: 2,2: then this is the only copy."""
    talk = Talk()
    talk.set_up()
    (report,) = talk.hears('+CMT: "+10000000001",,"26/11/29,10:00:00+04"', ALARM.hex().upper())
    assert isinstance(report, Incoming)
    assert (report.sender, report.octets) == (SENDER, ALARM)
    (other,) = talk.hears('+CMT: "Anna",140', ALARM_PDU)
    assert isinstance(other, Incoming)
    assert other.octets == ALARM


def test_a_sweep_that_fails_twice_leads_to_the_whole_set_up() -> None:
    talk = Talk()
    talk.set_up()
    refused = iter(range(2))

    def answer(command: str) -> list[str]:
        if command == "AT+CMGL=4" and next(refused, None) is not None:
            return ["+CMS ERROR: 500"]
        return usual()(command)

    reports = drive(talk, 60, answer)
    assert Ready(0) in reports
    assert any(isinstance(r, Trouble) and r.what == "the modem is set up again" for r in reports)


def test_a_sentinel_that_is_gone_leads_to_the_whole_set_up() -> None:
    """All that can be compared with a default is as it should be: only a setting of our own tells of the restart."""
    talk = Talk()
    talk.set_up()
    assert drive(talk, 100, usual()) == []
    reports = drive(talk, 30, usual(CSMP=["+CSMP: 17,167,0,0", "OK"]))
    assert any(isinstance(r, Trouble) and r.what == "the modem is set up again" for r in reports)
    assert any(isinstance(r, Ready) for r in reports)


def test_a_modem_that_does_not_keep_a_sentinel_is_not_set_up_for_ever() -> None:
    talk = Talk()
    talk.set_up()
    kept = [True]

    def answer(command: str) -> list[str]:
        if command == "AT+CSMP?":
            kept[0] = not kept[0]
            return [f"+CSMP: 17,{173 if not kept[0] else 167},0,4", "OK"]
        if command == "ATS10?":
            return ["037", "OK"]
        return usual()(command)

    drive(talk, 600, answer)
    assert not [r for r in drive(talk, 600, answer) if isinstance(r, Ready)]


def pin_talk(answers: list[list[str]]) -> tuple[list[str], Talk]:
    """A SIM that asks for its PIN as long as `answers` lasts, and what was entered."""
    talk = Talk(Modem(pin="4711"))
    entered: list[str] = []
    locked = [True]

    def answer(command: str) -> list[str]:
        if command.startswith("AT+CPIN="):
            entered.append(command)
            said = answers.pop(0) if answers else ["OK"]
            locked[0] = said != ["OK"]
            return said
        if command == "AT+CPIN?":
            return ["+CPIN: SIM PIN" if locked[0] else "+CPIN: READY", "OK"]
        return usual()(command)

    drive(talk, 600, answer)
    talk.hears("RDY")
    drive(talk, 600, answer)
    return entered, talk


@pytest.mark.parametrize("refusal", ["+CME ERROR: 16", "ERROR", "+CME ERROR: incorrect password", "+CME ERROR: 12"])
def test_a_refused_pin_is_never_repeated(refusal: str) -> None:
    entered, talk = pin_talk([[refusal]])
    assert len(entered) == 1
    assert not talk.modem.ready


def test_a_pin_to_which_nothing_is_answered_is_given_twice_at_most() -> None:
    entered, _ = pin_talk([[], [], [], []])
    assert len(entered) == 2


def test_a_busy_sim_has_not_looked_at_the_pin() -> None:
    entered, talk = pin_talk([["+CME ERROR: 14"]] * 3)
    assert len(entered) == 4
    assert talk.modem.ready


@pytest.mark.parametrize("refusal", ["+CME ERROR: 10", "+CME ERROR: 13", "+CMS ERROR: 310", "+CME ERROR: 3"])
def test_a_sim_that_was_not_there_has_not_refused_the_pin(refusal: str) -> None:
    entered, talk = pin_talk([[refusal]])
    assert len(entered) == 2
    assert talk.modem.ready


def test_a_sim_that_is_in_use_has_all_its_tries_again() -> None:
    """The answer to the right PIN is lost each time that the modem starts."""
    talk = Talk(Modem(pin="4711"))
    locked = [True]

    def answer(command: str) -> list[str]:
        if command.startswith("AT+CPIN="):
            locked[0] = False
            return []
        return usual(CPIN=["+CPIN: SIM PIN" if locked[0] else "+CPIN: READY", "OK"])(command)

    for _ in range(4):
        drive(talk, 100, answer)
        assert talk.modem.ready
        locked[0] = True
        talk.hears("RDY")


def test_a_modem_that_does_not_tell_whether_it_wants_a_pin_is_used() -> None:
    talk = Talk()
    talk.set_up()
    talk.hears("RDY")
    reports = drive(
        talk, 60, lambda c: ["+CMGL: 1,1,,140", ALARM_PDU, "OK"] if c == "AT+CMGL=4" else usual(CPIN=["OK"])(c)
    )
    assert any(isinstance(r, Incoming) for r in reports)


@pytest.mark.parametrize("state", ["READY", '"READY"', "ready", "SIM PIN2", "SIM PUK2"])
def test_a_sim_that_messages_may_use_is_used(state: str) -> None:
    """The second PIN is for fixed numbers and charges (27.007, 8.3)."""
    talk = Talk()
    assert drive(talk, 200, usual(CPIN=[f"+CPIN: {state}", "OK"])) == [Ready(0)]


def test_a_locked_sim_is_told_with_what_to_do() -> None:
    talk = Talk()
    reports = drive(talk, 60, usual(CPIN=["+CPIN: SIM PUK", "OK"]))
    assert any("PUK" in r.hint for r in reports if isinstance(r, Trouble))
    talk = Talk()
    reports = drive(talk, 60, usual(CPIN=["+CPIN: SIM PIN", "OK"]))
    assert any("sms.pin_file" in r.hint for r in reports if isinstance(r, Trouble))


@pytest.mark.parametrize("refusal", [["+CMGR: 0,,0", "OK"], ["OK"], ["+CMS ERROR: 500"]])
def test_a_place_without_a_text_costs_nothing_and_is_told(refusal: list[str]) -> None:
    """Some list a place whose message is gone, at each look; or don't let one be read that is there."""
    talk = Talk()
    talk.set_up()
    asked: list[str] = []

    def answer(command: str) -> list[str]:
        asked.append(command)
        if command == "AT+CMGL=4":
            return ["+CMGL: 5,0,,0", "OK"]
        return refusal if command.startswith("AT+CMGR") else usual()(command)

    reports = drive(talk, 600, answer)
    assert errors(reports) == [upkeep.ILLEGIBLE]
    assert len(reports) <= 4, "of the two other memories too"
    assert asked.count("AT+CMGL=4") < 70
    assert asked.count("AT+CPIN?") > 20, "it is still looked after"
    assert Recovered(upkeep.ILLEGIBLE) in drive(talk, 60, usual())


def test_a_message_that_can_not_be_deleted_is_told_once_and_its_end_too() -> None:
    talk = Talk()
    (_, message) = talk.set_up("+CMGL: 5,0,,140", ALARM_PDU)
    assert isinstance(message, Incoming)
    talk.modem.release(message.ref, talk.now)

    def answer(command: str, refusal: str = "+CMS ERROR: 500") -> list[str]:
        if command == "AT+CMGL=4":
            return ["+CMGL: 5,0,,140", ALARM_PDU, "OK"]
        return [refusal] if command.startswith("AT+CMGD") else usual()(command)

    reports = drive(talk, 600, answer)
    assert errors(reports) == [upkeep.UNDELETABLE]
    assert len(reports) == 3
    assert Recovered(upkeep.UNDELETABLE) in drive(talk, 60, lambda command: answer(command, "OK"))


def test_nothing_is_due_while_a_message_is_on_its_way() -> None:
    """Else the loop would not sleep: sending takes up to a minute, and the next set-up is due meanwhile."""
    talk = Talk()
    talk.modem.send(Outgoing(SENDER, RECEIPT), talk.now)

    def answer(command: str) -> list[str]:
        if command.startswith("AT+CPMS"):
            return ["+CMS ERROR: 302"]
        return [] if command.startswith("AT+CMGS=") else usual()(command)

    for _ in range(40):
        drive(talk, 1, answer)
        assert (talk.modem.deadline() or talk.now) >= talk.now


def test_a_modem_whose_radio_was_left_off_is_switched_on() -> None:
    """As by another program, or at its start (+CFUN: 0): then it says that there is no SIM."""
    talk = Talk()
    on = [False]

    def answer(command: str) -> list[str]:
        if command == "AT+CFUN=1":
            on[0] = True
        if on[0] and command == "AT+CMGL=4":
            return ["+CMGL: 3,0,,140", ALARM_PDU, "OK"]
        if not on[0] and command.startswith(("AT+CPIN", "AT+CMG", "AT+CPMS", "AT+CNMI")):
            return ["+CME ERROR: 13"]
        return usual(CFUN=[f"+CFUN: {int(on[0])}", "OK"])(command)

    reports = drive(talk, 30, answer)
    assert [r.octets for r in reports if isinstance(r, Incoming)] == [ALARM]
    assert [r.what for r in reports if isinstance(r, Trouble)] == [upkeep.NO_RADIO]


def test_a_modem_that_can_not_read_still_sends() -> None:
    talk = Talk()
    sent: list[str] = []

    def answer(command: str) -> list[str]:
        if command.startswith(("AT+CPMS", "AT+CMGL")):
            return ["+CMS ERROR: 302"]
        if command.startswith("AT+CMGS="):
            sent.append(command)
            return [">"]
        return ["+CMGS: 1", "OK"] if command.endswith("\x1a") else usual()(command)

    talk.modem.send(Outgoing(SENDER, RECEIPT), talk.now)
    drive(talk, 60, answer)
    assert sent
    assert talk.modem.unsent == 0


def test_nothing_is_sent_in_text_mode() -> None:
    """Restarted without a word: AT+CMGS=27 would then send the receipt's digits to the number 27, with an OK."""
    talk = Talk()
    talk.set_up()
    text, sent = [True], list[bool]()

    def answer(command: str) -> list[str]:
        text[0] = text[0] and command != "AT+CMGF=0"
        if command.startswith("AT+CMGS="):
            sent.append(text[0])
            return [">"]
        return ["+CMGS: 1", "OK"] if command.endswith("\x1a") else usual(CMGF=[f"+CMGF: {int(text[0])}", "OK"])(command)

    talk.wait(10)
    talk.modem.send(Outgoing(SENDER, RECEIPT), talk.now)
    reports = drive(talk, 30, answer)
    assert sent == [False]
    assert any(isinstance(r, Sent) for r in reports)


def test_a_modem_that_does_not_send_still_reads() -> None:
    talk = Talk()
    talk.set_up()
    for number in range(30):
        talk.modem.send(Outgoing(SENDER, bytes([number])), talk.now)

    def answer(command: str) -> list[str]:
        if command.startswith("AT+CMGS="):
            return []  # never
        return ["+CMGL: 1,1,,140", ALARM_PDU, "OK"] if command == "AT+CMGL=4" else usual()(command)

    reports = drive(talk, 120, answer)
    assert any(isinstance(r, Incoming) for r in reports)
    assert any(isinstance(r, Unsent) for r in reports)
    assert Silent() not in reports


def test_a_message_in_two_memories_is_reported_once_while_it_is_there() -> None:
    """MT shows what SM and ME hold."""
    talk = Talk()
    talk.set_up()
    reports = drive(talk, 300, lambda c: ["+CMGL: 1,1,,140", ALARM_PDU, "OK"] if c == "AT+CMGL=4" else usual()(c))
    assert len([r for r in reports if isinstance(r, Incoming)]) == 1


def test_what_another_program_deleted_is_not_deleted_again() -> None:
    talk = Talk()
    (_, report) = talk.set_up("+CMGL: 3,1,,140", encode_deliver(SENDER, b"alarm")[0])
    assert isinstance(report, Incoming)
    drive(talk, 30, usual())
    talk.modem.release(report.ref, talk.now)
    assert talk.says() == ""
