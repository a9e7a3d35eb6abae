"""Put the bracelet to sleep when power.py says so, and go on afterwards where it left off.

Deep sleep ends like a reset, so all that is to be known afterwards goes through the clock's memory (rest.py) or is in
the journal. Receiver, modem and radio are switched off here as well, when they may be.
"""

import asyncio
import time

import machine

from tocsin import alarm, boots, log, power, rest
from tocsin.heartbeat import PROMPT_MS
from tocsin.parts import present
from tocsin.search import SETTLED, Search

LOOK_MS = 500
SHORTEST_MS = 5  # of a deep sleep that only starts anew
LINGER_MS = 1500  # after the heartbeat's PUBACK: what waits at the broker comes at once
TOLD_MS = 10000  # after an alarm's message: what waits at the broker, or as SMS, comes meanwhile
LOOK_AGAIN_MS = 60000  # in a vigil: the alarm has just been handled, and need not be at once again
PATIENT_EVERY = 4  # with a slow broker only every fourth PUBACK is waited for
OFFLINE_EVERY = 4  # without Wi-Fi the modem fetches what waits for us in every fourth duty only
MODEM_MS = 30000  # for that, from switching it on
BEGIN_MS = 2000  # in a duty a search for a fix begins so soon after the receiver, or not at all
AWAKE_MS = 15000  # before a reminder: the modem's switching off and the shortest sleep would miss it
_AWAKE = (power.SETTLING, power.ATTENTIVE, power.ALARM)
_ITEMS = 11


class Sleep:
    """The task of sleep. `parts`: what is there (parts.Parts). touched(): does the wearer do or feel something;
    linked(): is there a data link, None while that isn't known; update_at(): when the alarm's next Update is due, or
    None; mark(name, call): starting.Starter.under; rested(): the bracelet is about to sleep."""

    def __init__(self, clock, state, wearer, parts, heartbeats, touched, linked, update_at, mark, rested):
        self._clock = clock
        self._state = state
        self._wearer = wearer
        self._parts = parts
        self._heartbeats = heartbeats
        self._touched = touched
        self._linked = linked
        self._update_at = update_at
        self._mark = mark
        self._rested = rested
        self._modem_on = False
        self._kept = (None,) * 4  # after waking: fix, cell, what Wi-Fi knows, where the broker was found
        self._offline = 0  # duties in a row without Wi-Fi
        self._search = Search()
        self._searching = False
        self.held = False  # something is being finished
        self._search_by = 0  # no search begins later
        self._search_until = 0
        self._heartbeat = (0, 0)  # after waking: due in so many ms, so many not taken
        mode = power.SETTLING
        items = self._taken()
        self.woken = machine.reset_cause() == machine.DEEPSLEEP_RESET and items is not None
        if self.woken:
            self._resume(items)
            by_timer = machine.wake_reason() == machine.TIMER_WAKE
            log.event("woke", by="timer" if by_timer else "touch")
            mode = power.woken(by_timer, state.alarm.active, bool(state.delivery.queue))
            heartbeats.begin(*self._heartbeat)
        self._power = power.Power(mode, self._clock.ms())
        self._began = self._linked_at = self._clock.ms()

    # -- the clock's memory ---------------------------------------------------------------------------------------

    def _taken(self):
        """Take the content of the clock's memory, which is emptied at once: see rest.py."""
        memory = machine.RTC()
        items = rest.unpack(boots.others(memory), _ITEMS)
        boots.keep_others(memory, b"")
        return items

    def _resume(self, items):
        slept_at, chains, fix, cell, search, heartbeat_in, tries, offline, told, wifi, broker = items
        slept = max(_rtc_ms() - slept_at, 0)  # to the ms: rounded, each of many sleeps would make a place younger
        parts, state = self._parts, self._state
        state.resume(chains)
        if fix:
            fix[9] += self._clock.ms() - slept
            parts.gnss.fix = self._fix  # an alarm has it before the receiver is begun
        if cell:
            parts.modem.cell = tuple(cell)
        if told is not None:
            ago, still, state.told = told
            state.alarm.woke(ago + slept, (0, parts.modem.cell), self._clock.ms(), still)
        self._kept = fix, parts.modem.cell, wifi, broker
        self._search = Search(*search)
        self._heartbeat = (max(heartbeat_in - slept, 0), tries)
        self._offline = offline

    def _fix(self):
        """Return the receiver's fix from before the sleep, with its age of now."""
        lat, lon, accuracy, _, altitude, speed, heading, doubt, dated, at = self._kept[0]
        age = min((self._clock.ms() - at) // 1000, 65535)
        return lat, lon, accuracy, age, altitude, speed, heading, doubt, dated, at

    def begun(self, name):
        """Give a part that is there what it knew before the sleep, and switch it as needed."""
        parts = self._parts
        fix, cell, wifi, broker = self._kept
        if name == "gnss":
            if fix:
                parts.gnss.remember(self._fix())
            self._search_by = self._clock.ms() + BEGIN_MS
        elif name == "modem" and cell:
            parts.modem.cell = cell
        elif name == "wifi":
            parts.wifi.resume(wifi)
        elif name == "mqtt":
            parts.mqtt.found = broker
        # A duty shows its need for the modem when the receiver is there, which comes after the modem.
        if name == "gnss" or (name == "modem" and self._power.mode in _AWAKE):
            self._switch(self._clock.ms())

    def _remember(self, now):
        parts, state = self._parts, self._state
        fix, cell = parts.gnss.fix(), parts.modem.cell
        if fix:
            fix = list(fix)
            fix[9] -= now
        newest, told = state.alarm, state.told
        ago = newest.told_ago(now)
        boots.keep_others(
            machine.RTC(),
            rest.pack(
                [
                    _rtc_ms(),
                    state.rest(),
                    fix,
                    list(cell) if cell else None,
                    self._search.state(),
                    max(self._heartbeats.due - now, 0),
                    self._heartbeats.tries,
                    self._offline,
                    None if ago is None else [ago, newest.still, list(told[:9]) if told else None],
                    parts.wifi.state(),
                    parts.mqtt.found,
                ]
            ),
        )

    # -- while it is awake ----------------------------------------------------------------------------------------

    async def run(self):
        while True:
            now = self._clock.ms()
            before = self._power.mode
            mode = self._power.step(self._facts(now), now)
            if mode not in (before, power.ASLEEP):
                log.event("power", mode=mode)
            if not self._wearer.holding():  # first what she wants is sealed
                self._switch(now)
            if mode == power.ASLEEP:
                await self._go_to_sleep()
            await asyncio.sleep_ms(LOOK_MS)

    def _facts(self, now):
        state = self._state
        facts = power.Facts()
        facts.touched = self._touched()
        facts.raised_ms = state.alarm.age(now)
        facts.waiting = bool(state.delivery.queue)
        told = self._quiet if self._power.mode == power.VIGIL else self._told
        facts.done = not (self._searching or self.held) and told(now)
        return facts

    def _quiet(self, now):
        """Tell, in a vigil, whether nothing is to be told on this waking, or all of it is told."""
        heartbeats, ago = self._heartbeats, self._state.alarm.told_ago(now)
        if self._due(now) or heartbeats.due <= now or (ago is not None and ago < TOLD_MS):
            return False
        return not heartbeats.owed or self._told(now)

    def _due(self, now):
        """Tell whether an Update is due on this waking."""
        at = self._update_at()
        return at is not None and at <= now + alarm.SEARCH_MS

    def _told(self, now):
        """Tell whether the heartbeat is out and all taken that waited for us, or there is no way for that now."""
        beats, linked = self._heartbeats, self._linked()
        if beats.told_at is not None:
            return now - beats.told_at >= LINGER_MS
        if beats.sent_at is not None and beats.tries % PATIENT_EVERY != 1 and now - beats.sent_at >= PROMPT_MS:
            return True
        if linked or linked is None:
            self._linked_at = now
            return False
        return not self._modem_due() or now - self._linked_at >= MODEM_MS

    def _modem_due(self):
        return self._offline % OFFLINE_EVERY == 0

    def _switch(self, now):
        """Switch receiver and modem: all on while it matters, else as little as will do."""
        parts, mode = self._parts, self._power.mode
        if mode in _AWAKE:
            self._turn_on("gnss")
            self._turn_on("modem")
            self._searching = mode == power.SETTLING and parts.gnss.count < SETTLED
            if parts.gnss.count and parts.gnss.on:
                self._search.ended(int(time.time()), True)
            return
        seconds = int(time.time())
        if self._searching:
            if parts.gnss.count >= SETTLED or now >= self._search_until:
                self._searching = False
                self._search.ended(seconds, parts.gnss.count > 0)
                parts.gnss.switch(False)
        elif (
            present(parts.gnss)
            and not parts.gnss.on
            and now < self._search_by
            and (mode == power.VIGIL or self._search.due(seconds, parts.gnss.hot))
        ):
            self._searching = True
            self._search_until = now + self._search.limit_ms(seconds, parts.gnss.hot) + parts.gnss.start_ms
            self._search.began(seconds)
            self._turn_on("gnss")
        offline = self._linked() is False
        wanted = offline and self._modem_due()
        if mode == power.VIGIL:  # for messages that Wi-Fi doesn't carry, or an Update that has only the cell to tell
            wanted = offline or now - self._began >= TOLD_MS
            wanted &= bool(self._state.delivery.queue) or (self._due(now) and not self._searching)
        if wanted or parts.ppp.up:
            self._turn_on("modem")
        else:
            self._modem_off()

    def _modem_off(self):
        self._modem_on = False
        self._parts.modem.switch(False)

    def _turn_on(self, name):
        """Turn a part on under its mark: the supply may give way as it comes on."""
        part = self._parts.gnss if name == "gnss" else self._parts.modem
        if present(part) and not (part.on if name == "gnss" else self._modem_on):
            self._modem_on |= name == "modem"
            self._mark(name, lambda: part.switch(True))

    # -- going to sleep -------------------------------------------------------------------------------------------

    async def _go_to_sleep(self):
        """Switch everything off and sleep; a touch on the way calls it off while that is still possible."""
        parts, soon = self._parts, self._wearer.due()
        if soon is not None and soon - self._clock.ms() < AWAKE_MS:
            return
        if parts.ppp.up:  # while there is still a way for the goodbye
            await parts.mqtt.close()
        parts.ppp.stop()
        parts.gnss.switch(False)  # before the modem, which it may be in
        self._modem_off()
        while not parts.modem.resting:
            if self._touched():
                return
            await asyncio.sleep_ms(LOOK_MS)
        parts.battery.look()
        await parts.mqtt.close()
        if self._touched():  # during the goodbye
            parts.mqtt.network(self._heartbeats.link)
            return
        parts.wifi.stop()
        # From here on a touch is not lost: a level that is already there wakes the chip at once.
        now = self._clock.ms()
        self._offline = 0 if self._heartbeats.told_at is not None else self._offline + 1
        state = self._state
        look = state.alarm.next_at(now)
        if self._update_at() is None:
            look = None
        elif look <= now:  # it has told what is due now, or it would not go to sleep
            look = now + LOOK_AGAIN_MS
        due = [self._heartbeats.due, look, self._wearer.due(), state.alarm.ends_at()]
        ms = power.sleep_ms(now, due, bool(state.delivery.queue))
        if state.dirty is not None:
            state.persist()
        self._rested()
        self._remember(now)
        log.event("asleep", ms=ms)
        self._wearer.arm_wake()
        machine.deepsleep(SHORTEST_MS if self._wearer.opening() else ms)


def _rtc_ms():
    """Return the real-time clock, which runs on in a sleep, in ms."""
    return time.time_ns() // 1000000
