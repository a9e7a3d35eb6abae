# sans-I/O
"""The receiving end of a hash ratchet.

A state is immutable. `advance` finds the key of a message and returns it together with the state that would follow, so
"keep a new state only after everything verified" needs no rollback: the caller just drops what it was given.
"""

from collections.abc import Mapping
from typing import NamedTuple

from relay.verify.keys import message_key, next_chain_key
from relay.verify.reasons import Reason, Refused

MAX_STEPS = 5000
# A bracelet that resets over and over skips at most 960 counters (firmware/tocsin/chains.py), and the newest Update may
# overtake an Alert that has waited since before.
MAX_SKIPPED = 1024
SKIPPED_AGE_S = 30 * 86400  # a message this late travelled on no path that we know; its key is worth more destroyed
# A greater age means that the machine's clock is wrong, or was. Then only the number of keys is bounded, because an
# alarm whose key is gone counts as a replay.
SKIPPED_AGE_MOST_S = 180 * 86400


class Skipped(NamedTuple):
    """The key of a message that has not arrived, and the time at which it was passed over."""

    key: bytes
    at: int

    def __repr__(self) -> str:
        return "Skipped()"


class ChainState(NamedTuple):
    """The state of a chain. `next` is the counter that `key` belongs to. `skipped` is never changed in place."""

    next: int
    key: bytes
    skipped: Mapping[int, Skipped] = {}

    def __repr__(self) -> str:
        return f"ChainState(next={self.next})"

    def is_used(self, counter: int, now: int) -> bool:
        """Tell whether `counter` can't be opened any more: used, dropped or aged."""
        if counter >= self.next:
            return False
        kept = self.skipped.get(counter)
        return kept is None or _aged(kept, now)


def advance(state: ChainState, counter: int, now: int) -> tuple[bytes, ChainState]:
    """Return the message key for `counter` and the state after it. `now` is in seconds, and only ages skipped keys."""
    if counter == state.next and not _has_aged(state.skipped, now):
        return message_key(state.key), ChainState(counter + 1, next_chain_key(state.key), state.skipped)
    fresh = {n: kept for n, kept in state.skipped.items() if not _aged(kept, now)}
    if counter < state.next:
        kept = fresh.pop(counter, None)
        if kept is None:
            raise Refused(Reason.REPLAY)
        return kept.key, ChainState(state.next, state.key, fresh)
    if counter - state.next > MAX_STEPS:
        raise Refused(Reason.GAP)
    key = state.key
    for number in range(state.next, counter):
        if counter - number <= MAX_SKIPPED:
            fresh[number] = Skipped(message_key(key), now)
        key = next_chain_key(key)
    while len(fresh) > MAX_SKIPPED:
        del fresh[min(fresh)]
    return message_key(key), ChainState(counter + 1, next_chain_key(key), fresh)


def _has_aged(skipped: Mapping[int, Skipped], now: int) -> bool:
    """Tell whether the key that was passed over first is too old: the others are younger."""
    for kept in skipped.values():
        return _aged(kept, now)
    return False


def _aged(kept: Skipped, now: int) -> bool:
    return SKIPPED_AGE_S <= now - kept.at < SKIPPED_AGE_MOST_S
