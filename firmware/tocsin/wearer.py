"""The wearer's side of the bracelet: button, strap and check-in timer, and what their patterns ask for.

gesture.py, strap.py and checkin.py decide what they mean; this module runs them, plays what is felt at once, and hands
on what concerns an alarm: on_want(what), with one of alarm.CAUSES.
"""

import machine

from tocsin import aio, alarm, checkin, envelope, gesture, log, parts, strap
from tocsin.drivers.button import Button

BOOT_MS = 300  # at least, from a press that ends deep sleep to this firmware's start
FIRST_MS = 500  # a button that was down at the start, and still is in this time, was down before
CHECK_IN, CHECK_OUT, DRILL, REMOVE = 2, 3, gesture.DRILL_TAPS, 5  # taps after a half hold


class Wearer:
    """The wearer's side. `starts`: the boots.Boots of this start, which remember a press during which a start ended."""

    def __init__(self, board, state, clock, haptic, starts, on_want, on_alive):
        self._board = board
        self._state = state
        self._clock = clock
        self.haptic = haptic
        self._starts = starts
        self._on_want = on_want
        held, starts.risks.held = starts.risks.held, 0
        # The chip hung or lost its supply while the button was down, at a part's start: from here nobody can tell for
        # how long she held it. In doubt it calls for help.
        self._doubt = held > 0 and (starts.risks.blamed is not None or starts.cause == machine.WDT_RESET)
        self._held = max(held - 1, 0)  # ticks
        self.gestures = gesture.Gestures()
        woken = machine.reset_cause() == machine.DEEPSLEEP_RESET and machine.wake_reason() == machine.PIN_WAKE
        self._early = BOOT_MS if woken else 0  # a press that woke it began so long before this start
        self.button = Button(board["button"], self._on_edge, self._on_button_time, on_alive)
        self._was_down = self.button.down()
        self.contact = parts.Absent()
        if "strap" in board:
            state.strap = strap.Strap(state.worn)
        self._timer = aio.Event()

    def start(self, start):
        """Begin the tasks with Supervisor.start."""
        start("button", self.button.run, vital=True)
        start("check_in", self._watch)

    def start_strap(self, start):
        self.contact = parts.build("strap", self._board["strap"], self._on_strap)
        if parts.present(self.contact):
            start("strap", self.contact.run)
        else:
            self._state.strap = None

    def looked(self):
        """Note that the button was watched for long enough to know whether it was down at the start."""
        if self._doubt and not self.gestures.busy(self._clock.ms()):
            self._on_want("hold")
        self._doubt = False

    def holding(self):
        """Tell whether the button is down, or was until just now, and not yet for so long that it has been answered."""
        return (self.button.down() or self._starts.risks.held > 0) and not self.gestures.ripe

    def clock_changed(self):
        """Note that the time is better known than before."""
        self._state.check_in.clock(self._clock.ms(), self._clock.time())
        self._timer.set()

    def busy(self, now):
        """Tell whether to stay awake: a pattern is half done, a drill or a removal announced, a contact not at rest."""
        moving = self._state.strap
        allowed = moving is not None and (moving.deadline() is not None or (moving.worn and moving.allowed(now)))
        return self.gestures.busy(now) or allowed

    def due(self):
        """Return when the check-in timer has something to say, in ms, or None."""
        return self._state.check_in.deadline()

    def arm_wake(self):
        """Let button and strap end the next deep sleep: two sources, since each has one level (ext0, ext1). ValueError
        when one of them can't."""
        self.button.arm_wake()
        if parts.present(self.contact):
            self.contact.arm_wake()

    def opening(self):
        """Tell whether the strap is open and nobody has judged that yet: it would not wake the chip."""
        strap = self._state.strap
        return parts.present(self.contact) and strap is not None and strap.worn and self.contact.open

    # -- the button -------------------------------------------------------------------------------------------------

    def _on_edge(self, down):
        now = self._clock.ms()
        first = down and self._was_down and now <= FIRST_MS
        if down:
            if self.gestures.begins(now):  # once a pattern: only she is to know the number of taps
                log.event("pressed")
            if not first:
                self._early = 0
            elif self._doubt:
                self._early = self.gestures.hold_ms
            elif self._held:
                self._early = max(self._early, BOOT_MS + self.gestures.hold_ms * self._held // (gesture.TICKS + 1))
        if down:
            self._remember(1 + self._held if first else 1)
        self._on_gestures(self.gestures.edge(down, now - self._early if down else now))
        if not down:  # last, for a tick may have been due
            self._remember(0)

    def _remember(self, held):
        if held != self._starts.risks.held:
            self._starts.risks.held = held
            self._starts.marked()

    def _on_button_time(self):
        """Return the milliseconds until this is to be called again, or None."""
        now = self._clock.ms()
        self._on_gestures(self.gestures.time(now))
        at = self.gestures.deadline()
        return None if at is None else at - now

    def _on_gestures(self, events):
        for event in events:
            if event[0] == "tick":
                self._remember(1 + event[1])
                self.haptic.play("tick%d" % event[1])
            elif event[0] == "taps":
                self._on_taps(event[1])
            elif event[0] in alarm.CAUSES:
                self._remember(0)
                self._on_want(event[0])

    def _on_taps(self, taps):
        now = self._clock.ms()
        if taps == DRILL:
            log.event("drill", armed=1)
            self.haptic.play("drill_armed")
        elif taps == REMOVE and self._state.strap:
            log.event("strap", state="may_open")
            self._state.strap.allow(now)
            self.haptic.play("may_open")
        elif taps == CHECK_IN:
            minutes = self._state.settings.get(envelope.CHECK_IN, checkin.MINUTES)
            if not minutes:  # the relay has switched it off: not felt, since nothing will be watched
                return
            self._state.check_in.start(minutes, now)
            self._check_in_changed("start")
            self.haptic.play("check_in")
        elif taps == CHECK_OUT and self._state.check_in.minutes:
            self._state.check_in.stop()
            self._check_in_changed("stop")
            self.haptic.play("check_in_off")

    # -- the strap --------------------------------------------------------------------------------------------------

    def _on_strap(self, closed):
        """Take a sample of the contact. Returns the milliseconds until the next one is wanted, or None."""
        now = self._clock.ms()
        event = self._state.strap.sample(closed, now)
        if event:
            log.event("strap", state=event)
            self._state.dirty = now
            if event == "cut":
                self._on_want("strap")
            elif event == "worn":
                self.haptic.play("worn")
        at = self._state.strap.deadline()
        return None if at is None else at - now

    # -- the check-in timer -----------------------------------------------------------------------------------------

    def _check_in_changed(self, what):
        log.event("check_in", state=what)
        self._state.dirty = self._clock.ms()
        self._timer.set()

    async def _watch(self):
        check_in = self._state.check_in
        while True:
            self._timer.clear()
            event = check_in.time(self._clock.ms())
            if event:
                log.event("check_in", state=event)
            if event == "remind":
                self.haptic.play("reminder")
            elif event == "missed":
                self._on_want("check_in")
            at = check_in.deadline()
            await self._timer.wait(None if at is None else at - self._clock.ms())
