"""Commands to bracelets: asked for by one process, sealed by another, sent until a heartbeat shows that they came."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from relay import case_document
from relay.cases import opening
from relay.channels.down import Commands
from relay.downlink import AGAIN_S, DAY_MS, SMS_ATTEMPTS, CommandError, Desk, Downlink, Outbound
from relay.outbox import ALARM, LEASE_S, Outbox
from relay.pipeline import Pipeline, Status
from relay.registry import Registry, RegistryError
from relay.store import Store, commands, schema
from relay.verify import Heartbeat, Reason, open_down, parse
from relay.verify.down import Bundle, Kind
from relay.verify.payload import Health, Network
from tests.relay.support import KEYS, NETWORK_TIME, NOW, Bracelet, audience, one, provision

NUMBER = "+10000000001"


class Link:
    """The MQTT connection of a test."""

    outstanding = 0
    published = 0

    def publish(self, topic: str, octets: bytes, now: float) -> int | None:
        self.published += 1
        return self.published


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store, Registry(store, KEYS))


@pytest.fixture
def downlink(store: Store, pipeline: Pipeline) -> Downlink:
    return Downlink(store, KEYS, pipeline.roster.drop)


def raised(pipeline: Pipeline, bracelet: Bracelet, path: str = "mqtt") -> str:
    octets = bracelet.alarm()
    message = bracelet.by_mqtt(octets) if path == "mqtt" else bracelet.by_sms(octets)._replace(sender=NUMBER)
    (item,) = pipeline.process([message], NOW).items
    assert item.status is Status.NEW
    bracelet.confirmed(item.receipt)
    return f"{bracelet.kid}-{item.counter}"


def read(bracelet: Bracelet, command: Outbound) -> tuple[Kind, object]:
    """What the bracelet makes of it."""
    (kind, content), bracelet.down = open_down(parse(command.octets), bracelet.down, 0)
    return kind, content


def beat(
    pipeline: Pipeline, bracelet: Bracelet, down: int, now: float = NOW, program: int | None = None
) -> tuple[bytes | None, bool]:
    """A heartbeat that says what has arrived: what the relay answers, and whether the registry changed."""
    more = (Network(1, 73, 262001, 1), Health(0, 0, 0, 0), program) if program else ()
    octets = bracelet.sealer.heartbeat(Heartbeat(NETWORK_TIME, int(now), 80, 0, down, *more))
    outcome = pipeline.process([bracelet.beat(octets)], now)
    assert outcome.items[0].status is Status.HEARTBEAT
    return outcome.items[0].receipt, outcome.registry_changed


def case_documents(store: Store, now: float = NOW) -> list[dict[str, object]]:
    """What subscribers are told of cases, out of the outbox; a worker that leased it and died left it there."""
    epoch, found = audience(store).epoch, []
    for delivery in Outbox(store, KEYS, "another").lease(now + LEASE_S + 1):
        if delivery.id.document != ALARM:
            assert delivery.topic == f"s/{audience(store).id}/{delivery.kid}/case"
            checked = case_document.check(epoch.open(delivery.topic, delivery.octets), KEYS.public)
            assert checked is not None
            found.append(checked)
    return found


def results(store: Store) -> list[str | None]:
    with store.read() as connection:
        return list(connection.execute(select(schema.command.c.result).order_by(schema.command.c.id)).scalars())


def audit(store: Store) -> list[tuple[str, str]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(schema.audit.c.actor, schema.audit.c.action))]


def test_a_newer_program_takes_the_place_of_one_that_did_not_arrive(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    older, newer = (Bundle(version, 100_000, bytes([version]) * 32) for version in (2, 3))
    desk.update(bracelet.kid, older, now=NOW)
    desk.update(bracelet.kid, newer, now=NOW)
    (command,) = downlink.due(NOW)
    assert read(bracelet, command) == (Kind.UPDATE, newer)
    downlink.sent(command, NOW)
    beat(pipeline, bracelet, 1)
    assert results(store) == ["superseded", "arrived"]
    assert audit(store)[-1][1] in ("command.arrived", "bracelet.updating")
    with pytest.raises(CommandError, match="out of range"):
        desk.update(bracelet.kid, Bundle(0, 100_000, bytes(32)), now=NOW)


def test_pieces_of_a_bundle_are_wanted_while_somebody_may_fetch_it(
    desk: Desk, downlink: Downlink, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    first, second = (Bundle(version, 100_000, bytes([version]) * 32) for version in (2, 3))
    assert desk.unwanted(now=NOW) == set()
    desk.update(bracelet.kid, first, now=NOW)
    (command,) = downlink.due(NOW)
    downlink.sent(command, NOW)
    beat(pipeline, bracelet, command.counter + 1, program=1)  # it has been told, and fetches it from now on
    assert desk.unwanted(now=NOW + 86400) == set()
    assert desk.unwanted(now=NOW + 31 * 86400) == {first}
    beat(pipeline, bracelet, command.counter + 1, NOW + 900, program=2)
    assert desk.unwanted(now=NOW + 900) == {first}
    beat(pipeline, bracelet, command.counter + 1, NOW + 1800, program=1)

    desk.update(bracelet.kid, second, now=NOW)
    assert desk.unwanted(now=NOW) == {first}
    assert desk.withdraw(second, now=NOW) == [bracelet.kid]
    assert desk.withdraw(second, now=NOW) == []
    assert desk.unwanted(now=NOW) == {first, second}
    assert downlink.due(NOW) == []  # nobody is told any more

    desk.update(bracelet.kid, first, now=NOW)
    assert desk.unwanted(now=NOW) == {second}
    desk.registry.revoke(bracelet.kid, now=NOW)
    assert desk.unwanted(now=NOW) == {first, second}


def test_an_acceptance_from_the_desk_to_the_wrist(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    alarm = raised(pipeline, bracelet)
    assert downlink.due(NOW) == []
    desk.accept(alarm, now=NOW)
    (command,) = downlink.due(NOW)
    assert command.topic == f"b/{bracelet.kid[0]}/{bracelet.kid}/ack"
    assert command.number is None
    assert read(bracelet, command) == (Kind.ACCEPT, 0)
    (checked,) = case_documents(store)
    assert (checked["alarm"], checked["state"]) == (alarm, "accepted")
    downlink.sent(command, NOW)
    assert downlink.due(NOW + 1) == []
    beat(pipeline, bracelet, bracelet.down.next)
    assert results(store) == ["arrived"]
    assert downlink.due(NOW + DAY_MS) == []
    assert {("operator", "case.accepted"), ("relay", "command.arrived")} <= set(audit(store))


def test_receipts_and_commands_share_the_chain_in_any_order(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    for _ in range(3):
        desk.accept(raised(pipeline, bracelet), now=NOW)
        (command,) = downlink.due(NOW)
        assert read(bracelet, command)[0] is Kind.ACCEPT
        downlink.sent(command, NOW)
    assert bracelet.down.next == 6
    assert bracelet.down.skipped == {}


def test_it_is_sent_again_as_it_is_and_only_then_more_seldom(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    desk.accept(raised(pipeline, bracelet), now=NOW)
    at, octets = NOW, set()
    for pause in (*AGAIN_S, AGAIN_S[-1]):
        (command,) = downlink.due(at)
        octets.add(command.octets)
        downlink.sent(command, at)
        assert downlink.due(at + pause - 1) == []
        at += pause + 1
    assert len(octets) == 1


def test_what_nobody_reported_as_sent_comes_again_in_seconds_and_sealed_only_once(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    desk.accept(raised(pipeline, bracelet), now=NOW)
    (first,), (second,) = downlink.due(NOW), downlink.due(NOW + 6)
    assert first == second


def test_a_heartbeat_that_shows_it_missing_makes_it_due(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    desk.accept(raised(pipeline, bracelet), now=NOW)
    (command,) = downlink.due(NOW)
    downlink.sent(command, NOW)
    beat(pipeline, bracelet, 1, NOW + 10)
    assert downlink.due(NOW + 11) == []  # it may be on its way
    downlink.sent(command, NOW + 61)  # the second attempt; the third would be minutes later
    beat(pipeline, bracelet, 1, NOW + 130)
    assert downlink.due(NOW + 131) == [command]
    assert results(store) == [None]


def test_what_a_heartbeat_misses_before_a_command_is_sent_again(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    later = raised(pipeline, bracelet)
    desk.accept(later, now=NOW)
    (command,) = downlink.due(NOW)
    downlink.sent(command, NOW)
    assert beat(pipeline, bracelet, 0, NOW + 10) == (None, False)  # so lately that it may be on its way
    assert beat(pipeline, bracelet, 0, NOW + 100) == (item.receipt, False)
    assert beat(pipeline, bracelet, 3, NOW + 110) == (None, False)


def test_a_missing_receipt_is_looked_for_among_the_newest_200(pipeline: Pipeline, bracelet: Bracelet) -> None:
    octets = [bracelet.by_mqtt(bracelet.alarm(seq)) for seq in range(201)]
    items = pipeline.process(octets, NOW).items
    first, second, *_, newest = [(commands.counter_of(item.receipt or b""), item.receipt) for item in items]
    for counter, expected in ((first[0], None), second, newest):
        assert counter is not None
        assert beat(pipeline, bracelet, counter, NOW + 100) == (expected, False)


def test_a_superseded_command_that_is_missing_is_sent_again_too(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    alarm = raised(pipeline, bracelet)
    desk.accept(alarm, now=NOW)
    (accepted,) = downlink.due(NOW)
    downlink.sent(accepted, NOW)
    desk.close(alarm, now=NOW)
    (closed,) = downlink.due(NOW)
    downlink.sent(closed, NOW)
    assert beat(pipeline, bracelet, accepted.counter, NOW + 100) == (accepted.octets, False)


@pytest.mark.parametrize("path", ["mqtt", "sms"])
def test_by_sms_where_the_alarm_came_by_sms(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink, path: str
) -> None:
    desk.accept(raised(pipeline, bracelet, path), now=NOW)
    at = NOW
    for attempt in range(SMS_ATTEMPTS + 1):
        (command,) = downlink.due(at)
        assert command.number == (NUMBER if path == "sms" and attempt < SMS_ATTEMPTS else None)
        downlink.sent(command, at)
        at += AGAIN_S[-1]


def test_settings_go_by_sms_only_while_that_is_how_it_was_last_heard(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    raised(pipeline, bracelet, "sms")
    desk.configure(bracelet.kid, {"hold_ms": 2000}, now=NOW)
    assert [command.number for command in downlink.due(NOW)] == [NUMBER]
    beat(pipeline, bracelet, 1, NOW + 10)
    assert [command.number for command in downlink.due(NOW + 20)] == [None]


def test_the_number_is_not_readable_in_the_database(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    raised(pipeline, bracelet, "sms")
    with store.read() as connection:
        (sealed,) = connection.execute(select(schema.sms_sender.c.number_sealed)).scalars()
    assert NUMBER.encode() not in sealed


def test_a_closing_ends_the_acceptance_and_a_newer_configuration_holds_the_older(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    alarm = raised(pipeline, bracelet)
    desk.accept(alarm, now=NOW)
    desk.close(alarm, now=NOW)
    desk.configure(bracelet.kid, {"heartbeat_s": 600, "hold_ms": 2000}, now=NOW)
    desk.configure(bracelet.kid, {"hold_ms": 4000, "check_in_min": 0}, now=NOW)
    assert results(store) == ["superseded", None, "superseded", None]
    said = [read(bracelet, command) for command in downlink.due(NOW)]
    settings = {"heartbeat_s": 600, "hold_ms": 4000, "check_in_min": 0}
    assert said == [(Kind.CLOSE, 0), (Kind.CONFIGURE, settings)]


def test_what_never_arrives_expires_and_a_wipe_never_does(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    other = provision(store, "wren")
    desk.accept(raised(pipeline, bracelet), now=NOW)
    desk.revoke(other.kid, now=NOW)
    late = NOW + 400 * DAY_MS / 1000
    assert [command.kind for command in downlink.due(late)] == [Kind.REVOKE]
    assert results(store) == ["expired", None]


@pytest.mark.parametrize("ahead_days", [8, 400, 1700])
def test_a_clock_that_is_ahead_at_a_start_ends_no_command(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink, ahead_days: int
) -> None:
    desk.accept(raised(pipeline, bracelet), now=NOW)
    wrong = NOW + ahead_days * DAY_MS / 1000
    link = Link()
    channel = Commands(downlink, link, None, lambda *_: None)
    for second in range(120):
        channel.send(wrong + second, 1000.0 + second)
    assert results(store) == [None]
    channel.send(NOW + 200, 1200.0)
    assert link.published == 1, "sent as soon as the clock is right"
    assert [document["state"] for document in case_documents(store)] == ["accepted"]
    channel.send(wrong, 1000.0 + 3601)
    assert results(store) == ["expired"], "a clock that says so for an hour is believed"


def test_while_it_is_being_revoked_only_heartbeats_count_until_one_confirms_the_wipe(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    registry = Registry(store, KEYS)
    alarm = raised(pipeline, bracelet)
    desk.accept(alarm, now=NOW)
    desk.revoke(bracelet.kid, now=NOW)
    assert registry.get(bracelet.kid).state == "revoking"
    assert [account.kid for account in registry.accounts()] == [bracelet.kid]
    assert one(pipeline, bracelet.by_mqtt(bracelet.alarm())) == (Status.REFUSED, Reason.REVOKED)
    (command,) = downlink.due(NOW)
    assert read(bracelet, command) == (Kind.REVOKE, None)
    downlink.sent(command, NOW)
    assert beat(pipeline, bracelet, command.counter) == (None, False)
    assert registry.get(bracelet.kid).state == "revoking"
    assert beat(pipeline, bracelet, command.counter + 1) == (None, True)
    assert registry.get(bracelet.kid).state == "revoked"
    assert registry.accounts() == []
    assert results(store) == ["superseded", "arrived"]
    octets = bracelet.heartbeat()
    assert one(pipeline, bracelet.beat(octets)) == (Status.REFUSED, Reason.REVOKED)
    with store.read() as connection:
        assert connection.execute(select(schema.chain)).all() == []
    assert downlink.due(NOW + DAY_MS) == []


def test_it_can_be_ended_without_the_confirmation(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    raised(pipeline, bracelet, "sms")
    desk.revoke(bracelet.kid, now=NOW)
    assert len(downlink.due(NOW)) == 1
    assert Registry(store, KEYS).revoke(bracelet.kid, now=NOW).state == "revoked"
    assert results(store) == ["given up"]
    assert downlink.due(NOW + 100) == []
    with store.read() as connection:
        assert connection.execute(select(schema.sms_sender)).all() == []


def test_who_names_an_update_means_its_alarm(pipeline: Pipeline, bracelet: Bracelet, desk: Desk) -> None:
    alarm = raised(pipeline, bracelet)
    (update_of_it,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm(seq=1))], NOW).items
    asked = desk.accept(f"{bracelet.kid}-{update_of_it.counter}", now=NOW)
    assert (asked.alarm, update_of_it.counter) == (alarm, 1)
    with pytest.raises(CommandError, match=f"{alarm} was accepted already"):
        desk.accept(alarm, now=NOW)


def test_an_alarm_whose_first_message_has_not_come_has_its_name(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk
) -> None:
    bracelet.alarm()
    (came,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm(seq=1))], NOW).items
    assert (came.status, came.counter) == (Status.NEW, 1)
    assert desk.accept(f"{bracelet.kid}-0", now=NOW).alarm == f"{bracelet.kid}-0"


def test_what_makes_no_sense_is_refused_in_words(
    pipeline: Pipeline, bracelet: Bracelet, desk: Desk, store: Store
) -> None:
    alarm = raised(pipeline, bracelet)
    for name in ("", "nonsense", bracelet.kid, f"{bracelet.kid}-", f"{bracelet.kid}-0x", f"{alarm}0", f"{alarm} "):
        with pytest.raises(CommandError, match=r"KEY_ID-COUNTER|there is no alarm"):
            desk.accept(name, now=NOW)
    for settings in ({}, {"hold_ms": 999}, {"hold_ms": 10001}, {"volume": 3}):
        with pytest.raises(CommandError):
            desk.configure(bracelet.kid, settings, now=NOW)
    with pytest.raises(RegistryError, match="there is no bracelet"):
        desk.configure("00000001", {"hold_ms": 2000}, now=NOW)
    desk.accept(alarm, now=NOW)
    with pytest.raises(CommandError, match="accepted already"):
        desk.accept(alarm, now=NOW)
    desk.close(alarm, now=NOW)
    for again in (desk.accept, desk.close):
        with pytest.raises(CommandError, match="closed already"):
            again(alarm, now=NOW)
    desk.revoke(bracelet.kid, now=NOW)
    with pytest.raises(RegistryError, match="being revoked"):
        desk.configure(bracelet.kid, {"hold_ms": 2000}, now=NOW)
    with pytest.raises(RegistryError, match="being revoked"):
        desk.revoke(bracelet.kid, now=NOW)


@pytest.mark.parametrize("at_once", [False, True])
def test_the_alarm_of_a_seized_bracelet_can_be_accepted_and_closed(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink, at_once: bool
) -> None:
    alarm = raised(pipeline, bracelet)
    desk.revoke(bracelet.kid, now=NOW)
    if at_once:
        desk.registry.revoke(bracelet.kid, now=NOW)
    before = results(store)
    for say, word in ((desk.accept, "accepted"), (desk.close, "closed")):
        assert not say(alarm, now=NOW).tells
        with pytest.raises(CommandError, match=f"{word} already"):
            say(alarm, now=NOW)
    with pytest.raises(CommandError, match="closed already"):
        desk.accept(alarm, now=NOW)
    assert results(store) == before, "the bracelet is told nothing of it"
    assert {document["state"] for document in case_documents(store)} == {"accepted", "closed"}


def test_a_case_is_told_though_its_alert_never_came(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk
) -> None:
    bracelet.alarm()
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm(seq=1))], NOW).items
    assert item.counter == 1
    desk.close(f"{bracelet.kid}-0", now=NOW)
    assert [document["alarm"] for document in case_documents(store)] == [f"{bracelet.kid}-0"]


def test_two_processes_seal_one_after_the_other(
    open_store: Callable[[], Store], pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink
) -> None:
    """What one sealed, the pipeline of the other does not seal again."""
    alarm = raised(pipeline, bracelet)
    elsewhere = Downlink(open_store(), KEYS, lambda _kid: None)
    desk.accept(alarm, now=NOW)
    (command,) = elsewhere.due(NOW)
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    assert item.receipt is not None
    assert parse(item.receipt).counter == command.counter + 1
    assert read(bracelet, command)[0] is Kind.ACCEPT
    bracelet.confirmed(item.receipt)


def test_a_document_about_a_case_is_checked(bracelet: Bracelet) -> None:
    good = case_document.build(KEYS, (int(bracelet.kid, 16) << 24) + 7, "closed", int(NOW * 1000))
    document = case_document.check(good, KEYS.public)
    assert document is not None
    assert document["alarm"] == f"{bracelet.kid}-7"
    assert case_document.check(good, bytes(31) + b"\1") is None
    others = (good.replace(b"closed", b"accepted"), good.replace(b"-7", b"-8"))
    for octets in (b"", b"{}", b"[]", b"[" * 2048, good[:-1], good + b" ", *others):
        assert case_document.check(octets, KEYS.public) is None


def test_missing_of_a_bracelet_that_has_nothing(store: Store, bracelet: Bracelet) -> None:
    with store.read() as connection:
        assert commands.missing(connection, int(bracelet.kid, 16), 0, int(NOW * 1000)) is None


def test_of_two_who_accept_at_once_one_is_told_of_the_other(
    open_store: Callable[[], Store], pipeline: Pipeline, bracelet: Bracelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm = raised(pipeline, bracelet)
    say = opening.say

    def slowly(*arguments: Any) -> None:
        time.sleep(0.3)
        say(*arguments)

    monkeypatch.setattr(opening, "say", slowly)

    def accept(by: str) -> str:
        own = open_store()
        try:
            return str(Desk(own, Registry(own, KEYS)).accept(alarm, now=NOW, by=by).kind)
        except CommandError as error:
            return str(error)

    with ThreadPoolExecutor() as both:
        said = sorted(both.map(accept, ("Ada", "Grace")), key=len)
    assert said[0] == str(Kind.ACCEPT)
    assert "was accepted already, by" in said[1]


def test_one_that_is_revoked_and_can_not_be_told_stays_so(
    store: Store, desk: Desk, downlink: Downlink, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    with store.write() as connection:
        down = (schema.chain.c.kid == int(bracelet.kid, 16), schema.chain.c.name == "down")
        connection.execute(update(schema.chain).where(*down).values(state_sealed=bytes(60)))
    desk.revoke(bracelet.kid, now=NOW)
    assert [downlink.due(NOW + hours * 3600) for hours in range(10)] == [[]] * 10
    assert desk.registry.get(bracelet.kid).state == "revoking"
    assert one(pipeline, bracelet.by_mqtt(bracelet.alarm()))[1] is Reason.REVOKED
    assert desk.registry.revoke(bracelet.kid, now=NOW).state == "revoked"
