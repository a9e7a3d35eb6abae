"""The relay's process in a benchmark: the service as it is, the same without sealing, or the naive loop, in each case
on a disk that may be slow.

    python -m relay.bench.target DATA batch|clear|naive SYNC_MS MESSAGES      -> JSON lines on standard output: how far
    it is, at what cost

The process ends on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Connection

from relay import log, store
from relay.assembly import Relay
from relay.datadir import DataDir
from relay.ingest.intake import MQTT, parse_topic
from relay.ingest.mqtt import FILTERS
from relay.outbox import OutboxId
from relay.pipeline import Inbound, Outcome, Pipeline
from relay.receipt import topic as receipt_topic
from relay.service import Service, wall_clock
from relay.store import Store
from relay.subscribers import audiences
from relay.subscribers.sealing import Epoch

_REPORT = 0.05


class SlowStore(Store):
    """A store whose commits take longer, as on a disk that needs so long to sync. Sleeping costs no CPU time, like
    waiting for a disk."""

    sync_s = 0.0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
        time.sleep(self.sync_s)


class BenchRelay(Relay):
    """A relay on a disk of given speed."""

    sync_s = 0.0

    @cached_property
    def store(self) -> Store:
        fast = store.open(self.data.db_url, self.data.store_key())
        if not self.sync_s:
            return fast
        slow = SlowStore(fast.engine, fast.box)
        slow.sync_s = self.sync_s
        return slow


class _Clear(Epoch):
    """An epoch that publishes in clear: the difference is the cost of sealing. No relay does this."""

    __slots__ = ()

    def seal(self, topic: str, document: bytes, padded: int) -> bytes:
        return document


class Meter:
    """A meter that counts messages, and says how many there were, until when, for how much CPU time of this process."""

    def __init__(self, expected: int) -> None:
        self.messages = 0
        self.started = False
        self._expected = expected
        self._reported = -1
        self._report_at = 0.0
        self._cpu = 0.0

    def start(self) -> None:
        self.started = True
        self._cpu = time.process_time()
        self.report(force=True)

    def report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        complete = self.messages >= self._expected > self._reported
        if force or complete or (self.messages != self._reported and now >= self._report_at):
            self._reported, self._report_at = self.messages, now + _REPORT
            cpu = round(time.process_time() - self._cpu, 4)
            click.echo(json.dumps({"messages": self.messages, "at": now, "cpu_s": cpu}))


class Metered(Service):
    """The service, unchanged, with a meter."""

    meter: Meter

    def answer(self, batch: Sequence[Inbound], outcome: Outcome, now: float) -> None:
        super().answer(batch, outcome, now)
        self.meter.messages += len(batch)

    def turn(self) -> None:
        super().turn()
        if self.meter.started:
            self.meter.report()
        elif self.sessions.ready:
            self.meter.start()


class Naive:
    """A relay that takes one message at a time, as a first version would: a callback verifies, commits, publishes,
    acknowledges and answers, then takes the next.

    This relay has the same parts (pipeline, store, rebroadcast, receipt), a plain paho client, a transaction a message.
    It even saves the transaction that would record a delivery as done: the next message's transaction does that.
    """

    def __init__(self, relay: Relay, meter: Meter) -> None:
        self._pipeline = Pipeline(relay.store, relay.keys)
        self._meter = meter
        self._waiting: dict[int, OutboxId] = {}
        self._done: list[OutboxId] = []
        endpoint = relay.endpoint()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=endpoint.client_id, clean_session=False, manual_ack=True
        )
        client.username_pw_set(endpoint.user, endpoint.password)
        assert endpoint.tls is not None
        client.tls_set_context(endpoint.tls)
        client.max_inflight_messages_set(0)
        client.on_connect = lambda c, *_: c.subscribe([(f, 1) for f in FILTERS])
        client.on_subscribe = lambda *_: meter.start()
        client.on_message = self._message
        client.on_publish = self._published
        client.connect(endpoint.host, endpoint.port, endpoint.keepalive)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._client.disconnect())
        self._client.loop_forever()

    def _message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        kind, kid = parse_topic(message.topic)
        done, self._done = self._done, []
        inbound = Inbound(MQTT, bytes(message.payload), kind, kid)
        (item,) = self._pipeline.process([inbound], wall_clock(), done, wall_clock).items
        for delivery in item.deliveries:
            self._waiting[self._client.publish(delivery.topic, delivery.octets, qos=1).mid] = delivery.id
        self._client.ack(message.mid, 1)
        if item.receipt is not None and item.kid is not None:
            self._client.publish(receipt_topic(item.kid), item.receipt, qos=1)
        self._meter.messages += 1
        self._meter.report()

    def _published(self, _client: paho.Client, _userdata: object, mid: int, *_: object) -> None:
        if (key := self._waiting.pop(mid, None)) is not None:
            self._done.append(key)


def main() -> None:
    data, variant, sync_ms = DataDir(Path(sys.argv[1])), sys.argv[2], float(sys.argv[3])
    log.configure(json=True)
    relay = BenchRelay(data)
    relay.sync_s = sync_ms / 1000
    meter = Meter(int(sys.argv[4]))
    if variant == "clear":
        vars(audiences)["Epoch"] = _Clear
    if variant == "naive":
        Naive(relay, meter).run()
    else:
        Metered.meter = meter
        relay.service(log.get(), Metered).run()
    meter.report(force=True)


if __name__ == "__main__":
    main()
