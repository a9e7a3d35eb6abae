"""An alarm raised while something is down arrives when it is back: once, in order, with its true time."""

from __future__ import annotations

import time

import pytest

from tests.end_to_end.scene import Scene


@pytest.mark.parametrize(
    "down", ["relay", *(pytest.param(down, marks=pytest.mark.long) for down in ("broker", "both"))]
)
def test_raised_while_down_delivered_when_back(scene: Scene, down: str) -> None:
    stack = scene.stack
    if down != "relay":
        stack.kill_broker()
    if down != "broker":
        stack.kill_relay()
    raised_at = time.time() + 3
    alert = scene.press()
    update = scene.press()
    assert stack.documents == []
    if down != "relay":
        stack.start_broker()
    if down != "broker":
        stack.start_relay()

    scene.wait_receipt(alert)
    scene.wait_receipt(update)
    documents = scene.wait_documents(2)

    counters = [d["counter"] for d in documents]
    assert counters == sorted(set(counters)), "once each, in order"
    # No crash fell between a publication and its PUBACK: whatever the broker repeats, the relay itself must not.
    published = scene.rebroadcasts()
    assert len(published) == len(set(published))
    assert {alert, update} <= set(published)
    # A later Update, with a fresher fix, may have followed by itself.
    assert [(d["counter"], d["seq"], d["msg_type"]) for d in documents[:2]] == [
        (alert, 0, "Alert"),
        (update, 1, "Update"),
    ]
    assert abs(documents[0]["sent_unix"] - raised_at) <= 3
    assert documents[0]["sent_unix"] < documents[1]["sent_unix"]
    assert documents[0]["delay_s"] >= 3  # it is told how late it is


def test_a_bracelet_reset_between_press_and_receipt_resumes(scene: Scene) -> None:
    stack = scene.stack
    stack.kill_relay()
    alert = scene.press()
    stack.world.call(stack.bracelet.reset)
    stack.start_relay()
    scene.wait_receipt(alert)
    assert scene.wait_documents(1)[0]["counter"] == alert


@pytest.mark.long
def test_a_relay_killed_again_and_again_loses_and_repeats_nothing(scene: Scene) -> None:
    stack = scene.stack
    first = scene.press()
    counters = [first]
    for _ in range(3):
        stack.kill_relay()
        counters.append(scene.press())
        stack.start_relay()
    for counter in counters:
        scene.wait_receipt(counter)
    documents = scene.wait_documents(len(counters))
    published = list(dict.fromkeys(d["counter"] for d in documents))
    assert [counter for counter in published if counter in counters] == counters
    with stack.relay_parts.store.read() as connection:
        stored = connection.exec_driver_sql("select counter from alarm order by counter").scalars().all()
    assert set(counters) <= set(stored)
