"""What is sent when and again, and that no message that the broker answers by closing can hold up the others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.ingest.outgoing import Outgoing, SetAside, kind_of
from relay.ingest.qos1 import head, publish, read_publish


def test_what_is_not_confirmed_is_sent_again_in_order_and_says_so() -> None:
    outgoing = Outgoing()
    added = [outgoing.add("t", octets, 1.0, send=sent) for octets, sent in ((b"1", True), (b"2", True), (b"3", False))]
    (first, _), (second, packet), (third, nothing) = [a for a in added if a is not None]
    assert nothing == b""
    last = publish(b"t", third, b"3")
    assert outgoing.confirm(first)
    assert not outgoing.confirm(first)
    assert list(outgoing.resume(5.0)) == [bytes((packet[0] | 8,)) + packet[1:], last]
    assert outgoing.waits_since() == 5.0
    assert list(outgoing.resume(6.0)) == [bytes((p[0] | 8,)) + p[1:] for p in (packet, last)]
    assert outgoing.confirm(second)
    assert len(outgoing) == 1


def test_ids_are_used_once_at_a_time_and_go_round() -> None:
    outgoing = Outgoing()
    seen = set()
    for _ in range(64512):
        added = outgoing.add("t", b"", 0.0, send=True)
        assert added is not None
        seen.add(added[0])
    assert seen == set(range(1024, 65536))
    assert outgoing.add("t", b"", 0.0, send=True) is None
    assert outgoing.confirm(5000)
    added = outgoing.add("t", b"", 0.0, send=True)
    assert added is not None
    assert added[0] == 5000


def test_a_kind_is_the_rule_that_covers_it() -> None:
    topics = ["b/0/0a1b2c3d/ack", "r/0a1b2c3d/alarm", "r/0a1b2c3d/case", "fw/0123456789abcdef/17", "s/a1/key/anna"]
    assert [kind_of(t) for t in topics] == ["b/+/+/ack", "r/+/alarm", "r/+/case", "fw/+/+", "s/+/key/+"]


class Broker:
    """Takes packets in order, confirms what its rules allow, and closes on anything else. What it had confirmed in the
    last `unheard` packets before that never arrives."""

    def __init__(self, forbidden: set[str], unheard: int) -> None:
        self.forbidden = forbidden
        self.unheard = unheard
        self.got: list[str] = []
        self.connections = 0

    def take(self, packets: list[bytes]) -> tuple[list[int], bool]:
        """(ids that are confirmed, whether the connection holds)."""
        confirmed = []
        for packet in packets:
            found = head(packet, 0)
            assert found is not None
            topic, mid, octets = read_publish(packet, found, 100)
            assert mid is not None
            if topic.decode() in self.forbidden:
                return confirmed[: max(0, len(confirmed) - self.unheard)], False
            self.got.append(f"{topic.decode()} {octets.decode()}")
            confirmed.append(mid)
        return confirmed, True


class Relay:
    """What the connection does with `Outgoing`."""

    def __init__(self, broker: Broker) -> None:
        self.outgoing = Outgoing()
        self.broker = broker
        self.now = 0.0
        self.up = False
        self.news: list[SetAside] = []

    def add(self, topic: str, octets: str) -> None:
        added = self.outgoing.add(topic, octets.encode(), self.now, send=self.up)
        assert added is not None
        self.offer([added[1]] if added[1] else [])

    def turn(self, seconds: float = 1.0) -> None:
        self.now += seconds
        if self.up:
            self.offer(list(self.outgoing.more(self.now)))
        else:
            self.up = True
            self.broker.connections += 1
            self.offer(list(self.outgoing.resume(self.now)))
        self.news += self.outgoing.take_news()

    def offer(self, packets: list[bytes]) -> None:
        confirmed, holds = self.broker.take(packets)
        for mid in confirmed:
            assert self.outgoing.confirm(mid)
        if not holds:
            self.up = False
            self.outgoing.lost(self.now)


def topics_of(kinds: list[str]) -> list[str]:
    return [kind.replace("+", f"{number:08x}") for number, kind in enumerate(kinds)]


kinds = st.sampled_from(["b/0/+/ack", "r/+/alarm", "r/+/case"])


@settings(deadline=None)
@given(st.lists(kinds, max_size=60), st.lists(kinds, max_size=10), st.data(), st.integers(0, 20))
def test_what_is_allowed_arrives_whatever_else_there_is(
    before: list[str], after: list[str], data: st.DataObject, unheard: int
) -> None:
    topics = topics_of(before + after)
    single = data.draw(st.sets(st.sampled_from(topics), max_size=4) if topics else st.just(set()))
    whole = data.draw(st.sets(kinds, max_size=2))
    forbidden = single | {t for t in topics if kind_of(t) in {kind_of(k) for k in whole}}
    broker = Broker(forbidden, unheard)
    relay = Relay(broker)
    for topic in topics[: len(before)]:
        relay.add(topic, "x")
    for _ in range(200):
        relay.turn()
    for topic in topics[len(before) :]:
        relay.add(topic, "x")
    for _ in range(300):
        relay.turn(10.0)
    assert {got.partition(" ")[0] for got in broker.got} == set(topics) - forbidden
    assert len(relay.outgoing) == len(forbidden)
    # Each kind and each single one costs some connections to be found, and then one for each time it is tried again.
    assert broker.connections <= 1 + 25 * (len(single) + len(whole))
    broker.forbidden = set()
    for _ in range(200):
        relay.turn(100.0)
    assert {got.partition(" ")[0] for got in broker.got} == set(topics)
    assert len(relay.outgoing) == 0


def test_a_rule_that_is_missing_costs_some_connections_and_not_two_a_message() -> None:
    topics = [f"r/{number:08x}/case" for number in range(50)]
    broker = Broker(set(topics), 0)
    relay = Relay(broker)
    for topic in topics:
        relay.turn(0.01)
        relay.add(topic, "x")
        relay.add("b/0/0a1b2c3d/ack", "x")
    for _ in range(8):
        relay.turn(0.01)
    assert len(broker.got) == 50
    assert broker.connections <= 6
    assert [(news.kind, news.whole_kind) for news in relay.news] == [("r/+/case", False), ("r/+/case", True)]


def test_one_message_that_is_refused_does_not_stop_its_kind() -> None:
    broker = Broker({"b/0/00000000/ack"}, 0)
    relay = Relay(broker)
    relay.turn()
    relay.add("b/0/11111111/ack", "before")
    relay.add("b/0/00000000/ack", "poison")
    for _ in range(3):
        relay.turn()
    relay.add("b/0/11111111/ack", "after")
    assert broker.got == ["b/0/11111111/ack before", "b/0/11111111/ack after"]
    (news,) = relay.news
    assert (news.topic, news.whole_kind) == ("b/0/00000000/ack", False)


def test_a_broker_that_restarts_gets_everything_again_and_nothing_is_set_aside() -> None:
    relay = Relay(Broker(set(), 0))
    for number in range(100):
        relay.outgoing.add("r/0a1b2c3d/alarm", b"%d" % number, 0.0, send=False)
    list(relay.outgoing.resume(0.0))
    relay.outgoing.lost(1.0)  # nothing of it was confirmed
    for _ in range(10):
        relay.turn()
    assert [got.partition(" ")[2] for got in relay.broker.got] == [str(n) for n in range(100)]
    assert relay.news == []
    assert not relay.outgoing.holds_back


def test_of_a_kind_that_is_refused_only_so_many_are_kept() -> None:
    relay = Relay(Broker({f"r/{n:08x}/case" for n in range(2000)}, 0))
    relay.turn()
    for number in (0, 0, 1):
        relay.add(f"r/{number:08x}/case", "x")
        for _ in range(4):
            relay.turn(0.01)
    taken = [relay.outgoing.add(f"r/{n:08x}/case", b"x", 0.0, send=True) is not None for n in range(2, 2000)]
    assert taken.count(True) == 997


def test_a_broker_that_confirms_nothing_costs_no_hour_when_it_is_back() -> None:
    """Out of room, it confirms nothing for a day; what was set aside meanwhile must not wait for long after that."""
    outgoing, now, waits, tried = Outgoing(), 0.0, 10.0, set()
    topics = ["b/0/0a1b2c3d/ack", "s/a1/0a1b2c3d/alarm", "s/b2/0a1b2c3d/alarm"]
    mids = {topic: outgoing.add(topic, b"x", now, send=True) for topic in topics}
    while now < 86_400:
        if outgoing.waits_since() is None:
            now += 1.0
            list(outgoing.resume(now))
        else:
            now += waits
            outgoing.lost(now, stalled=True)
    assert len(outgoing) == 3
    back = now
    while len(outgoing) and now < back + 600:
        now += 1.0
        for packet in list(outgoing.more(now)):
            found = head(packet, 0)
            assert found is not None
            _, mid, _ = read_publish(packet, found, 9)
            assert mid is not None
            tried.add(mid)
            outgoing.confirm(mid)
    assert tried == {added[0] for added in mids.values() if added is not None}
    assert now - back < 90


def test_what_ended_connections_while_nothing_was_confirmed_is_tried_again_when_something_is() -> None:
    outgoing, now = Outgoing(), 0.0
    first = outgoing.add("s/a1/0a1b2c3d/alarm", b"x", now, send=True)
    for _ in range(12):  # killed again and again
        now += 1000.0
        outgoing.lost(now)
        list(outgoing.resume(now))
    outgoing.lost(now)
    assert first is not None
    assert list(outgoing.resume(now + 1)) == [], "it is set aside"
    other = outgoing.add("b/0/0a1b2c3d/ack", b"y", now + 1, send=True)
    assert other is not None and other[1]
    outgoing.confirm(other[0])
    (again,) = outgoing.more(now + 2)
    found = head(again, 0)
    assert found is not None and read_publish(again, found, 9).mid == first[0]
    outgoing.lost(now + 3)
    list(outgoing.resume(now + 3))
    assert list(outgoing.more(now + 100)) == [], "now the message is to blame"


def test_a_trial_is_known_by_its_message_although_others_come_meanwhile() -> None:
    """Else the trial would begin again on each connection, and end it."""
    topic, broker = "s/a1/0a1b2c3d/alarm", Broker({"s/a1/0a1b2c3d/alarm"}, 0)
    relay = Relay(broker)
    relay.add(topic, "x")
    for _ in range(2000):
        relay.turn(1.0)
    before, outgoing = broker.connections, relay.outgoing
    trials = 0
    for _ in range(3600):
        relay.now += 1.0
        if not relay.up:
            broker.connections += 1
            relay.up = True
            sent = list(outgoing.resume(relay.now))
        else:
            sent = list(outgoing.more(relay.now))
        if sent:
            trials += 1
            outgoing.add(topic, b"y", relay.now, send=True)
            outgoing.lost(relay.now)
            relay.up = False
    assert 1 <= trials <= 14
    assert broker.connections - before <= 14
