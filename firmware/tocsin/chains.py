# sans-I/O
# hwsim: no-float
"""The sending end of a ratchet whose counters are never used twice, even when flash can't be written.

Flash doesn't hold the next counter but a *reserve* ahead of it: counters below `limit` may be used without asking
flash first. A message is sealed, then one write stores it together with a reserve moved forward; if that write fails,
the message is transmitted all the same, for its counter lies below the limit that an earlier write stored (in the
journal or, failing that, in floor.py's place). After a reset sealing goes on at the stored limit: the unused part of
the reserve is skipped, and the relay steps over it. When no write has succeeded for so long that the reserve is spent,
take() gives nothing more: a key is never used for two messages.

Only the key at the limit is on flash, so a seized bracelet reveals no key of a message it has sent.
"""

BLOCK = 16
_RELAY_GAP = 1024  # the relay keeps so many keys of messages that were overtaken


def block(skipped):
    """Return how many counters to reserve. A bracelet that resets over and over without ever reaching the relay skips a
    block each time. So the blocks shrink, down to none: then a counter is stored before its message is sealed, and
    resets cost nothing any more. An Alert from before the resets can be opened however late it comes, and the further
    counters that the relay is willing to skip (5000) are left for presses of the button."""
    return min(max((_RELAY_GAP - skipped) // 64, 0), BLOCK)


class Sender:
    def __init__(self, counter, key, step, end):
        """Begin as stored: `counter` is the stored limit, `key` its chain key, step(key) -> (message key, next key).
        The chain has no counter `end` or above."""
        self.counter = counter  # of the next message
        self._key = key
        self._step = step
        self._end = end
        self.limit = counter
        self._limit_key = key

    def skip_to(self, counter):
        """Skip the counters below this one: they may have been used although the store doesn't know it."""
        while self.counter < counter:
            self._key = self._limit_key = self._step(self._key)[1]
            self.counter += 1
            self.limit = self.counter

    def rest(self):
        """Return what resume() takes, for a memory that is emptied before anything more is taken."""
        return [self.limit, self.counter, self._key]

    def resume(self, limit, counter, key):
        """Go on in the middle of the reserve, where rest() left off. False, and nothing changed, when the store has
        moved on since: then the remainder of that reserve counts as used."""
        if limit != self.limit or self.counter != limit or counter > limit:
            return False
        self.counter, self._key = counter, key
        return True

    def take(self):
        """Return (counter, chain key) for one message, used up by this call; None when reserve or chain is spent."""
        if self.counter >= self.limit:
            return None
        taken = self.counter, self._key
        self._key = self._step(self._key)[1]
        self.counter += 1
        return taken

    def spare(self):
        return self.limit - self.counter

    def reserve(self, count):
        """Return [limit, key] to store for sealing `count` further messages; call reserved() once that is on flash."""
        limit, key = self.limit, self._limit_key
        while limit < min(self.counter + count, self._end):
            key = self._step(key)[1]
            limit += 1
        return [limit, key]

    def reserved(self, stored):
        self.limit, self._limit_key = stored
