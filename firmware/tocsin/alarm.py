# hwsim: no-float
"""The life of one alarm on the bracelet: raised, updated, called back.

Pure: gestures and times in milliseconds go in, decisions come out. Sealing, storing and sending are done elsewhere;
this module only says what is to be sealed and when. It holds no position: `news` is a number that the caller raises
whenever it knows something new about the place, and all that is kept is the one last told.
"""

CANCEL_MS = 30000  # an alarm can be called back this long; a further hold in this time is an Update, not a new Alert
SOON_MS = (
    3000  # the first position of an alarm that had none doesn't wait for a slot, but this long after the last message
)
QUIET_MS = 600000  # without any news an Update goes out this often all the same: "still here, nothing new"

ALERT, UPDATE, CANCEL = 0, 1, 2


def next_update(elapsed):
    """Milliseconds after the Alert of the first Update slot later than `elapsed`: every 20 s in the first minute, every
    minute for ten minutes, then every ten minutes."""
    if elapsed < 60000:
        return (elapsed // 20000 + 1) * 20000
    if elapsed < 660000:
        return (elapsed // 60000 + 1) * 60000
    return 660000 + ((elapsed - 660000) // 600000 + 1) * 600000


class Alarm:
    """The newest alarm. An older one needs no state here: its messages wait in the delivery queue."""

    def __init__(self):
        self.counter = None  # of the Alert; None: never raised
        self.time = 0  # s since 1970 when raised, 0 unknown
        self.cancelled = False
        self.heard = False  # a receipt of this alarm was felt
        self._at = 0
        self._slot = 0
        self._told_at = 0
        self._told = None
        self._placed = False

    @property
    def active(self):
        return self.counter is not None and not self.cancelled

    def gesture(self, kind, now):
        """What a "hold" or a "cancel" gesture asks for now: ALERT, UPDATE or CANCEL."""
        if self.active and now - self._at <= CANCEL_MS:
            return CANCEL if kind == "cancel" else UPDATE
        return ALERT  # a cancel pattern with nothing to cancel raises: when in doubt, call for help

    def sealed(self, kind, counter, time, now, news, placed):
        """A message of this kind was sealed, with a position (`placed`) or without."""
        if kind == ALERT:
            self.counter, self.time, self.cancelled, self.heard = counter, time, False, False
            self._at, self._placed = now, False
        elif kind == CANCEL:
            self.cancelled = True
        self._told_at, self._told = now, news
        self._placed = self._placed or placed
        self._slot = self._at + next_update(now - self._at)

    def deadline(self, news, placed):
        """When the next Update is due, or None: in its slot if there is news by then, else once in QUIET_MS."""
        if not self.active:
            return None
        if placed and not self._placed:
            return min(self._slot, self._told_at + SOON_MS)
        return self._slot if news != self._told else max(self._slot, self._told_at + QUIET_MS)

    def receipt(self, alarm, counter):
        """The relay has message `counter` of the alarm that began with `alarm`. True when that should be felt: with
        the first receipt of the newest alarm, and for an older one with that of its Alert."""
        if alarm != self.counter:
            return counter == alarm
        first = not self.heard
        self.heard = True
        return first

    def state(self):
        """For the journal: everything that must outlive a reset."""
        if self.counter is None:
            return []
        return [self.counter, self.time, int(self.cancelled), int(self.heard)]

    def restore(self, state, now, time):
        """After a reset. How long ago it was is known only when both times are; otherwise it counts as just raised, so
        that there are rather too many Updates than too few."""
        if not state:
            return
        self.counter, self.time = state[0], state[1]
        self.cancelled, self.heard = bool(state[2]), bool(state[3])
        ago = (time - self.time) * 1000 if time and self.time and time >= self.time else 0
        self._at = now - ago
        self._told_at = now
        self._placed = True  # or not: no matter, the next slot is near
        self._slot = now + 5000  # the place may have changed while the bracelet was off: tell it soon
