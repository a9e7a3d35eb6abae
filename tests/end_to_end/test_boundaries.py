"""The relay killed with SIGKILL at each of its boundaries, with a bracelet that waits for its receipt: nothing is lost,
nothing is stored twice."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.stack import BrokerFactory, Stack
from tests.end_to_end.scene import PATIENCE_S
from tests.relay.service.crashing import BOUNDARIES

HOLD_S = 3.2
DRIVER = Path(__file__).with_name("killed_relay.py")


def counters(stack: Stack, *what: str) -> set[int]:
    """Of the messages of which the firmware has reported this."""
    trace = stack.world.call(lambda: list(stack.world.trace))
    return {event.detail["counter"] for event in trace if event.who == "firmware" and event.what in what}


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def stored(stack: Stack) -> tuple[list[int], int, int]:
    """The counters of the alarms on the relay's disk, how many deliveries there are for them, and how many not done."""
    with stack.relay_parts.store.read() as connection:
        alarms = connection.exec_driver_sql("select counter from alarm order by counter").scalars().all()
        query = "select count(*), count(*) - count(done_ms) from outbox"
        deliveries, open_ones = connection.exec_driver_sql(query).one()
    return list(alarms), deliveries, open_ones


@pytest.mark.long
def test_killed_at_every_boundary_with_a_real_bracelet(broker: BrokerFactory, tmp_path: Path) -> None:
    boundary = tmp_path / "boundary"
    command = (sys.executable, str(DRIVER), str(boundary))
    with Stack(tmp_path, broker=broker, sms=False, relay_command=command) as stack:
        button = stack.bracelet.button
        for name in BOUNDARIES:
            stack.kill_relay()
            boundary.write_text(name)
            stack.start_relay()
            before = counters(stack, "raised", "update")
            stack.world.call(lambda: button.press(HOLD_S))
            eventually(lambda old=before: counters(stack, "raised", "update") > old, "the alarm is raised")
            eventually(lambda: not stack.relay_running, f"the relay dies {name}")
            boundary.unlink()
            stack.start_relay()
            waiting = counters(stack, "raised", "update")
            eventually(lambda all=waiting: all <= counters(stack, "delivered"), f"all are delivered after {name}")

        sealed = counters(stack, "delivered")
        assert len(sealed) >= len(BOUNDARIES)
        eventually(lambda: stored(stack)[2] == 0, "all are rebroadcast")
        alarms, deliveries, _ = stored(stack)
        assert len(alarms) == len(set(alarms)) == deliveries
        assert sealed <= set(alarms)
        eventually(lambda: sealed <= {json.loads(d)["counter"] for d in stack.documents}, "the subscriber has them")
        # A document may come twice, then it is the same one.
        different = set(stack.documents)
        assert len({json.loads(document)["counter"] for document in different}) == len(different)
