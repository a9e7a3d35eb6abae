"""The delivery policy: transcripts of its rules, and generated histories for what must never happen."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from tocsin.alarm import ALERT, CANCEL, UPDATE
from tocsin.delivery import BACKOFF_MAX_MS, LIMIT, SMS_AFTER_MS, SMS_QUIET_MS, SMS_UPDATE_MS, Delivery, Message


def delivery(byte=0):
    return Delivery(lambda: byte)


def message(counter, alarm=None, kind=None):
    alarm = counter if alarm is None else alarm
    kind = (ALERT if counter == alarm else UPDATE) if kind is None else kind
    return Message(counter, alarm, kind, b"octets of %d" % counter)


def sent(actions):
    return [(path, m.counter) for path, m in actions]


def test_alert_goes_by_mqtt_at_once_and_by_sms_after_15_s_without_receipt():
    d = delivery()
    d.mqtt(True, 0)
    d.sms(True, 0)
    d.add(message(5), 1000)
    assert sent(d.poll(1000)) == [("mqtt", 5)]
    d.published(5, True, 1200)
    assert d.poll(15_999) == []
    assert d.deadline() == 1000 + SMS_AFTER_MS
    assert sent(d.poll(16_000)) == [("sms", 5)]
    d.texted(5, True, 20_000)
    assert d.receipt(5).counter == 5
    assert d.queue == []
    assert d.deadline() is None


def test_alert_goes_by_sms_at_once_without_a_data_network():
    d = delivery()
    d.sms(True, 0)
    d.net(False, 0)
    d.add(message(5), 1000)
    assert sent(d.poll(1000)) == [("sms", 5)]


def test_while_the_network_is_not_yet_known_mqtt_gets_its_15_s():
    d = delivery()
    d.sms(True, 0)
    d.add(message(5), 1000)
    assert d.poll(1000) == []
    d.net(True, 2000)
    assert d.poll(2000) == []
    d.net(False, 3000)
    assert sent(d.poll(3000)) == [("sms", 5)]


def refused_at(d, *times):
    """A message that is tried at each of these times, and refused."""
    d.add(message(5), 0)
    for now in times:
        assert sent(d.poll(now)) == [("sms", 5)]
        d.texted(5, False, now)


def test_a_refused_sms_is_tried_at_once_when_its_path_comes_back():
    """The modem has started anew, say: the pause was for one that refuses."""
    d = delivery()
    d.net(False, 0)
    d.sms(True, 0)
    refused_at(d, 0, 60_000, 180_000)
    d.sms(False, 181_000)
    d.sms(True, 182_000)
    assert sent(d.poll(182_000)) == [("sms", 5)]
    d.texted(5, True, 183_000)
    d.sms(False, 184_000)
    d.sms(True, 185_000)
    assert d.poll(185_000) == []  # one that was taken waits for its receipt


def test_what_is_refused_is_tried_every_ten_seconds_for_two_minutes_then_more_and_more_seldom():
    d = delivery()
    d.net(False, 0)
    d.sms(True, 0)
    d.add(message(5), 0)
    times = [0]
    for _ in range(18):
        now = times[-1]
        assert sent(d.poll(now)) == [("sms", 5)]
        d.texted(5, False, now)
        times.append(d.deadline())
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert waits == [5000] + [10_000] * 11 + [20_000, 40_000, 80_000, 160_000, 300_000, 300_000]


def test_refusals_count_for_no_receipt_that_is_waited_for():
    d = delivery()
    d.net(False, 0)
    d.sms(True, 0)
    refused_at(d, 0, 10_000, 30_000)
    assert sent(d.poll(50_000)) == [("sms", 5)]
    d.texted(5, True, 50_000)
    assert d.deadline() == 110_000


def test_repeats_with_backoff_on_both_paths_until_the_receipt():
    d = delivery()
    d.mqtt(True, 0)
    d.sms(True, 0)
    d.add(message(5), 0)
    times = {"mqtt": [], "sms": []}
    now = 0
    while now < 3_600_000:
        for path, m in d.poll(now):
            times[path].append(now)
            (d.published if path == "mqtt" else d.texted)(m.counter, True, now)
        now = d.deadline()
    gaps = [b - a for a, b in zip(times["mqtt"], times["mqtt"][1:], strict=False)]
    assert gaps[:5] == [15_000, 30_000, 60_000, 120_000, 240_000]
    assert set(gaps[5:]) == {BACKOFF_MAX_MS}
    gaps = [b - a for a, b in zip(times["sms"], times["sms"][1:], strict=False)]
    assert gaps[:3] == [60_000, 120_000, 240_000]
    assert set(gaps[3:]) == {BACKOFF_MAX_MS}


def test_jitter_only_shortens():
    d = delivery(255)
    d.mqtt(True, 0)
    d.add(message(5), 0)
    d.poll(0)
    d.published(5, True, 0)
    assert d.deadline() == 15_000 - 15_000 // 4


def test_a_new_connection_starts_over_in_order():
    d = delivery()
    d.mqtt(True, 0)
    for n in range(6):
        d.add(message(n, 0), 0)
    assert sent(d.poll(0)) == [("mqtt", n) for n in range(4)]
    d.mqtt(False, 100)
    assert d.poll(100) == []
    d.mqtt(True, 200)
    assert sent(d.poll(200)) == [("mqtt", n) for n in range(4)]
    d.published(1, True, 300)
    assert sent(d.poll(300)) == [("mqtt", 4)]


def test_updates_by_sms_only_the_newest_and_rarely():
    d = delivery()
    d.sms(True, 0)
    d.net(False, 0)
    d.add(message(1), 0)
    assert sent(d.poll(0)) == [("sms", 1)]
    d.add(message(2, 1), 20_000)
    d.add(message(3, 1), 40_000)
    assert d.poll(40_000) == []  # one at a time
    d.texted(1, True, 41_000)
    d.receipt(1)
    assert sent(d.poll(41_000)) == [("sms", 3)]
    d.texted(3, True, 45_000)
    d.add(message(4, 1), 60_000)
    assert d.poll(45_000 + SMS_UPDATE_MS - 1) == []
    assert sent(d.poll(45_000 + SMS_UPDATE_MS)) == [("sms", 4)]


def called_back():
    """A delivery by SMS alone, with Updates 6 and 8 of alarm 5 that was called back, and Update 7 of another."""
    d = delivery()
    d.sms(True, 0)
    d.net(False, 0)
    for counter, alarm in ((6, 5), (7, 2), (8, 5)):
        d.add(message(counter, alarm), 0)
    d.quiet = 5
    return d


def test_of_an_alarm_that_was_called_back_sms_are_rare_and_none_goes_that_is_older_than_what_the_relay_has():
    d = called_back()
    assert sent(d.poll(0)) == [("sms", 8)]
    d.texted(8, True, 1000)
    d.add(message(9, 5), 30_000)
    d.receipt(8)
    assert [m.counter for m in d.queue] == [7, 9]
    assert d.deadline() == 1000 + SMS_QUIET_MS
    assert sent(d.poll(1000 + SMS_QUIET_MS)) == [("sms", 9)]


def test_of_an_alarm_that_was_called_back_everything_goes_by_mqtt():
    d = called_back()
    assert sent(d.poll(0)) == [("sms", 8)]
    d.texted(8, True, 1000)
    d.mqtt(True, 2000)
    assert sent(d.poll(2000)) == [("mqtt", 6), ("mqtt", 7), ("mqtt", 8)]
    d.receipt(8)
    assert [m.counter for m in d.queue] == [6, 7]


def test_no_update_by_sms_while_mqtt_is_up():
    d = delivery()
    d.sms(True, 0)
    d.mqtt(True, 0)
    d.add(message(2, 1), 0)
    assert sent(d.poll(500_000)) == [("mqtt", 2)]


def test_cancel_goes_like_an_alert():
    d = delivery()
    d.sms(True, 0)
    d.net(False, 0)
    d.add(message(2, 1, CANCEL), 0)
    assert sent(d.poll(0)) == [("sms", 2)]


def test_failed_sms_is_tried_again_soon():
    d = delivery()
    d.sms(True, 0)
    d.net(False, 0)
    d.add(message(1), 0)
    d.poll(0)
    d.texted(1, False, 100)
    assert d.deadline() == 5100
    assert sent(d.poll(5100)) == [("sms", 1)]


def test_a_full_queue_gives_up_the_oldest_update_that_is_not_in_flight():
    d = delivery()
    d.mqtt(True, 0)
    d.add(message(0), 0)
    for n in range(1, LIMIT):
        d.add(message(n, 0), 0)
    d.poll(0)  # 0..3 in flight
    assert d.add(message(LIMIT, 0), 0).counter == 4
    assert len(d.queue) == LIMIT


def test_alerts_are_never_given_up():
    d = delivery()
    for n in range(LIMIT + 5):
        assert d.add(message(n), 0) is None
    assert len(d.queue) == LIMIT + 5
    assert d.full_of_alerts()


PATHS = st.sampled_from(["net", "mqtt", "sms"])
EVENTS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from([ALERT, UPDATE, UPDATE, UPDATE, CANCEL])),
    st.tuples(st.just("link"), PATHS, st.booleans()),
    st.tuples(st.just("result"), st.integers(0, 40), st.booleans()),
    st.tuples(st.just("receipt"), st.integers(0, 40)),
    st.tuples(st.just("wait"), st.integers(0, 400_000)),
    st.tuples(
        st.just("deadline"),
    ),
)


class History:
    """Plays generated events and checks after each what must always hold."""

    def __init__(self, byte):
        self.d = Delivery(lambda: byte)
        self.now = 0
        self.octets = {}
        self.alarm = 0
        self.flying = {"mqtt": [], "sms": []}
        self.waiting = []
        self.dropped = []

    def play(self, event):
        getattr(self, "on_" + event[0])(*event[1:])
        self.poll()

    def on_add(self, kind):
        counter = len(self.octets)
        if kind == ALERT or counter == 0:
            kind, self.alarm = ALERT, counter
        m = message(counter, self.alarm, kind)
        self.octets[counter] = m.octets
        dropped = self.d.add(m, self.now)
        self.waiting.append(counter)
        if dropped:
            assert dropped.counter != dropped.alarm
            self.waiting.remove(dropped.counter)

    def on_link(self, path, up):
        getattr(self.d, path)(up, self.now)
        if path == "mqtt":
            self.flying["mqtt"] = []

    def on_result(self, n, ok):
        for path, done in (("mqtt", self.d.published), ("sms", self.d.texted)):
            if self.flying[path]:
                done(self.flying[path].pop(n % len(self.flying[path])), ok, self.now)

    def on_receipt(self, n):
        found = self.d.receipt(n)
        assert (found is not None) == (n in self.waiting)
        if found:
            self.waiting.remove(n)

    def on_wait(self, ms):
        self.now += ms

    def on_deadline(self):
        at = self.d.deadline()
        if at is not None and at > self.now:
            self.now = at - 1
            assert self.d.poll(self.now) == []
            self.now = at
            assert self.poll()

    def poll(self):
        actions = self.actions = self.d.poll(self.now)
        for path, m in actions:
            assert m.octets == self.octets[m.counter]
            assert m.counter in self.waiting
            assert m.counter not in self.flying[path]
            self.flying[path].append(m.counter)
        assert len(self.flying["sms"]) <= 1
        assert [m.counter for m in self.d.queue] == self.waiting == sorted(self.waiting)
        return actions


@given(st.lists(EVENTS, max_size=60), st.integers(0, 255))
def test_nothing_is_lost_and_everything_is_delivered_at_last(events, byte):
    history = History(byte)
    for event in events:
        history.play(event)
    # Peace: both networks are there, every hand-over works, and the relay answers what it gets.
    history.on_link("sms", True)
    history.on_link("mqtt", True)
    for _ in range(200):
        if not history.waiting:
            break
        history.poll()
        for path, done in (("mqtt", history.d.published), ("sms", history.d.texted)):
            for counter in history.flying[path]:
                if counter in history.waiting:
                    history.on_receipt(counter)
                done(counter, True, history.now)
            history.flying[path] = []
        at = history.d.deadline()
        if at is not None:
            history.now = max(history.now, at)
    assert history.waiting == []


@given(st.lists(EVENTS, max_size=40))
def test_an_alert_is_texted_in_time_whatever_went_before(events):
    history = History(0)
    for event in events:
        history.play(event)
    for counter in history.flying["sms"]:
        history.d.texted(counter, True, history.now)
    history.flying["sms"] = []
    history.on_link("sms", True)
    history.poll()
    history.on_add(ALERT)
    counter = len(history.octets) - 1
    raised = history.now
    while not any(path == "sms" and m.counter == counter for path, m in history.actions):
        for path, done in (("mqtt", history.d.published), ("sms", history.d.texted)):
            for flying in history.flying[path]:
                done(flying, True, history.now)
            history.flying[path] = []
        history.now = max(history.now, history.d.deadline())
        history.poll()
        assert history.now <= raised + SMS_AFTER_MS


def test_of_alarms_that_were_called_back_the_cancel_stays_longest_and_no_other_alert_goes():
    d = delivery()
    d.add(message(0), 0)
    for counter in range(1, LIMIT - 1, 2):
        d.add(message(counter), 0)
        d.add(message(counter + 1, counter, CANCEL), 0)
    d.add(message(LIMIT - 1), 0)
    dropped = []
    for counter in range(LIMIT, LIMIT + 40, 2):
        dropped.append(d.add(message(counter), 0))
        dropped.append(d.add(message(counter + 1, counter, CANCEL), 0))
    assert len(d.queue) == LIMIT
    assert d.find(0)
    assert d.find(LIMIT - 1)
    alerts = [m.counter for m in dropped if m.kind == ALERT]
    cancels = [m.alarm for m in dropped if m.kind == CANCEL]
    assert alerts[: len(cancels)] == cancels  # its Alert had gone before each cancel
