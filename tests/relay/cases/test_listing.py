"""The list of alarms: what is open first, since when, the last word, where, and who has answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from relay.cases import listing, reading
from relay.downlink import Desk
from relay.pipeline import Pipeline, Status
from relay.registry import Registry
from relay.store import Store, schema
from relay.verify import Alarm, Cell, Fix
from tests.relay.support import KEYS, NETWORK_TIME, NOW, SOMEWHERE, provision

DRILL, CANCEL, DURESS, LAST, DOUBTFUL, STRAP_OPEN = 1, 2, 4, 128, 256, 2 << 5
DAY = 86_400
CELL = Cell(262, 1, 54321, 28471062)


class Life:
    """A bracelet, and what the operators see of it."""

    def __init__(self, store: Store, pipeline: Pipeline, code_name: str) -> None:
        self.store, self.pipeline = store, pipeline
        self.bracelet = provision(store, code_name)
        self.desk = Desk(store, Registry(store, KEYS))

    def say(
        self,
        seq: int = 0,
        flags: int = 0,
        *,
        at: float = NOW,
        sent: float | None = None,
        fix: Fix | None = SOMEWHERE,
        cell: Cell | None = None,
        cause: int = 0,
        path: str = "mqtt",
    ) -> str:
        """One message; the alarm's name."""
        moment = at if sent is None else sent
        octets = self.bracelet.sealer.alarm(Alarm(NETWORK_TIME | flags, cause, seq, int(moment), 80, fix, cell))
        message = self.bracelet.by_mqtt(octets) if path == "mqtt" else self.bracelet.by_sms(octets)
        (item,) = self.pipeline.process([message], at).items
        assert item.status is Status.NEW
        assert item.counter is not None
        return f"{self.bracelet.kid}-{item.counter - seq}"


@pytest.fixture
def life(store: Store, pipeline: Pipeline) -> Life:
    return Life(store, pipeline, "sparrow")


def shown(store: Store, now: float, *, only_open: bool = False, everything: bool = False) -> list[dict[str, Any]]:
    now_ms = int(now * 1000)
    found = reading.known(store, now_ms, everything=everything)
    plain = [listing.plain(each, now_ms) for each in listing.in_order(found, now_ms, only_open=only_open)]
    assert json.loads(json.dumps(plain)) == plain
    return plain


def text(store: Store, now: float) -> str:
    """The list as people see it."""
    now_ms = int(now * 1000)
    found = listing.in_order(reading.known(store, now_ms), now_ms)
    lines = [line for each in found for line in listing.lines(each, now_ms)]
    assert all(len(line) <= 80 for line in lines), lines
    return "\n".join(lines)


def words(store: Store, now: float) -> str:
    """That text without the ends of its lines."""
    return " ".join(text(store, now).split())


def test_an_alarm_that_nobody_has_answered(store: Store, life: Life) -> None:
    alarm = life.say(sent=NOW - 10)
    life.say(1, at=NOW + 30, fix=None, cell=CELL, path="sms")
    said = words(store, NOW + 90)
    for each in (
        f"ALARM {alarm} sparrow NOBODY HAS ANSWERED",
        "raised 2026-01-01T00:01:30Z, 100 s ago; cause: button",
        "last word 2026-01-01T00:02:10Z, 60 s ago: Update 1 by sms, battery 80 %",
        "59.7700000, -43.8501234 within 12 m, as of 2026-01-01T00:01:27Z, 103 s ago",
        "cell 262-01-54321-28471062, as of 2026-01-01T00:02:10Z, 60 s ago",
    ):
        assert each in said, said
    (entry,) = shown(store, NOW + 90)
    assert (entry["alarm"], entry["code_name"], entry["state"], entry["open"]) == (alarm, "sparrow", "unanswered", True)
    assert (entry["raised"], entry["age_s"], entry["late"]) == ("2026-01-01T00:01:30Z", 100, False)
    assert (entry["place"]["lat_e7"], entry["place"]["age_s"]) == (SOMEWHERE.lat_e7, 103)
    assert entry["last_word"]["seq"] == 1


def test_who_has_answered(store: Store, life: Life) -> None:
    alarm = life.say()
    life.desk.accept(alarm, now=NOW + 60, by="Ada in Berlin")
    assert "accepted by Ada in Berlin, 2026-01-01T00:02:40Z, 2 min ago" in words(store, NOW + 180)
    (entry,) = shown(store, NOW + 180)
    assert (entry["state"], entry["accepted"]["by"], entry["closed"]) == ("accepted", "Ada in Berlin", None)
    life.desk.close(alarm, now=NOW + 240)
    assert "closed by an operator, 2026-01-01T00:05:40Z, 60 s ago" in words(store, NOW + 300)
    (entry,) = shown(store, NOW + 300)
    assert (entry["state"], entry["open"], entry["closed"]["by"]) == ("closed", False, None)
    with store.read() as connection:
        kept = connection.execute(schema.alarm_case.select()).one()
    assert b"Ada" not in bytes(kept.accepted_by_sealed)


def test_a_cancel_and_one_under_duress(store: Store, life: Life) -> None:
    life.say()
    life.say(1, CANCEL, at=NOW + 20)
    life.say(2, at=NOW + 60)
    said = words(store, NOW + 60)
    assert "cancelled by the wearer" in said
    assert "Update 2, after the cancel" in said
    assert "DURESS" not in said
    (entry,) = shown(store, NOW + 60)
    assert (entry["state"], entry["open"], entry["cancelled"]) == ("cancelled", False, True)
    assert entry["last_word"]["after_cancel"]
    assert shown(store, NOW + 60, only_open=True) == []


def test_a_cancel_under_duress_ends_nothing(store: Store, life: Life) -> None:
    life.say()
    life.say(1, CANCEL | DURESS, at=NOW + 20)
    said = words(store, NOW + 3 * DAY)
    assert "NOBODY HAS ANSWERED" in said
    assert "called off UNDER DURESS" in said
    (entry,) = shown(store, NOW + 3 * DAY, only_open=True)
    assert entry["called_off_under_duress"]
    assert not entry["cancelled"]


@pytest.mark.parametrize("flags", [CANCEL | DURESS, DURESS])
def test_nobody_is_told_to_act_on_an_alarm_under_duress_that_is_closed(store: Store, life: Life, flags: int) -> None:
    alarm = life.say()
    life.say(1, flags, at=NOW + 20)
    assert "treat it as an alarm, and let nobody near the wearer know" in words(store, NOW + 60)
    assert ("it goes on" in words(store, NOW + 60)) == bool(flags & CANCEL)
    life.desk.close(alarm, now=NOW + 70)
    said = words(store, NOW + 80)
    assert "UNDER DURESS; let nobody near the wearer know" in said
    assert "goes on" not in said and "treat it" not in said


def test_what_was_raised_ahead_of_its_arrival(store: Store, life: Life) -> None:
    life.say(sent=NOW + 7200)
    said = words(store, NOW + 3 * 3600)
    assert "first heard of 2026-01-01T00:01:40Z, 3 h ago; sent 2 h ahead of the relay's clock" in said
    assert "raised 2026-01-01T02:01:40Z; cause: button" in said


def test_what_came_late(store: Store, life: Life) -> None:
    life.say(sent=NOW - 21 * DAY)
    assert "raised 2025-12-11T00:01:40Z, 21 days ago; cause: button; its Alert came LATE, after 21 days" in words(
        store, NOW
    )
    (entry,) = shown(store, NOW)
    assert (entry["late"], entry["delay_s"], entry["age_s"]) == (True, 21 * DAY, 21 * DAY)
    (known,) = reading.known(store, int(NOW * 1000))
    assert listing.colour(known, int(NOW * 1000)) == listing.LATE_COLOUR


def test_open_ones_come_first_and_what_is_over_goes(store: Store, pipeline: Pipeline) -> None:
    lives = [Life(store, pipeline, f"bird {number}") for number in range(6)]
    long_ago, closed, drill, accepted, young, old_drill = lives
    long_ago.say(at=NOW - 30 * DAY)
    closed.desk.close(closed.say(at=NOW - 3600), now=NOW - 60)
    drill.say(flags=DRILL, at=NOW - 7200)
    accepted.desk.accept(accepted.say(at=NOW - 7200), now=NOW - 7000)
    young.say(at=NOW - 30)
    old_drill.say(flags=DRILL, at=NOW - 2 * DAY)
    names = [entry["code_name"] for entry in shown(store, NOW)]
    assert names == ["bird 0", "bird 4", "bird 3", "bird 2", "bird 1"]
    assert [entry["code_name"] for entry in shown(store, NOW, only_open=True)] == names[:4]
    everything = shown(store, NOW, everything=True)
    assert [entry["code_name"] for entry in everything] == [*names, "bird 5"]
    assert everything[-1]["state"] == "over"
    assert [entry["code_name"] for entry in shown(store, NOW + 2 * DAY)] == ["bird 0", "bird 4", "bird 3"]


@pytest.mark.parametrize(("cause", "word"), [(0, "DRILL"), (3, "TRIAL")])
def test_a_drill_never_looks_like_an_alarm(store: Store, life: Life, cause: int, word: str) -> None:
    life.say(flags=DRILL, cause=cause)
    assert text(store, NOW).startswith(f"{word} ")
    (known,) = reading.known(store, int(NOW * 1000))
    assert listing.colour(known, int(NOW * 1000)) == listing.DRILL_COLOUR
    life.say(1)  # grabbed during a drill
    assert text(store, NOW).startswith("ALARM ")


def test_what_is_not_known_is_said_so(store: Store, life: Life) -> None:
    life.say(sent=0, fix=None)
    said = words(store, NOW + 60)
    assert "first heard of 2026-01-01T00:01:40Z, 60 s ago; when it was raised is not known" in said
    assert "place not known" in said
    (entry,) = shown(store, NOW)
    assert (entry["raised"], entry["place"], entry["cell"], entry["delay_s"]) == (None, None, None, None)


def test_the_last_message_a_strap_and_doubt(store: Store, life: Life) -> None:
    life.say(flags=LAST | DOUBTFUL | STRAP_OPEN)
    said = words(store, NOW)
    for each in ("strap open", "LAST", "DOUBTFUL"):
        assert each in said


def test_a_damaged_row_hides_no_alarm(store: Store, life: Life) -> None:
    life.say()
    life.say(1)
    with store.write() as connection:
        connection.execute(update(schema.alarm).where(schema.alarm.c.seq == 1).values(evidence_sealed=b"x" * 40))
    assert "its content is damaged here and can't be read" in words(store, NOW)
    (entry,) = shown(store, NOW)
    assert (entry["last_word"]["readable"], entry["place"]["lat_e7"]) == (False, SOMEWHERE.lat_e7)


def test_long_names_wrap(store: Store, pipeline: Pipeline) -> None:
    Life(store, pipeline, "a name of many words " * 3).say(fix=Fix(*SOMEWHERE[:4]), cell=CELL)
    assert "NOBODY HAS ANSWERED" in words(store, NOW)
