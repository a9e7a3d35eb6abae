"""A relay that was put back to an earlier state: noticed by what bracelets say, and answered anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from relay.batch import Item
from relay.downlink import Desk, Downlink
from relay.pipeline import Pipeline, Status
from relay.registry import Registry
from relay.rollback import AHEAD_MOST, GUESSES, REFUSED_S, UNREAD_S, Lead
from relay.store import Store, chains, schema
from relay.store.chains import LEAP, Replacement, StoredChain
from relay.verify import Heartbeat, open_down, parse
from relay.verify.down import Kind
from relay.verify.payload import USED
from relay.verify.ratchet import MAX_STEPS
from tests.relay.support import KEYS, NETWORK_TIME, NOW, Bracelet, provision


def beat(bracelet: Bracelet, down: int, pending: int = 0, used: bool = False) -> bytes:
    flags = NETWORK_TIME | (USED if used else 0)
    return bracelet.sealer.heartbeat(Heartbeat(flags, int(NOW), 80, pending, down))


def hear(store: Store, bracelet: Bracelet, down: int, pending: int = 0, used: bool = False) -> Item:
    (item,) = Pipeline(store, KEYS).process([bracelet.beat(beat(bracelet, down, pending, used))], NOW).items
    assert item.status is Status.HEARTBEAT
    return item


def chain(store: Store, bracelet: Bracelet) -> StoredChain:
    kid = int(bracelet.kid, 16)
    with store.read() as connection:
        stored = chains.read(connection, store.box, [kid])[kid, chains.DOWN]
    assert stored is not None
    return stored


def put_back(store: Store, bracelet: Bracelet, to: StoredChain) -> None:
    """The down chain as an older copy of the folder has it."""
    with store.write() as connection:
        kid = int(bracelet.kid, 16)
        chains.replace(
            store, connection, [Replacement(kid, chains.DOWN, chain(store, bracelet).version, to.state, to.floor)]
        )


def landing(number: int, least: int = LEAP) -> int:
    """Where a step from this counter ends."""
    return number + chains.leap(number, least)


def answered(store: Store, bracelet: Bracelet, count: int) -> list[tuple[bytes, bytes]]:
    """So many alarms and their receipts."""
    found = []
    for _ in range(count):
        octets = bracelet.alarm()
        (item,) = Pipeline(store, KEYS).process([bracelet.by_mqtt(octets)], NOW).items
        assert item.receipt is not None
        found.append((octets, item.receipt))
    return found


def results(store: Store) -> list[str | None]:
    with store.read() as connection:
        return list(connection.execute(select(schema.command.c.result)).scalars())


def audited(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(schema.audit.c.action)).scalars())


@pytest.mark.parametrize("lost", [1, 7, 3000])
def test_what_lies_ahead_of_the_chain_is_proof_and_confirms_no_wipe(store: Store, lost: int) -> None:
    bracelet = provision(store)
    desk, downlink = Desk(store, Registry(store, KEYS)), Downlink(store, KEYS, lambda _kid: None)
    desk.revoke(bracelet.kid, now=NOW)
    (first,) = downlink.due(NOW)
    downlink.sent(first, NOW)
    ahead = first.counter + 1 + lost
    pipeline = Pipeline(store, KEYS)
    outcome = pipeline.process([bracelet.beat(beat(bracelet, ahead))], NOW)
    assert not outcome.registry_changed
    assert desk.registry.get(bracelet.kid).state == "revoking"
    (event,) = [event for event in outcome.events if event.name == "chain.rolled_back"]
    assert "relay restore" in event.fields["hint"]
    assert "chain.rolled_back" in audited(store)
    assert chain(store, bracelet).state.next == landing(ahead) == chain(store, bracelet).floor
    (again,) = downlink.due(NOW + 1)
    assert (again.kind, again.counter) == (Kind.REVOKE, landing(ahead))
    assert again.octets != first.octets
    (kind, _), _ = open_down(parse(again.octets), bracelet.down, 0)
    assert kind is Kind.REVOKE
    outcome = pipeline.process([bracelet.beat(beat(bracelet, again.counter + 1))], NOW + 2)
    assert outcome.registry_changed
    assert desk.registry.get(bracelet.kid).state == "revoked"


def test_pending_receipts_are_sealed_anew_with_the_proof(store: Store) -> None:
    bracelet = provision(store)
    old = chain(store, bracelet)
    for _, receipt in answered(store, bracelet, 5):
        bracelet.confirmed(receipt)
    put_back(store, bracelet, old)
    refused = answered(store, bracelet, 2)
    for _, receipt in refused:
        assert parse(receipt).counter < bracelet.down.next
    item = hear(store, bracelet, 5, pending=2, used=True)
    confirmed = [bracelet.confirmed(receipt) for receipt in (item.receipt, *item.also)]
    assert confirmed == [5, 6]
    pipeline = Pipeline(store, KEYS)
    for (octets, _), receipt in zip(refused, (item.receipt, *item.also), strict=True):
        (again,) = pipeline.process([bracelet.by_mqtt(octets)], NOW + 9).items
        assert (again.status, again.receipt) == (Status.DUPLICATE, receipt), "kept as any receipt is"


def test_a_void_receipt_is_sealed_anew_for_a_repetition_and_only_once(store: Store) -> None:
    bracelet = provision(store)
    ((octets, void),) = answered(store, bracelet, 1)
    hear(store, bracelet, 9)
    pipeline = Pipeline(store, KEYS)
    first, second = (pipeline.process([bracelet.by_mqtt(octets)], NOW).items[0].receipt for _ in range(2))
    assert first == second != void
    assert first is not None and parse(first).counter == landing(9)
    batch = pipeline.process([bracelet.by_mqtt(octets), bracelet.by_sms(octets)], NOW).items
    assert [item.receipt for item in batch] == [first, first]


def test_who_repeats_old_messages_confirms_nothing(store: Store) -> None:
    """A bracelet that refused what it has had says nothing of what arrived: that is sealed anew, once an hour."""
    bracelet = provision(store)
    desk, downlink = Desk(store, Registry(store, KEYS)), Downlink(store, KEYS, lambda _kid: None)
    desk.configure(bracelet.kid, {"hold_ms": 2000}, now=NOW)
    (command,) = downlink.due(NOW)
    downlink.sent(command, NOW)
    pipeline = Pipeline(store, KEYS)
    said = []
    for at in (0, 60, 120, REFUSED_S - 1, REFUSED_S):
        outcome = pipeline.process([bracelet.beat(beat(bracelet, command.counter + 1, used=True))], NOW + at)
        said.append([event.name for event in outcome.events])
    assert said == [["chain.refused"], [], [], [], ["chain.refused"]]
    assert chain(store, bracelet).floor == chain(store, bracelet).state.next == landing(landing(command.counter + 1))
    assert results(store) == [None]
    (again,) = downlink.due(NOW + REFUSED_S)
    assert again.octets != command.octets
    (kind, _), _ = open_down(parse(again.octets), bracelet.down, 0)
    assert kind is Kind.CONFIGURE


@pytest.mark.parametrize("how", ["refused", "lost"])
def test_a_chain_that_has_come_level_confirms_no_wipe(store: Store, how: str) -> None:
    """The relay forgot a message, and sealed the revoke under the counter of that: the bracelet is level with it."""
    bracelet = provision(store)
    old = chain(store, bracelet)
    ((_, forgotten),) = answered(store, bracelet, 1)
    bracelet.confirmed(forgotten)
    put_back(store, bracelet, old)
    lead = Lead(lambda _most: 5) if how == "lost" else None
    pipeline = Pipeline(store, KEYS, lead=lead)
    desk, downlink = (Desk(store, Registry(store, KEYS)), Downlink(store, KEYS, pipeline.roster.drop, lead))
    desk.revoke(bracelet.kid, now=NOW)
    (first,) = downlink.due(NOW)
    downlink.sent(first, NOW)
    if how == "refused":
        assert first.counter < bracelet.down.next
        pipeline.process([bracelet.beat(beat(bracelet, bracelet.down.next, used=True))], NOW)
    outcome = pipeline.process([bracelet.beat(beat(bracelet, bracelet.down.next))], NOW + 5)
    assert not outcome.registry_changed
    assert desk.registry.get(bracelet.kid).state == "revoking"
    (again,) = downlink.due(NOW + 70)
    (kind, _), state = open_down(parse(again.octets), bracelet.down, 0)
    assert kind is Kind.REVOKE
    assert pipeline.process([bracelet.beat(beat(bracelet, state.next))], NOW + 80).registry_changed


def test_a_press_is_answered_by_a_relay_that_has_come_level(store: Store) -> None:
    bracelet = provision(store)
    old = chain(store, bracelet)
    ((_, forgotten),) = answered(store, bracelet, 1)
    bracelet.confirmed(forgotten)
    put_back(store, bracelet, old)
    ((octets, refused),) = answered(store, bracelet, 1)
    assert parse(refused).counter < bracelet.down.next
    item = hear(store, bracelet, bracelet.down.next, pending=1, used=True)
    assert item.receipt is not None
    assert bracelet.confirmed(item.receipt) == parse(octets).counter


def test_the_first_message_since_the_start_lies_ahead(store: Store) -> None:
    """Once for each bracelet; what was sealed before, and had not arrived, is sealed anew behind it."""
    one, two = provision(store), provision(store)
    desk, downlink = Desk(store, Registry(store, KEYS)), Downlink(store, KEYS, lambda _kid: None)
    desk.configure(one.kid, {"hold_ms": 2000}, now=NOW)
    (before,) = downlink.due(NOW)
    pipeline = Pipeline(store, KEYS, lead=Lead(lambda most: most - 1))
    downlink = Downlink(store, KEYS, pipeline.roster.drop, pipeline.lead)
    first, second = (pipeline.process([one.by_mqtt(one.alarm())], NOW).items[0].receipt for _ in range(2))
    assert first is not None
    assert second is not None
    place = landing(before.counter + 1, 2 * LEAP - 1)
    assert (parse(first).counter, parse(second).counter) == (place, place + 1)
    desk.configure(two.kid, {"hold_ms": 2000}, now=NOW)
    orders = {order.kid: order.counter for order in downlink.due(NOW + 1)}
    assert orders == {one.kid: place + 2, two.kid: 2 * LEAP}
    (item,) = pipeline.process([two.by_mqtt(two.alarm())], NOW + 2).items
    assert item.receipt is not None
    assert parse(item.receipt).counter == 2 * LEAP + 1


def test_a_bracelet_that_lies_cannot_keep_the_relay_busy(store: Store) -> None:
    bracelet = provision(store)
    pipeline = Pipeline(store, KEYS)
    for _ in range(20):
        pipeline.process([bracelet.beat(beat(bracelet, 2**32 - 1))], NOW)
    assert chain(store, bracelet).state.next <= 2 * MAX_STEPS + LEAP


def test_another_process_that_sealed_meanwhile_is_no_rollback(open_store: Callable[[], Store], store: Store) -> None:
    bracelet = provision(store)
    pipeline = Pipeline(store, KEYS)
    pipeline.process([bracelet.beat(beat(bracelet, 0))], NOW)  # its chains are in memory now
    desk = Desk(store, Registry(store, KEYS))
    desk.configure(bracelet.kid, {"hold_ms": 2000}, now=NOW)
    (command,) = Downlink(open_store(), KEYS, lambda _kid: None).due(NOW)
    outcome = pipeline.process([bracelet.beat(beat(bracelet, command.counter + 1))], NOW)
    assert [event.name for event in outcome.events] == ["command.arrived"]
    assert chain(store, bracelet).floor == 0


def test_by_sms_a_message_that_comes_again_later_is_answered_under_a_new_counter(store: Store) -> None:
    """A bracelet without MQTT can report nothing: it only repeats what it got no answer to."""
    bracelet = provision(store)
    old = chain(store, bracelet)
    kid = int(bracelet.kid, 16)
    with store.read() as connection:
        alarms = chains.read(connection, store.box, [kid])[kid, chains.ALARM]
    assert alarms is not None
    for _, receipt in answered(store, bracelet, 5):
        bracelet.confirmed(receipt)
    put_back(store, bracelet, old)
    with store.write() as connection:
        for table in (schema.outbox, schema.alarm, schema.alarm_case):
            connection.execute(table.delete())
        now = chains.read(connection, store.box, [kid])[kid, chains.ALARM]
        assert now is not None
        chains.replace(store, connection, [Replacement(kid, chains.ALARM, now.version, alarms.state)])
    pipeline, octets = Pipeline(store, KEYS), bracelet.alarm()

    def text(at: float) -> bytes:
        (item,) = pipeline.process([bracelet.by_sms(octets)], at).items
        assert item.receipt is not None
        return item.receipt

    first = text(NOW)
    assert parse(first).counter == 0
    assert text(NOW + 5) == first, "the other path, or the modem, told it twice"
    later = text(NOW + UNREAD_S + 1)
    assert parse(later).counter == landing(1, LEAP + 5)
    assert bracelet.confirmed(later) == 5
    for minutes in range(1, 60):
        text(NOW + minutes * 60)
    assert chain(store, bracelet).state.next <= GUESSES * landing(1, LEAP + 5) + GUESSES + 1, "an SMS may just be lost"


@pytest.mark.parametrize("heard", [None, 40])
def test_a_relay_that_starts_again_and_again_stays_within_the_bracelets_reach(store: Store, heard: int | None) -> None:
    """Answers are lost, by MQTT to who is just away, by SMS when the relay's modem sends none."""
    bracelet = provision(store)
    if heard is not None:
        for _, receipt in answered(store, bracelet, heard):
            bracelet.confirmed(receipt)
        hear(store, bracelet, heard)
    desk, now = Desk(store, Registry(store, KEYS)), NOW
    for start in range(60):
        pipeline = Pipeline(store, KEYS, lead=Lead(lambda most: most - 1))
        downlink = Downlink(store, KEYS, pipeline.roster.drop, pipeline.lead)
        octets = bracelet.alarm()
        for _ in range(GUESSES + 1):
            pipeline.process([bracelet.by_sms(octets)], now)
            now += UNREAD_S + 1
        desk.configure(bracelet.kid, {"hold_ms": 1500 + start}, now=now)
        downlink.due(now)
    pipeline = Pipeline(store, KEYS, lead=Lead(lambda most: most - 1))
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], now).items
    assert item.receipt is not None
    assert parse(item.receipt).counter - bracelet.down.next <= MAX_STEPS
    bracelet.confirmed(item.receipt)
    hear(store, bracelet, bracelet.down.next)
    before = chain(store, bracelet).state.next
    pipeline = Pipeline(store, KEYS, lead=Lead(lambda most: most - 1))
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], now).items
    assert item.receipt is not None
    assert parse(item.receipt).counter == landing(before, 2 * LEAP - 1), "and leads again, once it has said where it is"


def test_old_messages_that_somebody_repeats_lead_no_chain_out_of_reach(store: Store) -> None:
    bracelet = provision(store)
    pipeline = Pipeline(store, KEYS)
    for hour in range(60):
        pipeline.process([bracelet.beat(beat(bracelet, 0, used=True))], NOW + hour * REFUSED_S)
    assert 1000 < chain(store, bracelet).state.next <= MAX_STEPS - 300


def test_a_bracelet_that_refused_is_answered_however_old_its_last_report_is(store: Store) -> None:
    """Restores carry a chain far ahead of what the store was ever told; then the bracelet's own word counts."""
    bracelet = provision(store)
    before = chain(store, bracelet)
    far = chains.leapt(before.state, AHEAD_MOST - LEAP // 2)
    put_back(store, bracelet, StoredChain(before.version, far, far.next))
    octets = bracelet.alarm()
    (item,) = Pipeline(store, KEYS).process([bracelet.by_mqtt(octets)], NOW).items
    assert item.receipt is not None
    number = chain(store, bracelet).state.next
    answer = hear(store, bracelet, number, pending=1, used=True).receipt
    assert answer is not None and parse(answer).counter == landing(number)
