"""The strap's contact: worn, taken off, cut, chattering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.strap import ALLOWED_MS, CLOSED, OPEN, OPEN_MS, WORN_MS, Strap


def play(changes, until, strap=None, allow=None, step=20):
    """[(ms, closed)] -> [(ms, event)], sampled as the driver does."""
    strap = strap or Strap()
    seen, closed = [], False
    changes = list(changes)
    for now in range(0, until, step):
        while changes and changes[0][0] <= now:
            closed = changes.pop(0)[1]
        if allow is not None and now - step < allow <= now:
            strap.allow(now)
        event = strap.sample(closed, now)
        if event:
            seen.append((now, event))
    return seen


def test_closed_long_enough_it_is_worn():
    assert play([(1000, True)], 20000) == [(1000 + WORN_MS, "worn")]


def test_torn_off_it_is_cut_once():
    assert play([(0, True), (10000, False)], 60000)[1:] == [(10000 + OPEN_MS, "cut")]


def test_fumbling_with_the_clasp_raises_nothing():
    changes = [(n * 1000, n % 2 == 0) for n in range(20)]
    assert play(changes, 40000) == []


def test_chatter_is_closed():
    changes = [(0, True)]
    for n in range(500):
        changes += [(6000 + n * 400, False), (6000 + n * 400 + 380, True)]
    assert play(changes, 250_000) == [(WORN_MS, "worn")]


def test_after_the_pattern_it_may_be_opened():
    assert play([(0, True), (20000, False)], 60000, allow=10000)[1:] == [(20000 + OPEN_MS, "removed")]


def test_opened_in_time_it_stays_removed_however_long():
    seen = play([(0, True), (60000, False), (700_000, True), (800_000, False)], 900_000, allow=10000)
    assert [event for _, event in seen] == ["worn", "removed", "worn", "cut"]


def test_not_opened_in_time_it_is_guarded_again():
    late = 10000 + ALLOWED_MS + 100
    assert play([(0, True), (late, False)], late + 5000, allow=10000)[1:] == [(late + OPEN_MS, "cut")]


def test_the_pattern_means_nothing_for_a_strap_that_is_not_worn():
    """Else who fastens it within the minute could be robbed of it in silence."""
    seen = play([(1000, True), (10000, False)], 60000, allow=500)
    assert [event for _, event in seen] == ["worn", "cut"]


def test_worn_before_a_reset_and_open_after_it_was_cut_meanwhile():
    assert play([], 10000, Strap(worn=True)) == [(OPEN_MS, "cut")]
    assert play([(0, True)], 10000, Strap(worn=True)) == []
    assert play([], 10000, Strap(worn=False)) == []


def test_what_is_told_is_what_it_was_while_it_chatters():
    strap = Strap()
    assert strap.sample(True, 0) is None
    assert strap.state == CLOSED
    strap.sample(True, WORN_MS)
    strap.sample(False, WORN_MS + 100)
    assert strap.state == CLOSED
    strap.sample(False, WORN_MS + 100 + OPEN_MS)
    assert strap.state == OPEN


@pytest.mark.parametrize("closed", [False, True])
def test_a_contact_at_rest_needs_no_sampling(closed):
    strap = Strap()
    for now in range(0, 10000, 100):
        strap.sample(closed, now)
    assert strap.deadline() is None


@given(st.lists(st.tuples(st.integers(1, 20000), st.booleans()), max_size=40), st.booleans())
def test_cut_only_from_worn_and_never_for_less_than_its_time(changes, worn):
    strap, now, closed, opened_at = Strap(worn), 0, worn, 0
    strap.sample(closed, now)
    for wait, then in changes:
        for _ in range(0, wait, 50):
            now += 50
            before = strap.worn
            event = strap.sample(closed, now)
            if event in ("cut", "removed"):
                assert before and not closed and now - opened_at >= OPEN_MS
            if event == "worn":
                assert not before and closed
        if then != closed:
            closed, opened_at = then, now + 50
