"""The ways for data: which link is up, whether it leads to the relay's broker, and when one is dialled or left.

The links report here, and what follows is told to delivery, heartbeats and MQTT. links/route.py decides. Not here:
SMS.
"""

from tocsin import log
from tocsin.heartbeat import NO_LINK, PPP, WIFI
from tocsin.parts import present

NO_NETWORK_MS = 15000  # after boot, until the network is taken for absent


class Ways:
    """The ways for data. `wake()`: there may be work for the core. `up`: is Wi-Fi up? None: that isn't known yet."""

    def __init__(self, clock, delivery, parts, route, heartbeats, wake):
        self._clock = clock
        self._delivery = delivery
        self._parts = parts
        self._route = route
        self._heartbeats = heartbeats
        self._wake = wake
        self.up = None
        self._dialled = False
        self._genuine = True  # False: another answered in the relay's place, that Wi-Fi led nowhere, or no memory

    def wifi(self, up):
        """Note that Wi-Fi has an address, or none any more, or none for now."""
        if up != self.up:
            self.up = up
            self._route.joined(up, self._clock.ms())
            if up and self._parts.wifi.doubtful():
                self._genuine = False
            log.event("link", path="net", up=int(up))
            self.link()

    def ppp(self, up, yielded=False):
        """Note the state of a data session: see Ppp."""
        if up:
            log.event("link", path="ppp", up=1)
            self._genuine = True
            self._route.up(self._clock.ms())
        else:
            if self._dialled:
                log.event("link", path="ppp", up=0)
            self._route.over(self._clock.ms(), yielded)
        self._dialled = up
        self.link()

    def mqtt(self, up):
        """Note that there is a connection with the broker, or none any more."""
        log.event("link", path="mqtt", up=int(up))
        if up:
            self._genuine = True
            self._heartbeats.connected()
            if self.up:
                self._parts.wifi.reached()
        self._delivery.mqtt(up, self._clock.ms())
        self.network()

    def refused(self, what, reason):
        """Note that the other side is not the broker, or doesn't want us."""
        log.event("refused", what=what, reason=reason)
        self._genuine = False
        self._route.refused(what, self._clock.ms())
        self.network()

    def clock(self):
        """Note that the time is better known: a certificate that seemed not valid yet may be now."""
        self._genuine = True
        self._parts.mqtt.kick()
        self.network()

    def link(self):
        """Choose the link: Wi-Fi goes first. MQTT turns to another link at once."""
        if self.up:
            link = WIFI
        else:
            link = PPP if self._parts.ppp.up else NO_LINK
        self._heartbeats.link = link
        self._parts.mqtt.network(link)
        self.network()

    def name_server(self):
        """Return the address of the name server of the link that is up."""
        return (self._parts.wifi if self.up else self._parts.ppp).name_server()

    def network(self):
        """Tell the delivery whether a data network can be hoped for."""
        linked = self._parts.ppp.up or self.up
        if linked is not None:
            usable = linked and self._genuine and self._clock.quality > 0 and present(self._parts.mqtt)
            self._delivery.net(usable, self._clock.ms())
        self._wake()

    def step(self):
        """Dial, or hang up, or leave a Wi-Fi that is no way."""
        parts, now, queue = self._parts, self._clock.ms(), self._delivery.queue
        parts.wifi.urgent = parts.mqtt.urgent = bool(queue)
        if self.up is None and now > NO_NETWORK_MS:
            self._delivery.net(False, now)
        waiting = queue[0].queued if queue else None
        # Without the time there is no connection at all, on whatever way.
        connected = parts.mqtt.up or (self.up and not self._clock.quality)
        parts.ppp.want(self._route.step(now, waiting, connected, self._heartbeats.owed))
        if self._route.leave:
            log.event("failed", path="net", reason="barren")
            parts.wifi.leave()
        self.choose()

    def choose(self):
        """Decide whether Wi-Fi may keep away from networks that it has left; from its first round on."""
        parts, queue = self._parts, self._delivery.queue
        hopeful = parts.ppp.wanted or not self._route.tries
        parts.wifi.choosy = present(parts.ppp) and hopeful and (parts.ppp.possible or not queue)
