# sans-I/O
# hwsim: no-float
"""Find what the strap's contact means: closed on a wrist, opened the authorised way, cut or torn off.

Pure: samples of the contact and a time in milliseconds go in, events come out. Events: "worn" when it has been closed
long enough to count; "removed" when it was opened after `allow`; "cut" when it was opened otherwise. A contact that
only chatters is closed. The times are the author's choice, not measured on a strap.
"""

OPEN_MS = 400  # open so long without a break is open: a knock on a handlebar is shorter, nobody closes a strap so fast
WORN_MS = 5000  # closed so long without a break is worn: fumbling with the clasp raises nothing
ALLOWED_MS = 60000  # after `allow` it may be opened so long; then it stays removed until it is worn again

NONE, CLOSED, OPEN = 0, 1, 2  # on the wire; a board without a strap says NONE


class Strap:
    def __init__(self, worn=False):
        """Begin. `worn`: it was worn before a reset, so that a strap found open was cut meanwhile."""
        self.worn = worn
        self._closed = None  # None: not looked at yet
        self._since = 0  # the contact is as it is since
        self._allowed_until = None

    def sample(self, closed, now):
        """Take a sample of the contact, when it may have changed and when `deadline` says. Returns an event or None."""
        if closed != self._closed:
            self._closed, self._since = closed, now
        at = self.deadline()
        if at is None or now < at:
            return None
        self.worn = closed
        allowed = self._allowed_until is not None and self._since <= self._allowed_until
        self._allowed_until = None
        if closed:
            return "worn"
        return "removed" if allowed else "cut"

    def allow(self, now):
        """Note that the wearer wants to take it off."""
        if self.worn:
            self._allowed_until = now + ALLOWED_MS

    def allowed(self, now):
        """Tell whether it may be opened now without raising."""
        return not self.worn or (self._allowed_until is not None and now <= self._allowed_until)

    @property
    def state(self):
        """The strap as on the wire. A contact that chatters counts as it was before."""
        return CLOSED if self.worn or self._closed else OPEN

    def deadline(self):
        """Return when sample() must be called even if the contact rests, or None."""
        if self._closed is None or self._closed == self.worn:
            return None
        return self._since + (WORN_MS if self._closed else OPEN_MS)
