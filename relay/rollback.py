"""The down chain when the relay may have been put back to an earlier state: noticed, stepped forward, answered anew.

A relay whose data folder was copied back goes on at counters that bracelets have had. They refuse what it says, and what
they report tells: a heartbeat whose `down` lies ahead of the chain is proof, and never a confirmation. Then the chain
steps past what the bracelet said, by LEAP at least, so that it misses nothing that lies before; what was sealed below
(`floor`) is void; orders and receipts are sealed anew. Two texts never share a key in all this: their salts differ
(`relay.verify.keys`).

An alarm must be answered before anybody may have reported anything, and by SMS a bracelet reports nothing at all. But
its first alarm after a start of the relay tells how much may have been answered in a life that the relay has forgotten:
at most as many messages as the alarm chain is ahead. So the chain steps over as many before the first answer.
"""

from collections.abc import Sequence

from relay import receipt
from relay.batch import Work
from relay.store import chains, commands, records
from relay.store.chains import LEAP
from relay.store.database import Store
from relay.store.records import Accepted
from relay.store.roster import Bracelet
from relay.store.schema import COUNTERS
from relay.verify import parse
from relay.verify.payload import USED, Heartbeat

GUESS_MOST = 2048  # steps over what an alarm lets guess
AHEAD_MOST = 4500  # of where the bracelet was last: it opens nothing that is more than 5000 ahead
STEPS_MOST = 10_000  # at once, when a bracelet said where it is; the next heartbeat brings the rest
AGAIN_MOST = 32  # receipts sealed anew at once: what a bracelet keeps undelivered
HINT = (
    "this relay was put back to an earlier state: a bracelet has had messages that the relay does not know of. Its answers "
    "are sealed anew. If you copied the data folder back, use `relay backup` and `relay restore` the next time; alarms "
    "that came in between are missing here"
)


class DownChains:
    """What is known of bracelets' places in their down chains since the start of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[int] = set()

    def before_answer(self, work: Work, bracelet: Bracelet, path: str, ahead: int) -> None:
        """An alarm message is to be answered that is so many ahead of the last one."""
        if bracelet.kid in self._known or bracelet.kid in work.known:
            return
        work.known.add(bracelet.kid)
        state = work.head(bracelet, chains.DOWN)
        if ahead > 0 or (path == "sms" and state.next):
            steps = LEAP + min(ahead, GUESS_MOST)
            with self._store.read() as connection:
                heard = records.heard_down(connection, bracelet.kid)
            if heard is None or state.next + steps <= heard + AHEAD_MOST:
                self._step(work, bracelet, steps)

    def receipt_again(self, work: Work, bracelet: Bracelet, alarm_id: int, before: Accepted) -> bytes:
        """The receipt for a message that came again: the stored one, unless that is void."""
        floor = work.floor(bracelet)
        if not floor or parse(before.receipt).counter >= floor:
            return before.receipt
        answer, down = receipt.make(bracelet.kid_octets, work.head(bracelet, chains.DOWN), alarm_id % COUNTERS)
        work.heads[bracelet.kid, chains.DOWN] = down
        work.receipts[alarm_id] = answer
        work.accepted[alarm_id] = Accepted(before.digest, answer)
        return answer

    def heard(self, work: Work, bracelet: Bracelet, beat: Heartbeat) -> tuple[bytes, ...]:
        """What a heartbeat says of the down chain: noted, and what is to be sent again for it."""
        if beat.down is None:
            return ()
        state = work.head(bracelet, chains.DOWN)
        if beat.down > state.next:
            return self._rolled_back(work, bracelet, beat.down, beat.pending)
        work.known.add(bracelet.kid)
        if beat.flags & USED:  # somebody repeats old messages: of what has arrived it says nothing
            return ()
        work.heard[bracelet.kid] = max(beat.down, work.heard.get(bracelet.kid, 0))
        if not work.floor(bracelet) <= beat.down < state.next:
            return ()
        with self._store.read() as connection:
            found = commands.missing(connection, bracelet.kid, beat.down, work.now_ms)
        return () if found is None else (found,)

    def committed(self, work: Work) -> None:
        """What was found out in this batch is on disk."""
        self._known |= work.known

    def _rolled_back(self, work: Work, bracelet: Bracelet, down: int, pending: int) -> tuple[bytes, ...]:
        steps = min(down + LEAP - work.head(bracelet, chains.DOWN).next, STEPS_MOST)
        if not bracelet.may_step(steps, work.now_s):  # whoever has a bracelet's keys can't keep the relay busy
            return ()
        self._step(work, bracelet, steps)
        work.known.add(bracelet.kid)
        work.heard.pop(bracelet.kid, None)
        work.rolled_back.add(bracelet.kid)
        work.event("chain.rolled_back", bracelet.hex, None, steps=steps, hint=HINT)
        return tuple(self._receipts_again(work, bracelet, min(pending, AGAIN_MOST)))

    def _receipts_again(self, work: Work, bracelet: Bracelet, pending: int) -> Sequence[bytes]:
        """Receipts for as many of its newest messages as a bracelet has none for."""
        if not pending:
            return []
        with self._store.read() as connection:
            newest = records.newest(connection, bracelet.kid, pending)
        return [
            self.receipt_again(work, bracelet, alarm_id, work.accepted.get(alarm_id, kept)) for alarm_id, kept in newest
        ]

    def _step(self, work: Work, bracelet: Bracelet, steps: int) -> None:
        state = chains.forward(work.head(bracelet, chains.DOWN), steps)
        work.heads[bracelet.kid, chains.DOWN] = state
        work.floors[bracelet.kid] = state.next
