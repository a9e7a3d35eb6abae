"""The queue of messages to be sent: order, repetition, and what a lost port leaves."""

from __future__ import annotations

import pytest

from relay.ingest.at import Command, Finished
from relay.ingest.reports import Outgoing, Sent, Unsent
from relay.ingest.send_queue import SEND_RETRY, SendQueue

A, B = Outgoing("+10000000001", b"a"), Outgoing("+10000000002", b"b")


def started(queue: SendQueue, now: float) -> Command:
    command = queue.start(now)
    assert command is not None
    return command


def refused(command: Command, error: str) -> Finished:
    return Finished(command, error=error)


def test_messages_go_in_order_and_count_until_they_are_sent() -> None:
    queue = SendQueue(5)
    assert queue.add(A)
    assert queue.add(B)
    for message in (A, B):
        command = started(queue, 0.0)
        assert queue.has(message)
        assert queue.finished(Finished(command), 0.0) == [Sent(message)]
        assert not queue.has(message)
    assert len(queue) == 0
    assert queue.start(0.0) is None
    assert queue.due() is None


def test_what_is_on_its_way_takes_room() -> None:
    queue = SendQueue(1)
    assert queue.add(A)
    started(queue, 0.0)
    assert not queue.add(B)


def test_an_impossible_recipient_is_refused() -> None:
    queue = SendQueue(5)
    assert not queue.add(Outgoing("nobody", b"a"))
    assert len(queue) == 0


def test_a_lost_port_puts_what_was_on_its_way_first_again() -> None:
    queue = SendQueue(5)
    queue.add(A)
    queue.add(B)
    lost = started(queue, 0.0)
    queue.closed()
    assert len(queue) == 2
    assert queue.finished(refused(lost, "timeout"), 1.0) == []
    assert started(queue, 1.0) == lost


def test_a_refused_message_waits_while_others_go() -> None:
    queue = SendQueue(5)
    queue.add(A)
    queue.add(B)
    (report,) = queue.finished(refused(started(queue, 0.0), "+CMS ERROR: 38"), 0.0)
    assert report == Unsent(A, "+CMS ERROR: 38", final=False)
    assert queue.finished(Finished(started(queue, 0.0)), 0.0) == [Sent(B)]
    assert queue.due() == SEND_RETRY[0]
    assert queue.start(SEND_RETRY[0] - 0.1) is None
    started(queue, SEND_RETRY[0])


def test_after_a_timeout_nothing_is_sent_for_a_time_that_grows() -> None:
    """A modem that does not answer to a message can't be read meanwhile."""
    queue = SendQueue(99)
    now = 0.0
    for wait in (*SEND_RETRY[:4], SEND_RETRY[3]):
        queue.add(Outgoing("+10000000001", repr(now).encode()))
        queue.finished(refused(started(queue, now), "timeout"), now)
        queue.add(Outgoing("+10000000002", repr(now).encode()))
        assert queue.start(now + wait - 0.1) is None
        now += wait
        assert queue.due() == now


@pytest.mark.parametrize("error", ["timeout", "ERROR"])
def test_a_message_is_given_up_after_the_last_try(error: str) -> None:
    queue = SendQueue(5)
    queue.add(A)
    now, finals = 0.0, []
    while (due := queue.due()) is not None:
        now = max(now, due)
        (report,) = queue.finished(refused(started(queue, now), error), now)
        assert isinstance(report, Unsent)
        finals.append(report.final)
    assert finals == [False] * len(SEND_RETRY) + [True]
    assert len(queue) == 0


def test_recipients_take_turns_and_none_fills_the_queue() -> None:
    queue = SendQueue(40)
    taken = [queue.add(Outgoing("+10000000001", b"%d" % n)) for n in range(30)]
    assert taken.count(True) == 10
    assert queue.add(Outgoing("+10000000002", b"x"))
    recipients = []
    for _ in range(3):
        command = started(queue, 0.0)
        (report,) = queue.finished(Finished(command), 0.0)
        assert isinstance(report, Sent)
        recipients.append(report.message.recipient)
    assert "+10000000002" in recipients[:2]
