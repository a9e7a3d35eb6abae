"""When a running relay examines its broker, and what it says."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from relay.broker.check import Finding
from relay.broker.check.examine import Target, alone, keep_examining
from relay.datadir import DataDir
from tests.relay.ingest.fake_broker import FakeBroker, Recorder

from .looking import roles


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Counting:
    """A target that counts how often it is examined."""

    def __init__(self, target: Target) -> None:
        self.target, self.times = target, 0

    def examine(self) -> list[Finding]:
        findings = self.target.examine(seconds=5, patience=0.2)
        self.times += 1
        return findings


def test_a_broker_is_examined_again_when_it_was_away_and_only_news_are_told(tmp_path: Path) -> None:
    log, ready = Recorder(), [1]
    bad, other = FakeBroker(suback=0x80), FakeBroker(on_connect="closes")
    target = Target("127.0.0.1", bad.port, None, roles())
    counting = Counting(target)
    keep_examining(counting, DataDir(tmp_path), log, lambda: ready[0], every_s=0.01)  # type: ignore[arg-type]
    until(lambda: counting.times == 1 and "broker.loses" in log.events)
    assert log.fields["broker.loses"]["hint"]
    told = list(log.events)
    time.sleep(0.2)
    assert counting.times == 1

    ready[0] += 1
    until(lambda: counting.times == 2)
    assert log.events == told

    counting.target = replace(target, port=other.port)
    ready[0] += 1
    until(lambda: "broker.not_examined" in log.events)
    counting.target = target  # the relay need not be ready for that
    until(lambda: len(log.events) >= 2 * len(told) + 1)
    assert log.events == [*told, "broker.not_examined", *told]
    for broker in (bad, other):
        broker.close()


def test_two_checks_of_a_folder_wait_for_each_other(tmp_path: Path) -> None:
    data, order = DataDir(tmp_path), []

    def second() -> None:
        with alone(data):
            order.append("second")

    with alone(data):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.3)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
