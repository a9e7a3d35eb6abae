# sans-I/O
# hwsim: no-float
"""Find the part that has ended the starts before this one, and for how long it is left out for that.

A part is marked before the call that starts it, and the mark is taken away when the part has lived for a while. A start
that finds a mark knows what ended the one before. Each such end makes the pause longer after which that part is tried
again, alone, when the others are up. If several parts are marked, none is blamed: the next start begins them in turn.

Pure: octets of the clock's memory and a number for NVS in and out (boots.py keeps them). Not here: what starts, and how
(starting.py).
"""

NAMES = ("haptic", "led", "strap", "battery", "modem", "ppp", "wifi", "gnss", "mqtt")
SIZE = 8
FIRST_MS = 20000  # until a part that ended one start is tried again; four times longer with each further one
LAST_MS = 3600000
SOON_MS = 3000  # the modem that ended one start only: last, and alone
WOKEN_MS = 5000  # when a waking is one that tries it
PATIENT_MS = 45000  # while an alarm waits: an SMS takes so long, from switching the modem on
WAITING_MAX_MS = 300000  # and then no pause is longer
_MOST = 7  # ends of a start that are counted
_KEPT_MOST = 3  # of these in NVS
_RADIOS = ("modem", "wifi")


class Risks:
    """The marks of the parts. `kept`: SIZE octets of octets(), None when they are lost; `number`: number() of then.
    `died`: the start before ended neither in sleep nor on purpose. `woken`: it slept."""

    def __init__(self, kept, number, died, woken):
        self._tallies = [0] * len(NAMES)
        self._current = -1  # the part whose call is going on
        self._open = 0  # bits of the parts that were started and have not lived for a while
        self._skip = 0  # wakings until one tries the left-out parts again
        self.slow = False  # parts begin one after another: nobody knows which of several it was
        self.held = 0  # how far a press has come: 0 none, 1 down, then one for each tick
        self.woken = woken
        if kept is not None:
            self.held, self.slow, self._current = kept[0] & 7, bool(kept[0] & 8), (kept[0] >> 4) - 1
            self._open, self._skip = kept[1] | (kept[2] & 1) << 8, kept[2] >> 1
            self._tallies = [kept[3 + n // 2] >> n % 2 * 4 & _MOST for n in range(len(NAMES))]
        elif number > 0:
            self._tallies = [number >> 2 * n & _KEPT_MOST for n in range(len(NAMES))]
            self._current, self.slow = (number >> 18 & 15) - 1, bool(number >> 22 & 1)
        suspect = self._suspect() if died else -1
        self.blamed = NAMES[suspect] if 0 <= suspect < len(NAMES) else None
        if self.blamed:
            self._tallies[suspect] = min(self._tallies[suspect] + 1, _MOST)
            self._skip = (1 << self._tallies[suspect]) - 1
        elif died and self._open:
            if self.slow:  # not even that told them apart
                for n in range(len(NAMES)):
                    self._tallies[n] = min(self._tallies[n] + (self._open >> n & 1), _MOST)
            self.slow = True
        elif woken and self._skip:
            self._skip -= 1
        self._current, self._open = -1, 0

    def _suspect(self):
        if self._current >= 0:
            return self._current
        for n in range(len(NAMES)):
            if self._open == 1 << n:
                return n
        return -1

    def octets(self):
        """Return the octets for the clock's memory."""
        tallies = self._tallies + [0]
        return bytes(
            [self.held | self.slow << 3 | self._current + 1 << 4, self._open & 255, self._open >> 8 | self._skip << 1]
            + [tallies[n] | tallies[n + 1] << 4 for n in range(0, 10, 2)]
        )

    def number(self):
        """Return the number for NVS: what matters most of it, 0 when nothing is to be remembered."""
        number = (self._suspect() + 1) << 18 | self.slow << 22
        for n in range(len(NAMES)):
            number |= min(self._tallies[n], _KEPT_MOST) << 2 * n
        return number

    @property
    def open(self):
        """Tell whether something was started that has not lived for a while."""
        return self._open or self._current >= 0

    def begin(self, name):
        """Mark a part: the call that starts it comes next."""
        self._current = NAMES.index(name)
        self._open |= 1 << self._current

    @property
    def beginning(self):
        """The name of the part whose call is going on, or None."""
        return NAMES[self._current] if self._current >= 0 else None

    def begun(self):
        """Note that the call has come back."""
        self._current = -1

    def done(self, name):
        """Note that a part has lived for a while."""
        self._open &= ~(1 << NAMES.index(name))

    def lived(self, names):
        """Forget the ends that these parts caused: they have lived for long. True when there was anything."""
        found = [name for name in names if self.count(name)]
        for name in found:
            self._tallies[NAMES.index(name)] = 0
        return bool(found)

    def ended(self):
        """Note that the start has lived, or ends on purpose."""
        self._current, self._open, self.slow = -1, 0, False

    def count(self, name):
        return self._tallies[NAMES.index(name)]

    def pause(self, name, waiting, others):
        """Return the ms from the start until a part may be tried: 0 at once, None not in this waking. `waiting`: an
        alarm is under way; `others`: radios that are up, or may be."""
        count = self.count(name)
        if not count:
            return 0
        if count == 1 and name == "modem":
            return SOON_MS
        if waiting:
            if name in _RADIOS and not [other for other in others if self._before(other, name)]:
                return 0  # nothing else is left to call with
            return max(min(self._growing(count), WAITING_MAX_MS), PATIENT_MS)
        if self.woken:
            return None if self._skip else WOKEN_MS
        return self._growing(count)

    def _before(self, other, name):
        if other == name:
            return False
        mine, its = self.count(name), self.count(other)
        return its < mine or (its == mine and _RADIOS.index(other) < _RADIOS.index(name))

    @staticmethod
    def _growing(count):
        return min(FIRST_MS << 2 * (count - 1), LAST_MS)
