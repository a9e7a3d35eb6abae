"""The bracelet put together: which task runs, and who tells whom.

What is decided, and when, is in the pure modules gesture.py, alarm.py and delivery.py; what is remembered is in
state.py; this module carries it out. Nothing here blocks except a seal (some tens of milliseconds) and a write to
flash.
"""

import asyncio
import os
import time

import machine

from tocsin import aio, alarm, gesture, identity, log, provision, settings
from tocsin.clock import GNSS, NAMES, NETWORK, Clock
from tocsin.drivers.battery import Battery
from tocsin.drivers.button import Button
from tocsin.drivers.gnss import Gnss
from tocsin.drivers.haptic import Haptic
from tocsin.drivers.led import Led
from tocsin.drivers.modem import Modem
from tocsin.links.mqtt import Mqtt
from tocsin.links.sms import Sms
from tocsin.links.wifi import Wifi
from tocsin.state import State

WATCHDOG_MS = 40000
CORE_MS = 5000  # the core looks around this often even when nothing happens
SAVE_MS = 3600000  # the time is stored this often
NO_NETWORK_MS = 15000  # after boot, until the network is taken for absent
RECEIPTS_MAX = 16
HEARTBEAT_TOKEN = -1  # in place of a counter: nobody waits for its PUBACK
WANTED_MAX = 4
CRASH_MS = 10000
FELT = {alarm.ALERT: "raised", alarm.UPDATE: "updated", alarm.CANCEL: "cancelled"}
RESETS = {1: "power_on", 2: "hard", 3: "watchdog", 4: "deep_sleep", 5: "soft"}


def _random_byte():
    return os.urandom(1)[0]


class App:
    def __init__(self):
        self.clock = Clock(time.ticks_ms, time.ticks_diff, machine.RTC())
        board = settings.load(settings.BOARD)
        self.supervisor = aio.Supervisor(self.clock)
        self.led = Led(board["led"])
        self.haptic = Haptic(board["haptic"])
        self._board = board

    async def run(self):
        log.event("boot", cause=RESETS.get(machine.reset_cause(), "unknown"))
        self.supervisor.start("led", self.led.run)
        self.supervisor.start("haptic", self.haptic.run)
        known = identity.load()
        if known is None:
            known = await self._provision()
        elif provision.offered():
            provision.forget_offer()
        try:
            state = State(known, self.clock, _random_byte)
        except ValueError:
            await self._broken("journal")
        except OSError:
            await self._broken("partition")
        bracelet = Bracelet(self, self._board, known, state)
        watchdog = machine.WDT(timeout=WATCHDOG_MS)
        bracelet.start()
        await self.supervisor.watch(watchdog)

    async def _provision(self):
        """Until there is an identity. A blank bracelet has nothing to do but to wait for its offer."""
        self.led.show("blank")
        log.event("blank")
        while True:
            if provision.offered():
                try:
                    provision.accept()
                    log.event("provisioned")
                    return identity.load()
                except (ValueError, KeyError, TypeError, OSError) as error:
                    log.event("refused", what="offer", reason=log.reason(error))
                    self.led.show("fault")
            await asyncio.sleep_ms(CORE_MS)

    async def _broken(self, what):
        """It can't work and must go back to the bench: say so as long as there is power."""
        log.event("refused", what=what, reason="lost")
        self.led.show("fault")
        while True:
            self.haptic.play("fault")
            await asyncio.sleep_ms(3600000)


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
        config = self._settings = settings.Settings(settings.load(settings.SETTINGS))

        self._gestures = gesture.Gestures(config.hold_ms)
        self._wanted = []  # gestures that are not yet carried out
        self._retry_at = 0  # nothing could be sealed: not before this is it tried again
        self._receipts = []  # (octets, path) that are not yet opened
        self._receipt = asyncio.Event()
        self._wifi_up = None
        self._genuine = True  # False: the last one who answered in the relay's place was not the relay

        self._battery = Battery(board["battery"])
        self._gnss = Gnss(board["gnss"], self._clock, self._on_gnss_time, self._on_fix)
        self._modem = Modem(
            board["modem"], self._clock, self._on_modem, self._on_sms, self._on_network_time, self._wake.set
        )
        self._button = Button(board["button"], self._on_edge, self._on_button_time, self._on_button_alive)
        self._wifi = Wifi(config.wifi, self._on_wifi)
        ca = settings.read(settings.CA)
        self._mqtt = Mqtt(
            config, known, ca, self._clock, _random_byte, self._wifi.name_server,
            self._on_mqtt, self._on_refused, self._on_ack, self._on_puback,
        )  # fmt: skip
        self._sms = Sms(self._modem, config.sms)

    def start(self):
        log.event("clock", quality=NAMES[self._clock.quality])
        # This reserves counters: an alarm can be sealed even if it was the last write that worked.
        self._state.persist()
        start = self._supervisor.start
        start("core", self._core, vital=True)
        start("button", self._button.run, vital=True)
        start("receipts", self._open_receipts)
        start("gnss", self._gnss.run)
        start("gnss_mind", self._gnss.mind)
        start("battery", self._battery.run)
        start("modem_reader", self._modem.reader)
        start("modem", self._modem.run)
        start("wifi", self._wifi.run)
        start("mqtt", self._mqtt.run)
        start("heartbeat", self._heartbeats)
        start("saver", self._save_time)
        self._led.show("armed")
        log.event("armed")

    # -- what the peripherals report --------------------------------------------------------------------------------

    def _on_edge(self, down):
        if down:
            log.event("pressed")
        self._on_gestures(self._gestures.edge(down, self._clock.ms()))

    def _on_button_time(self):
        self._on_gestures(self._gestures.time(self._clock.ms()))

    def _on_button_alive(self):
        self._supervisor.report("button")

    def _on_gestures(self, events):
        for event in events:
            if event[0] == "tick":
                self._haptic.play("tick%d" % event[1])
            elif event[0] in ("hold", "cancel") and len(self._wanted) < WANTED_MAX:
                self._wanted.append(event[0])
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
            self._state.dirty = self._clock.ms()
            self._mqtt.kick()
            self._on_network()
        return self._clock.quality >= quality

    def _on_wifi(self, up):
        if up != self._wifi_up:
            self._wifi_up = up
            log.event("link", path="net", up=int(up))
            self._mqtt.network(up)
            self._on_network()

    def _on_network(self):
        """Tell the delivery whether a data network can be hoped for."""
        if self._wifi_up is not None:
            usable = self._wifi_up and self._genuine and self._clock.quality > 0
            self._delivery.net(usable, self._clock.ms())
        self._wake.set()

    def _on_mqtt(self, up):
        log.event("link", path="mqtt", up=int(up))
        if up:
            self._genuine = True
        self._delivery.mqtt(up, self._clock.ms())
        self._on_network()

    def _on_refused(self, what, reason):
        log.event("refused", what=what, reason=reason)
        self._genuine = False
        self._on_network()

    def _on_modem(self, up):
        log.event("link", path="sms", up=int(up))
        self._delivery.sms(self._sms.up, self._clock.ms())
        self._wake.set()

    def _on_ack(self, octets):
        self._queue_receipt(octets, "mqtt")

    def _on_sms(self, octets):
        self._queue_receipt(octets, "sms")

    def _queue_receipt(self, octets, path):
        if len(self._receipts) < RECEIPTS_MAX:
            self._receipts.append((octets, path))
            self._receipt.set()
        else:  # the relay answers a repeated message again
            log.event("refused", what="receipt", reason="flood")

    def _on_puback(self, token, ok):
        if token != HEARTBEAT_TOKEN:
            if ok:
                log.event("puback", counter=token)
            self._delivery.published(token, ok, self._clock.ms())
            self._wake.set()

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
            if at is not None and now >= at:
                self._raise(alarm.UPDATE)
            if self._state.dirty is not None and now >= self._state.dirty:
                self._state.persist()
            for path, message in self._delivery.poll(self._clock.ms()):
                self._transmit(path, message)
            if not self._wake.is_set():
                await aio.wait(self._wake, self._pause())
            else:
                await asyncio.sleep_ms(0)

    def _pause(self):
        now = self._clock.ms()
        times = (
            now + CORE_MS,
            self._state.dirty,
            self._update_at(),
            self._delivery.deadline(),
        )
        return max(min([at for at in times if at is not None]) - now, 1)

    def _update_at(self):
        at = self._alarm.deadline(self._news(), self._gnss.count > 0)
        return None if at is None or self._state.sparing else max(at, self._retry_at)

    def _news(self):
        """A number that changes whenever the place is better known than before."""
        return self._gnss.count, self._modem.cell

    def _carry_out(self, now):
        while self._wanted:
            kind = self._alarm.gesture(self._wanted[0], now)
            if kind == alarm.ALERT and self._alarm.active and self._delivery.full_of_alerts():
                kind = alarm.UPDATE
            if not self._raise(kind):
                self._haptic.play("fault")
                break  # stays wanted: tried again, for as long as it takes
            self._wanted.pop(0)
            self._haptic.play(FELT[kind])

    def _raise(self, kind):
        """Seal and store. False when that is impossible for now."""
        message = self._state.seal(kind, self._battery.percent, self._gnss.fix(), self._modem.cell, self._news())
        if message is None:
            self._retry_at = self._clock.ms() + CORE_MS
            return False
        size = len(message.octets)
        if kind == alarm.ALERT:
            self._wifi.kick()
            self._mqtt.kick()
            log.event("raised", counter=message.counter, octets=size)
        else:
            log.event("update", counter=message.counter, octets=size)
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
                self._wake.set()

            if self._sms.send(message.octets, result):
                log.event("published", counter=counter, path="sms")
            else:
                self._delivery.texted(counter, False, now)

    # -- receipts and heartbeats ------------------------------------------------------------------------------------

    async def _open_receipts(self):
        while True:
            self._receipt.clear()
            while self._receipts:
                octets, path = self._receipts.pop(0)
                try:
                    await self._open_receipt(octets, path)
                except ValueError as error:
                    why = str(error.args[0]).replace(" ", "_") if error.args else "ValueError"
                    log.event("refused", what="receipt", reason=why)
            await self._receipt.wait()

    async def _open_receipt(self, octets, path):
        while not self._state.scan(octets):
            await asyncio.sleep_ms(0)
        counter, waited, feel = self._state.open(octets)
        log.event("receipt", counter=counter, path=path)
        if waited:
            log.event("delivered", counter=counter)
        if feel:
            self._haptic.play("heard")
        self._wake.set()

    async def _heartbeats(self):
        # The first one soon after boot, but not of all bracelets at once after a power cut.
        await asyncio.sleep_ms(10000 + 200 * _random_byte())
        while True:
            if self._mqtt.up:
                self._heartbeat()
            await asyncio.sleep_ms(self._settings.heartbeat_s * 1000)

    def _heartbeat(self):
        sealed = self._state.heartbeat(self._battery.percent)
        if sealed and self._mqtt.publish(HEARTBEAT_TOKEN, self._id.topic + "hb", sealed[1]):
            log.event("heartbeat", counter=sealed[0])

    async def _save_time(self):
        while True:
            await asyncio.sleep_ms(SAVE_MS)
            self._state.persist()


def main():
    try:
        asyncio.run(App().run())
    except Exception as error:  # it could not start; what it was may be better after a reset
        log.event("crashed", reason=log.reason(error))
    time.sleep_ms(CRASH_MS)
    machine.reset()
