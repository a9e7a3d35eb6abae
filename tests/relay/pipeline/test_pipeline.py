"""The pipeline: what becomes of each kind of message, alone and in company."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations

import pytest
from sqlalchemy import delete, select, update

from relay import cases, rebroadcast
from relay.outbox import Outbox, OutboxId
from relay.pipeline import Pipeline, Status
from relay.registry import Registry
from relay.store import Store, chains, schema
from relay.verify import Heartbeat, Reason
from relay.verify.ratchet import MAX_STEPS, SKIPPED_AGE_S
from tests.relay.support import KEYS, NETWORK_TIME, NOW, Bracelet, audience, contents, one, provision, refusals

DRILL, CANCEL, DURESS = 1, 2, 4


def test_alarm(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm()
    outcome = pipeline.process([bracelet.by_mqtt(octets)], NOW)
    (item,) = outcome.items
    assert (item.status, item.kid, item.counter, item.delay_s) == (Status.NEW, bracelet.kid, 0, 10)
    assert bracelet.confirmed(item.receipt) == 0
    assert item.document is not None
    assert rebroadcast.check(item.document, KEYS.public).ok
    (delivery,) = item.deliveries
    assert delivery.topic == f"s/{audience(store).id}/{bracelet.kid}/alarm"
    assert audience(store).epoch.open(delivery.topic, delivery.octets) == item.document
    assert [event.name for event in outcome.events] == ["alarm.received", "alarm.verified", "alarm.committed"]
    rows = contents(store)
    alarm_id = int(bracelet.kid, 16) << 24
    assert [row[0] for row in rows["alarm"]] == [alarm_id]
    assert [row[0] for row in rows["alarm_case"]] == [alarm_id]
    assert [row[:3] for row in rows["outbox"]] == [(alarm_id, f"mqtt:{audience(store).id}", 0)]
    assert delivery.id == (alarm_id, f"mqtt:{audience(store).id}", 0, "alarm")
    assert rows["audit"][-1][2:] == ("relay", "alarm.accepted", int(bracelet.kid, 16), alarm_id)


def test_the_log_tells_a_drill_from_an_alarm(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    for flags in (DRILL, 0):
        outcome = pipeline.process([bracelet.by_mqtt(bracelet.alarm(flags=flags))], NOW)
        assert [item.drill for item in outcome.items] == [bool(flags)]
        told = {event.name: event.fields.get("drill") for event in outcome.events}
        mark = True if flags else None
        assert told == {"alarm.received": None, "alarm.verified": mark, "alarm.committed": mark}
    with store.write() as connection:
        connection.execute(schema.outbox.update().values(lease_ms=None))
    assert [delivery.drill for delivery in Outbox(store, KEYS).lease(NOW + 60)] == [True, False]


def test_a_late_alarm_still_alerts(pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm(time=int(NOW) - 86400 * 20)
    (item,) = pipeline.process([bracelet.by_sms(octets)], NOW).items
    assert (item.status, item.delay_s) == (Status.NEW, 86400 * 20)
    assert item.document is not None
    assert json.loads(item.document)["delay_s"] == 86400 * 20


@pytest.mark.parametrize(("time", "delay"), [(0, None), (int(NOW) + 3600, 0)])
def test_a_wrong_clock_delays_nothing(pipeline: Pipeline, bracelet: Bracelet, time: int, delay: int | None) -> None:
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm(time=time))], NOW).items
    assert (item.status, item.delay_s) == (Status.NEW, delay)


def test_the_same_message_on_both_paths(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm()
    (first,) = pipeline.process([bracelet.by_mqtt(octets)], NOW).items
    before = contents(store)
    (second,) = pipeline.process([bracelet.by_sms(octets)], NOW + 20).items
    assert (second.status, second.receipt) == (Status.DUPLICATE, first.receipt)
    assert second.document is None
    assert second.deliveries == ()
    assert contents(store) == before


def test_the_same_message_twice_in_a_batch(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm()
    first, second, third = pipeline.process(
        [bracelet.by_sms(octets), bracelet.by_mqtt(octets), bracelet.by_sms(octets)], NOW
    ).items
    assert [first.status, second.status, third.status] == [Status.NEW, Status.DUPLICATE, Status.DUPLICATE]
    assert first.receipt == second.receipt == third.receipt
    assert len(contents(store)["alarm"]) == 1


def test_a_duplicate_after_a_restart(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm()
    (first,) = pipeline.process([bracelet.by_mqtt(octets)], NOW).items
    (second,) = Pipeline(store, KEYS).process([bracelet.by_mqtt(octets)], NOW).items
    assert (second.status, second.receipt) == (Status.DUPLICATE, first.receipt)


def test_a_used_counter_with_other_content_is_a_replay(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = bracelet.alarm()
    altered = octets[:-1] + bytes([octets[-1] ^ 1])
    good, bad = pipeline.process([bracelet.by_mqtt(octets), bracelet.by_mqtt(altered)], NOW).items
    assert (good.status, bad.reason) == (Status.NEW, Reason.REPLAY)
    assert one(pipeline, bracelet.by_sms(altered)) == (Status.REFUSED, Reason.REPLAY)
    assert refusals(store) == {("replay", "mqtt"): 1, ("replay", "sms"): 1}


def test_many_messages_of_one_bracelet_in_one_batch(pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = [bracelet.alarm(seq) for seq in range(5)]
    items = pipeline.process([bracelet.by_mqtt(octets[n]) for n in (3, 0, 4, 1, 2)], NOW).items
    assert [item.status for item in items] == [Status.NEW] * 5
    assert [bracelet.confirmed(item.receipt) for item in items] == [3, 0, 4, 1, 2]


def test_out_of_order_over_batches(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = [bracelet.alarm(seq) for seq in range(4)]
    for seq in (2, 0, 3):
        assert one(pipeline, bracelet.by_mqtt(octets[seq])) == (Status.NEW, None)
    assert one(Pipeline(store, KEYS), bracelet.by_sms(octets[1])) == (Status.NEW, None)
    case = contents(store)["alarm_case"]
    assert len(case) == 1


def test_gap(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    for _ in range(3):
        bracelet.alarm()
    assert one(pipeline, bracelet.by_mqtt(bracelet.alarm())) == (Status.NEW, None)
    bracelet.sealer.alarm_counter = 4 + MAX_STEPS + 1
    assert one(pipeline, bracelet.by_mqtt(bracelet.alarm())) == (Status.REFUSED, Reason.GAP)


def test_forged_gaps_are_rationed(pipeline: Pipeline, bracelet: Bracelet) -> None:
    """Far-ahead forgeries cost the relay work: it does only so much of it, and the genuine next message passes."""
    genuine = bracelet.alarm()
    bracelet.sealer.alarm_counter = MAX_STEPS
    far = bracelet.alarm()
    forged = far[:-1] + bytes([far[-1] ^ 1])
    items = pipeline.process([bracelet.by_mqtt(forged)] * 5, NOW).items
    assert [item.reason for item in items] == [Reason.BAD_TAG] * 2 + [Reason.GAP] * 3
    assert one(pipeline, bracelet.by_mqtt(genuine)) == (Status.NEW, None)
    assert one(pipeline, bracelet.by_mqtt(forged), NOW + 1) == (Status.REFUSED, Reason.GAP)
    assert one(pipeline, bracelet.by_mqtt(forged), NOW + 11) == (Status.REFUSED, Reason.BAD_TAG)


def test_a_skipped_key_ages(pipeline: Pipeline, bracelet: Bracelet) -> None:
    early, late, newest = bracelet.alarm(), bracelet.alarm(), bracelet.alarm()
    assert one(pipeline, bracelet.by_mqtt(newest)) == (Status.NEW, None)
    assert one(pipeline, bracelet.by_mqtt(early), NOW + SKIPPED_AGE_S - 1) == (Status.NEW, None)
    assert one(pipeline, bracelet.by_mqtt(late), NOW + SKIPPED_AGE_S + 1) == (Status.REFUSED, Reason.REPLAY)


# --- heartbeats ---


def test_heartbeat(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    outcome = pipeline.process([bracelet.beat(bracelet.heartbeat(pending=2))], NOW)
    (item,) = outcome.items
    assert (item.status, item.receipt, item.document) == (Status.HEARTBEAT, None, None)
    assert outcome.events == []
    (row,) = contents(store)["heartbeat"]
    assert row[:7] == (int(bracelet.kid, 16), 0, int(NOW * 1000), int(NOW), NETWORK_TIME, 80, 2)
    assert set(row[7:]) == {None}, "what this firmware does not report"


def test_the_newest_heartbeat_stays(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    first, second, third, fourth = (bracelet.beat(bracelet.heartbeat(n)) for n in range(4))
    items = pipeline.process([third, first], NOW).items
    assert [item.status for item in items] == [Status.HEARTBEAT] * 2
    assert one(pipeline, second, NOW + 5) == (Status.HEARTBEAT, None)
    assert [row[1] for row in contents(store)["heartbeat"]] == [2]
    assert one(pipeline, fourth, NOW + 9) == (Status.HEARTBEAT, None)
    assert [row[1:3] for row in contents(store)["heartbeat"]] == [(3, int((NOW + 9) * 1000))]


def test_a_heartbeat_delivered_twice(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    """The broker may deliver twice: that is no attack, and changes nothing."""
    first, second = bracelet.beat(bracelet.heartbeat()), bracelet.beat(bracelet.heartbeat())
    items = pipeline.process([first, second, second], NOW).items
    assert [item.status for item in items] == [Status.HEARTBEAT, Status.HEARTBEAT, Status.DUPLICATE]
    assert one(pipeline, second) == (Status.DUPLICATE, None)
    assert one(Pipeline(store, KEYS), second) == (Status.DUPLICATE, None)
    before = contents(store)
    assert one(pipeline, first) == (Status.DUPLICATE, None)
    assert contents(store) == before


def test_a_heartbeat_has_no_position(pipeline: Pipeline, bracelet: Bracelet) -> None:
    payload = Heartbeat(0, 0, 0, 0).encode().replace(b"\x85", b"\x87") + b"\x01\x02"
    octets = bracelet.sealer.heartbeat_octets(payload)
    assert one(pipeline, bracelet.beat(octets)) == (Status.REFUSED, Reason.BAD_PAYLOAD)


# --- cases ---


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_a_case_does_not_depend_on_the_order(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, order: tuple[int, ...], together: bool
) -> None:
    octets = [
        bracelet.alarm(0, time=1000),
        bracelet.alarm(1, time=1020),
        bracelet.alarm(2, flags=CANCEL, time=1040),
    ]
    messages = [bracelet.by_mqtt(octets[seq]) for seq in order]
    batches = [messages] if together else [[message] for message in messages]
    for place, batch in enumerate(batches):
        pipeline.process(batch, NOW + place)
    with store.read() as connection:
        case = cases.read(connection, int(bracelet.kid, 16) << 24)
    assert case is not None
    assert (case.raised, case.messages, case.last_seq, case.cancel_seq) == (1000, 3, 2, 2)
    last = NOW + len(batches) - 1
    assert (case.opened_ms, case.last_ms) == (int(NOW * 1000), int(last * 1000))
    assert (case.duress, case.drill, case.phase) == (False, False, cases.Phase.CANCELLED)


def test_a_clock_that_is_set_back_takes_no_time_from_a_case(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    for seq, now in enumerate((NOW, NOW + 60, NOW + 20)):
        pipeline.process([bracelet.by_mqtt(bracelet.alarm(seq))], now)
    with store.read() as connection:
        case = cases.read(connection, int(bracelet.kid, 16) << 24)
    assert case is not None
    assert (case.opened_ms, case.last_ms, case.last_seq) == (int(NOW * 1000), int((NOW + 60) * 1000), 2)


def test_an_update_that_comes_first_opens_the_case(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    alert, later = bracelet.alarm(0, time=1000), bracelet.alarm(1, time=1020)
    pipeline.process([bracelet.by_mqtt(later)], NOW)
    case_id = int(bracelet.kid, 16) << 24
    with store.read() as connection:
        case = cases.read(connection, case_id)
        assert case is not None
        assert (case.raised, case.messages, case.opened_ms) == (None, 1, int(NOW * 1000))
    pipeline.process([bracelet.by_mqtt(alert)], NOW + 5)
    with store.read() as connection:
        case = cases.read(connection, case_id)
        assert case is not None
        assert (case.raised, case.messages, case.opened_ms) == (1000, 2, int(NOW * 1000))
        assert cases.read(connection, case_id + 1) is None


@pytest.mark.parametrize(
    ("flags", "phase"),
    [
        ([0, CANCEL], cases.Phase.CANCELLED),
        ([0, CANCEL | DURESS], cases.Phase.OPEN),
        ([0, DURESS, CANCEL], cases.Phase.OPEN),
        ([0, CANCEL, 0, 0], cases.Phase.CANCELLED),
        ([0, CANCEL | DURESS, 0, 0], cases.Phase.OPEN),
        ([0, CANCEL, CANCEL], cases.Phase.CANCELLED),
    ],
)
def test_what_cancels(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, flags: list[int], phase: cases.Phase
) -> None:
    octets = [bracelet.alarm(seq, flags=flag) for seq, flag in enumerate(flags)]
    pipeline.process([bracelet.by_mqtt(message) for message in octets], NOW)
    with store.read() as connection:
        case = cases.read(connection, int(bracelet.kid, 16) << 24)
    assert case is not None
    assert case.phase is phase


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize(("cancel", "phase"), [(CANCEL, cases.Phase.CANCELLED), (CANCEL | DURESS, cases.Phase.OPEN)])
def test_what_cancels_in_whatever_order_it_comes(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, order: tuple[int, ...], cancel: int, phase: cases.Phase
) -> None:
    octets = [bracelet.alarm(seq, flags=flag) for seq, flag in enumerate((0, cancel, 0, 0))]
    for place, number in enumerate(order):
        pipeline.process([bracelet.by_mqtt(octets[number])], NOW + place)
    with store.read() as connection:
        case = cases.read(connection, int(bracelet.kid, 16) << 24)
    assert case is not None
    assert (case.phase, case.messages) == (phase, 4)


def test_one_message_in_earnest_ends_the_drill(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = [bracelet.alarm(0, flags=DRILL), bracelet.alarm(1, flags=DRILL), bracelet.alarm(2)]
    drills = []
    for message in octets:
        pipeline.process([bracelet.by_mqtt(message)], NOW)
        with store.read() as connection:
            case = cases.read(connection, int(bracelet.kid, 16) << 24)
        assert case is not None
        drills.append(case.drill)
    assert drills == [True, True, False]


def test_a_second_alarm_is_a_second_case(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = [bracelet.alarm(0), bracelet.alarm(1), bracelet.alarm(0)]
    pipeline.process([bracelet.by_mqtt(message) for message in octets], NOW)
    first = int(bracelet.kid, 16) << 24
    assert [row[0] for row in contents(store)["alarm_case"]] == [first, first + 2]


# --- who else writes ---


def test_a_revoked_bracelet(
    store: Store, open_store: Callable[[], Store], pipeline: Pipeline, bracelet: Bracelet
) -> None:
    """The command line revokes in its own process; a running pipeline notices, in the very next batch."""
    first, second = bracelet.alarm(), bracelet.alarm()
    assert one(pipeline, bracelet.by_mqtt(first)) == (Status.NEW, None)
    Registry(open_store(), KEYS).revoke(bracelet.kid, now=NOW)
    assert one(pipeline, bracelet.by_mqtt(second)) == (Status.REFUSED, Reason.REVOKED)
    assert one(pipeline, bracelet.by_mqtt(first)) == (Status.REFUSED, Reason.REVOKED)
    assert one(pipeline, bracelet.beat(bracelet.heartbeat())) == (Status.REFUSED, Reason.REVOKED)


def test_a_revoked_bracelet_gets_no_receipt_again(
    open_store: Callable[[], Store], pipeline: Pipeline, bracelet: Bracelet
) -> None:
    """Not even a duplicate is answered, though answering it writes nothing."""
    octets = bracelet.alarm()
    assert one(pipeline, bracelet.by_mqtt(octets)) == (Status.NEW, None)
    Registry(open_store(), KEYS).revoke(bracelet.kid, now=NOW)
    (item,) = pipeline.process([bracelet.by_mqtt(octets)], NOW).items
    assert (item.reason, item.receipt) == (Reason.REVOKED, None)


def test_a_bracelet_added_while_running(
    open_store: Callable[[], Store], pipeline: Pipeline, bracelet: Bracelet
) -> None:
    assert one(pipeline, bracelet.by_mqtt(bracelet.alarm())) == (Status.NEW, None)
    new = provision(open_store(), "heron")
    assert one(pipeline, new.by_mqtt(new.alarm())) == (Status.NEW, None)


def test_two_pipelines_on_one_store(open_store: Callable[[], Store], bracelet: Bracelet) -> None:
    """Each goes on from what the other wrote, and what both get is stored once."""
    first, second = Pipeline(open_store(), KEYS, "relay-1"), Pipeline(open_store(), KEYS, "relay-2")
    for number in range(6):
        octets = bracelet.alarm(number)
        one_of, other = (first, second) if number % 2 else (second, first)
        (new,) = one_of.process([bracelet.by_mqtt(octets)], NOW).items
        (again,) = other.process([bracelet.by_mqtt(octets)], NOW).items
        assert (new.status, again.status, again.receipt) == (Status.NEW, Status.DUPLICATE, new.receipt)
        assert bracelet.confirmed(new.receipt) == number
    assert one(first, bracelet.beat(bracelet.heartbeat())) == (Status.HEARTBEAT, None)
    assert one(second, bracelet.beat(bracelet.heartbeat())) == (Status.HEARTBEAT, None)


def test_the_roster_is_bounded(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    others = [provision(store, f"heron {number}") for number in range(4)]
    pipeline.roster._capacity = 2
    for _ in range(2):
        items = pipeline.process([other.by_mqtt(other.alarm()) for other in others], NOW).items
        assert [item.status for item in items] == [Status.NEW] * 4
        assert len(pipeline.roster._bracelets) == 2


# --- damage ---


def test_an_unreadable_chain_stops_one_bracelet_only(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    other = provision(store, "heron")
    with store.write() as connection:
        mine = schema.chain.c.kid == int(bracelet.kid, 16)
        connection.execute(update(schema.chain).where(mine).values(state_sealed=b"damaged"))
    outcome = pipeline.process([bracelet.by_mqtt(bracelet.alarm()), other.by_mqtt(other.alarm())], NOW)
    assert [item.status for item in outcome.items] == [Status.REFUSED, Status.NEW]
    assert outcome.items[0].reason is Reason.INTERNAL
    (refused,) = (event for event in outcome.events if event.name == "alarm.refused")
    assert refused.fields.items() >= {"reason": "internal", "path": "mqtt", "error": "DamagedChain"}.items()
    assert "restore a backup" in refused.fields["hint"]


def test_a_message_that_the_database_refuses_is_set_aside(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    """Chains put back from an old backup, alarms not: the rows are there already. The others must not wait."""
    others = [provision(store, f"heron {number}") for number in range(3)]
    with store.read() as connection:
        table = schema.chain
        old = [
            dict(row._mapping) for row in connection.execute(select(table).where(table.c.kid == int(bracelet.kid, 16)))
        ]
    octets = bracelet.alarm()
    assert one(pipeline, bracelet.by_mqtt(octets)) == (Status.NEW, None)
    with store.write() as connection:
        connection.execute(delete(table).where(table.c.kid == int(bracelet.kid, 16)))
        connection.execute(table.insert(), old)
    pipeline = Pipeline(store, KEYS)
    batch = [
        others[0].by_mqtt(others[0].alarm()),
        bracelet.by_mqtt(octets),
        *(o.by_mqtt(o.alarm()) for o in others[1:]),
    ]
    outcome = pipeline.process(batch, NOW)
    assert [item.status for item in outcome.items] == [Status.NEW, Status.REFUSED, Status.NEW, Status.NEW]
    assert outcome.items[1].reason is Reason.INTERNAL
    assert refusals(store) == {("internal", "mqtt"): 1}
    assert len(contents(store)["alarm"]) == 4


def test_deliveries_done_with_a_batch(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    done = [delivery.id for delivery in item.deliveries]
    pipeline.process([bracelet.beat(bracelet.heartbeat())], NOW + 1, done=done)
    rows = contents(store)
    assert [row[-1] for row in rows["outbox"]] == [int((NOW + 1) * 1000)]
    assert [row[-1] for row in rows["outbox_attempt"]] == ["done"]
    pipeline.process([], NOW + 2, done=[*done, OutboxId(1, "mqtt", 0)])
    assert [row[-1] for row in contents(store)["outbox"]] == [int((NOW + 1) * 1000)]


def test_nothing_is_nothing(store: Store, pipeline: Pipeline) -> None:
    before = contents(store)
    assert pipeline.process([], NOW).items == []
    assert contents(store) == before


def test_events_tell_no_secrets(pipeline: Pipeline, bracelet: Bracelet) -> None:
    outcome = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW, clock=lambda: 7.5)
    assert {event.at for event in outcome.events} == {7.5}
    assert {name for event in outcome.events for name in event.fields} == {"path", "octets"}
    for place in ("597700000", "59.77", "438501234", "43.85"):  # not shorter: key ids are random digits, too
        assert place not in repr(outcome)
    assert chains.ALARM == "alarm"
