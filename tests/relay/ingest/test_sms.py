"""The modem driver as a transcript, without a port: what it says to the modem, what it reports."""

import itertools
from collections.abc import Sequence

import pytest

from relay.ingest import sms
from relay.ingest.pdu import Submit, encode_deliver, encode_submit
from relay.ingest.sms import Incoming, Modem, Outgoing, Ready, Report, Sent, Silent, Trouble, Unsent

ALARM = bytes(range(120))
SENDER = "+10000000001"
ALARM_PDU = encode_deliver(SENDER, ALARM)[0]
OTHER_PDU = encode_deliver("+10000000002", ALARM)[0]
RECEIPT = b"receipt octets"


class Talk:
    """Drives a `Modem`: `hears` what the modem says, expects what must be said next."""

    def __init__(self, modem: Modem | None = None) -> None:
        self.modem = modem or Modem()
        self.now = 1000.0
        self.modem.opened(self.now)

    def says(self) -> str:
        return self.modem.take_output().decode().replace("\r", "").replace("\x1a", "<Z>").replace("\x1b", "<ESC>")

    def hears(self, *lines: str) -> list[Report]:
        return self.modem.receive("".join(f"\r\n{line}\r\n" for line in lines).encode(), self.now)

    def prompt(self) -> None:
        assert self.modem.receive(b"\r\n> ", self.now) == []

    def wait(self, seconds: float) -> list[Report]:
        """Let time pass in the steps that the modem asks for."""
        reports: list[Report] = []
        end = self.now + seconds
        while (deadline := self.modem.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            reports += self.modem.tick(self.now)
            if deadline == self.modem.deadline():
                break
        self.now = end
        return reports + self.modem.tick(end)

    def until(self, command: str) -> None:
        """Let time pass until the command is said; sweeps find nothing, and a look at the settings learns nothing."""
        while not (said := self.says()).startswith(command):
            if said:
                self.hears("OK")
            else:
                self.wait(1.0)

    def set_up(self, *stored: str) -> list[Report]:
        script = [
            ("AT", ["OK"]),
            ("ATE0", ["ATE0", "OK"]),
            ("AT+CMEE=1", ["OK"]),
            ("AT+CPIN?", ["+CPIN: READY", "OK"]),
            ("AT+CMGF=0", ["OK"]),
            ('AT+CPMS="SM","SM","SM"', ["+CPMS: 0,20,0,20,0,20", "OK"]),
            ("AT+CNMI=2,1,0,0,0", ["OK"]),
            ("AT+CMGL=4", [*stored, "OK"]),
        ]
        reports: list[Report] = []
        for command, answer in script:
            assert self.says() == command
            reports += self.hears(*answer)
        return reports


def test_what_the_sim_holds_at_the_start_is_taken_and_deleted_only_when_told() -> None:
    talk = Talk()
    reports = talk.set_up("+CMGL: 3,1,,133", ALARM_PDU, "+CMGL: 7,0,,133", OTHER_PDU)
    assert reports[0] == Ready(2)
    first, second = reports[1:]
    assert isinstance(first, Incoming) and isinstance(second, Incoming)
    assert (first.sender, first.octets) == (SENDER, ALARM)
    assert talk.says() == ""
    talk.modem.release(second.ref, talk.now)
    assert talk.says() == "AT+CMGD=7"
    assert talk.hears("OK") == []
    assert talk.says() == ""


def test_a_new_message_in_mid_response_is_read_afterwards() -> None:
    talk = Talk()
    talk.set_up()
    assert talk.modem.send(Outgoing(SENDER, RECEIPT), talk.now)
    text, length = encode_submit(Submit(SENDER, RECEIPT))
    assert talk.says() == f"AT+CMGS={length}"
    talk.prompt()
    assert talk.says() == f"{text}<Z>"
    assert talk.hears('+CMTI: "SM",1', "+CMGS: 9", "OK") == [Sent(Outgoing(SENDER, RECEIPT))]
    assert talk.says() == "AT+CMGR=1"
    (report,) = talk.hears("+CMGR: 0,,133", ALARM_PDU, "OK")
    assert isinstance(report, Incoming)
    assert report.octets == ALARM


def test_a_notification_that_got_lost_costs_time_and_not_the_alarm() -> None:
    talk = Talk()
    talk.set_up()
    assert talk.wait(sms.SWEEP_INTERVAL) == []
    assert talk.says() == "AT+CMGL=4"
    (report,) = talk.hears("+CMGL: 1,0,,133", ALARM_PDU, "OK")
    assert isinstance(report, Incoming)


def test_a_message_is_reported_once_however_often_it_is_seen() -> None:
    talk = Talk()
    talk.set_up("+CMGL: 3,1,,133", ALARM_PDU)
    talk.hears('+CMTI: "SM",3')
    assert talk.says() == "AT+CMGR=3"
    assert talk.hears("+CMGR: 1,,133", ALARM_PDU, "OK") == []
    talk.wait(sms.SWEEP_INTERVAL)
    assert talk.says() == "AT+CMGL=4"
    assert talk.hears("+CMGL: 3,1,,133", ALARM_PDU, "OK") == []


def test_a_place_that_holds_a_new_message_is_never_deleted_for_the_old_one() -> None:
    talk = Talk()
    (_, old) = talk.set_up("+CMGL: 3,1,,133", ALARM_PDU)
    assert isinstance(old, Incoming)
    talk.modem.release(old.ref, talk.now)
    assert talk.says() == "AT+CMGD=3"
    assert [type(r) for r in talk.wait(10.0)] == [Trouble]  # no answer: whether the message is gone is unknown
    assert talk.says() == "AT+CMGF?"
    talk.hears("+CMGF: 0", "OK")
    talk.until("AT+CMGL=4")
    (new,) = talk.hears("+CMGL: 3,0,,133", OTHER_PDU, "OK")
    assert isinstance(new, Incoming)
    talk.modem.release(old.ref, talk.now)
    assert talk.says() == ""
    talk.modem.release(new.ref, talk.now)
    assert talk.says() == "AT+CMGD=3"


def test_a_deletion_that_failed_is_made_up_for_by_the_sweep() -> None:
    talk = Talk()
    (_, message) = talk.set_up("+CMGL: 3,1,,133", ALARM_PDU)
    assert isinstance(message, Incoming)
    talk.modem.release(message.ref, talk.now)
    talk.says()
    assert talk.hears("+CMS ERROR: 500") == [Trouble("deleting a message failed", "+CMS ERROR: 500")]
    talk.wait(sms.SWEEP_INTERVAL)
    assert talk.says() == "AT+CMGL=4"
    assert talk.hears("+CMGL: 3,1,,133", ALARM_PDU, "OK") == []
    assert talk.says() == "AT+CMGD=3"


def test_a_receipt_is_tried_again_and_then_given_up() -> None:
    talk = Talk()
    talk.set_up()
    began = talk.now
    talk.modem.send(Outgoing(SENDER, RECEIPT, tag="t"), talk.now)
    waited = []
    while True:
        talk.until("AT+CMGS=")
        waited.append(talk.now - began)
        began = talk.now
        (report,) = talk.hears("+CMS ERROR: 331")
        assert isinstance(report, Unsent)
        assert report.message.tag == "t"
        if report.final:
            break
    assert waited == [0.0, *sms.SEND_RETRY]
    assert talk.modem.unsent == 0


def test_the_queue_of_receipts_is_bounded_and_holds_nothing_twice() -> None:
    talk = Talk(Modem(queue=2))
    talk.set_up()
    assert talk.modem.send(Outgoing(SENDER, b"1"), talk.now)
    assert talk.modem.send(Outgoing(SENDER, b"1"), talk.now)
    assert talk.modem.unsent == 1
    assert talk.modem.send(Outgoing(SENDER, b"2"), talk.now)
    assert not talk.modem.send(Outgoing(SENDER, b"3"), talk.now)


@pytest.mark.parametrize("recipient", ["", "SHOP", "+", "+1;rm"])
def test_who_can_not_be_answered_is_not_answered(recipient: str) -> None:
    talk = Talk()
    talk.set_up()
    assert not talk.modem.send(Outgoing(recipient, RECEIPT), talk.now)
    assert talk.says() == ""


def test_what_is_no_message_does_not_fill_the_sim() -> None:
    talk = Talk()
    reports = talk.set_up("+CMGL: 1,0,,20", "0006010591214365", "+CMGL: 2,0,,133", ALARM_PDU)
    assert [type(r) for r in reports] == [Ready, Trouble, Incoming]
    assert talk.says() == "AT+CMGR=1"  # the line may have garbled it
    assert talk.hears("+CMGR: 1,,20", "0006010591214365", "OK") == []
    assert talk.says() == "AT+CMGD=1"


@pytest.mark.parametrize("garbled", [ALARM_PDU[:-2], ALARM_PDU[:-1], ALARM_PDU[:40] + ALARM_PDU[42:]])
def test_an_alarm_that_the_serial_line_garbled_is_read_again_and_not_deleted(garbled: str) -> None:
    talk = Talk()
    reports = talk.set_up("+CMGL: 1,0,,133", garbled, "+CMGL: 2,0,,133", OTHER_PDU)
    assert [type(r) for r in reports] == [Ready, Trouble, Incoming]
    assert [r.ref.index for r in reports if isinstance(r, Incoming)] == [2]
    assert talk.says() == "AT+CMGR=1"
    (report,) = talk.hears("+CMGR: 1,,133", ALARM_PDU, "OK")
    assert isinstance(report, Incoming)
    assert report.octets == ALARM
    assert talk.says() == ""
    talk.modem.release(report.ref, talk.now)
    assert talk.says() == "AT+CMGD=1"


def test_what_was_refused_is_deleted_only_when_it_reads_the_same_again() -> None:
    talk = Talk()
    wrong = ALARM_PDU[:-2] + "FE"
    (_, report) = talk.set_up("+CMGL: 1,0,,133", wrong)
    assert isinstance(report, Incoming)
    talk.modem.reject(report.ref, talk.now)
    assert talk.says() == "AT+CMGR=1"
    (report,) = talk.hears("+CMGR: 1,,133", ALARM_PDU, "OK")
    assert isinstance(report, Incoming)
    assert report.octets == ALARM
    talk.modem.reject(report.ref, talk.now)
    assert talk.says() == "AT+CMGR=1"
    assert talk.hears("+CMGR: 1,,133", ALARM_PDU, "OK") == []
    assert talk.says() == "AT+CMGD=1"


def test_a_modem_that_falls_silent_is_reported_and_starts_over_when_opened_again() -> None:
    talk = Talk()
    (_, message) = talk.set_up("+CMGL: 3,1,,133", ALARM_PDU)
    assert isinstance(message, Incoming)
    assert Silent() in talk.wait(sms.SWEEP_INTERVAL + 60)
    talk.modem.send(Outgoing(SENDER, RECEIPT), talk.now)
    talk.says()
    talk.modem.opened(talk.now)
    reports = talk.set_up("+CMGL: 3,1,,133", ALARM_PDU)
    assert [type(r) for r in reports] == [Ready, Incoming]
    assert talk.says().startswith("AT+CMGS=")  # what waited is sent now
    talk.modem.release(message.ref, talk.now)  # of the earlier session: the new one counts
    talk.prompt()
    talk.says()
    talk.hears("+CMGS: 1", "OK")
    assert talk.says() == ""


def test_the_pin_is_given_once_and_a_wrong_one_never_again() -> None:
    talk = Talk(Modem(pin="1234"))
    for command, answer in [("AT", "OK"), ("ATE0", "OK"), ("AT+CMEE=1", "OK")]:
        assert talk.says() == command
        talk.hears(answer)
    assert talk.says() == "AT+CPIN?"
    talk.hears("+CPIN: SIM PIN", "OK")
    assert talk.says() == "AT+CPIN=1234"
    (trouble,) = talk.hears("+CME ERROR: 16")
    assert isinstance(trouble, Trouble)
    said = []
    for _ in range(200):
        talk.wait(1.0)
        line = talk.says()
        said.append(line)
        if line:
            talk.hears(*(["+CPIN: SIM PIN", "OK"] if line == "AT+CPIN?" else ["OK"]))
    assert "AT+CPIN?" in said
    assert "AT+CPIN=1234" not in said


def test_set_up_that_fails_is_tried_again() -> None:
    talk = Talk()
    assert talk.says() == "AT"
    talk.hears("OK")
    assert talk.says() == "ATE0"
    assert talk.hears("ERROR") == [Trouble("set-up failed at ATE0", "ERROR")]
    assert talk.says() == ""
    talk.wait(1.1)
    assert [type(r) for r in talk.set_up()] == [Ready]


def test_reading_deleting_and_sending_take_turns() -> None:
    talk = Talk()
    reports = talk.set_up(*(x for i in range(4) for x in (f"+CMGL: {i},1,,133", encode_deliver(SENDER, bytes([i]))[0])))
    for report in reports:
        if isinstance(report, Incoming):
            talk.modem.release(report.ref, talk.now)
            talk.modem.send(Outgoing(SENDER, report.octets), talk.now)
    talk.hears('+CMTI: "SM",9')
    said: list[str] = []
    for _ in range(9):
        line = talk.says()
        said.append(line.partition("=")[0])
        if line.startswith("AT+CMGS"):
            talk.prompt()
            talk.says()
            talk.hears("+CMGS: 1", "OK")
        else:
            talk.hears("OK")
    assert sorted(said) == ["AT+CMGD"] * 4 + ["AT+CMGR"] + ["AT+CMGS"] * 4
    assert _longest_run(said) == 1 or said[-1] == said[-2]


def _longest_run(items: Sequence[str]) -> int:
    longest = run = 1
    for a, b in itertools.pairwise(items):
        run = run + 1 if a == b else 1
        longest = max(longest, run)
    return longest
