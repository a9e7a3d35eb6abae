"""The down chain when the relay may have been put back to an earlier state: noticed, stepped forward, answered anew.

A relay whose data folder was copied back goes on at counters that bracelets have had. They refuse what it says, and
what they report tells: a heartbeat whose `down` lies ahead of the chain is proof, and never a confirmation. Then the
chain steps past what the bracelet said, by LEAP at least, so that it misses nothing that lies before; what was sealed
below (`floor`) is void; orders and receipts are sealed anew. Two texts never share a key in all this: their salts
differ (`relay.verify.keys`).

A heartbeat that is level with the chain, or behind it, proves nothing by itself: what it has may be from the life that
was forgotten. So the first message to each bracelet since the start of this process lies a random way ahead (`Lead`),
where no forgotten life is likely to have ended; and a bracelet that reports that it refused something it has had
(`USED`) confirms nothing, but has what waits for it sealed anew. It may only be that somebody repeats old messages,
so that is done once an hour.

By SMS a bracelet reports nothing. But it repeats a message whose answer it could not read, a minute later and more.
Then the chain steps too, over as many messages as may have been answered in the life that the relay has forgotten: that
is how far the bracelet's alarm chain was ahead. It is no proof, since an SMS may just be lost, so it is done few times.

A bracelet opens nothing that is more than 5000 ahead of what it has, and a chain has no way back. So no step that is
made without proof leads further than AHEAD_MOST beyond what the bracelet's newest heartbeat said that it has: a relay
that starts again and again, or a modem that sends no SMS, must not lead its chain out of the bracelet's reach.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from relay import receipt
from relay.batch import Work
from relay.store import chains, commands, records
from relay.store.chains import LEAP
from relay.store.database import Store
from relay.store.records import Accepted
from relay.store.roster import Bracelet
from relay.store.schema import COUNTERS
from relay.verify.payload import USED, Heartbeat
from relay.verify.ratchet import ChainState

UNREAD_S = 45  # a bracelet that repeats an SMS waits for an answer longer than this
GUESSES = 3  # of each bracelet since the start
GUESS_MOST = 1024  # steps of one; a bracelet opens nothing that is more than 5000 ahead
TEXTED_MOST = 1000  # answers by SMS that are remembered
REFUSED_S = 3600  # between two steps for what a bracelet refused
AHEAD_MOST = 4500  # of what the bracelet said last; what follows lies in the 500 beyond
STEPS_MOST = 10_000  # at once, when a bracelet said where it is; the next heartbeat brings the rest
AGAIN_MOST = 32  # receipts sealed anew at once: what a bracelet keeps undelivered
REFUSED_HINT = (
    "a bracelet refused a message that it has had. Somebody repeats old messages, or this relay was put back to an "
    "earlier state; what waits for the bracelet is sealed anew"
)
HINT = (
    "this relay was put back to an earlier state: a bracelet has had messages that the relay does not know of. Its "
    "answers are sealed anew. If you copied the data folder back, use `relay backup` and `relay restore` next time; "
    "alarms that came in between are missing here"
)
DAMAGED_HINT = (
    "what the database has of this bracelet's down chain can't be read: its alarms are stored and told, but it gets no "
    "receipt and no order. Restore a backup, or revoke the bracelet and provision it anew"
)


class Lead:
    """How far the first message to a bracelet since the start of this process lies ahead of the last one that this
    relay remembers. `random_below(n)`: a number from 0 to n - 1; without it there is no lead."""

    def __init__(self, random_below: Callable[[int], int] | None = None) -> None:
        self._random_below = random_below
        self._taken: set[int] = set()

    def steps(self, kid: int) -> int:
        """So far ahead, or 0 when there was a message to this bracelet already."""
        return 0 if self._random_below is None or kid in self._taken else LEAP + self._random_below(LEAP)

    def taken(self, kids: Iterable[int]) -> None:
        """A message to each of these bracelets is on disk."""
        if self._random_below is not None:
            self._taken.update(kids)

    def forget(self) -> None:
        """Begin anew, as at a start."""
        self._taken.clear()


def room(number: int, heard: int | None) -> int:
    """Bound the step without proof of a down chain at `number` whose bracelet said last that it has `heard` (None: it
    has never said it, and may have nothing): LEAP at least, or 0. A bracelet takes a shorter step for messages that it
    misses."""
    ahead = (heard or 0) + AHEAD_MOST - number
    return ahead if ahead >= LEAP else 0


def within_reach(connection: Connection, numbers: Mapping[int, int]) -> dict[int, int]:
    """Find the `room` of each of these bracelets, whose down chains stand at these numbers."""
    heard = records.heard_downs(connection, numbers)
    return {kid: room(number, heard.get(kid)) for kid, number in numbers.items()}


class DownChains:
    """What bracelets show of their places in their down chains since the start of this process."""

    def __init__(self, store: Store, lead: Lead) -> None:
        self._store = store
        self._lead = lead
        self._refused_at: dict[int, int] = {}  # by kid: when the chain was last stepped for what it refused
        self._ahead: dict[int, int] = {}  # by kid: how far its alarm chain was ahead, where it was
        self._texted: OrderedDict[int, float] = OrderedDict()  # by alarm message: when it was first answered by SMS
        self._guesses: dict[int, int] = {}  # by kid

    def answer(
        self, work: Work, bracelet: Bracelet, alarm_id: int, path: str, ahead: int
    ) -> tuple[bytes, ChainState | None]:
        """The receipt for a new alarm message, which is so many ahead of the last one, and the chain after it; empty
        and None where the chain can't be read, because an alarm needs no receipt to be told."""
        if not self._can_answer(bracelet):
            work.event("chain.damaged", bracelet.hex, None, hint=DAMAGED_HINT)
            return b"", None
        if ahead > 0:
            self._ahead[bracelet.kid] = self._ahead.get(bracelet.kid, 0) + ahead
        if path == "sms":
            self._texted[alarm_id] = work.now_s
            while len(self._texted) > TEXTED_MOST:
                self._texted.popitem(last=False)
        return self._receipt(work, bracelet, alarm_id)

    def repeated(self, work: Work, bracelet: Bracelet, alarm_id: int, path: str, before: Accepted) -> bytes:
        """The receipt for a message that came again; empty where none can be made."""
        if not self._can_answer(bracelet):
            return before.receipt
        if path == "sms":
            self._guess(work, bracelet, alarm_id)
        return self.receipt_again(work, bracelet, alarm_id, before)

    def receipt_again(self, work: Work, bracelet: Bracelet, alarm_id: int, before: Accepted) -> bytes:
        """The stored receipt of a message, unless that is void or damaged."""
        floor = work.floor(bracelet)
        counter = commands.counter_of(before.receipt)
        if counter is not None and counter >= floor:
            return before.receipt
        answer, down = self._receipt(work, bracelet, alarm_id)
        work.heads[bracelet.kid, chains.DOWN] = down
        work.receipts[alarm_id] = answer
        work.accepted[alarm_id] = Accepted(before.digest, answer)
        return answer

    def heard(self, work: Work, bracelet: Bracelet, beat: Heartbeat) -> tuple[bytes, ...]:
        """What a heartbeat says of the down chain: noted, and what is to be sent again for it."""
        if beat.down is None or not self._can_answer(bracelet):
            return ()
        state = work.head(bracelet, chains.DOWN)
        if beat.down > state.next:
            return self._rolled_back(work, bracelet, beat.down, beat.pending)
        if beat.flags & USED:
            return self._refused(work, bracelet, beat.pending)
        work.heard[bracelet.kid] = max(beat.down, work.heard.get(bracelet.kid, 0))
        if not work.floor(bracelet) <= beat.down < state.next:
            return ()
        with self._store.read() as connection:
            found = commands.missing(connection, bracelet.kid, beat.down, work.now_ms)
        return () if found is None else (found,)

    def moved(self, kids: Iterable[int]) -> None:
        """The down chains of these bracelets are on disk as they are now."""
        self._lead.taken(kids)

    def _can_answer(self, bracelet: Bracelet) -> bool:
        return bracelet.chains[chains.DOWN] is not None

    def _receipt(self, work: Work, bracelet: Bracelet, alarm_id: int) -> tuple[bytes, ChainState]:
        key = bracelet.kid, chains.DOWN
        if key not in work.heads:
            self._step_within_reach(work, bracelet, self._lead.steps(bracelet.kid))
        return receipt.make(bracelet.kid_octets, work.head(bracelet, chains.DOWN), alarm_id % COUNTERS)

    def _guess(self, work: Work, bracelet: Bracelet, alarm_id: int) -> None:
        first = self._texted.setdefault(alarm_id, work.now_s)
        guesses = self._guesses.get(bracelet.kid, 0)
        if work.now_s - first >= UNREAD_S and guesses < GUESSES:
            self._texted[alarm_id] = work.now_s
            self._guesses[bracelet.kid] = guesses + 1
            self._step_within_reach(work, bracelet, min(LEAP + self._ahead.get(bracelet.kid, 0), GUESS_MOST))

    def _rolled_back(self, work: Work, bracelet: Bracelet, down: int, pending: int) -> tuple[bytes, ...]:
        steps = min(down + LEAP - work.head(bracelet, chains.DOWN).next, STEPS_MOST)
        if not bracelet.may_step(steps, work.now_s):  # whoever has a bracelet's keys can't keep the relay busy
            return ()
        self._step(work, bracelet, steps)
        work.heard.pop(bracelet.kid, None)
        work.rolled_back.add(bracelet.kid)
        work.event("chain.rolled_back", bracelet.hex, None, steps=steps, hint=HINT)
        return tuple(self._receipts_again(work, bracelet, min(pending, AGAIN_MOST)))

    def _refused(self, work: Work, bracelet: Bracelet, pending: int) -> tuple[bytes, ...]:
        last = self._refused_at.get(bracelet.kid)
        if last is not None and 0 <= work.now_s - last < REFUSED_S:
            return ()
        self._refused_at[bracelet.kid] = work.now_s
        self._step_within_reach(work, bracelet, LEAP)
        work.event("chain.refused", bracelet.hex, None, hint=REFUSED_HINT)
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

    def _step_within_reach(self, work: Work, bracelet: Bracelet, steps: int) -> None:
        number = work.head(bracelet, chains.DOWN).next if steps else 0
        if number + steps > AHEAD_MOST:  # else it is in reach whatever the bracelet has, and nothing need be read
            with self._store.read() as connection:
                steps = min(steps, within_reach(connection, {bracelet.kid: number})[bracelet.kid])
        if steps:
            self._step(work, bracelet, steps)

    def _step(self, work: Work, bracelet: Bracelet, steps: int) -> None:
        state = chains.leapt(work.head(bracelet, chains.DOWN), steps)
        work.heads[bracelet.kid, chains.DOWN] = state
        work.floors[bracelet.kid] = state.next
