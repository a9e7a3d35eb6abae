"""What is kept, what is let go, and whose turn it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import Limits
from relay.ingest.intake import MQTT, SMS, Intake, account_of, intake_for, parse_topic
from relay.pipeline import Inbound

THIEF, ANNA = "0a1b2c3d", "0b11aa22"


def alarm(kid: str, number: int) -> Inbound:
    return Inbound(MQTT, b"%d" % number, "alarm", kid)


def made(**limits: int) -> Intake:
    return intake_for(Limits(**limits))


def test_an_honest_alarm_is_in_the_next_batch_whatever_came_before() -> None:
    intake = made()
    kept = [intake.arrived(alarm(THIEF, n), 0.0) for n in range(50_000)]
    assert intake.arrived(alarm(ANNA, 1), 0.0)
    assert alarm(ANNA, 1) in intake.lanes.take(10)
    assert kept[:2000] == [True] * 2000
    assert 2000 < sum(kept) < 10_000  # a broker stops at 10,000 that are not acknowledged
    assert intake.take_let_go() == 50_000 - sum(kept)
    assert intake.take_let_go() == 0


def test_who_is_over_waits_for_those_who_are_not_heartbeats_too() -> None:
    intake = made()
    for number in range(3000):
        intake.arrived(alarm(THIEF, number), 0.0)
    intake.lanes.take(2000)
    heartbeats = [Inbound(MQTT, b"%d" % n, "hb", f"{n:08x}") for n in range(600)]
    for heartbeat in heartbeats:
        intake.arrived(heartbeat, 0.0)
    batch = intake.lanes.take(500)
    assert batch == heartbeats[:500]
    batch = intake.lanes.take(500)
    assert batch[:100] == heartbeats[500:]
    assert Counter(map(account_of, batch))[THIEF] == 50


def test_many_who_are_over_have_one_bound_together() -> None:
    intake = made()
    for kid in [f"{n:08x}" for n in range(30)]:
        for number in range(5000):
            intake.arrived(alarm(kid, number), 0.0)
        intake.lanes.take(2000)
    assert len(intake.lanes) <= 5000


def test_a_day_of_repetitions_costs_no_message_that_came_once() -> None:
    """The relay was away: 1,500 different messages, each repeated by the bracelet until its receipt."""
    intake = made()
    backlog = [alarm(ANNA, n % 1500) for n in range(9000)]
    kept = [message for message in backlog if intake.arrived(message, 0.0)]
    assert set(kept) == set(backlog)
    assert len(intake.lanes) < 5000


def test_of_one_who_is_over_and_sends_junk_hardly_anything_is_kept() -> None:
    intake = made()
    for number in range(2500):
        intake.arrived(alarm(THIEF, number), 0.0)
    for message in intake.lanes.take(2500):
        intake.judged(message, refused=True)
    kept = sum(intake.arrived(alarm(THIEF, n), 0.1) for n in range(2500, 9000))
    assert kept <= 70


def test_an_sms_is_never_let_go_unseen_and_its_sender_is_told_of() -> None:
    intake = made()
    messages = [Inbound(SMS, b"%d" % n, None, None, None, "+10000000001") for n in range(200)]
    assert all(intake.arrived(message, 0.0) for message in messages)
    honest = Inbound(SMS, b"x", None, None, None, "+10000000002")
    intake.arrived(honest, 0.0)
    assert honest in intake.lanes.take(10)
    assert intake.is_flooding(messages[0])
    assert not intake.is_flooding(honest)
    ((path, flood),) = intake.floods(1.0)
    assert (path, flood.tell) == (SMS, True)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), max_size=20), st.integers(1, 100))
def test_in_any_batch_nobody_gets_two_more_than_one_who_still_waits(sent: list[tuple[int, int]], most: int) -> None:
    intake = made()
    for account, count in sent:
        for number in range(count):
            intake.arrived(alarm(f"{account:08x}", number), 0.0)
    waiting = Counter()
    for account, count in sent:
        waiting[f"{account:08x}"] += count
    got = Counter(map(account_of, intake.lanes.take(most)))
    left = [account for account in waiting if waiting[account] > got[account]]
    for account in left:
        assert max(got.values(), default=0) <= got[account] + 1


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        ("b/0/0a1b2c3d/alarm", ("alarm", "0a1b2c3d")),
        ("b/0/0a1b2c3d/hb", ("hb", "0a1b2c3d")),
        ("b/1/0a1b2c3d/hb", ("alarm", "")),
        ("b/0/0a1b2c3d", ("alarm", "")),
        ("", ("alarm", "")),
    ],
)
def test_a_topic_names_its_account(topic: str, found: tuple[str, str]) -> None:
    assert parse_topic(topic) == found
