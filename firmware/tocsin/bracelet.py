"""The bracelet put together: which task runs, and who tells whom.

What is decided, and when, is in the pure modules alarm.py and delivery.py; what the wearer does comes from wearer.py;
what is remembered is in state.py; this module carries it out. Nothing here blocks except a seal (some tens of
milliseconds) and a write to flash.
"""

import asyncio
import os

import machine

from tocsin import aio, alarm, envelope, heartbeat, log, movement, parts, settings, wipe
from tocsin.clock import GNSS, NAMES, NETWORK
from tocsin.downlink import Downlink
from tocsin.heartbeat import NO_LINK, PPP, WIFI, Heartbeats
from tocsin.links.route import Route
from tocsin.links.sms import Sms
from tocsin.sleep import Parts, Sleep
from tocsin.wearer import Wearer

CORE_MS = 5000  # the core looks around this often even when nothing happens
SAVE_S = 3600  # the time is stored this often
NO_NETWORK_MS = 15000  # after boot, until the network is taken for absent
WANTED_MAX = 4
REVOKED_MS = 3000  # for the last heartbeat to leave, and to be felt
FELT_DOWN = {"receipt": "heard", "accept": "accepted", "close": "closed"}


def random_byte():
    return os.urandom(1)[0]


class Bracelet:
    """A provisioned bracelet at work."""

    def __init__(self, app, board, known, state):
        self._clock = app.clock
        self._supervisor = app.supervisor
        self._haptic = app.haptic
        self._led = app.led
        self._id = known
        self._state = state
        self._alarm = state.alarm
        self._delivery = state.delivery
        self._wake = asyncio.Event()
        self._safe = app.starts.safe
        self._trial = app.abandon if app.trial else None
        self._offered = app.offered
        config = self._settings = settings.load_settings()

        self._wanted = []  # what asks for a message and is not yet carried out, of alarm.CAUSES
        self._retry_at = 0  # nothing could be sealed: not before this is it tried again
        self._downlink = Downlink(state, self._on_down)
        self._wifi_up = None
        self._on_ppp_link = False
        # False: the last who answered in the relay's place was not it; or that Wi-Fi led nowhere; or memory was short
        self._genuine = True

        self._battery = parts.build("battery", board.get("battery"), self._on_battery_ending)
        self._final = False  # an Update is wanted that says so
        self._marked = False  # that it will be wiped is on flash
        self._gnss = parts.Absent()
        if not self._safe:
            self._gnss = parts.build("gnss", board.get("gnss"), self._clock, self._on_gnss_time, self._on_fix)
        self._modem = parts.build(
            "modem", board.get("modem"), self._clock, self._on_modem, self._on_sms, self._on_network_time,
            self._wake.set,
        )  # fmt: skip
        if self._gnss.commands and parts.present(self._modem):
            self._modem.gnss, self._gnss.changed = self._gnss, self._modem.look
        self._wearer = Wearer(board, state, self._clock, self._haptic, self.want, self._on_button_alive)
        self._wifi = parts.build("wifi", config.wifi, self._on_wifi)
        self._ppp = parts.Absent()
        if config.apn and not self._safe:
            self._ppp = parts.build("ppp", config.apn, self._modem, self._on_ppp)
        self._route = Route(1 if parts.present(self._ppp) else 3 if len(config.wifi) > 1 else 0)
        ca = settings.read(settings.CA)
        self._mqtt = parts.build(
            "mqtt", config, known, ca, self._clock, random_byte, self._name_server,
            self._on_mqtt, self._on_refused, self._on_ack, self._on_puback,
        )  # fmt: skip
        self._sms = Sms(self._modem, config.sms)
        self._heartbeats = Heartbeats(
            state, self._clock, self._mqtt, known.topic, self._battery, self._modem, app.starts, config.heartbeat_s,
            random_byte,
        )  # fmt: skip
        self._mqtt.will = self._heartbeats.will
        self._sleep = None if self._safe or app.trial else self._sleeper()

    def _sleeper(self):
        """None on a board whose button can't wake the chip."""
        try:
            self._wearer.arm_wake()
        except ValueError:
            log.event("missing", part="wake", reason="pin")
            return None
        return Sleep(
            Parts(
                self._clock, self._state, self._wearer, self._battery, self._gnss, self._modem, self._ppp, self._wifi,
                self._mqtt, self._heartbeats, self._touched, self._linked, self._update_at,
            )
        )  # fmt: skip

    def _touched(self):
        return bool(self._wanted) or self._haptic.busy() or self._wearer.busy(self._clock.ms())

    def _linked(self):
        return True if self._ppp.up else self._wifi_up

    def start(self):
        self._configure()
        log.event("clock", quality=NAMES[self._clock.quality])
        # This reserves counters: an alarm can be sealed even if it was the last write that worked.
        if self._state.dirty is not None:
            self._state.persist()
        start = self._supervisor.start
        if self._sleep:
            start("sleep", self._sleep.run)
        else:
            self._gnss.switch(True)
            self._modem.switch(True)
        start("core", self._core, vital=True)
        self._wearer.start(start)
        start("downlink", self._downlink.run)
        for part, names in (
            (self._gnss, () if self._gnss.commands else (("gnss", "run"), ("gnss_mind", "mind"))),
            (self._battery, (("battery", "run"),)),
            (self._modem, (("modem_reader", "reader"), ("modem", "run"))),
            (self._wifi, (("wifi", "run"),)),
            (self._mqtt, (("mqtt", "run"),)),
        ):
            for name, run in names if parts.present(part) else ():
                start(name, getattr(part, run))
        if not parts.present(self._wifi):
            self._on_wifi(False)
        start("heartbeat", self._heartbeats.run)
        start("saver", self._save_time)
        if self._sleep is None or not self._sleep.woken:  # every quarter of an hour would betray her
            self._led.show("armed")
        log.event("armed")

    # -- what the peripherals report --------------------------------------------------------------------------------

    def _on_button_alive(self):
        self._supervisor.report("button")

    def want(self, what):
        """A message that one of alarm.CAUSES asks for."""
        if self._trial and what in ("strap", "check_in"):  # which the former program finds by itself when it starts
            self._trial()
        if len(self._wanted) < WANTED_MAX or what not in self._wanted:
            self._wanted.append(what)
            self._retry_at = 0
            self._wake.set()

    def _on_fix(self):
        if self._alarm.active:  # it may call for an Update; at peace nobody waits for a fix
            self._wake.set()

    def _on_gnss_time(self, seconds):
        return self._on_time(seconds, GNSS)

    def _on_network_time(self, seconds):
        return self._on_time(seconds, NETWORK)

    def _on_time(self, seconds, quality):
        if self._clock.offer(seconds, quality):
            log.event("clock", quality=NAMES[self._clock.quality])
            self._genuine = True  # a certificate that seemed not valid yet may be now
            if abs(self._clock.time() - self._state.saved) >= SAVE_S:
                self._state.dirty = self._clock.ms()
            self._wearer.clock_changed()
            self._mqtt.kick()
            self._on_network()
        return self._clock.quality >= quality

    def _on_wifi(self, up):
        if up != self._wifi_up:
            self._wifi_up = up
            self._route.joined(up, self._clock.ms())
            if up and self._wifi.doubtful():
                self._genuine = False
            log.event("link", path="net", up=int(up))
            self._on_link()

    def _on_ppp(self, up, yielded=False):
        if up:
            log.event("link", path="ppp", up=1)
            self._genuine = True
            self._route.up(self._clock.ms())
        else:
            if self._on_ppp_link:
                log.event("link", path="ppp", up=0)
            self._route.over(self._clock.ms(), yielded)
        self._on_ppp_link = up
        self._on_link()

    def _on_link(self):
        """Wi-Fi goes first. MQTT turns to another link at once."""
        if self._wifi_up:
            link = WIFI
        else:
            link = PPP if self._ppp.up else NO_LINK
        self._heartbeats.link = link
        self._mqtt.network(link)
        self._on_network()

    def _name_server(self):
        return (self._wifi if self._wifi_up else self._ppp).name_server()

    def _on_network(self):
        """Tell the delivery whether a data network can be hoped for."""
        if self._wifi_up is not None or self._ppp.up:
            linked = self._wifi_up or self._ppp.up
            usable = linked and self._genuine and self._clock.quality > 0 and parts.present(self._mqtt)
            self._delivery.net(usable, self._clock.ms())
        self._wake.set()

    def _on_mqtt(self, up):
        log.event("link", path="mqtt", up=int(up))
        if up:
            self._genuine = True
            self._heartbeats.connected()
            if self._wifi_up:
                self._wifi.reached()
        self._delivery.mqtt(up, self._clock.ms())
        self._on_network()

    def _on_refused(self, what, reason):
        log.event("refused", what=what, reason=reason)
        self._genuine = False
        if what == "tls":
            self._route.refused()
        elif what == "memory":
            self._route.spare(self._clock.ms())
        self._on_network()

    def _on_modem(self, up):
        log.event("link", path="sms", up=int(up))
        self._delivery.sms(self._sms.up, self._clock.ms())
        self._wake.set()

    def _on_ack(self, octets):
        self._downlink.take(octets, "mqtt")

    def _on_sms(self, octets):
        self._downlink.take(octets, "sms")

    def _on_battery_ending(self):
        log.event("battery", ending=1)
        self._state.last = True
        self._state.dirty = self._clock.ms()
        self._final = self._alarm.active
        self._heartbeats.soon()
        self._wake.set()

    def _on_puback(self, token, ok):
        if token == heartbeat.TOKEN:
            if ok:
                self._heartbeats.acknowledged()
        else:
            if ok:
                log.event("puback", counter=token)
            self._delivery.published(token, ok, self._clock.ms())
            self._wake.set()

    def busy(self):
        """Is anything on its way, or the wearer at the button? Then this is no moment for a reset."""
        return bool(self._delivery.queue) or self._touched()

    def fetch(self, topic, take):
        """See Mqtt.fetch."""
        return self._mqtt.fetch(topic, take)

    def pressed(self):
        """Is the wearer at the button?"""
        return self._wearer.gestures.busy(self._clock.ms())

    def hold(self, on):
        """Go to sleep for no reason but the wearer's peace and the battery: something is being finished."""
        if self._sleep:
            self._sleep.held = on

    # -- the core: gestures, updates, deliveries --------------------------------------------------------------------

    async def _core(self):
        while True:
            self._supervisor.report("core")
            self._wake.clear()
            now = self._clock.ms()
            self._wifi.urgent = self._mqtt.urgent = bool(self._delivery.queue)
            if self._wifi_up is None and now > NO_NETWORK_MS:
                self._delivery.net(False, now)
            if now >= self._retry_at:
                self._carry_out(now)
            at = self._update_at()
            if at is not None and now >= at and self._raise(alarm.UPDATE) and self._final:
                self._final = False
                self._delivery.hurry()
            if self._state.dirty is not None and now >= self._state.dirty:
                self._state.persist()
            for path, message in self._delivery.poll(self._clock.ms()):
                self._transmit(path, message)
            self._steer()
            if not self._wake.is_set():
                await aio.wait(self._wake, self._pause())
            else:
                await asyncio.sleep_ms(0)

    def _steer(self):
        """Dial, or hang up, or leave a Wi-Fi that is no way."""
        queue = self._delivery.queue
        waiting = queue[0].queued if queue else None
        # Without the time there is no connection at all, on whatever way.
        connected = self._mqtt.up or (self._wifi_up and not self._clock.quality)
        self._ppp.want(self._route.step(self._clock.ms(), waiting, connected, self._heartbeats.owed))
        if self._route.leave:
            log.event("failed", path="net", reason="barren")
            self._wifi.leave()
        hopeful = self._ppp.wanted or not self._route.tries
        self._wifi.choosy = parts.present(self._ppp) and hopeful and (self._ppp.possible or not queue)

    def _pause(self):
        now = self._clock.ms()
        times = (
            now + CORE_MS,
            self._state.dirty,
            self._update_at(),
            self._delivery.deadline(),
            self._route.at,
        )
        return max(min([at for at in times if at is not None]) - now, 1)

    def _update_at(self):
        if not self._alarm.active:
            return None
        moved = movement.moved(self._state.told, self._gnss.fix())
        at = self._alarm.deadline(self._news(), self._gnss.count > 0, moved)
        if at is None or (self._state.sparing and not self._final):
            return None
        return self._retry_at if self._final else max(at, self._retry_at)

    def _news(self):
        """A number that changes whenever the place is better known than before."""
        return self._gnss.count, self._modem.cell

    def _carry_out(self, now):
        while self._wanted:
            what = self._wanted[0]
            kind = self._alarm.decide(what, now)
            if kind == alarm.ALERT and self._alarm.plain and self._delivery.full_of_alerts():
                kind = alarm.UPDATE
            if not self._raise(kind, what):
                if what != "trial":
                    self._haptic.play("fault")
                break  # stays wanted: tried again, for as long as it takes
            self._wanted.pop(0)
            if what != "trial":
                self._haptic.play(self._alarm.felt(kind, what))

    def _raise(self, kind, what=None):
        """Seal and store. False when that is impossible for now."""
        self._state.last = self._battery.ending
        self._alarm.stretch = self._delivery.stretch = self._battery.stretch
        message = self._state.seal(kind, what, self._battery.percent, self._gnss.fix(), self._modem.cell, self._news())
        if message is None:
            self._retry_at = self._clock.ms() + CORE_MS
            return False
        size = len(message.octets)
        if kind == alarm.ALERT:
            self._wifi.kick()
            self._mqtt.kick()
            log.event("raised", by=what, counter=message.counter, octets=size)
        else:
            log.event("update", by=what or "time", counter=message.counter, alarm=message.alarm, octets=size)
            if kind in (alarm.CANCEL, alarm.DURESS):  # the same on the console, too: who forces her may read it
                log.event("cancelled")
        return True

    def _transmit(self, path, message):
        counter = message.counter
        now = self._clock.ms()
        if path == "mqtt":
            if self._mqtt.publish(counter, self._id.topic + "alarm", message.octets):
                log.event("published", counter=counter, path="mqtt")
            else:
                self._delivery.published(counter, False, now)
        else:

            def result(ok):
                log.event("sms", counter=counter, ok=int(ok))
                self._delivery.texted(counter, ok, self._clock.ms())
                if ok:
                    self._route.texted(self._clock.ms())
                else:
                    self._route.untexted()
                self._wake.set()

            if self._sms.send(message.octets, result):
                log.event("published", counter=counter, path="sms")
            else:
                self._delivery.texted(counter, False, now)

    # -- what came down ---------------------------------------------------------------------------------------------

    def _on_down(self, kind, value, path, news, feel):
        if kind == "receipt":
            log.event("receipt", counter=value, path=path)
            if path == "mqtt":
                self._route.heard(self._clock.ms())
            if news:
                log.event("delivered", counter=value)
        elif kind in ("accept", "close"):
            log.event(kind, counter=value, path=path)
        else:
            log.event(kind, path=path, news=int(news))
        if feel:
            self._haptic.play(FELT_DOWN[kind])
        if kind == "configure" and news:
            self._configure()
        elif kind == "update":
            self._offered(value)
        elif kind == "revoke":
            self._marked = wipe.begin()  # before anything may be written of its having come
            self._supervisor.start("revoked", self._revoked)
        if kind != "receipt":
            self._heartbeats.soon()
        self._wake.set()

    def _configure(self):
        """What the relay has set goes before settings.json. In safe mode it is left alone: it may be the cause."""
        if self._safe:
            return
        found = self._state.settings
        self._wearer.gestures.hold_ms = found.get(envelope.HOLD_MS, self._settings.hold_ms)
        self._heartbeats.every(found.get(envelope.HEARTBEAT_S, self._settings.heartbeat_s))

    async def _revoked(self):
        """Wipe, say so in one last heartbeat that was sealed while there were keys, and start anew as a blank one."""
        last = self._heartbeats.seal() if self._marked else None
        self._state.wiped = True
        self._delivery.queue = []
        wipe.keys(self._id.name)
        self._haptic.play("fault")  # not before: erasing would stretch its pulses
        self._heartbeats.send(last)
        await asyncio.sleep_ms(REVOKED_MS)
        await self._mqtt.close()
        machine.reset()

    async def _save_time(self):
        while True:
            await asyncio.sleep_ms(SAVE_S * 1000)
            self._state.persist()
