# sans-I/O
# hwsim: no-float
"""The life of one alarm on the bracelet: raised, updated, called back, over, forgotten.

Pure: events and times in milliseconds go in, decisions come out. Other modules seal, store and send; this one only
says what is to be sealed and when. It holds no position: `news` is a number that the caller raises whenever it knows
something new about the place, and only the number last told is kept.

An attacker who forces her to call it back may read everything here. So nothing here knows whether she was forced: only
a flag in the message tells a cancel under duress from another, and the same quiet Updates follow both for OVER_MS.
"""

CANCEL_MS = 30000  # an alarm can be called back this long; a further hold in this time is an Update, not a new Alert
SOON_MS = (
    3000  # the first position of an alarm that had none doesn't wait for a slot, but this long after the last message
)
SEARCH_MS = 45000  # a bracelet that was woken for an Update waits for a fix so long
DENSE_MS = 660000  # from the Alert on: Updates every minute or more often, moving or not
STILL_MS = 1200000  # added to the next slot while she keeps still: every half hour
QUIET_MS = 600000  # without any news an Update goes out this often all the same: "still here, nothing new"

PROGRESS_MS = 3600000  # a strap cut or a check-in missed in this time tells of the same event: an Update
DRILL_MS = 600000  # the Updates of a drill that nobody closes end by themselves
OVER_MS = 3600000  # an alarm that was called back is over so long after it was raised; so is a drill that nobody closed

ALERT, UPDATE, CANCEL = 0, 1, 2

# The reasons to raise, and the cause on the wire. "cancel" and "duress" raise when there is nothing to call back.
# "trial" is the drill that a new program raises by itself (update.py): nothing of it is felt.
CAUSES = {"hold": 0, "drill": 0, "trial": 3, "cancel": 0, "duress": 0, "strap": 1, "check_in": 2}
_DRILLS = ("drill", "trial")
FLAG_DRILL, FLAG_CANCEL, FLAG_DURESS = 1, 2, 4

STATE, STATE_1 = 7, 4  # items of state(), and in the journal's version 1
BEHIND = 5  # items of `behind`


def next_update(elapsed):
    """Return the first Update slot later than `elapsed`, in milliseconds after the Alert: every 20 s in the first
    minute, every minute for ten minutes, then every ten minutes. Each is for an Update or, while she keeps still, for a
    look. An Update up to a minute before a ten-minute slot fills it: a clock that was asleep is some seconds wrong."""
    if elapsed < 60000:
        return (elapsed // 20000 + 1) * 20000
    if elapsed < 660000:
        return (elapsed // 60000 + 1) * 60000
    return 660000 + ((elapsed - 600000) // 600000 + 1) * 600000


class Alarm:
    """The newest alarm. An older one needs no state here: its messages wait in the delivery queue."""

    def __init__(self):
        self.stretch = 1  # every pause so many times longer, when the battery must last
        self._forget()

    def _forget(self):
        self.counter = None  # of the Alert; None: nothing was raised, or it is over
        self.time = 0  # s since 1970 when raised, 0 unknown
        self.called_back = 0  # counter of the cancel; 0: it was not called back
        self.heard = False  # a receipt of this alarm was felt
        self.accepted = False  # a person has accepted it
        self.closed = False  # it is over: the relay has said so, or its time has come
        self.cause = 0  # as on the wire
        self.drill = False
        self.behind = []  # a real alarm that was called back just before this drill, and goes on after it
        self.secret_to = 0  # the relay's words about an alarm below this counter are secret, too
        self._at = 0
        self._kept_ms = 0  # the age that restore() took from the journal, because the clock knew less
        self._slot = 0
        self._rare = 0  # the slot that an Update waits for while she keeps still
        self._quiet = 0  # without news an Update waits until then
        self.still = False  # she had not moved at the last message
        self._told_at = 0
        self._told = None
        self._placed = False

    @property
    def active(self):
        """Tell whether Updates of it go on."""
        return self.counter is not None and not self.closed

    @property
    def plain(self):
        """Tell whether a further hold may be told as an Update of it."""
        return self.active and not self.drill and not self.called_back

    def secret(self, alarm):
        """Tell whether the relay's words about this alarm are neither felt nor told apart. To the wearer it is not
        open, and the relay knows whether she was forced. So they stay secret when a newer alarm has been raised."""
        return self.counter is None or self.called_back > 0 or alarm < self.secret_to

    def idle(self, now):
        """Tell whether nothing is going on, not even a drill."""
        return not self.active or (self.drill and now - self._at > DRILL_MS)

    def decide(self, what, now):
        """Return what one of CAUSES asks for now: ALERT, UPDATE or CANCEL."""
        fresh = self.active and now - self._at <= CANCEL_MS and not self.called_back
        if what in ("strap", "check_in"):
            return UPDATE if self.plain and now - self._at <= PROGRESS_MS else ALERT
        if what in _DRILLS:  # must not end a real alarm's Updates
            return UPDATE if fresh or self.plain else ALERT
        if not fresh or (what == "hold" and self.drill):
            return ALERT  # a cancel pattern with nothing to cancel raises: when in doubt, call for help
        return UPDATE if what == "hold" else CANCEL

    def flags(self, kind, what):
        """Return drill, cancel and duress as on the wire, for a message of this kind that `what` (or nothing: None)
        asked for. Only this one message says that she was forced; nothing keeps it."""
        drill = what in _DRILLS if kind == ALERT else self.drill
        flags = (FLAG_DRILL if drill else 0) | (FLAG_CANCEL if kind == CANCEL else 0)
        return flags | (FLAG_DURESS if what == "duress" else 0)

    def cause_of(self, kind, what):
        """Return the cause on the wire: that of the alarm, in all of its messages."""
        return CAUSES[what] if kind == ALERT else self.cause

    def felt(self, kind, what):
        """Return the pattern for a message that was sealed because `what` asked for it: raised, drill, updated or
        cancelled."""
        return "drill" if what == "drill" and kind == ALERT else ("raised", "updated", "cancelled")[kind]

    def sealed(self, kind, counter, time, now, news, placed, what=None, still=False):
        """Note that a message of this kind was sealed, with a position (`placed`) or without; `still`: surely at the
        place that the message before it told."""
        if kind == ALERT:
            behind = self._going_on() if what in _DRILLS else []
            secret_to = counter if self.secret(counter) else self.secret_to
            self._forget()
            self.behind, self.secret_to = behind, secret_to
            self.cause, self.drill = CAUSES[what or "hold"], what in _DRILLS
            self.counter, self.time, self.heard = counter, time, what == "trial"
            self._at = now
        elif kind == CANCEL:
            self.called_back = counter
            self.closed = self.drill  # nobody was in danger, so nobody waits for more
        self._told = news
        self._placed = self._placed or placed
        self.still = still
        self._plan(now)

    def _going_on(self):
        """Return the alarm that goes on behind a drill that is raised now, or []."""
        if self.drill:
            return self.behind
        return [self.counter, self.time, self.cause, self.called_back, self._at] if self.active else []

    def _plan(self, told_at):
        elapsed = (told_at - self._at) // self.stretch
        self._told_at = told_at
        self._slot = self._rare = self._at + next_update(elapsed) * self.stretch
        if self._slot - self._at > DENSE_MS * self.stretch:
            self._rare += STILL_MS * self.stretch
        self._quiet = told_at + QUIET_MS * self.stretch

    def deadline(self, news, placed, moved=None):
        """Return when the next Update is due, or None: in its slot if there is news by then, else once in QUIET_MS.
        `moved`: is she elsewhere than the last message told? If not, once in half an hour will do; None: not known."""
        if not self.active:
            return None
        at, until = self._next(news, placed, moved), self.ends_at()
        if self.drill:
            until = self._at + DRILL_MS
        return None if until is not None and at > until else at

    def _next(self, news, placed, moved):
        if placed and not self._placed:
            return min(self._slot, self._told_at + SOON_MS)
        if self._rare > self._slot:
            if moved is False:
                return self._rare
            if moved and self.still:
                return self._told_at + SOON_MS
        return self._slot if news != self._told else max(self._slot, self._quiet)

    def age(self, now):
        """Return the milliseconds since it was raised; None when none is open."""
        return now - self._at if self.active else None

    def told_ago(self, now):
        """Return the milliseconds since its last message; None when none is open."""
        return now - self._told_at if self.active else None

    def next_at(self, now):
        """Return when to wake for its next Update or, while she keeps still, to see whether she does; or None."""
        if not self.active or self._slot > now:
            return self._slot if self.active else None
        return min(max(self._rare, now), now + QUIET_MS * self.stretch)

    def woke(self, told_ago, news, now, still=False):
        """Go on after a sleep, and restore(): the last message before it counts. The Update that is due waits a little
        for the place to be known better than `news`."""
        if self.active:
            self._at = min(self._at, now - told_ago - self._kept_ms)
            self._plan(now - told_ago)
            self._told, self.still = news, still
            self._quiet = max(self._quiet, now + SEARCH_MS)

    def ends_at(self):
        """Return when it is over by itself, or None."""
        if not self.active or not (self.drill or self.called_back):
            return None
        return self._at + (DRILL_MS if self.behind else OVER_MS)

    def over(self, now):
        """Tell whether the relay has closed it, or its time has come."""
        end = self.ends_at()
        if end is not None and now >= end:
            self.closed = True
        return self.closed

    def settle(self, now, waiting):
        """Forget it when it is over and all of it is delivered (not `waiting`). True when that has changed anything."""
        if not self.over(now) or waiting:
            return False
        behind = self.behind
        self._forget()
        if behind:
            self._go_on(behind, now)
        return True

    def _go_on(self, behind, now):
        self.counter, self.time, self.cause, self.called_back, self._at = behind
        self.heard = self._placed = True
        self._plan(now)

    def receipt(self, alarm, counter):
        """Note that the relay has message `counter` of the alarm that began with `alarm`. True when that should be
        felt: with the first receipt of the newest alarm, and for an older alarm with that of its Alert."""
        if alarm != self.counter:
            return counter == alarm
        first = not self.heard and not 0 < self.called_back < counter  # she called it back, and awaits no answer
        self.heard = True
        return first

    def accept(self, alarm):
        """Note that a person has accepted the alarm that began with `alarm`. True when that should be felt: once, and
        not while it is `secret`, nor when it is over."""
        if self.secret(alarm) or alarm != self.counter:
            return not self.secret(alarm) and alarm < self.counter
        first = self.active and not self.accepted
        self.accepted = True
        return first

    def close(self, alarm):
        """Note that the relay says that this alarm is over. True when that should be felt."""
        if self.secret(alarm) or alarm != self.counter:
            return False
        first = self.active
        self.closed = True
        return first

    def state(self, now):
        """Return, for the journal, everything that must outlive a reset."""
        if self.counter is None:
            return []
        felt = self.heard | self.accepted << 1 | self.closed << 2 | (now - self._at) // 60000 << 3
        # Above the Alert's counter it is the cancel's; below, it tells which older ones may be open; 0: neither.
        last = self.called_back or (self.secret_to if self.secret_to < self.counter else 0)
        return [self.counter, self.time, int(self.called_back > 0), felt, self.cause, int(self.drill), last]

    def state_behind(self, now):
        """Return, for the journal, the alarm behind a drill, or []."""
        return self.behind[:4] + [(now - self.behind[4]) // 60000] if self.behind else []

    def restore(self, state, now, time, behind=()):
        """Go on after a reset. The alarm's age is that by the clock, or the journal's if that is longer. When neither
        knows, it counts as just raised, so that there are rather too many Updates than too few."""
        if not state:
            return
        if len(state) == STATE_1:
            state = state + [0, 0, 0]
        self.counter, self.time, self.cause = state[0], state[1], state[4]
        self.drill = bool(state[5])
        if state[6] > self.counter:
            self.called_back = state[6]
        else:
            self.secret_to = state[6] or self.counter
        self.heard, self.accepted, self.closed = bool(state[3] & 1), bool(state[3] & 2), bool(state[3] & 4)
        if state[2] and not self.called_back:  # from a program that forgot an alarm only with the next one
            self.called_back, self.closed = self.counter, True
        ago = (time - self.time) * 1000 if time and self.time and time >= self.time else 0
        kept = (state[3] >> 3) * 60000
        self._kept_ms = kept if ago < kept else 0
        self._at = now - max(ago, kept)
        if len(behind) == BEHIND:
            self.behind = list(behind[:4]) + [now - behind[4] * 60000]
        self._plan(now)
        self._placed = True  # or not: no matter, the next slot is near
        self._slot = now + 5000  # the place may have changed while the bracelet was off: tell it soon
