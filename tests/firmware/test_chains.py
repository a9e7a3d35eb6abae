"""Counters are never used twice, whatever writes fail and whenever the power goes."""

from hypothesis import given
from hypothesis import strategies as st
from tocsin.chains import BLOCK, Sender, block

from relay.verify.ratchet import MAX_SKIPPED

END = 1 << 24


def step(key):
    """A stand-in for the hash: the key's number says which counter it belongs to."""
    return key, key + 1


def test_nothing_can_be_sealed_before_a_reserve_is_on_flash():
    sender = Sender(5, 5, step, END)
    assert sender.take() is None
    stored = sender.reserve(2)
    assert sender.take() is None  # not yet known to be stored
    sender.reserved(stored)
    assert [sender.take(), sender.take(), sender.take()] == [(5, 5), (6, 6), None]


def test_a_reserve_of_nothing_moves_nothing():
    sender = Sender(5, 5, step, END)
    assert sender.reserve(0) == [5, 5]


def test_after_any_resets_an_alert_that_waits_since_before_can_be_opened():
    skipped = resets = 0
    while block(skipped):
        skipped += block(skipped)
        resets += 1
    assert block(0) == BLOCK
    assert resets > 100
    assert skipped + BLOCK <= MAX_SKIPPED  # the relay's: the Alert may be overtaken by its newest Update


def test_a_chain_ends():
    sender = Sender(5, 5, step, 7)
    stored = sender.reserve(16)
    assert stored == [7, 7]
    sender.reserved(stored)
    assert [sender.take(), sender.take(), sender.take()] == [(5, 5), (6, 6), None]
    assert sender.reserve(1) == [7, 7]


@given(st.lists(st.one_of(st.just("seal"), st.just("reset"), st.just("write")), max_size=80), st.data())
def test_no_counter_twice(events, data):
    flash = [0, 0]
    sender = Sender(*flash, step, END)
    used = []
    for event in events:
        if event == "reset":
            sender = Sender(*flash, step, END)
        if event == "seal":
            taken = sender.take()
            if taken is not None:
                assert taken[0] == taken[1]  # the key is the counter's own
                used.append(taken[0])
        stored = sender.reserve(3)
        outcome = data.draw(st.sampled_from(["ok", "failed", "torn", "reported failed but stored"]))
        if outcome in ("ok", "reported failed but stored"):
            flash = list(stored)
        if outcome == "ok":
            sender.reserved(stored)
        if outcome == "torn":  # power went in the write: the other slot still has the state before
            sender = Sender(*flash, step, END)
    assert used == sorted(set(used))
