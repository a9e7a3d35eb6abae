# sans-I/O
# hwsim: no-float
"""The hash ratchet: a new key for every message, and no way back from a chain key to an earlier one.

The sender steps its chain key and stores the next one before it transmits. The receiver (`ReceiveChain`) copes with
loss, reordering and duplication, and isn't moved by anything but a message with a good tag.

Not for: storage (the caller keeps what `state` returns), and not for what a message means (see `envelope`).
"""

from tocsin import cbor, cose
from tocsin.crypto import hkdf

_LABEL = "TCN1"
_MAX_GAP = 5000  # steps ahead of the next expected counter; bounds what a forged counter can cost
_KEEP = 64  # keys of skipped messages: receipts by SMS may come late and newest first
# A gap this wide is a step forward that the sender made on purpose. It ends at a multiple of this: no message before
# that comes any more, and messages behind it may have been lost.
_LEAP = 128


def roots(shared, kid, relay_id):
    """Return the first keys of the (alarm, heartbeat, down) chains from the X25519 secret of provisioning."""
    prk = hkdf.extract(_LABEL.encode(), shared)
    return tuple(
        [hkdf.expand(prk, cbor.encode([_LABEL, chain, kid, relay_id]), 32) for chain in ("alarm", "heartbeat", "down")]
    )


def step(chain_key):
    """Return (message key, next chain key). The message key is 16 octets for AES and 13 of base IV."""
    return hkdf.expand(chain_key, b"m", 29), hkdf.expand(chain_key, b"c", 32)


def salted(message_key, salt):
    """Return the key of a message of the down chain. The relay makes the salt from the text, so that two texts never
    share a key, not even when the relay was put back to an earlier state and uses a counter again."""
    return hkdf.expand(message_key, b"s" + salt, 29)


class ReceiveChain:
    """The receiver's end of one chain: the next expected counter, its chain key, and keys of skipped messages.

    >>> chain = ReceiveChain(*stored)
    >>> while not chain.scan(counter):      # at most `budget` steps at a time, so that a loop stays alive
    ...     pass
    >>> plaintext = chain.open(octets)      # the state has moved: store chain.state()
    """

    def __init__(self, counter, chain_key, skipped=None):
        self._counter = counter
        self._chain_key = chain_key
        self._skipped = dict(skipped or {})
        self._restart()

    def _restart(self):
        # The copy that runs ahead: its counter, its chain key, and the keys it passed (only the newest matter).
        self._ahead = self._counter
        self._ahead_key = self._chain_key
        self._passed = {}

    def state(self):
        """Return the constructor's arguments: next expected counter, chain key, {counter: key} of skipped messages."""
        return self._counter, self._chain_key, dict(self._skipped)

    def missing(self):
        """Return the lowest counter that has not come and still can be opened; the next one where none was skipped."""
        return min(self._skipped) if self._skipped else self._counter

    def scan(self, counter, budget=32):
        """Work towards the key of message `counter`, at most `budget` steps; True when `open` can have it at once.

        ValueError when it can't be had: the message was opened before or its key dropped, or it is too far ahead.
        """
        if counter < self._counter:
            if counter not in self._skipped:
                raise ValueError("ratchet: replay")
            return True
        if counter - self._counter > _MAX_GAP:
            raise ValueError("ratchet: gap")
        # The keys of an earlier scan are kept: a gap is paid for once, however often a forged counter asks for it.
        if counter < self._ahead and counter not in self._passed:
            self._restart()
        first = self._first(counter)
        while self._ahead <= counter:
            if not budget:
                return False
            budget -= 1
            key, following = step(self._ahead_key)
            if self._ahead >= first:
                self._pass(key)
            self._ahead_key = following  # together with the counter: whatever memory was lacking before
            self._ahead += 1
        return True

    def _first(self, counter):
        """Return the lowest counter that can still come when `counter` has."""
        return self._counter if counter - self._counter < _LEAP else counter - counter % _LEAP

    def _pass(self, key):
        """Keep the key of the message that the copy is at; when there is no room, drop the former ones."""
        self._passed.pop(self._ahead - _KEEP - 1, None)
        try:
            self._passed[self._ahead] = key
        except MemoryError:  # a table of so many wants one long stretch of the heap
            self._passed = {}
            self._passed[self._ahead] = key

    def open(self, octets):
        """Return the plaintext of a message. ValueError, and nothing has changed, unless its tag is good."""
        _, counter, salt, header, ciphertext = cose.split0(octets)
        if salt is None:
            raise ValueError("cose: header")
        while not self.scan(counter):
            pass
        skipped = counter < self._counter
        key = (self._skipped if skipped else self._passed)[counter]
        plaintext = cose.decrypt0(counter, header, salted(key, salt), ciphertext)
        if plaintext is None:
            raise ValueError("ratchet: tag")
        if skipped:
            del self._skipped[counter]
        else:
            self._advance(counter)
        return plaintext

    def _advance(self, counter):
        """Move on: message `counter`, at or beyond the expected one, was good."""
        if counter + 1 != self._ahead:  # the copy had run further for another message: take it back to this one
            self._restart()
            while not self.scan(counter):
                pass
        first = self._first(counter)
        if first > self._counter:
            self._skipped = {}
        for passed in sorted(self._passed):
            if first <= passed < counter:
                self._skipped[passed] = self._passed[passed]
        for old in sorted(self._skipped)[:-_KEEP]:
            del self._skipped[old]
        self._counter = self._ahead
        self._chain_key = self._ahead_key
        self._restart()
