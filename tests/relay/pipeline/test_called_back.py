"""What leaves for a bracelet whose wearer has called her alarm back: receipts and settings, no order about the alarm.

Forced or not: nothing that leaves may tell.
"""

from __future__ import annotations

import pytest

from relay.commands.case import who_is_told
from relay.downlink import Desk, Downlink
from relay.pipeline import Pipeline
from relay.store import Store
from relay.verify.down import Kind
from tests.relay.pipeline.test_commands import beat, case_documents, desk, downlink, raised, read, results
from tests.relay.support import NETWORK_TIME, NOW, Bracelet, provision

__all__ = ["desk", "downlink"]  # fixtures

PLAIN, FORCED = NETWORK_TIME | 2, NETWORK_TIME | 2 | 4


def called_back(pipeline: Pipeline, bracelet: Bracelet, flags: int, now: float = NOW) -> bytes:
    """The alarm whose Alert was the message before is; the receipt."""
    (item,) = pipeline.process([bracelet.by_mqtt(bracelet.alarm(1, flags))], now).items
    assert item.receipt is not None
    return item.receipt


@pytest.mark.parametrize("flags", [PLAIN, FORCED], ids=["plain", "forced"])
def test_of_what_was_called_back_no_order_leaves(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink, flags: int
) -> None:
    """Neither of it, nor of an earlier alarm: the bracelet heeds none. Subscribers are told, and settings go on."""
    earlier, alarm = raised(pipeline, bracelet), raised(pipeline, bracelet)
    bracelet.confirmed(called_back(pipeline, bracelet, flags))
    for say in (desk.accept, desk.close):
        for each in (earlier, alarm):
            asked = say(each, now=NOW)
            assert (asked.tells, asked.called_back) == (False, each == alarm)
            assert asked.later_called_back == (each == earlier)
            reason = "because it was called back" if each == alarm else "though this one was not"
            assert reason in who_is_told(asked)
    assert (downlink.due(NOW), results(store)) == ([], [])
    assert len(case_documents(store)) == 4
    desk.configure(bracelet.kid, {"hold_ms": 2000}, now=NOW)
    newer = raised(pipeline, bracelet)
    asked = desk.accept(newer, now=NOW)
    assert (asked.tells, asked.called_back, asked.later_called_back) == (True, False, False)
    assert [read(bracelet, command)[0] for command in downlink.due(NOW)] == [Kind.CONFIGURE, Kind.ACCEPT]


@pytest.mark.parametrize("flags", [PLAIN, FORCED], ids=["plain", "forced"])
@pytest.mark.parametrize("of", ["it", "an earlier alarm"])
def test_orders_that_a_cancel_finds_waiting_are_withdrawn(
    store: Store, pipeline: Pipeline, bracelet: Bracelet, desk: Desk, downlink: Downlink, flags: int, of: str
) -> None:
    """One was sealed and sent, the other not. Of the sealed one the bracelet may miss a counter: it gets those very
    octets when a heartbeat says so, which an observer can't tell from a receipt."""
    earlier, newest = raised(pipeline, bracelet), raised(pipeline, bracelet)
    alarm = newest if of == "it" else earlier
    desk.accept(alarm, now=NOW)
    (sealed,) = downlink.due(NOW)
    downlink.sent(sealed, NOW)
    desk.close(alarm, now=NOW)
    assert len(called_back(pipeline, bracelet, flags)) == len(sealed.octets)
    assert downlink.due(NOW + 1) == []
    assert results(store) == ["superseded", "superseded"]
    assert beat(pipeline, bracelet, sealed.counter, NOW + 900) == (sealed.octets, False)
    assert downlink.due(NOW + 86400) == []


def test_the_same_leaves_whatever_the_operator_does_about_either(
    store: Store, pipeline: Pipeline, desk: Desk, downlink: Downlink
) -> None:
    """A forced one is accepted at once and closed when the hour is over, a plain one closed: what leaves for the two
    bracelets, and when, is equal, through lost messages and heartbeats that miss them."""
    lives = []
    for flags in (PLAIN, FORCED):
        bracelet = provision(store, f"wren {flags}")
        alarm, seen = raised(pipeline, bracelet), list[tuple[float, int, int | None]]()
        desk.accept(alarm, now=NOW)
        (told,) = downlink.due(NOW)
        downlink.sent(told, NOW)
        closed_at = 30 if flags == PLAIN else 4000
        for after in (*range(0, 130, 10), *range(300, 9000, 300), 25_200, 90_000):
            now = NOW + after
            if after == 20:
                seen.append((after, len(called_back(pipeline, bracelet, flags, now)), None))
            if after == closed_at:
                desk.close(alarm, now=now)
            if after >= 900 and after % 900 == 0:
                answer, _ = beat(pipeline, bracelet, told.counter, now)
                seen.append((after, len(answer or b""), None))
            for command in downlink.due(now):
                seen.append((after, len(command.octets), command.counter))
                downlink.sent(command, now)
        lives.append(seen)
    assert lives[0] == lives[1]
    assert len([seen for seen in lives[0] if seen[1]]) > 9, "there was something to compare"
