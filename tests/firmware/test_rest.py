"""What sleeps in the clock's memory, and when a search for a fix is worth it."""

from hypothesis import given
from hypothesis import strategies as st
from tocsin import rest, search
from tocsin.search import Search

ITEMS = st.lists(
    st.one_of(st.none(), st.integers(-(2**31), 2**63), st.binary(max_size=40), st.lists(st.integers(0, 9), max_size=5)),
    max_size=12,
)


@given(ITEMS)
def test_round_trip(items):
    assert rest.unpack(rest.pack(items), len(items)) == items
    assert rest.unpack(rest.pack(items), len(items) + 1) is None


@given(ITEMS, st.data())
def test_a_damaged_memory_is_an_empty_one(items, data):
    octets = bytearray(rest.pack(items))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    assert rest.unpack(octets, len(items)) is None
    assert rest.unpack(rest.pack(items)[:at], len(items)) is None


@given(st.binary(max_size=60), st.integers(0, 5))
def test_garbage(octets, count):
    assert rest.unpack(octets, count) is None


T = 1_767_225_600


def test_the_first_search_is_cold_and_due():
    plan = Search()
    assert plan.due(0)
    assert plan.due(T)
    assert plan.limit_ms(T) == search.COLD_MS


def test_after_a_fix_it_is_hot_for_four_hours():
    plan = Search()
    plan.began(T)
    plan.ended(T + 40, found=True)
    assert not plan.due(T + 600)
    assert plan.due(T + 900)
    assert plan.limit_ms(T + 900) == search.HOT_MS
    assert plan.limit_ms(T + 40 + search.HOT_S) == search.COLD_MS


def test_a_receiver_that_forgets_is_always_cold_and_searches_less_often():
    plan = Search()
    plan.began(T)
    plan.ended(T + 40, found=True)
    assert not plan.due(T + 900, hot=False)
    assert plan.due(T + search.COLD_EVERY_S, hot=False)
    assert plan.limit_ms(T + 900, hot=False) == search.COLD_MS


def test_in_vain_it_becomes_rarer_up_to_four_hours_and_a_fix_makes_it_frequent_again():
    plan, now, waits = Search(), T, []
    for _ in range(8):
        plan.began(now)
        plan.ended(now + 45, found=False)
        wait = next(s for s in range(0, 10**6, 60) if plan.due(now + s))
        waits.append(wait)
        now += wait
    assert waits == sorted(waits)
    assert waits[0] >= 1700
    assert waits[-1] == search.RARE_S - 60
    plan.began(now)
    plan.ended(now, found=True)
    assert plan.due(now + search.EVERY_S)


def test_a_clock_that_was_set_back_does_not_stop_the_searches():
    plan = Search(fixed=T, tried=T, failed=3)
    assert plan.due(T - 86400)
    assert plan.limit_ms(T - 86400) == search.COLD_MS


def test_its_state_is_its_arguments():
    plan = Search(1, 2, 3)
    assert Search(*plan.state()).state() == [1, 2, 3]
