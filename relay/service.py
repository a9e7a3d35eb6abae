"""The relay at work: one thread, one loop, from what comes in to what goes out.

    MQTT, SMS -> lanes -> commit (verify, one transaction) -> publish -> acknowledge (PUBACK, delete SMS) -> answer
    (receipt)

The order of the last four is the promise: the relay acknowledges nothing that is not on disk, and puts no alarm on disk
without a delivery in the outbox. A crash between any two steps leads to a repetition, never to silence. Other modules
say what a step *means*; this one only keeps the order, the bounds and the retries. It is one thread because
verification is pure computation, and a second busy thread would cost more than it gives.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from relay.broker import Broker, BrokerError, MqttUser
from relay.channels.down import Commands, whose
from relay.channels.epoch_keys import EpochKeys
from relay.channels.mqtt import Rebroadcast
from relay.config import Limits
from relay.downlink import Downlink, Outbound
from relay.duties import STORE_ERRORS, Duty
from relay.flood_log import tell_of_flood
from relay.ingest.intake import MQTT, SMS, intake_for, parse_topic
from relay.ingest.mqtt import Endpoint, Message
from relay.ingest.ratelimit import RateLimit
from relay.ingest.serial_port import SmsLink
from relay.ingest.sessions import Former, Sessions
from relay.ingest.sms import Incoming, Outgoing, Report, Sent
from relay.log import EventLog, Logger, drill_mark
from relay.modem_log import tell_of_modem
from relay.outbox import ALARM, Delivery, Outbox
from relay.pipeline import Inbound, Item, Outcome, Pipeline, Status
from relay.receipt import topic as receipt_topic
from relay.store import records
from relay.store.schema import COUNTERS
from relay.subscribers.register import Subscribers
from relay.verify import Reason
from relay.verify.envelope import MAX_OCTETS

_IDLE = 1.0
# After a batch the loop lets messages gather: a lone alarm is taken at once, a stream of alarms shares transactions. A
# rest delays a stream by at most _REST_MOST, and saves most of its CPU time (at 2,000 messages/s 390 us each without a
# rest, 170 with 0.05 s, 150 with 0.1 s). The bigger the batch was, the more there is to save.
_REST_LEAST, _REST_EACH, _REST_MOST = 0.02, 0.0005, 0.1
_FLOOD_REST = 0.25  # when only flooding accounts wait, they get one transaction in this time; reading goes first
_SUPERVISE = 1.0
_SUPERVISE_FLOOD = 0.25  # until a flooding account is cut off, everybody waits behind its messages at the broker
_RENEW_LOOK = 60.0  # a clock may be set at any moment
_RELOAD_RETRY = 10.0
_RECORD_DONE = 0.1  # deliveries are recorded with the next batch, or after this long without one
_STORE_RETRY = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
_UNSENT_MOST = 8 * 1024 * 1024
_RECEIPTS_MOST = 40_000  # on their way to the broker; of 65,535 message ids
_DRAIN = 2.0
_DUPLICATE_BURST_SMS = 3
_DUPLICATES_PER_HOUR_MQTT = 3600
_DUPLICATE_BURST_MQTT = 60
_COUNT_LET_GO = 10.0


def wall_clock() -> float:
    """Return this machine's time in seconds since 1970."""
    return time.time_ns() / 1e9


class Service:
    """A running relay. `commit`, `publish`, `acknowledge` and `answer` are its steps, in this order.

    `cut_off(kid, seconds)` keeps a bracelet's account off the broker for a while; False if it can't.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        outbox: Outbox,
        endpoint: Endpoint,
        log: Logger,
        *,
        limits: Limits | None = None,
        sms: SmsLink | None = None,
        broker: Broker | None = None,
        users: Callable[[], Sequence[MqttUser]] = tuple,
        renew: Callable[[], bool] = lambda: False,
        former: Former | None = None,
        cut_off: Callable[[str, float], bool] = lambda _account, _seconds: False,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline = pipeline
        self.outbox = outbox
        self.log = log
        self.limits = limits or Limits()
        self.sms = sms
        self.broker = broker
        self._users = users
        self._renew = renew
        self._events = EventLog(log)
        # A single limit for both would leave alarms out of the log while somebody sends junk.
        self._refusals = EventLog(log, per_second=20.0, burst=500)
        self._intake = intake_for(self.limits)
        self._lanes = self._intake.lanes
        self._cut_off = cut_off
        self._announce = announce
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self.sessions = Sessions(
            endpoint,
            log,
            on_message=self._arrived,
            on_published=self._published,
            room_for_alarms=lambda: self._lanes.has_room_for_alarms,
            room_for_heartbeats=lambda: self._lanes.has_room,
            longest=MAX_OCTETS + 1,
            wake=self.wake,
            may_connect=lambda: broker is None or broker.serves(),
            former=former,
        )
        self.mqtt = self.sessions.alarms  # the relay publishes by this session
        self.rebroadcast = Rebroadcast(outbox, self.mqtt, self._note_refilled)
        downlink = Downlink(pipeline.store, pipeline.keys, pipeline.roster.drop, pipeline.lead)
        self.commands = Commands(downlink, self.mqtt, sms, self._note_command)
        self.epoch_keys = EpochKeys(Subscribers(pipeline.store, pipeline.worker), pipeline.keys, self.mqtt)
        self._duties = (
            Duty("rebroadcast", self.rebroadcast.refill, log),
            Duty("orders", self.commands.send, log),
            Duty("epoch keys", self.epoch_keys.send, log),
        )
        self._repeat_sms = RateLimit(self.limits.duplicate_sms_per_hour, _DUPLICATE_BURST_SMS)
        self._repeat_mqtt = RateLimit(_DUPLICATES_PER_HOUR_MQTT, _DUPLICATE_BURST_MQTT)
        self._now = 0.0  # of this turn
        self._batch = self.limits.batch
        self._store_failures = 0
        self._store_retry_at = 0.0
        self._supervise_at = 0.0
        self._renew_at = time.monotonic() + _RENEW_LOOK
        self._unshown = False  # there is a new certificate, which the broker has not taken up
        self._worked_at = 0.0
        self._count_at = 0.0
        self._rest_until = 0.0
        self._flood_at = 0.0
        self._stopping = False
        self._reload_at: float | None = None  # when to read the registry again

    # ---- life ----

    def run(self) -> None:
        """Serve until `stop`. Call this in the main thread to have signals handled: TERM and INT end it, HUP reads the
        registry again. A caller that may get signals earlier blocks them until then."""
        with self._signals():
            try:
                self.start()
                # The objects loaded by now stay; searching them again and again for garbage would only delay alarms.
                gc.collect()
                gc.freeze()
                while not self._stopping:
                    self.turn()
                self._drain()
            finally:
                self.close()

    def start(self) -> None:
        """Prepare the first turn. Raises when the relay could not do its work at all."""
        freed = self.outbox.release()
        if self.broker is not None:
            self.broker.start()
        self.log.info(
            "relay.started", unfinished_deliveries=self.outbox.pending(), freed=freed, sms=self.sms is not None
        )
        self._announce()

    def stop(self) -> None:
        """End `run` soon; callable from a signal handler or another thread."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """End the loop's wait; callable from anywhere."""
        with suppress(OSError):  # it is awake already, or closed
            os.write(self._wake_w, b"\0")

    def turn(self) -> None:
        """Do one turn of the loop: wait, read, work, write."""
        now = time.monotonic()
        readable, writable = self._wait(now)
        now = time.monotonic()
        self._now = now
        self._events.refresh(now)
        self._refusals.refresh(now)
        if self._wake_r in readable:
            os.read(self._wake_r, 4096)
        if self._reload_at is not None and now >= self._reload_at:
            self._reload(now)
        self.sessions.read(readable)
        self.sessions.tick(now)
        if self.sms is not None:
            if self.sms.fileno() in writable:
                self.sms.writable(now)
            if self.sms.fileno() in readable:
                self._sms_reports(self.sms.readable(now), now)
            self._sms_reports(self.sms.tick(now), now)
        if now >= self._supervise_at:
            self._supervise_at = now + (_SUPERVISE_FLOOD if self._intake.is_flooded else _SUPERVISE)
            self._supervise(now)
            if now >= self._renew_at:
                self._renew_certificate(now)
        self._work(now)
        self.sessions.flush()

    def close(self) -> None:
        self.sessions.close()
        if self.sms is not None:
            self.sms.close()
        if self.broker is not None:
            self.broker.stop()
        for end in (self._wake_r, self._wake_w):
            os.close(end)
        self._wake_r = self._wake_w = -1  # a signal may still come when these numbers belong to other files
        self.log.info("relay.stopped")

    # ---- the steps ----

    def commit(self, batch: Sequence[Inbound]) -> Outcome:
        """Verify and store a batch. When this returns, all of it is on disk; when it raises, acknowledge none of it."""
        done = self.rebroadcast.take_done()
        try:
            return self.pipeline.process(batch, wall_clock(), done=done, clock=wall_clock)
        except BaseException:
            self.rebroadcast.put_back_done(done)
            raise

    def publish(self, outcome: Outcome, now: float) -> None:
        """Hand the new alarms to the broker, sealed for each audience."""
        what = "alarm.rebroadcast" if self.mqtt.reaches_broker else "alarm.waits_for_broker"
        for item in outcome.items:
            if sum(self.rebroadcast.publish(*delivery, now) for delivery in item.deliveries):
                self._events.emit(what, wall_clock(), item.kid, item.counter, **drill_mark(item.drill))

    def acknowledge(self, batch: Sequence[Inbound], outcome: Outcome, now: float) -> None:
        """Let go of the messages that are on disk or refused: by PUBACK, or by deletion from the SIM."""
        for inbound, item in zip(batch, outcome.items, strict=True):
            refused = item.status is Status.REFUSED
            self._intake.judged(inbound, refused=refused)
            if isinstance(inbound.reply, Message):
                self.sessions.acknowledge(inbound.reply)
            elif isinstance(inbound.reply, Incoming) and self.sms is not None:
                # A refused SMS is read again before it is deleted; those of a flood would fill the memory meanwhile.
                let_go = self.sms.reject if refused and not self._intake.is_flooding(inbound) else self.sms.release
                let_go(inbound.reply.ref, now)

    def answer(self, batch: Sequence[Inbound], outcome: Outcome, now: float) -> None:
        """Send receipts, each on the path by which its message came."""
        for inbound, item in zip(batch, outcome.items, strict=True):
            if item.receipt is None or item.kid is None:
                continue
            if isinstance(inbound.reply, Incoming):
                self._answer_by_sms(inbound.reply, item, now)
            else:
                self._answer_by_mqtt(item, now)

    def _answer_by_mqtt(self, item: Item, now: float) -> None:
        assert item.kid is not None and item.receipt is not None
        if item.status is Status.DUPLICATE and not self._repeat_mqtt.allow(item.kid, now):
            return
        # If there is no room, the bracelet gets its receipt when it asks again.
        if (
            self.mqtt.outstanding < _RECEIPTS_MOST
            and self.mqtt.publish(receipt_topic(item.kid), item.receipt, now) is not None
        ):
            for octets in item.also:
                self.mqtt.publish(receipt_topic(item.kid), octets, now)
            sent = "sent" if self.mqtt.reaches_broker else "waits_for_broker"
            what = "down.repeated" if item.status is Status.HEARTBEAT else f"receipt.{sent}"
            self._events.emit(what, wall_clock(), item.kid, item.counter, path=MQTT)

    def _answer_by_sms(self, message: Incoming, item: Item, now: float) -> None:
        assert item.kid is not None
        assert item.receipt is not None
        assert self.sms is not None
        if item.status is Status.DUPLICATE and not self._repeat_sms.allow(item.kid, now):
            self.log.warning(
                "receipt.held_back", kid=item.kid, counter=item.counter, path=SMS, reason="too many repetitions"
            )
            return
        if not self.sms.send(Outgoing(message.sender, item.receipt, (item.kid, item.counter)), now):
            self.log.warning("receipt.not_queued", kid=item.kid, counter=item.counter, path=SMS)

    # ---- what comes in ----

    def _arrived(self, message: Message) -> None:
        kind, kid = parse_topic(message.topic)
        if not self._intake.arrived(Inbound(MQTT, message.octets, kind, kid, message), self._now):
            self.sessions.acknowledge(message)

    def _published(self, mid: int) -> None:
        self.epoch_keys.published(mid)
        key = self.rebroadcast.published(mid)
        if key is not None:
            kid, counter = divmod(key.alarm_id, COUNTERS)
            what = "alarm" if key.document == ALARM else "case"
            self._events.emit(f"{what}.at_broker", wall_clock(), f"{kid:08x}", counter)

    def _sms_reports(self, reports: Sequence[Report], now: float) -> None:
        for report in reports:
            if isinstance(report, Incoming):
                self._intake.arrived(Inbound(SMS, report.octets, None, None, report, report.sender), now)
            elif isinstance(report, Sent):
                self._note_sent(report.message)
            else:
                tell_of_modem(self.log, report)

    def _note_sent(self, message: Outgoing) -> None:
        what, tag = whose(message.tag)
        self._events.emit(f"{what}.sent", wall_clock(), path=SMS, **tag)

    # ---- work ----

    def _work(self, now: float) -> None:
        if now < self._store_retry_at or self.mqtt.unsent > _UNSENT_MOST:
            return
        batch = self._lanes.take(self._batch) if self._lanes.urgent or now >= self._flood_at else []
        try:
            if batch:
                self._batch_through(batch, now)
            elif self.rebroadcast.has_done and now - self._worked_at >= _RECORD_DONE:
                self.commit(())
                self._worked_at = now
            if now >= self._count_at and (count := self._intake.take_let_go()):
                self._count_at = now + _COUNT_LET_GO
                with self.pipeline.store.write() as connection:
                    refused = {(Reason.FLOOD.value, MQTT): count}
                    records.count_refusals(self.pipeline.store, connection, refused, int(wall_clock() * 1000))
            for duty in self._duties:
                duty(wall_clock(), now)
        except STORE_ERRORS as error:
            self._store_failed(error, now)

    def _batch_through(self, batch: list[Inbound], now: float) -> None:
        """Take one batch through all steps."""
        try:
            outcome = self.commit(batch)
        except Exception:
            self._lanes.put_back(batch, alarms=lambda inbound: inbound.kind != "hb")
            raise
        self._store_works()
        refused = {(item.kid, item.counter) for item in outcome.items if item.status is Status.REFUSED}
        for event in outcome.events:
            events = self._refusals if (event.kid, event.counter) in refused else self._events
            events.emit(event.name, event.at, event.kid, event.counter, **event.fields)
        self.publish(outcome, now)
        self.acknowledge(batch, outcome, now)
        self.answer(batch, outcome, now)
        if outcome.registry_changed:
            self._reload_at = 0.0
        self._worked_at = now
        self._flood_at = now + _FLOOD_REST
        if not self._lanes and len(batch) < self._batch and not self._intake.is_flooded:
            self._rest_until = now + min(_REST_LEAST + _REST_EACH * len(batch), _REST_MOST)

    def _note_command(self, command: Outbound, path: str) -> None:
        if path == MQTT:  # an SMS is noted when the modem reports it sent
            self._events.emit("command.sent", wall_clock(), path=MQTT, **whose(command)[1])

    def _note_refilled(self, delivery: Delivery) -> None:
        what = "alarm" if delivery.id.document == ALARM else "case"
        fields = {"attempt": delivery.attempt, **drill_mark(delivery.drill)}
        self._events.emit(f"{what}.rebroadcast", wall_clock(), delivery.kid, delivery.counter, **fields)

    def _store_failed(self, error: Exception, now: float) -> None:
        delay = _STORE_RETRY[min(self._store_failures, len(_STORE_RETRY) - 1)]
        self._store_failures += 1
        self._store_retry_at = now + delay
        self._batch = max(1, self._batch // 2)
        hint = "nothing was acknowledged and nothing is lost; is the disk full, or the database locked or unreachable?"
        self.log.error("store.failed", error=error, waiting=len(self._lanes), retry_s=delay, hint=hint)

    def _store_works(self) -> None:
        if self._store_failures:
            self.log.info("store.works_again", failures=self._store_failures)
        self._store_failures = 0
        self._batch = min(self.limits.batch, self._batch * 2)

    # ---- around it ----

    def _wait(self, now: float) -> tuple[list[int], list[int]]:
        reading, writing = self.sessions.waits_for()
        if now < self._rest_until:
            reading = []
        reading.append(self._wake_r)
        modem = self.sms.fileno() if self.sms is not None else None
        if modem is not None and self.sms is not None:
            reading.append(modem)
            if self.sms.wants_write:
                writing.append(modem)
        readable, writable, _ = select.select(reading, writing, [], self._patience(now))
        return readable, writable

    def _patience(self, now: float) -> float:
        """Return the seconds that the loop may sleep."""
        if self._stopping or self.sessions.may_read_on:
            return 0.0
        until = [now + _IDLE, self._supervise_at, self.sessions.deadline(now)]
        if self._reload_at is not None:
            until.append(self._reload_at)
        if self._rest_until > now:
            until.append(self._rest_until)
        if self.sms is not None:
            until.append(self.sms.deadline())
        if len(self._lanes):
            work_at = self._store_retry_at if self._lanes.urgent else max(self._store_retry_at, self._flood_at)
            until.append(work_at if self.mqtt.unsent <= _UNSENT_MOST else now + _IDLE)
        elif self.rebroadcast.has_done:
            until.append(max(self._worked_at + _RECORD_DONE, self._store_retry_at))
        return max(0.0, min(until) - now)

    def _supervise(self, now: float) -> None:
        for path, flood in self._intake.floods(now):
            tell_of_flood(self.log, path, flood, self._cut_off, self.limits.cut_off_s)
        if self.broker is None:
            return
        try:
            if self.broker.ensure_running():
                self.log.error("broker.restarted", hint="the embedded broker or its gate had ended; see broker/log")
        except (BrokerError, OSError) as error:
            self._supervise_at = now + 5 * _SUPERVISE
            self.log.error("broker.down", error=error, retry_s=5 * _SUPERVISE)

    def _renew_certificate(self, now: float) -> None:
        """Check that the embedded broker's certificate is still fit; if not, give the broker a new one."""
        self._renew_at = now + _RENEW_LOOK
        if self.broker is None:
            return
        try:
            self._unshown |= self._renew()
            if self._unshown:
                self.broker.renew()
                self._unshown = False
                self.log.info("broker.certificate_renewed")
        except Exception as error:  # a faulty certificate must not end the service
            hint = "check this machine's clock, and tls/ in the data folder; bracelets may refuse the broker meanwhile"
            self.log.error("broker.certificate_not_renewed", error=error, retry_s=_RENEW_LOOK, hint=hint)

    def _reload(self, now: float) -> None:
        self._reload_at = None
        self.epoch_keys.look_at = now
        try:
            users = list(self._users())
            if self.broker is not None:
                self.broker.reload(users)
        except Exception as error:  # a registry that can't be read now must not end the service
            self._reload_at = now + _RELOAD_RETRY
            self.log.error("registry.not_reloaded", error=error, retry_s=_RELOAD_RETRY)
        else:
            self.log.info("registry.reloaded")

    def _drain(self) -> None:
        """Give the broker a moment to confirm the deliveries on their way, so that the next start does not send them
        again."""
        self.log.info("relay.stopping", in_flight=self.rebroadcast.in_flight)
        deadline = time.monotonic() + _DRAIN
        while self.rebroadcast.in_flight and self.mqtt.connected and time.monotonic() < deadline:
            self.mqtt.flush()
            fd = self.mqtt.fileno()
            if fd is None:
                break
            if select.select([fd], [], [], 0.05)[0]:
                self.mqtt.readable()
        try:
            if self.rebroadcast.has_done:
                self.commit(())
        except STORE_ERRORS as error:
            self.log.error("store.failed", error=error, hint="some deliveries will be repeated at the next start")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def on_stop(_number: int, _frame: object) -> None:
            self.stop()

        def on_reload(_number: int, _frame: object) -> None:
            self._reload_at = 0.0
            self.wake()

        handlers = {signal.SIGTERM: on_stop, signal.SIGINT: on_stop, signal.SIGHUP: on_reload}
        try:
            before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        except ValueError:  # not in the main thread: there the caller uses `stop`
            yield
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
