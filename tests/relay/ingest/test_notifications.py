"""Notifications of messages, in every form that modems have: the relay looks at once."""

from __future__ import annotations

import pytest

from relay.ingest.sms import Incoming
from tests.relay.ingest.test_modem_troubles import drive, usual
from tests.relay.ingest.test_sms import ALARM, ALARM_PDU, Talk


@pytest.mark.parametrize(
    "line",
    [
        '+CMTI: "ME",3',
        "+CMTI: ME,3",
        '+CMTI:"SM" , 3',
        "+CMTI: 3",
        '+CMTI: "SM"',
        '+CMTI: "SM",-1',
        '+CMTI: "SM",999999',
        '+CMTI: "SM",' + "9" * 900,
        "+CMTI",
        '+CDSI: "SM",3',
    ],
)
def test_a_notification_of_any_form_leads_to_reading_at_once(line: str) -> None:
    talk = Talk()
    talk.set_up()
    talk.hears(line)

    def answer(command: str) -> list[str]:
        lists = command == "AT+CMGL=4" or command.startswith("AT+CMGR")
        if not lists:
            return usual()(command)
        return [f"+CMG{'L: 3,' if 'CMGL' in command else 'R: '}0,,140", ALARM_PDU, "OK"]

    reports = drive(talk, 2, answer)
    assert [r.octets for r in reports if isinstance(r, Incoming)][:1] == [ALARM]


def test_a_notification_of_a_status_report_leads_to_nothing() -> None:
    talk = Talk()
    talk.set_up()
    talk.hears('+CDSI: "SR",1')
    assert talk.says() == ""


@pytest.mark.parametrize("line", ['"SR",3', '"BM",1', '"ME",-1', '"ME"', '"SM",' + "9" * 5000, '"ME",' + "9" * 5000])
@pytest.mark.parametrize("where", ["SM", "ME"])
def test_wherever_a_message_lies_it_is_read_at_once_by_a_notification_that_is_odd(line: str, where: str) -> None:
    talk = Talk()
    talk.set_up()
    talk.hears(f"+CMTI: {line}")
    memory = "SM"

    def answer(command: str) -> list[str]:
        nonlocal memory
        if command.startswith("AT+CPMS="):
            memory = command[9:11]
        if command == "AT+CMGL=4" and memory == where:
            return ["+CMGL: 3,0,,140", ALARM_PDU, "OK"]
        return usual()(command)

    reports = drive(talk, 3, answer)
    assert [r.octets for r in reports if isinstance(r, Incoming)][:1] == [ALARM]
