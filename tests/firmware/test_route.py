"""Which link carries data, step by step and at random."""

from hypothesis import given
from hypothesis import strategies as st
from tocsin.links import route
from tocsin.links.route import Route

MINUTE = 60_000


def test_with_wifi_it_is_never_dialled():
    way = Route()
    way.wifi = True
    assert not way.step(0, 0, False, True)
    assert not way.step(MINUTE, 0, False, True)


def test_a_message_waits_eight_seconds_for_wifi_whether_there_is_any_or_not():
    for wifi in (None, False):
        way = Route()
        way.wifi = wifi
        assert not way.step(1000, 1000, False, False)
        assert way.at == 9000
        assert not way.step(8999, 1000, False, False)
        assert way.step(9000, 1000, False, False)


def test_the_receipt_of_an_sms_is_waited_for_as_long():
    way = Route()
    way.wifi = False
    way.texted(3000)
    assert not way.step(10_999, 1000, False, False)
    assert way.step(11_000, 1000, False, False)


def test_nothing_is_waited_for_once_an_sms_was_refused():
    way = Route()
    way.wifi = None
    way.untexted()
    assert not way.step(1000, 1000, False, False)  # Wi-Fi may still come
    way.wifi = False
    assert way.step(1500, 1000, False, False)
    way.over(2000)
    assert not way.step(2500, 1000, False, False)  # its own pauses stay
    way.texted(40_000)
    assert not way.step(47_999, 1000, False, False)
    assert way.step(48_000, 1000, False, False)


def test_what_needs_no_session_any_more_before_it_began_is_not_dialled():
    way = Route()
    way.wifi = False
    assert way.step(9000, 0, False, False)
    assert not way.step(9500, None, False, False)


def test_a_heartbeat_dials_only_where_wifi_is_known_to_be_absent():
    way = Route()
    assert not way.step(0, None, False, True)
    way.wifi = False
    assert way.step(1, None, False, True)


def session(way, at):
    assert way.step(at, None, False, True)
    way.up(at)


def test_a_session_without_a_receipt_is_left_after_fifteen_seconds():
    way = Route()
    way.wifi = False
    session(way, 0)
    assert way.step(100_000, 90_000, True, False) and way.at == 105_000
    assert way.step(104_999, 90_000, True, False)
    assert not way.step(105_000, 90_000, True, False)


def test_a_session_whose_connection_breaks_while_something_waits_is_left_at_once():
    way = Route()
    way.wifi = False
    session(way, 0)
    assert way.step(5_000, 0, False, False)  # not connected yet
    assert way.step(6_000, 0, True, False)
    assert not way.step(7_000, 0, False, False)


def test_a_receipt_gives_it_another_fifteen_seconds():
    way = Route()
    way.wifi = False
    session(way, 0)
    way.heard(10_000)
    assert way.step(24_999, 0, True, False)
    assert not way.step(25_000, 0, True, False)


def test_a_quiet_session_stays_while_the_broker_is_connected_and_is_left_without_it():
    way = Route()
    way.wifi = False
    session(way, 0)
    for minute in range(100):
        assert way.step(minute * MINUTE, None, True, False)
    assert way.step(99 * MINUTE + route.QUIET_MS - 1, None, False, False)
    assert not way.step(99 * MINUTE + route.QUIET_MS, None, False, False)


def test_what_failed_is_tried_again_later_and_later_and_sooner_while_something_waits():
    for waiting, longest in ((None, route.BACKOFF_MAX_MS), (0, route.BACKOFF_WAITING_MS)):
        way = Route()
        way.wifi = False
        now, pauses = 10_000, []
        for _ in range(12):
            assert way.step(now, waiting, False, True)
            way.over(now)
            assert not way.step(now, waiting, False, True)
            pauses.append(way.at - now)
            now = way.at
        assert pauses[:3] == [30_000, 60_000, 120_000]
        assert pauses == sorted(pauses) and pauses[-1] == longest


def test_after_a_session_that_was_good_and_made_room_for_an_sms_it_is_dialled_soon():
    way = Route()
    way.wifi = False
    session(way, 0)
    assert way.step(49_000, None, True, False)
    way.over(50_000)
    assert not way.step(50_000, 10_000, False, False)
    assert way.at == 52_000


def test_one_that_carried_a_connection_and_died_is_dialled_again_soon_once():
    way = Route()
    way.wifi = False
    session(way, 0)
    assert way.step(49_000, None, True, False)
    assert way.step(50_000, 50_000, True, False)
    assert not way.step(60_000, 50_000, False, False)
    way.over(60_250)
    assert not way.step(60_250, 50_000, False, False)
    assert way.at == 60_250 + route.DIED_MS
    assert way.step(way.at, 50_000, False, False)
    way.up(69_000)
    assert way.step(69_500, 50_000, True, False)
    assert not way.step(70_000, 50_000, False, False)
    way.over(70_250)
    assert not way.step(70_250, 50_000, False, False)
    assert way.at == 130_250


def test_one_that_made_room_before_it_could_prove_itself_is_no_failure():
    way = Route()
    way.wifi = False
    assert way.step(8000, 0, False, False)
    way.over(10_000, True)
    assert not way.step(10_000, 0, False, False)
    assert way.at == 12_000


def test_what_is_being_left_is_not_taken_up_again_before_it_is_over():
    way = Route()
    way.wifi = False
    session(way, 0)
    assert not way.step(200_000, 100_000, False, False)
    assert not way.step(200_001, 100_000, False, True)
    way.over(200_250)
    assert not way.step(200_250, 100_000, False, False)
    assert way.at == 230_250


def test_a_wifi_that_brings_no_connection_is_left_sooner_while_something_waits():
    for waiting, limit in ((None, 120_000), (100_000, 112_000), (107_000, 119_000), (119_000, 120_000)):
        way = Route(1)
        way.joined(True, 100_000)
        way.step(limit - 1, waiting, False, False)
        assert not way.leave and way.at == limit
        way.step(limit, waiting, False, False)
        assert way.leave
        way.step(limit + 500, waiting, False, False)
        assert not way.leave  # said once


def test_the_time_counts_from_the_last_connection():
    way = Route(1)
    way.joined(True, 0)
    for now in range(0, 600_000, 5000):
        way.step(now, None, True, False)
        assert not way.leave
    way.step(now + route.BARREN_MS - 1, None, False, False)
    assert not way.leave
    way.step(now + route.BARREN_MS, None, False, False)
    assert way.leave


def test_it_is_left_at_once_when_somebody_else_answers():
    way = Route(1)
    way.joined(True, 50_000)
    way.refused()
    way.step(50_001, None, False, False)
    assert way.leave


def test_one_that_is_all_there_is_is_never_left_and_another_wifi_is_tried_more_slowly():
    way = Route()
    way.joined(True, 0)
    way.refused()
    way.step(10 * MINUTE, 0, False, True)
    assert not way.leave and way.at is None
    way = Route(3)
    way.joined(True, 0)
    way.step(35_999, 0, False, True)
    assert not way.leave
    way.step(36_000, 0, False, True)
    assert way.leave


def test_after_it_was_left_the_mobile_network_is_dialled_at_once_for_what_has_waited():
    way = Route(1)
    way.joined(True, 0)
    way.step(12_000, 0, False, False)
    assert way.leave
    way.joined(False, 12_500)
    assert way.step(12_500, 0, False, False)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40_000),
        st.sampled_from(["wifi", "no wifi", "up", "heard", "texted", "over", "queue", "delivered", "mqtt", "no mqtt"]),
    ),
    max_size=60,
)


def test_a_wifi_on_which_memory_was_short_has_time_for_three_more_tries_and_is_then_as_any_other():
    way = Route(1)
    way.joined(True, 0)
    now = 0
    for _ in range(route.SPARED):
        now += route.BARREN_MS - 1
        way.refused("memory", now)
        way.step(now + 1, None, False, False)
        assert not way.leave
    way.refused("memory", now + 1)
    way.step(now + route.BARREN_MS, None, False, False)
    assert way.leave


def test_a_connection_ends_the_count_of_these_tries():
    way = Route(1)
    way.joined(True, 0)
    for now in range(0, 10 * route.BARREN_MS, route.BARREN_MS // 2):
        way.refused("memory", now)
        way.step(now + 1, None, True, False)
    now += route.BARREN_MS - 1
    way.refused("memory", now)
    way.step(now + 2, None, False, False)
    assert not way.leave


@given(EVENTS)
def test_whatever_happens_wifi_goes_first_and_no_session_outlives_its_proof(events):
    way, now, waiting, online = Route(1), 0, None, False
    fed = None  # of the Wi-Fi that is up: its begin, or its last connection
    proof = None  # of the session that is up: its begin, the last receipt, or the last moment of quiet connection
    for pause, event in events:
        now += pause
        if event in ("wifi", "no wifi"):
            way.joined(event == "wifi", now)
            fed = now if way.wifi else None
        elif event == "up" and way.wanted:
            way.up(now)
            proof = now
        elif event == "heard":
            way.heard(now)
            proof = proof and now
        elif event == "texted":
            way.texted(now)
        elif event == "over":
            way.over(now)
            proof = None
        elif event in ("queue", "delivered"):
            waiting = now if event == "queue" else None
        elif event in ("mqtt", "no mqtt"):
            online = event == "mqtt"
        wanted = way.step(now, waiting, online, False)
        assert not (wanted and way.wifi)
        if fed is not None:
            fed = now if online else fed
            barren = now - fed >= route.BARREN_MS
            barren |= waiting is not None and now - max(fed, waiting) >= route.BARREN_WAITING_MS
            assert way.leave == barren
            fed = now if way.leave else fed
        if waiting is None and online and proof is not None:
            proof = now
        if wanted and proof is not None:
            limit = route.QUIET_MS if waiting is None else max(0, waiting - proof) + route.PROVE_MS
            assert now - proof < limit
        if not wanted and proof is not None and waiting is None and not way.wifi and not online:
            proof = None  # left: over() follows
            way.over(now)
        if wanted:
            assert way.at is None or way.at > now
    if waiting is not None and not way.wifi:  # whatever has been, it will be dialled again
        way.over(now)
        if not way.step(now, waiting, False, False):
            assert way.at - now <= route.BACKOFF_WAITING_MS
            assert way.step(way.at, waiting, False, False)
