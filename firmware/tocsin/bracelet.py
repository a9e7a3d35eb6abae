"""Put the bracelet together: which task runs, and who tells whom.

The pure modules alarm.py and delivery.py decide, and say when; wearer.py brings what the wearer does; state.py
remembers; this module carries it out. Nothing here blocks except a seal (some tens of milliseconds) and a write to
flash.
"""

import asyncio
import os

import machine

from tocsin import aio, alarm, envelope, heartbeat, log, movement, parts, settings, wipe
from tocsin.clock import GNSS, NAMES, NETWORK
from tocsin.downlink import Downlink
from tocsin.heartbeat import Heartbeats
from tocsin.links.route import Route
from tocsin.links.sms import Sms
from tocsin.sleep import Sleep
from tocsin.starting import Starter
from tocsin.ways import Ways
from tocsin.wearer import Wearer

CORE_MS = 5000  # the core looks around this often even when nothing happens
SAVE_S = 3600  # the time is stored this often
SAVED_AHEAD_S = 60  # a saved time so far ahead came from a wrong source
WANTED_MAX = 4
REVOKED_MS = 3000  # for the last heartbeat to leave, and to be felt
_RUNS = {"modem_reader": "reader", "gnss_mind": "mind"}  # tasks of a part that are not its run()
FELT_DOWN = {"receipt": "heard", "accept": "accepted", "close": "closed"}


def random_byte():
    return os.urandom(1)[0]


class Bracelet:
    """A provisioned bracelet at work."""

    def __init__(self, app, board, known, state, watchdog):
        self._app = app
        self._board = board
        self._clock = app.clock
        self._supervisor = app.supervisor
        self._haptic = app.haptic
        self._led = app.led
        self._id = known
        self._state = state
        self._alarm = state.alarm
        self._delivery = state.delivery
        self._wake = aio.Event()
        self._safe = app.starts.safe
        self._trial = app.abandon if app.trial else None
        self._offered = app.offered
        config = self._settings = settings.load_settings()

        self._wanted = []  # of alarm.CAUSES: those that ask for a message and are not yet carried out
        self._retry_at = 0  # nothing could be sealed: the next try is not before this
        self._downlink = Downlink(state, self._on_down, self._on_used)
        self._parts = parts.Parts()
        self._final = False  # the battery ends, and an Update is to say so
        self._marked = False  # the mark that it will be wiped is on flash
        self._wearer = Wearer(board, state, self._clock, self._haptic, app.starts, self.want, self._on_button_alive)
        self._route = Route(1 if self._dials() else 3 if len(config.wifi) > 1 else 0)
        self._heartbeats = Heartbeats(
            state, self._clock, self._parts, known.topic, app.starts, config.heartbeat_s, random_byte
        )
        self._ways = Ways(self._clock, self._delivery, self._parts, self._route, self._heartbeats, self._wake.set)
        names = ["haptic", "led", "battery", "modem", "wifi", "mqtt"]
        names += (["strap"] if "strap" in board else []) + (["ppp"] if self._dials() else [])
        if not self._safe:
            names.append("gnss")
        radios = (["modem"] if "modem" in board and config.sms else []) + (["wifi"] if config.wifi else [])
        self._starter = Starter(
            self,
            self._clock,
            app.starts,
            watchdog,
            names,
            radios,
            self._wearer,
            self._delivery,
            self._parts,
            self._wanted,
        )
        self._sleep = None if self._safe or app.trial else self._sleeper()
        self._copy()

    def _sleeper(self):
        """Return the Sleep; None on a board whose button can't wake the chip."""
        if not self._wakes():
            return None
        return Sleep(
            self._clock,
            self._state,
            self._wearer,
            self._parts,
            self._heartbeats,
            self._touched,
            self._linked,
            self._update_at,
            self._starter.under,
            self._starter.rested,
        )

    def _wakes(self):
        """Tell whether all that must wake the chip can do so."""
        try:
            self._wearer.arm_wake()
        except ValueError:
            log.event("missing", part="wake", reason="pin")
            return False
        return True

    def _dials(self):
        return bool(self._settings.apn) and not self._safe

    def _touched(self):
        return bool(self._wanted) or self._haptic.busy() or self._wearer.busy(self._clock.ms())

    def _linked(self):
        if self._ppp.up or self._ways.up:
            return True
        return None if self._starter.due("wifi") else self._ways.up

    @property
    def wifi_up(self):
        return self._ways.up

    def start(self):
        self._configure()
        log.event("clock", quality=NAMES[self._clock.quality])
        # This reserves counters: an alarm can be sealed even if it was the last write that worked.
        if self._state.dirty is not None:
            self._state.persist()
        risks = self._app.starts.risks
        if risks.blamed or risks.slow:  # this start may not last either: an SMS that can leave now must not wait
            self._delivery.net(False, self._clock.ms())
        start = self._supervisor.start
        start("core", self._core, vital=True)
        self._wearer.start(start)
        start("downlink", self._downlink.run)
        start("starter", self._starter.run)
        start("heartbeat", self._heartbeats.run)
        start("saver", self._save_time)
        log.event("armed")

    # -- what the Starter asks for ----------------------------------------------------------------------------------

    def failed(self, name):
        """Note that a part is not begun for now."""
        if name == "wifi":
            if not self._starter.due(name):
                self._ways.wifi(False)
            self._delivery.net(False, self._clock.ms())  # until it is begun
        self._ways.network()

    def begun(self):
        """Begin to sleep: all parts are begun, except those left out."""
        if self._sleep:
            self._supervisor.start("sleep", self._sleep.run)

    def build(self, name):
        """Begin a part, and all that needs it."""
        start, there, config, section = self._supervisor.start, self._parts, self._settings, self._board.get(name)
        runs = (name,)
        if name in ("haptic", "led"):
            self._app.sign(name)
            self._haptic = self._wearer.haptic = self._app.haptic
            self._led = self._app.led
            if name == "led" and (self._sleep is None or not self._sleep.woken):  # every 15 minutes it would betray her
                self._led.show("armed")
            return
        if name == "strap":
            self._wearer.start_strap(start)
            if self._sleep and not self._wakes():
                self._sleep = None
            return
        if name == "battery":
            there.battery = parts.build(name, section, self._on_battery_ending)
            self._alarm.stretch = there.battery.stretch
        elif name == "modem":
            there.modem = parts.build(
                name, section, self._clock, self._on_modem, self._on_sms, self._on_network_time, self._wake.set
            )
            there.modem.dialled = bool(config.apn)
            there.modem.starts = self._app.starts
            runs = "modem_reader", name
        elif name == "gnss":
            there.gnss = parts.build(name, section, self._clock, self._on_gnss_time, self._on_fix)
            runs = () if there.gnss.commands else (name, "gnss_mind")
        elif name == "wifi":
            there.wifi = parts.build(name, config.wifi, self._ways.wifi, self._starter.under)
            self._ways.choose()
        elif name == "ppp":
            there.ppp = parts.build(name, config.apn, self._modem, self._ways.ppp, self._starter.under)
            runs = ()
        else:
            there.mqtt = parts.build(
                name,
                config,
                self._id,
                settings.read(settings.CA),
                self._clock,
                random_byte,
                self._ways.name_server,
                self._ways.mqtt,
                self._ways.refused,
                self._on_ack,
                self._on_puback,
                self._starter.under,
            )
        self._copy()
        part = getattr(there, name)
        if name in ("gnss", "modem") and self._gnss.commands and parts.present(self._modem):
            self._modem.gnss, self._gnss.changed = self._gnss, self._modem.look
        if self._sleep:
            self._sleep.begun(name)
        elif name in ("gnss", "modem"):
            part.switch(True)
        for run in runs if parts.present(part) else ():
            start(run, getattr(part, _RUNS.get(run, "run")))
        if name == "mqtt":
            self._mqtt.will = self._heartbeats.will
            self._ways.link()
        elif name == "wifi" and not parts.present(part):
            self._ways.wifi(False)

    def _copy(self):
        there = self._parts
        self._battery, self._gnss, self._modem = there.battery, there.gnss, there.modem
        self._wifi, self._ppp, self._mqtt = there.wifi, there.ppp, there.mqtt
        self._sms = Sms(self._modem, self._settings.sms)

    # -- what the peripherals report --------------------------------------------------------------------------------

    def _on_button_alive(self):
        self._supervisor.report("button")

    def want(self, what):
        """Ask for a message, for one of alarm.CAUSES."""
        if self._trial and what in ("strap", "check_in"):  # the former program finds these by itself when it starts
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
            if not -SAVED_AHEAD_S < self._clock.time() - self._state.saved < SAVE_S:
                self._state.dirty = self._clock.ms()
            self._wearer.clock_changed()
            self._ways.clock()
        return self._clock.quality >= quality

    def _on_modem(self, up):
        log.event("link", path="sms", up=int(up))
        self._delivery.sms(self._sms.up, self._clock.ms())
        self._wake.set()

    def _on_ack(self, octets):
        self._downlink.take(octets, "mqtt")

    def _on_sms(self, octets):
        self._downlink.take(octets, "sms")

    def _on_used(self):
        self._heartbeats.used()

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
        """Tell whether anything is on its way, or the wearer at the button: then this is no moment for a reset."""
        return bool(self._delivery.queue) or self._touched()

    def fetch(self, topic, take):
        """Ask the broker for what it keeps under a topic: see Mqtt.fetch."""
        return self._mqtt.fetch(topic, take)

    def pressed(self):
        """Tell whether the wearer is at the button."""
        return self._wearer.gestures.busy(self._clock.ms())

    def hold(self, on):
        """Keep the bracelet awake, within the limits of power.py, while something is being finished (`on`)."""
        if self._sleep:
            self._sleep.held = on

    # -- the core: gestures, updates, deliveries --------------------------------------------------------------------

    async def _core(self):
        while True:
            self._supervisor.report("core")
            self._wake.clear()
            now = self._clock.ms()
            if now >= self._retry_at:
                self._carry_out(now)
            if self._state.settle():
                self._state.dirty = now
            at = self._update_at()
            if at is not None and now >= at and self._raise(alarm.UPDATE) and self._final:
                self._final = False
                self._delivery.hurry()
            if self._state.dirty is not None and now >= self._state.dirty:
                self._state.persist()
            for path, message in self._delivery.poll(self._clock.ms()):
                self._transmit(path, message)
            self._ways.step()
            if not self._wake.is_set():
                await self._wake.wait(self._pause())
            else:
                await asyncio.sleep_ms(0)

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
        """Return a value that changes whenever the place is better known than before."""
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
        """Seal and store a message. False when that is impossible for now."""
        self._state.last = self._battery.ending
        self._alarm.stretch = self._delivery.stretch = self._battery.stretch
        message = self._state.seal(kind, what, self._battery.percent, self._gnss.fix(), self._modem.cell, self._news())
        if message is None:
            self._retry_at = self._clock.ms() + CORE_MS
            return False
        size = len(message.octets)
        if what == "duress":  # an attacker who forces her may read the console
            what = "cancel"
        if kind == alarm.ALERT:
            self._wifi.kick()
            self._mqtt.kick()
            self._modem.ask_soon()
            log.event("raised", by=what, counter=message.counter, octets=size)
        else:
            log.event("update", by=what or "time", counter=message.counter, alarm=message.alarm, octets=size)
            if kind == alarm.CANCEL:
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
            if news:
                log.event(kind, counter=value, path=path)
            else:  # the kind would tell how the relay understood the cancel
                log.event("order", path=path)
        else:
            log.event(kind, path=path, news=int(news))
        if feel:
            self._haptic.play(FELT_DOWN[kind])
        if kind == "configure" and news:
            self._configure()
        elif kind == "update":
            self._offered(value)
        elif kind == "revoke":
            self._marked = wipe.begin()  # before anything is written that shows that it came
            self._supervisor.start("revoked", self._revoked)
        if kind != "receipt":
            self._heartbeats.soon()
        self._wake.set()

    def _configure(self):
        """Apply the relay's settings, which go before settings.json; not in safe mode: they may be the cause of it."""
        if self._safe:
            return
        found = self._state.settings
        self._wearer.gestures.hold_ms = found.get(envelope.HOLD_MS, self._settings.hold_ms)
        self._heartbeats.every(found.get(envelope.HEARTBEAT_S, self._settings.heartbeat_s))

    async def _revoked(self):
        """Wipe, say so in one last heartbeat, sealed while there were keys, and start anew as a blank bracelet."""
        last = self._heartbeats.seal() if self._marked else None
        self._state.wiped = True
        self._delivery.queue = []
        wipe.keys(self._id.name)
        self._haptic.play("fault")  # not before: erasing would stretch its pulses
        self._heartbeats.send(last)
        await asyncio.sleep_ms(REVOKED_MS)
        await self._mqtt.close()
        self._app.starts.lived()  # it ends on purpose
        machine.reset()

    async def _save_time(self):
        while True:
            await asyncio.sleep_ms(SAVE_S * 1000)
            self._state.persist()
