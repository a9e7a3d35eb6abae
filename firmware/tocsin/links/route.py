# sans-I/O
# hwsim: no-float
"""Choose the link for data: Wi-Fi goes first, the mobile network's data (PPP) is dialled when it is needed. Pure.

A Wi-Fi that is joined is not yet a way: behind it may be a login page, or nothing. Where there is another way, a Wi-Fi
without a connection to the broker is left. Both at once would not do: ESP-IDF gives the default route to a station that
has an address whenever it looks (esp_netif_lwip.c, esp_netif_update_default_netif), and does not know of PPP.

There is one serial line to the modem: while it carries data no SMS leaves or comes. So a session must prove itself, by
a receipt for what waits or else by a connection to the broker, and is left when it doesn't; then the SMS has its turn.
"""

DIAL_AFTER_MS = 8000  # so long a message waits for Wi-Fi, and for a receipt after its SMS, before it is dialled
PROVE_MS = 15000  # for a receipt, while something waits
QUIET_MS = 30000  # for a connection to the broker, while nothing does
AGAIN_MS = 2000  # after a session that was good, or had to make room
DIED_MS = 8000  # after the first that had carried a connection and then died: time for an SMS
BARREN_MS = 20000  # a Wi-Fi that brings no connection is kept so long: a name, a handshake and one repetition of each
BARREN_WAITING_MS = 12000  # while something waits
SPARED = 3  # tries that failed for want of memory; then mobile data gets its turn, which needs less of it than Wi-Fi
BACKOFF_MS = 30000  # after a session that was not good: doubled each time
BACKOFF_MAX_MS = 600000
BACKOFF_WAITING_MS = 120000  # while something waits


class Route:
    """The choice of the link. `patience` with a Wi-Fi that brings no connection: 0 there is no other way, 1 there is
    mobile data, more: only another Wi-Fi may be. `wifi` is True, False, or None while that isn't known. `wanted`: a
    data session is to be dialled, or kept; `tries`: how many in vain so far; `leave`, said once: that Wi-Fi is to be
    left."""

    def __init__(self, patience=0):
        self.wifi = None
        self.leave = False
        self._spared = 0
        self._patience = patience
        self._fed_at = 0  # of the Wi-Fi that is up: when it last carried a connection to the broker, at first its begin
        self.wanted = False
        self.at = None  # when step() may next say something else
        self._up = False
        self._good_at = 0  # of the session that is up: when it last proved itself, at first when it came up
        self._proven = False
        self._connected = False  # has it carried a connection to the broker?
        self.tries = 0
        self._over_at = -AGAIN_MS
        self._pause_ms = AGAIN_MS
        self._texted_at = 0
        self._hopeless = False  # an SMS was refused, and none taken since

    def joined(self, wifi, now):
        """Note that a Wi-Fi is up, or that none is."""
        self.wifi = wifi
        self._fed_at = now

    def refused(self, what="tls", now=0):
        """Note that somebody else answered in the broker's place ("tls"). "memory" is not the Wi-Fi's fault, which then
        has time for another try, some times in a row."""
        if what == "tls":
            self._fed_at -= BARREN_MS * self._patience
        elif what == "memory" and self._spared < SPARED:
            self._spared += 1
            self._fed_at = now

    def texted(self, now):
        """Note that the network took an SMS: its receipt would come by SMS as well."""
        self._texted_at = now
        self._hopeless = False

    def untexted(self):
        """Note that the modem or the network refused an SMS: there is nothing to wait for."""
        self._hopeless = True

    def up(self, now):
        """Note that the session is there: packets may pass."""
        self._up = True
        self._good_at = now
        self._connected = False

    def heard(self, now):
        """Note that a receipt came by MQTT."""
        if self._up:
            self._good_at = now
            self._proven = True

    def over(self, now, yielded=False):
        """Note that the session has ended, or never began. `yielded`: only because an SMS needed the line."""
        if self._proven:
            self.tries = 0
        elif not yielded:
            self.tries = min(self.tries + 1, 8)
        self._pause_ms = BACKOFF_MS << max(self.tries - 1, 0)
        if yielded or not self.tries:
            self._pause_ms = AGAIN_MS
        elif self._connected and self.tries == 1:
            self._pause_ms = DIED_MS
        self._proven = self._up = self.wanted = self._connected = False
        self._over_at = now

    def step(self, now, waiting, connected, owed):
        """Decide, and return `wanted`. `waiting`: since when the oldest undelivered message waits, or None; `connected`
        to the broker; `owed`: a heartbeat is overdue."""
        self.at = None
        self.leave = False
        if self.wifi:
            self.wanted = False
            self._feed(now, waiting, connected)
        elif not self.wanted:
            if not self._up:  # a session that is being left must be over first
                self._consider(now, waiting, owed)
        elif self._up:
            self._judge(now, waiting, connected)
        elif waiting is None and not owed:  # before it has begun
            self.wanted = False
        return self.wanted

    def _feed(self, now, waiting, connected):
        if connected:
            self._fed_at = now
            self._spared = 0
        elif self._patience:
            self.at = self._fed_at + BARREN_MS * self._patience
            if waiting is not None:
                self.at = min(self.at, max(self._fed_at, waiting) + BARREN_WAITING_MS * self._patience)
            if now >= self.at:
                self.leave = True
                self._fed_at = now

    def _consider(self, now, waiting, owed):
        if waiting is not None:
            self.at = max(waiting, self._texted_at) + DIAL_AFTER_MS
            if self._hopeless and self.wifi is False:
                self.at = now
        elif owed and self.wifi is False:
            self.at = now
        if self.at is not None:
            self.at = max(self.at, self._not_before(waiting))
            if now >= self.at:
                self.wanted = True
                self.at = None

    def _not_before(self, waiting):
        longest = BACKOFF_MAX_MS if waiting is None else BACKOFF_WAITING_MS
        return self._over_at + min(self._pause_ms, longest)

    def _judge(self, now, waiting, connected):
        if waiting is None and connected:
            self._good_at = now
            self._proven = True
        if waiting is None:
            self.at = self._good_at + QUIET_MS
        elif self._connected and not connected:
            self.at = now  # it did carry a connection, and an answer was overdue
        else:
            self.at = max(self._good_at, waiting) + PROVE_MS
        self._connected = self._connected or connected
        if now >= self.at:
            self.wanted = self._proven = False
