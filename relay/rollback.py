"""Notices that the relay was put back to an earlier state, steps its down chains forward, and answers anew.

A relay whose data folder was copied back goes on at counters that bracelets have had. Bracelets refuse its messages,
and their heartbeats show why: a `down` that lies ahead of the chain proves that the relay was put back, and is never a
confirmation. Then the chain steps past that `down`, by LEAP at least, so that the bracelet counts no message in between
as missing. Messages sealed below the new place (`floor`) are void; the relay seals orders and receipts anew. Two texts
never share a key in all this, because their salts differ (`relay.verify.keys`).

A `down` that is level with the chain, or behind it, proves nothing by itself: the bracelet may have its messages from
the run that the relay has forgotten. So the first message to each bracelet since the start of this process lies a
random way ahead (`Lead`), where the forgotten run is unlikely to have ended. And when a bracelet reports that it
refused a message that it has had (`USED`), that heartbeat confirms nothing; the relay seals anew what waits for the
bracelet. Perhaps somebody only repeats old messages, so the relay does this at most once an hour.

By SMS a bracelet reports nothing. But it repeats a message whose answer it could not read, a minute later or more. Then
the chain steps too, over as many messages as the forgotten run may have answered: as many as the bracelet's alarm chain
was ahead. A repetition is no proof, since an SMS may just be lost, so the relay does this only a few times.

A bracelet opens no message that is more than 5000 ahead of its last one, and a chain has no way back. So no step
without proof leads further than AHEAD_MOST beyond the `down` in the bracelet's newest heartbeat: a relay that starts
again and again, or a modem that sends no SMS, must not lead a chain out of its bracelet's reach.
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

UNREAD_S = 45  # a bracelet waits longer than this for an answer before it repeats an SMS
GUESSES = 3  # for each bracelet since the start
GUESS_MOST = 1024  # steps of one guess; a bracelet opens no message that is more than 5000 ahead
TEXTED_MOST = 1000  # answers by SMS that are remembered
REFUSED_S = 3600  # between two steps for messages that a bracelet refused
AHEAD_MOST = 4500  # ahead of the bracelet's last `down`; the next messages lie in the 500 beyond
STEPS_MOST = 10_000  # at once, when a bracelet's `down` is ahead; the next heartbeat brings the rest
AGAIN_MOST = 32  # receipts sealed anew at once: as many messages as a bracelet keeps undelivered
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
    """The distance from the last message to a bracelet that this relay remembers to the first one since the start of
    this process. `random_below(n)`: a number from 0 to n - 1; without it there is no lead."""

    def __init__(self, random_below: Callable[[int], int] | None = None) -> None:
        self._random_below = random_below
        self._taken: set[int] = set()

    def steps(self, kid: int) -> int:
        """Draw the lead for this bracelet; return 0 when there was a message to it already."""
        return 0 if self._random_below is None or kid in self._taken else LEAP + self._random_below(LEAP)

    def taken(self, kids: Iterable[int]) -> None:
        """Note that a message to each of these bracelets is on disk."""
        if self._random_below is not None:
            self._taken.update(kids)

    def forget(self) -> None:
        """Begin anew, as at a start."""
        self._taken.clear()


def room(number: int, heard: int | None) -> int:
    """Bound the step that a down chain at `number` may take without proof: LEAP at least, or 0, because a bracelet
    takes a shorter step for missing messages. `heard` is the last `down` that the bracelet reported; None: it has never
    reported one, and may have no message."""
    ahead = (heard or 0) + AHEAD_MOST - number
    return ahead if ahead >= LEAP else 0


def within_reach(connection: Connection, numbers: Mapping[int, int]) -> dict[int, int]:
    """Find the `room` of each of these bracelets, whose down chains stand at these numbers."""
    heard = records.heard_downs(connection, numbers)
    return {kid: room(number, heard.get(kid)) for kid, number in numbers.items()}


class DownChains:
    """The places of bracelets in their down chains, as they have shown since the start of this process."""

    def __init__(self, store: Store, lead: Lead) -> None:
        self._store = store
        self._lead = lead
        self._refused_at: dict[int, int] = {}  # by kid: when the chain last stepped for a message that it refused
        self._ahead: dict[int, int] = {}  # by kid: how far its alarm chain was ahead, if it was
        self._texted: OrderedDict[int, float] = OrderedDict()  # by alarm message: when it was first answered by SMS
        self._guesses: dict[int, int] = {}  # by kid

    def answer(
        self, work: Work, bracelet: Bracelet, alarm_id: int, path: str, ahead: int
    ) -> tuple[bytes, ChainState | None]:
        """Make the receipt for a new alarm message that is `ahead` of the expected one; return it and the down chain
        after it. When that chain can't be read, return b"" and None: the alarm goes out without a receipt."""
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
        """Return the receipt for a message that came again; empty when none can be made."""
        if not self._can_answer(bracelet):
            return before.receipt
        if path == "sms":
            self._guess(work, bracelet, alarm_id)
        return self.receipt_again(work, bracelet, alarm_id, before)

    def receipt_again(self, work: Work, bracelet: Bracelet, alarm_id: int, before: Accepted) -> bytes:
        """Return the stored receipt of a message, or a new one if that is void or damaged."""
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
        """Note what a heartbeat says of the down chain, and return the messages to send again for it."""
        if beat.down is None or not self._can_answer(bracelet):
            return ()
        state = work.head(bracelet, chains.DOWN)
        if beat.down > state.next:
            return self._rolled_back(work, bracelet, beat.down, beat.pending)
        if beat.flags & USED:
            return self._refused(work, bracelet, beat.down, beat.pending)
        work.heard[bracelet.kid] = max(beat.down, work.heard.get(bracelet.kid, 0))
        if not work.floor(bracelet) <= beat.down < state.next:
            return ()
        with self._store.read() as connection:
            found = commands.missing(connection, bracelet.kid, beat.down, work.now_ms)
        return () if found is None else (found,)

    def moved(self, kids: Iterable[int]) -> None:
        """Note that the down chains of these bracelets are on disk as they are now."""
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
        if not bracelet.may_step(steps, work.now_s):  # a thief of a bracelet's keys can't keep the relay busy
            return ()
        self._step(work, bracelet, steps)
        work.heard.pop(bracelet.kid, None)
        work.rolled_back.add(bracelet.kid)
        work.event("chain.rolled_back", bracelet.hex, None, steps=steps, hint=HINT)
        return tuple(self._receipts_again(work, bracelet, min(pending, AGAIN_MOST)))

    def _refused(self, work: Work, bracelet: Bracelet, down: int, pending: int) -> tuple[bytes, ...]:
        last = self._refused_at.get(bracelet.kid)
        if last is not None and 0 <= work.now_s - last < REFUSED_S:
            return ()
        self._refused_at[bracelet.kid] = work.now_s
        self._step_within_reach(work, bracelet, LEAP, down)
        work.event("chain.refused", bracelet.hex, None, hint=REFUSED_HINT)
        return tuple(self._receipts_again(work, bracelet, min(pending, AGAIN_MOST)))

    def _receipts_again(self, work: Work, bracelet: Bracelet, pending: int) -> Sequence[bytes]:
        """Return the receipts for the `pending` newest messages of a bracelet."""
        if not pending:
            return []
        with self._store.read() as connection:
            newest = records.newest(connection, bracelet.kid, pending)
        return [
            self.receipt_again(work, bracelet, alarm_id, work.accepted.get(alarm_id, kept)) for alarm_id, kept in newest
        ]

    def _step_within_reach(self, work: Work, bracelet: Bracelet, steps: int, told: int = 0) -> None:
        """Step as far as is in reach. `told` is the `down` of the heartbeat at hand: it confirms nothing, but this is
        where the bracelet is, however far behind the store remembers it."""
        number = work.head(bracelet, chains.DOWN).next if steps else 0
        if number + steps > told + AHEAD_MOST:  # otherwise the step is in reach in any case, and nothing need be read
            with self._store.read() as connection:
                steps = min(steps, within_reach(connection, {bracelet.kid: number})[bracelet.kid])
        if steps:
            self._step(work, bracelet, steps)

    def _step(self, work: Work, bracelet: Bracelet, steps: int) -> None:
        state = chains.leapt(work.head(bracelet, chains.DOWN), steps)
        work.heads[bracelet.kid, chains.DOWN] = state
        work.floors[bracelet.kid] = state.next
