"""The modem driver against modems of every habit, restarted and taken over at random: no alarm that is in a memory of a
working modem stays unread, none is deleted before it was released, and nothing ever raises.
"""

from __future__ import annotations

from random import Random

import pytest

from relay.ingest.pdu import encode_deliver
from relay.ingest.sms import Incoming, Modem, Outgoing, Ref, Report, Silent, Trouble
from tests.relay.ingest.strange import CAPACITY, WORDS, Habits, Strange, draw

WITHIN = 120.0  # of a modem that works, an alarm is read within two minutes
STEP = 0.2


class Field:
    """A driver, a strange modem, and whoever sends alarms to it."""

    def __init__(self, seed: int, habits: Habits | None = None) -> None:
        self.random = Random(seed)
        self.habits = habits or draw(self.random)
        self.now = 100.0
        self.heard = bytearray()
        self.strange = Strange(self.habits, self.random, self.heard.extend)
        self.driver = Modem(pin=self.habits.pin, storage=self.random.choice(("SM", "ME")))
        self.reports: list[Report] = []
        self.seen: set[str] = set()
        self.released: set[str] = set()
        self.waiting: list[Ref] = []
        self.count = 0
        self.sent = 0
        self.releases = True
        self.disturbed_at = self.now
        self.driver.opened(self.now)

    def alarm(self) -> str | None:
        self.count += 1
        pdu = encode_deliver("+10000000001", self.count.to_bytes(4, "big") * 30)[0]
        return pdu if self.strange.takes(pdu) else None

    def step(self) -> None:
        self.now += STEP
        self.strange.run(self.now)
        before = set(self.strange.everything)
        said = self.driver.take_output()
        if said:
            self.strange.hears(said)
        gone = before - set(self.strange.everything)
        assert gone <= self.released, "a message was deleted that nobody has released"
        data, self.heard[:] = bytes(self.heard), b""
        cut = self.random.randrange(len(data) + 1) if data else 0
        news = self.driver.receive(data[:cut], self.now)
        news += self.driver.receive(data[cut:], self.now)
        news += self.driver.tick(self.now)
        for report in news:
            if isinstance(report, Incoming):
                self.seen.add(report.ref.text)
                self.waiting.append(report.ref)
            elif isinstance(report, Silent):
                self.strange.restart(silent=True)  # switched off and on
                self.driver.opened(self.now)
                self.disturbed_at = self.now
        self.reports += news
        if self.releases:
            for ref in self.waiting:
                self.released.add(ref.text)
                self.driver.release(ref, self.now)
            self.waiting.clear()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()

    def settled(self) -> None:
        """Wait until the modem has been left alone for as long as an alarm may take."""
        while self.now < self.disturbed_at + self.habits.sms_ready_s + WITHIN:
            self.step()

    def disturb(self) -> None:
        self.disturbed_at = self.now
        what = self.random.randrange(5)
        if what == 0:
            self.strange.taken_over()
        elif what == 1:
            self.heard += bytes(self.random.randrange(256) for _ in range(self.random.randrange(1, 3000)))
        else:
            self.strange.restart(silent=what == 2, quick=self.random.random() < 0.3)


@pytest.mark.parametrize("seed", range(25))
def test_no_alarm_is_lost_or_deleted_too_early(seed: int) -> None:
    field = Field(seed)
    random = field.random
    for _ in range(3):
        arrived: list[str] = []
        for _ in range(random.randrange(1, 5)):
            field.run(random.uniform(0, 40))
            field.releases = random.random() < 0.8
            if random.random() < 0.5:
                field.driver.send(Outgoing("+10000000001", bytes([random.randrange(256)])), field.now)
            if random.random() < 0.7:
                field.disturb()
            if (pdu := field.alarm()) is not None:
                arrived.append(pdu)
        field.releases = True
        field.settled()
        if (pdu := field.alarm()) is not None:
            arrived.append(pdu)
        field.disturbed_at = field.now - field.habits.sms_ready_s
        field.settled()
        assert set(arrived) <= field.seen, (field.habits, field.reports[-20:])
        assert not [pdu for pdu in field.strange.everything if pdu in arrived], "all were released, so all are deleted"
    assert set(field.strange.pins) <= {field.habits.pin}
    assert field.driver.ready
    assert len(field.reports) < 500, "the log stays readable"


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("silent", [False, True])
def test_a_restarted_modem_is_set_up_within_a_minute(words: tuple[str, ...], silent: bool) -> None:
    """Each start-up word, and none: defaults are back, the SIM is locked, nothing is announced."""
    habits = Habits(words=words, pin="4711", boot_s=2.0, sms_ready_s=6.0, default_cnmi="0,0,0,0,0")
    field = Field(1, habits)
    field.run(60)
    assert field.driver.ready
    pins = len(field.strange.pins)
    field.strange.restart(silent=silent)
    field.run(60)
    assert field.driver.ready
    assert field.strange.cnmi.startswith("2,1")
    assert not field.strange.text_mode
    assert field.strange.pins[pins:] == ["4711"], "the PIN is given once for each start"
    assert field.strange.receiving == field.driver._storage


@pytest.mark.parametrize("memory", ["SM", "ME"])
def test_a_message_is_released_in_the_memory_where_it_lies(memory: str) -> None:
    field = Field(2, Habits())
    field.run(40)
    text = encode_deliver("+10000000001", b"there" * 20)[0]
    other = encode_deliver("+10000000001", b"elsewhere" * 10)[0]
    field.releases = False
    field.strange.stored[memory][3] = (False, text)
    field.run(60)
    field.strange.stored["ME" if memory == "SM" else "SM"][3] = (False, other)  # the same place of the other memory
    (ref,) = [ref for ref in field.waiting if ref.text == text]
    field.released.add(text)
    field.driver.release(ref, field.now)
    field.run(10)
    assert field.strange.everything == [other]


def test_what_is_deleted_after_a_pause_is_checked_before() -> None:
    """The modem restarts, silently and quickly, while the database does not take the alarm: the place of another memory
    must not be deleted for it."""
    field = Field(3, Habits(words=(), default_memory="ME", boot_s=2.0, sms_ready_s=2.0))
    field.driver = Modem()
    field.driver.opened(field.now)
    field.run(60)
    field.releases = False
    alarm, unread = (encode_deliver("+10000000001", octets * 20)[0] for octets in (b"alarm", b"other"))
    field.strange.stored["SM"][1] = (False, alarm)
    while not field.waiting:
        field.step()
    field.strange.restart(silent=True)
    field.strange.stored["ME"][1] = (False, unread)
    field.run(4)
    field.releases = True  # asserts in each step that nothing else is deleted
    field.run(120)
    assert {alarm, unread} <= field.seen


def errors(field: Field) -> list[str]:
    return [report.what for report in field.reports if isinstance(report, Trouble) and report.hint]


def test_a_full_memory_is_told_within_a_minute_and_its_end_too() -> None:
    field = Field(4, Habits())
    field.driver = Modem()
    field.driver.opened(field.now)
    field.releases = False
    field.run(60)
    for place in range(1, CAPACITY + 1):
        field.strange.stored["SM"][place] = (False, encode_deliver("+10000000001", bytes([place]) * 9)[0])
    field.run(60)
    assert errors(field) == ["the modem's memory for messages is full"]
    field.releases = True
    field.run(60)
    assert field.reports[-1].what == "the modem's memory for messages is full"  # type: ignore[union-attr]
