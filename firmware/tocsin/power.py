# sans-I/O
# hwsim: no-float
"""Decide when the bracelet may sleep, and for how long, by a table of named transitions.

Pure: the facts and a time in milliseconds go in, the mode comes out; the caller does what sleep needs (see sleep.py).
Deep sleep ends like a reset, so a life at peace is a row of short boots: woken by the timer to send a heartbeat and to
refresh the fix, or by the button or the strap to listen to the wearer.
"""

SETTLING = "settling"  # after a power-on or a reset: find the networks, the time, the place
DUTY = "duty"  # woken by the timer: a heartbeat, what waits at the broker, now and then a fix
ATTENTIVE = "attentive"  # the wearer touches it, or the strap moved
ALARM = "alarm"  # raised: everything on, for as long as it matters most
VIGIL = "vigil"  # the alarm goes on: woken for each Update and each new attempt
ASLEEP = "asleep"

# (in this mode, when this is the case) -> that mode. The first that fits counts, so their order matters.
TRANSITIONS = (
    (SETTLING, "raised", ALARM),
    (SETTLING, "touched", SETTLING),
    (SETTLING, "settled", ASLEEP),
    (DUTY, "raised", ALARM),
    (DUTY, "touched", ATTENTIVE),
    (DUTY, "done", ASLEEP),
    (DUTY, "late", ASLEEP),
    (ATTENTIVE, "raised", ALARM),
    (ATTENTIVE, "touched", ATTENTIVE),
    (ATTENTIVE, "late", ASLEEP),
    (ALARM, "touched", ALARM),
    (ALARM, "calm", ASLEEP),
    (ALARM, "weary", ASLEEP),
    (VIGIL, "raised", ALARM),
    (VIGIL, "touched", ALARM),
    (VIGIL, "done", ASLEEP),
    (VIGIL, "late", ASLEEP),
)

SETTLE_MS = 60000  # at least, after a reset: the workshop may want to speak to it
LATE_MS = {SETTLING: 240000, DUTY: 60000, ATTENTIVE: 20000, ALARM: 3600000, VIGIL: 90000}
DENSE_MS = 900000  # of an alarm: Updates follow each other too closely to sleep between them
AGAIN_MS = 300000  # in a vigil with undelivered messages: so long between two attempts
SLEEP_MIN_MS = 5000  # a shorter sleep costs more than it saves
SLEEP_MAX_MS = 3600000


class Facts:
    """The facts of this moment."""

    def __init__(self):
        self.touched = False  # the button is down or was lately, the strap moves, a gesture waits, the motor runs
        self.raised_ms = None  # since the newest alarm was raised or touched, None: no alarm is open
        self.waiting = False  # undelivered messages
        self.done = False  # the heartbeat is out, what came down is opened, the search for a fix is over


class Power:
    def __init__(self, mode, now):
        self.mode = mode
        self._since = now
        self._touched_at = now

    def step(self, facts, now):
        """Return the mode from now on. ASLEEP: the caller may put the bracelet to sleep; if it can't, it goes on as
        before and asks again."""
        if facts.touched:
            self._touched_at = now
        for mode, when, then in TRANSITIONS:
            if mode == self.mode and self._is(when, facts, now):
                if then == ASLEEP:
                    return ASLEEP
                if then != mode:
                    self.mode = then
                    self._since = now
                break
        return self.mode

    def _is(self, when, facts, now):
        awake = now - self._since
        if when == "touched":
            return facts.touched
        if when == "raised":  # in a vigil the alarm is known: only a new one wakes everything
            return facts.raised_ms is not None and (self.mode != VIGIL or self._dense(facts))
        if when == "settled":
            return awake >= SETTLE_MS and (facts.done or awake >= LATE_MS[SETTLING])
        if when == "done":
            return facts.done and not facts.waiting
        if when == "late":
            return now - max(self._since, self._touched_at) >= LATE_MS[self.mode]
        if when == "calm":  # all is told, and the next Update is minutes away; or it is over
            return not (self._dense(facts) or facts.waiting) and now - self._touched_at >= LATE_MS[ATTENTIVE]
        return awake >= LATE_MS[ALARM] and not (facts.touched or self._dense(facts))  # weary: nobody answers

    @staticmethod
    def _dense(facts):
        return facts.raised_ms is not None and facts.raised_ms < DENSE_MS


def woken(by_timer, alarm_open, waiting):
    """Return the mode in which a bracelet wakes from deep sleep."""
    if not by_timer:
        return ATTENTIVE
    return VIGIL if alarm_open or waiting else DUTY


def sleep_ms(now, times, waiting):
    """Return how long to sleep at `now`, by the times at which things are due (ms, or None): at least SLEEP_MIN_MS."""
    due = [at for at in times if at is not None] + [now + (AGAIN_MS if waiting else SLEEP_MAX_MS)]
    return max(min(due) - now, SLEEP_MIN_MS)
