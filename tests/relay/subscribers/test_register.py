"""Who may read what, from when until when, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import delete, insert, select, update

from relay.channels.epoch_keys import LOOK_S, EpochKeys
from relay.outbox import Outbox
from relay.pipeline import Item, Pipeline
from relay.store import Store, schema
from relay.subscribers import epoch_keys
from relay.subscribers.audiences import Permission, read
from relay.subscribers.file import key_pair
from relay.subscribers.reader import Heard, Reader
from relay.subscribers.register import DAY_MS, KEPT_AT_LEAST, KEPT_MS, LOCAL, Entry, SubscriberError, Subscribers
from tests.relay.support import KEYS, NOW, Bracelet, contents, provision

EVERYTHING = Permission()


class Partner:
    """A subscriber with its reading end, fed with what the relay would have left at the broker."""

    def __init__(self, store: Store, called: str = "partner", permission: Permission = EVERYTHING) -> None:
        self.private, self.public = key_pair()
        self.subscribers = Subscribers(store)
        self.entry: Entry = self.subscribers.add(called, self.public, permission, now=NOW)
        self.reader = Reader(self.entry.audience, self.entry.account, KEYS.public, self.private)

    def fetch_keys(self) -> list[Heard]:
        """What is retained for it, and what that opens."""
        heard = []
        for message in self.subscribers.retained(KEYS, NOW):
            if message.topic == self.reader.filters[2]:
                heard += self.reader.take(message.topic, message.octets, None, 0)
        return heard

    def reads(self, *items: Item) -> list[bytes]:
        """The documents that it can open of what was published."""
        heard = []
        for item in items:
            for delivery in item.deliveries:
                if delivery.topic.startswith(f"s/{self.entry.audience}/"):
                    heard += self.reader.take(delivery.topic, delivery.octets, None, 0)
        return [each.octets for each in heard if each.ok and each.kind == "alarm"]


def press(pipeline: Pipeline, bracelet: Bracelet) -> Item:
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm())], NOW).items
    return item


def test_a_new_subscriber_reads_what_comes_later_and_nothing_earlier(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    earlier = press(pipeline, bracelet)
    partner = Partner(store)
    later = press(pipeline, bracelet)
    partner.fetch_keys()
    assert later.document is not None
    assert partner.reads(earlier, later) == [later.document]


def test_a_removed_one_reads_nothing_that_is_stored_later(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    partner, other = Partner(store), Partner(store, "other")
    first = press(pipeline, bracelet)
    partner.subscribers.remove("partner", now=NOW)
    second = press(pipeline, bracelet)
    other.fetch_keys()
    assert other.reads(first, second) == [first.document, second.document]
    assert [each.findings[0].code for each in partner.fetch_keys()] == ["keys_removed"]
    with store.read() as connection:
        epochs = [row.id for row in connection.execute(select(schema.epoch).order_by(schema.epoch.c.n))]
    sealed = epoch_keys.seal(KEYS, partner.reader.filters[2], partner.public, [], 0)
    assert partner.reader.take(partner.reader.filters[2], sealed, None, 0)[0].ok
    assert partner.reads(first, second) == []
    assert len(epochs) == 4, "one each for: the local one, partner, other, the removal"


def test_what_was_to_be_sent_when_the_last_member_went_goes_to_nobody(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    only = Permission(frozenset([int(bracelet.kid, 16)]))
    partner = Partner(store, permission=only)
    item = press(pipeline, bracelet)
    assert len(item.deliveries) == 2
    partner.subscribers.remove("partner", now=NOW)
    outbox = Outbox(store, KEYS)
    outbox.release()
    (left,) = outbox.lease(NOW + 1)
    assert left.topic in {each.topic for each in item.deliveries}
    assert not left.topic.startswith(f"s/{partner.entry.audience}/")
    assert outbox.pending() == 1
    assert [row[-1] for row in contents(store)["outbox_attempt"]] == ["nobody"]


def test_a_delivery_that_waited_is_sealed_under_the_key_of_its_sending(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    partner, other = Partner(store), Partner(store, "other")
    partner.fetch_keys()
    press(pipeline, bracelet)
    partner.subscribers.remove("partner", now=NOW)
    outbox = Outbox(store, KEYS)
    outbox.release()
    (delivery,) = outbox.lease(NOW + 1)
    assert partner.reader.take(delivery.topic, delivery.octets, None, 0) == []
    assert partner.reader.waiting == 1, "its key never comes"
    other.fetch_keys()
    assert other.reader.take(delivery.topic, delivery.octets, None, 0)[0].ok


def test_permissions(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    heron = provision(store, "heron")
    number = int(heron.kid, 16)
    everyone = Partner(store, "everyone")
    herons = Partner(store, "herons", Permission(frozenset([number])))
    region = Partner(store, "region", Permission(None, 50))
    items = [press(pipeline, each) for each in (bracelet, heron)]
    for partner in (everyone, herons, region):
        partner.fetch_keys()
    assert everyone.reads(*items) == [item.document for item in items]
    assert herons.reads(*items) == [items[1].document]
    regions = [json.loads(octets) for octets in region.reads(*items)]
    assert [document["type"] for document in regions] == ["coarse", "coarse"]
    assert len({each.entry.audience for each in (everyone, herons, region)}) == 3
    assert [len(item.deliveries) for item in items] == [2, 3]
    outbox = Outbox(store, KEYS)
    outbox.release()
    again = [each for each in outbox.lease(NOW + 1) if each.topic.startswith(f"s/{region.entry.audience}/")]
    heard = [region.reader.take(each.topic, each.octets, None, 0)[0].octets for each in again]
    assert {*heard} == {*region.reads(*items)}, "after a crash they are coarse too"


def test_the_same_permission_is_the_same_audience(store: Store) -> None:
    partner = Partner(store)
    local, other = sorted(partner.subscribers.list(), key=lambda entry: entry.name != LOCAL)
    assert (local.name, other.name) == (LOCAL, "partner")
    assert local.audience == other.audience
    with store.read() as connection:
        assert len(read(connection, store.box)) == 1


def test_another_process_takes_the_change_up_before_it_stores_anything_more(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, open_store: Callable[[], Store]
) -> None:
    press(pipeline, bracelet)  # the audiences are in memory now
    partner = Partner(open_store())
    item = press(pipeline, bracelet)
    partner.fetch_keys()
    assert partner.reads(item) == [item.document]


def test_an_epoch_ends_after_a_day_and_waiting_documents_open_for_a_week(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    partner = Partner(store)
    items = []
    for day in range(1, 8):
        items.append(press(pipeline, bracelet))
        at = NOW + day * DAY_MS / 1000
        assert partner.subscribers.new_epochs(now=at - 1, only_due=True) == 0
        assert partner.subscribers.new_epochs(now=at, only_due=True) == 1
    partner.fetch_keys()
    assert partner.reads(*items) == [item.document for item in items]


def test_keys_that_nobody_needs_any_more_leave_the_store(store: Store) -> None:
    subscribers = Subscribers(store)
    for day in range(1, 40):
        subscribers.new_epochs(now=NOW + day * DAY_MS / 1000, only_due=True)
    assert len(contents(store)["epoch"]) == KEPT_MS // DAY_MS + 1
    for _ in range(2 * epoch_keys.MOST_EPOCHS):
        subscribers.new_epochs(now=NOW + 40 * DAY_MS / 1000)
    assert len(contents(store)["epoch"]) == epoch_keys.MOST_EPOCHS
    subscribers.new_epochs(now=NOW + 20 * 365 * DAY_MS / 1000)
    assert len(contents(store)["epoch"]) == KEPT_AT_LEAST, "a clock that leaps ahead does not take all keys away"


@pytest.mark.parametrize("leap", [-2, 2], ids=["back", "ahead"])
def test_a_clock_that_leaps_by_days_begins_one_epoch(store: Store, leap: int) -> None:
    subscribers = Subscribers(store)
    at = NOW + leap * DAY_MS / 1000
    assert subscribers.new_epochs(now=at, only_due=True) == 1
    assert subscribers.new_epochs(now=at + 1, only_due=True) == 0


def test_rotating_shuts_the_old_file_out(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    partner = Partner(store)
    partner.fetch_keys()
    private, public = key_pair()
    entry = partner.subscribers.rotate("partner", public, now=NOW)
    assert entry.account == partner.entry.account
    assert entry.password != partner.entry.password
    item = press(pipeline, bracelet)
    assert [each.findings[0].code for each in partner.fetch_keys()] == ["keys_for_another"]
    assert partner.reads(item) == []
    partner.reader = Reader(entry.audience, entry.account, KEYS.public, private)
    partner.fetch_keys()
    assert partner.reads(item) == [item.document]


@pytest.mark.parametrize(
    ("called", "permission", "words"),
    [
        ("partner", EVERYTHING, "of this name"),
        ("", EVERYTHING, "1 to 64"),
        ("a\nb", EVERYTHING, "printable"),
        ("x" * 65, EVERYTHING, "1 to 64"),
        ("other", Permission(frozenset([7])), "00000007: there is no such bracelet"),
        ("other", Permission(None, 0), "1 to 500 km"),
        ("other", Permission(None, 501), "1 to 500 km"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    store: Store, called: str, permission: Permission, words: str
) -> None:
    Partner(store)
    before = contents(store)
    with pytest.raises(SubscriberError, match=words):
        Subscribers(store).add(called, bytes(32), permission, now=NOW)
    assert contents(store) == before


# Points of small order (RFC 7748, 6.1): whatever the other half, what is agreed is zero.
NO_KEYS = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("public", NO_KEYS, ids=["0", "1", "p-1"])
def test_a_key_that_nothing_can_be_sealed_for_is_refused(store: Store, public: bytes) -> None:
    Partner(store)
    before = contents(store)
    for change in (
        lambda: Subscribers(store).add("other", public, EVERYTHING, now=NOW),
        lambda: Subscribers(store).rotate("partner", public, now=NOW),
    ):
        with pytest.raises(SubscriberError, match="no public key"):
            change()
    assert contents(store) == before


def test_one_that_is_there_already_costs_nobody_else_the_keys(store: Store) -> None:
    partner, other = Partner(store), Partner(store, "other")
    row = update(schema.subscriber).where(schema.subscriber.c.id == other.entry.id)
    with store.write() as connection:
        connection.execute(row.values(public=bytes(32)))
    assert [heard.ok for heard in partner.fetch_keys()] == [True]
    assert other.fetch_keys() == []


def test_who_has_all_keys_already_costs_nothing(store: Store) -> None:
    """Each change of the registry is a look, in the alarms' loop: with 200 subscribers it took 0.4 s."""
    subscribers = Subscribers(store)
    Partner(store)
    Partner(store, "other", Permission(None, 20))
    left = {message.id: message.epochs for message in subscribers.retained(KEYS, NOW)}
    assert subscribers.retained(KEYS, NOW, left) == []
    subscribers.new_epochs(now=NOW)
    assert {message.id for message in subscribers.retained(KEYS, NOW, left)} == set(left)
    assert {message.epochs for message in subscribers.retained(KEYS, NOW, left)}.isdisjoint(left.values())


def test_nobody_is_removed_who_is_not_there_nor_this_machines_own(store: Store) -> None:
    before = contents(store)
    for called, words in (("nobody", "no such subscriber"), (LOCAL, "this relay's own")):
        with pytest.raises(SubscriberError, match=words):
            Subscribers(store).remove(called, now=NOW)
    assert contents(store) == before


def test_the_database_tells_no_name_password_permission_or_key(store: Store, bracelet: Bracelet) -> None:
    only = Permission(frozenset([int(bracelet.kid, 16)]), 7)
    partner = Partner(store, "Amnesty Nowhere", only)
    with store.read() as connection:
        keys = [each.epoch.key for each in read(connection, store.box)]
    rows = repr([contents(store)[table] for table in ("audience", "epoch", "subscriber", "audit")])
    for secret in ("Amnesty", partner.entry.password, bracelet.kid, *(repr(key)[2:-1] for key in keys)):
        assert secret not in rows
    assert partner.entry.password not in repr(partner.entry)


def test_promises_of_an_earlier_version_go_to_the_local_subscriber(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    item = press(pipeline, bracelet)
    with store.write() as connection:
        connection.execute(schema.outbox.delete())
        row = {
            "alarm_id": item.deliveries[0].id.alarm_id,
            "channel": "mqtt",
            "step": 0,
            "priority": 0,
            "created_ms": 0,
            "due_ms": 0,
            "attempts": 1,
        }
        connection.execute(insert(schema.outbox).values(row))
        connection.execute(schema.subscriber.delete())  # there was none then
    Subscribers(store).add(LOCAL, bytes(range(32)), EVERYTHING, now=NOW)
    (delivery,) = Outbox(store, KEYS).lease(NOW + 1)
    assert delivery.counter == item.counter


class Link:
    """A connection that notes what is left with the broker."""

    def __init__(self) -> None:
        self.connected = True
        self.left: list[tuple[str, bytes]] = []
        self.room = 100

    def publish(self, topic: str, octets: bytes, now: float, *, retain: bool = False) -> int | None:
        if not retain or len(self.left) >= self.room:
            return None
        self.left.append((topic, octets))
        return len(self.left)


def test_keys_are_left_at_each_connection_and_change_and_taken_away_with_the_member(store: Store) -> None:
    link = Link()
    subscribers, clock = Subscribers(store), iter(range(0, 9000, 10))
    channel = EpochKeys(subscribers, KEYS, link)

    def topics() -> list[str]:
        link.left.clear()
        channel.send(NOW, next(clock))
        return [topic for topic, _ in link.left]

    assert len(topics()) == 1
    assert topics() == []
    partner = Partner(store)
    mine = partner.reader.filters[2]
    assert len(topics()) == 2, "the audience has a new epoch: both members"
    provision(store)
    assert topics() == [], "a bracelet concerns no subscriber"
    link.connected = False
    assert topics() == []
    link.connected = True
    assert len(topics()) == 2, "a broker may have lost them"
    link.room = 1
    subscribers.new_epochs(now=NOW)
    assert len(topics()) == 1
    assert len(topics()) == 1, "the rest follows when there is room"
    link.room = 100
    subscribers.remove("partner", now=NOW)
    assert (mine, b"") in [(topic, octets) for topic, octets in _sent(channel, link, next(clock)) if not octets]
    assert len(contents(store)["subscriber"]) == 2
    channel.published(1 + [topic for topic, _ in link.left].index(mine))
    topics()
    assert len(contents(store)["subscriber"]) == 1, "the broker has confirmed it"


def _sent(channel: EpochKeys, link: Link, now: float) -> list[tuple[str, bytes]]:
    link.left.clear()
    channel.send(NOW, now)
    return link.left


def test_an_epoch_that_is_a_day_old_ends_by_itself(store: Store) -> None:
    link = Link()
    channel = EpochKeys(Subscribers(store), KEYS, link)
    channel.send(NOW, 0)
    channel.send(NOW + 86400, LOOK_S)
    assert len(link.left) == 2
    channel.send(NOW + 86400, LOOK_S + 1)
    assert len(link.left) == 2


@pytest.mark.parametrize("newest", [0, 1, 99])
def test_an_audience_whose_newest_epoch_is_missing_gets_another(store: Store, bracelet: Bracelet, newest: int) -> None:
    register = Subscribers(store)
    register.new_epochs(now=NOW)
    own = register.get(LOCAL)
    with store.write() as connection:
        connection.execute(update(schema.audience).values(newest=newest))
        if newest == 1:
            connection.execute(delete(schema.epoch).where(schema.epoch.c.n == newest))
    item = press(Pipeline(store, KEYS), bracelet)
    assert len(item.deliveries) == 0
    (waits,) = [Outbox(store, KEYS).pending()]
    assert waits == 0
    assert register.new_epochs(now=NOW, only_due=True) == 1
    item = press(Pipeline(store, KEYS), bracelet)
    assert [each.id.channel for each in item.deliveries] == [f"mqtt:{own.audience}"]


def test_a_subscriber_whose_profile_is_damaged_keeps_no_relay_from_starting(store: Store) -> None:
    register = Subscribers(store)
    with store.write() as connection:
        connection.execute(update(schema.subscriber).values(account_hash=None, profile_sealed=bytes(60)))
    register.prepare_accounts()
    assert [entry.password for entry in register.list()] == [""]
