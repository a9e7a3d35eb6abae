"""Send heartbeats: they tell that the bracelet lives, and in what state; never where. The last will is a heartbeat that
the broker sends in the bracelet's place when a connection ends without a goodbye.
"""

from tocsin import aio, log

SOON_MS = 1000
LEAST_MS = 60000  # between two, when connections come and go: doubled with each that the broker did not take
USED_MS = 60000  # between two reports of a used counter: an attacker's replays must not empty the battery
PROMPT_MS = 10000  # a broker that takes longer for its PUBACK is slow
TOKEN = -1  # in place of a counter: only `acknowledged` waits for its PUBACK
NO_LINK, WIFI, PPP = 0, 1, 2  # the bracelet's way, as the relay reads it; NO_LINK: a last will


class Heartbeats:
    """The heartbeats. `due` is when the next one is, `told_at` when the broker took the last (ms; None: not since the
    start), `sent_at` when the last was handed over, `tries` how many there were since one that it took promptly."""

    def __init__(self, state, clock, parts, topic, boots, every_s, random_byte):
        self._state = state
        self._clock = clock
        self._parts = parts
        self._topic = topic + "hb"
        self._boots = boots
        self._every_ms = every_s * 1000
        self.sent_at = None
        self._connected = False  # since the start
        self.owed = False  # a heartbeat came due without a connection
        self.link = WIFI  # the link that is up
        self._said = None  # what the last one reported of the starts
        self._said_used = False  # and of used counters
        self._used_at = None
        self._hurry = aio.Event()
        self.told_at = None
        self.tries = 0
        # The first one soon after boot, but not of all bracelets at once after a power cut.
        self.due = clock.ms() + 10000 + 200 * random_byte()

    def begin(self, in_ms, tries):
        """Go on after waking: the next one is due in so many ms, and so many were not taken."""
        self.due = self._clock.ms() + in_ms
        self.tries = tries

    def every(self, seconds):
        self._every_ms = seconds * 1000
        self.due = min(self.due, self._clock.ms() + self._every_ms)
        self._hurry.set()

    def soon(self):
        """Send the next one before its time: it tells the relay that its command has arrived, or what has changed."""
        self.due = min(self.due, self._clock.ms() + SOON_MS)
        self._hurry.set()

    def used(self):
        """Note that something came down under a used counter: perhaps the relay was put back to an earlier state, and
        its answers are worth nothing until it knows."""
        self._state.used = True
        now = self._clock.ms()
        if self._used_at is None or now - self._used_at >= USED_MS:
            self._used_at = now
            self.soon()

    def connected(self):
        """Note a connection: the relay may hold the will of the one before for the last word."""
        if self._connected:
            again = (self.sent_at or 0) + (LEAST_MS << min(self.tries, 8))
            self.due = min(self.due, max(self._clock.ms() + SOON_MS, again))
        self._connected = True
        if self.owed:
            self.due = min(self.due, self._clock.ms() + SOON_MS)
        self._hurry.set()

    async def run(self):
        while True:
            now = self._clock.ms()
            if now >= self.due:
                self.due = now + self._every_ms
                self.owed = not self._parts.mqtt.up
                if not self.owed:
                    self.send(self.seal())
            self._hurry.clear()
            await self._hurry.wait(self.due - now)

    def seal(self, link=None):
        """Seal a heartbeat: (counter, octets), or None. `link`: the way to report instead of the one that is up."""
        self._said = self._boots.report()
        self._said_used = self._state.used
        if link is None:  # a heartbeat that is sent has a link, even if just lost
            link = self.link or WIFI
        modem, battery = self._parts.modem, self._parts.battery
        network = (modem.stat, modem.signal, modem.operator, link)
        self._state.last = battery.ending
        return self._state.heartbeat(battery.percent, network, self._said)

    def send(self, sealed):
        if sealed and self._parts.mqtt.publish(TOKEN, self._topic, sealed[1]):
            self.sent_at = self._clock.ms()
            self.tries += 1
            log.event("heartbeat", counter=sealed[0])

    def will(self):
        """Return (topic, octets) to leave with the broker, or None. The will's counter is lower than that of every
        heartbeat of the connection, so the relay opens it with a key that it has passed over, and only once."""
        sealed = self.seal(NO_LINK)
        return (self._topic, sealed[1]) if sealed else None

    def acknowledged(self):
        """Note that the broker has the last heartbeat."""
        now = self.told_at = self._clock.ms()
        if now - self.sent_at <= PROMPT_MS:
            self.tries = 0
        self._boots.told(self._said)
        if self._said_used:
            self._state.used = False
