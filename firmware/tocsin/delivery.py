# sans-I/O
# hwsim: no-float
"""Decide when which message goes out on which path, until the relay's receipt for it is here.

Pure: events and a time in milliseconds go in, poll() returns what to send now, deadline() says when to ask again. A
PUBACK or an accepted SMS delivers nothing, it only pauses that path; the receipt alone ends a message's life. The
octets of a message never change, whatever the path and however often it is repeated: the relay recognises repetitions
by their counter.

Policy (for people: firmware/delivery.md):
- MQTT: at once while connected, oldest first, a few in flight; repeated with backoff until the receipt.
- SMS for Alerts and cancels: at once without a data network, else 15 s after they were raised; repeated with backoff.
- SMS for Updates: only while MQTT is down, only the newest, at most one in three minutes. For an alarm that was called
  back at most one in ten minutes, and none older than the newest that the relay has.
"""

from tocsin.alarm import ALERT, CANCEL, UPDATE

SMS_AFTER_MS = 15000
SMS_UPDATE_MS = 180000
SMS_QUIET_MS = 600000
MQTT_WINDOW = 4
MQTT_AGAIN_MS = 15000  # first wait for a receipt after a PUBACK
SMS_AGAIN_MS = 60000  # first wait for a receipt after an accepted SMS
SMS_ERROR_MS = 5000  # first wait after the modem or the network refused an SMS
SOON_TRIES = 10  # so many waits hardly grow: by then the modem or network may take it
BACKOFF_MAX_MS = 300000
LIMIT = 32
ALERTS_MAX = 8  # so many undelivered Alerts at most; see full_of_alerts()


class _Path:
    """The state of one message on one path."""

    def __init__(self, at):
        self.at = at  # not before
        self.tries = 0
        self.flying = False
        self.failed = False  # the last time


class Message:
    def __init__(self, counter, alarm, kind, octets):
        self.counter = counter
        self.alarm = alarm  # counter of the Alert it belongs to
        self.kind = kind
        self.octets = octets
        self.queued = 0
        self.mqtt = None
        self.sms = None

    def state(self):
        return [self.counter, self.alarm, self.kind, self.octets]


class Delivery:
    def __init__(self, random_byte, limit=LIMIT):
        self._random_byte = random_byte  # () -> 0..255
        self._limit = limit
        self.queue = []  # undelivered, by counter
        self._net = None  # None: not yet known
        self._mqtt = False
        self._sms = False
        self._sms_busy = False
        self._sms_update_at = None
        self.quiet = None  # the newest alarm, if it was called back: then its Updates may cost less
        self.stretch = 1  # Updates by SMS so many times more seldom, when the battery must last

    # -- events ---------------------------------------------------------------------------------------------------

    def add(self, message, now):
        """Add a new (or, after a reset, remembered) message. Returns the message that had to make room, or None."""
        message.queued = now
        message.mqtt = _Path(now)
        message.sms = _Path(now)
        dropped = self._make_room() if len(self.queue) >= self._limit else None
        self.queue.append(message)
        return dropped

    def net(self, up, now):
        """Note whether a data network can carry a message. It can't when the relay could not be proved genuine."""
        self._net = up

    def mqtt(self, up, now):
        self._mqtt = up
        if up:
            self._net = True
        for message in self.queue:  # a lost connection takes its unacknowledged messages along; a new one starts over
            message.mqtt.flying = False
            message.mqtt.tries = 0
            message.mqtt.at = now

    def sms(self, up, now):
        if up and not self._sms:
            for message in self.queue:
                if message.sms.tries == 0 or message.sms.failed:
                    message.sms.at = now
        self._sms = up

    def published(self, counter, ok, now):
        """Note a PUBACK (ok), or that the hand-over failed."""
        message = self.find(counter)
        if message and message.mqtt.flying:
            message.mqtt.flying = False
            message.mqtt.at = now + self._backoff(MQTT_AGAIN_MS, message.mqtt, message.mqtt.tries)

    def texted(self, counter, ok, now):
        """Note that the network took the SMS (ok), or that it failed."""
        self._sms_busy = False
        message = self.find(counter)
        if message and message.sms.flying:
            path = message.sms
            path.flying = False
            if ok and path.failed:  # failed tries were no waits for a receipt
                path.tries = 0
            path.failed = not ok
            steps = path.tries if ok else min(path.tries, max(path.tries - SOON_TRIES, 1))
            path.at = now + self._backoff(SMS_AGAIN_MS if ok else SMS_ERROR_MS, path, steps)
            if message.kind == UPDATE:
                pause = SMS_QUIET_MS if message.alarm == self.quiet else SMS_UPDATE_MS
                self._sms_update_at = now + (pause * self.stretch if ok else SMS_ERROR_MS)

    def receipt(self, counter):
        """Forget a message that the relay has. Returns the message, or None if it was not waiting."""
        message = self.find(counter)
        if message:
            self.queue.remove(message)
            if message.alarm == self.quiet and message.kind == UPDATE and not self._mqtt:  # each would cost an SMS
                self._give_up([m for m in self._updates(message.alarm) if m.counter < counter])
        return message

    def close(self, alarm, but_newest=False):
        """Give up the Updates of the alarm that began with this counter: it is over, and nobody needs them any more
        (`but_newest`: only the newest, which says where she was then). An Update on its way ends with its receipt; the
        Alert and a cancel go on until theirs, so that the relay has the whole story."""
        updates = self._updates(alarm)
        self._give_up(updates[:-1] if but_newest else updates)

    def hurry(self):
        """Let the newest Update go by SMS without waiting for its turn: it may be the last message ever."""
        self._sms_update_at = None

    # -- actions --------------------------------------------------------------------------------------------------

    def poll(self, now):
        """Return what to send now: [("mqtt" or "sms", message)]. Each is in flight until published() or texted()."""
        actions = []
        if self._mqtt:
            room = MQTT_WINDOW - sum([m.mqtt.flying for m in self.queue])
            for message in self.queue:
                if room <= 0:
                    break
                if not message.mqtt.flying and message.mqtt.at <= now:
                    message.mqtt.flying = True
                    room -= 1
                    actions.append(("mqtt", message))
        if self._sms and not self._sms_busy:
            message, at = self._next_sms()
            if message and at <= now:
                message.sms.flying = True
                self._sms_busy = True
                actions.append(("sms", message))
        return actions

    def deadline(self):
        """Return when poll() may next have something, or None while only an event can bring that."""
        times = []
        if self._mqtt:
            flying = sum([m.mqtt.flying for m in self.queue])
            if flying < MQTT_WINDOW:
                times = [m.mqtt.at for m in self.queue if not m.mqtt.flying]
        if self._sms and not self._sms_busy:
            message, at = self._next_sms()
            if message:
                times.append(at)
        return min(times) if times else None

    def find(self, counter):
        for message in self.queue:
            if message.counter == counter:
                return message
        return None

    def full_of_alerts(self):
        """Tell whether so many Alerts wait that a further hold is better told as an Update of the newest."""
        return sum([m.kind == ALERT for m in self.queue]) >= ALERTS_MAX

    # -- inside ---------------------------------------------------------------------------------------------------

    def _updates(self, alarm):
        return [message for message in self.queue if message.alarm == alarm and message.kind == UPDATE]

    def _give_up(self, messages):
        for message in messages:
            if not (message.mqtt.flying or message.sms.flying):
                self.queue.remove(message)

    def _next_sms(self):
        """Return the message whose turn it is by SMS, and from when: Alerts and cancels before Updates, as they were
        raised."""
        best, best_at = None, 0
        newest = None
        for message in self.queue:
            if message.kind == UPDATE:
                newest = message
                continue
            at = max(message.sms.at, self._sms_from(message))
            if best is None or at < best_at:
                best, best_at = message, at
        if newest and not self._mqtt:
            at = max(newest.sms.at, self._sms_from(newest))
            if self._sms_update_at is not None:
                at = max(at, self._sms_update_at)
            if best is None or at < best_at:
                return newest, at
        return best, best_at

    def _sms_from(self, message):
        return message.queued if self._net is False else message.queued + SMS_AFTER_MS

    def _backoff(self, first, path, steps):
        """Return `first`, doubled so many times, at most BACKOFF_MAX_MS, minus up to a quarter so that bracelets don't
        march in step."""
        wait = min(first << min(steps, 8), BACKOFF_MAX_MS)
        path.tries += 1
        return wait - (wait >> 2) * self._random_byte() // 255

    def _make_room(self):
        """Give up the oldest Update that is not in flight; then any Update; then the oldest Alert that was called back,
        whose cancel tells all, also that she was forced; then the oldest cancel. Never another Alert."""
        cancelled = [message.alarm for message in self.queue if message.kind == CANCEL]
        for rank in (0, 1, 2, 3):
            for message in self.queue:
                flying = message.mqtt.flying or message.sms.flying
                if message.kind == UPDATE:
                    wanted = rank == 1 or (rank == 0 and not flying)
                elif message.kind == ALERT:
                    wanted = rank == 2 and message.alarm in cancelled
                else:
                    wanted = rank == 3
                if not wanted:
                    continue
                if message.sms.flying:
                    self._sms_busy = False
                self.queue.remove(message)
                return message
        return None
