"""The receiving ratchet: every message once, in any order, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.verify import ChainState, Reason, Refused
from relay.verify.keys import message_key, next_chain_key
from relay.verify.ratchet import MAX_SKIPPED, MAX_STEPS, SKIPPED_AGE_S, advance

ROOT = bytes(range(32))
START = ChainState(0, ROOT)


def keys(count: int) -> list[bytes]:
    """The first message keys of the chain, made the plain way."""
    made, key = [], ROOT
    for _ in range(count):
        made.append(message_key(key))
        key = next_chain_key(key)
    return made


KEYS = keys(400)


def refusal(state: ChainState, counter: int, now: int = 0) -> Reason:
    with pytest.raises(Refused) as caught:
        advance(state, counter, now)
    return caught.value.reason


@given(st.permutations(range(12)))
def test_any_order(order: list[int]) -> None:
    state = START
    for counter in order:
        assert not state.is_used(counter, 0)
        key, state = advance(state, counter, 0)
        assert key == KEYS[counter]
        assert state.is_used(counter, 0)
    assert state.next == 12
    assert not state.skipped


@given(st.lists(st.integers(0, 350), max_size=60))
def test_every_message_once(counters: list[int]) -> None:
    """Whatever arrives: a key is given at most once, it is the right one, and nothing else moves."""
    state, given_out = START, set()
    for counter in counters:
        before = state
        try:
            key, state = advance(state, counter, 0)
        except Refused as refused:
            assert refused.reason is Reason.REPLAY
            assert before.is_used(counter, 0)
            continue
        assert counter not in given_out
        assert key == KEYS[counter]
        given_out.add(counter)
        assert len(state.skipped) <= MAX_SKIPPED
        # What was passed over recently enough can still come.
        expected = {n for n in range(state.next) if n not in given_out}
        assert set(state.skipped) <= expected
        if len(expected) <= MAX_SKIPPED:
            assert set(state.skipped) == expected


def test_a_state_is_never_changed_in_place() -> None:
    _, skipped = advance(START, 5, 0)
    copy = dict(skipped.skipped)
    advance(skipped, 3, 0)
    advance(skipped, 9, 0)
    assert skipped.skipped == copy
    assert START == ChainState(0, ROOT)
    assert not START.skipped


def test_gap() -> None:
    _, state = advance(START, MAX_STEPS, 0)
    assert state.next == MAX_STEPS + 1
    assert refusal(START, MAX_STEPS + 1) is Reason.GAP


def test_the_newest_skipped_keys_are_kept() -> None:
    _, state = advance(START, MAX_SKIPPED + 50, 0)
    assert sorted(state.skipped) == list(range(50, MAX_SKIPPED + 50))
    assert refusal(state, 49) is Reason.REPLAY
    assert advance(state, 50, 0)[0] == KEYS[50]
    _, state = advance(state, state.next + 10, 0)
    assert len(state.skipped) == MAX_SKIPPED
    assert min(state.skipped) == 60


def test_skipped_keys_age() -> None:
    _, state = advance(START, 2, 1000)
    _, later = advance(state, 4, 1000 + 86400)
    limit = 1000 + SKIPPED_AGE_S
    assert advance(later, 0, limit - 1)[0] == KEYS[0]
    assert refusal(later, 0, limit) is Reason.REPLAY
    assert later.is_used(0, limit)
    assert not later.is_used(3, limit)
    _, after = advance(later, 5, limit)
    assert sorted(after.skipped) == [3], "old keys go, younger ones stay"


def test_nothing_secret_is_printed() -> None:
    _, state = advance(START, 3, 0)
    assert repr(state) == "ChainState(next=4)"
    assert "x" not in repr(state.skipped[0])
