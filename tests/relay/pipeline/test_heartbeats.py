"""What heartbeats report is kept, and last wills: heartbeats that the broker sends when a connection has ended."""

from __future__ import annotations

from relay.pipeline import Inbound, Pipeline, Status
from relay.registry import Heard, Registry
from relay.store import Store
from relay.verify import Heartbeat, Reason
from relay.verify.payload import Health, Network
from relay.verify.ratchet import SKIPPED_AGE_S
from tests.relay.support import KEYS, NOW, Bracelet, contents, one


def test_what_a_heartbeat_reports_is_kept(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    reported = (7, Network(5, 73, 262001, 1), Health(3, 2, 305419896, 1), 12)
    octets = bracelet.sealer.heartbeat(Heartbeat(128 | 2 << 5, int(NOW), 2, 0, *reported))
    assert one(pipeline, bracelet.beat(octets)) == (Status.HEARTBEAT, None)
    (row,) = contents(store)["heartbeat"]
    assert row[7:] == (7, 5, 73, 262001, 1, 3, 2, 305419896, 1, 12, None)
    heard = Registry(store, KEYS).get(bracelet.kid).heard
    assert heard == Heard(int(NOW * 1000), 2, True, "open", 0, *row[7:])


# --- last wills ---


def will(bracelet: Bracelet) -> Inbound:
    octets = bracelet.sealer.heartbeat(Heartbeat(0, int(NOW), 80, 0, 0, Network(1, 73, 262001, 0)))
    return bracelet.beat(octets)


def lost(store: Store) -> list[tuple[int, int | None]]:
    """(counter of the newest heartbeat, when the connection was lost)."""
    return [(row[1], row[-1]) for row in contents(store)["heartbeat"]]


def test_a_will_says_that_the_connection_is_lost_and_nothing_else(
    store: Store, pipeline: Pipeline, bracelet: Bracelet
) -> None:
    left, beat = will(bracelet), bracelet.beat(bracelet.heartbeat())
    assert one(pipeline, beat) == (Status.HEARTBEAT, None)
    (before,) = contents(store)["heartbeat"]
    outcome = pipeline.process([left], NOW + 90)
    assert [(item.status, item.counter) for item in outcome.items] == [(Status.LOST, 0)]
    assert [(event.name, event.kid) for event in outcome.events] == [("bracelet.lost", bracelet.kid)]
    (after,) = contents(store)["heartbeat"]
    assert after == (*before[:-1], int((NOW + 90) * 1000)), "not a sign of life"
    assert one(pipeline, bracelet.beat(bracelet.heartbeat()), NOW + 99) == (Status.HEARTBEAT, None)
    assert lost(store) == [(2, None)]


def test_a_will_played_again_does_nothing(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    left, beats = will(bracelet), [bracelet.beat(bracelet.heartbeat()) for _ in range(2)]
    pipeline.process([beats[0], left, beats[1]], NOW)
    assert lost(store) == [(2, None)], "a heartbeat after it, in the same batch"
    assert one(pipeline, left) == (Status.DUPLICATE, None)
    assert lost(store) == [(2, None)]
    assert contents(store)["refusal"] == []


def test_a_will_after_all_its_heartbeats_in_one_batch(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    left, late, beat = will(bracelet), bracelet.beat(bracelet.heartbeat()), bracelet.beat(bracelet.heartbeat())
    pipeline.process([beat, left, late], NOW)
    assert lost(store) == [(2, int(NOW * 1000))], "a late heartbeat is older than the will's news"


def test_the_will_of_a_bracelet_that_was_never_heard(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    assert one(pipeline, will(bracelet)) == (Status.LOST, None)
    assert lost(store) == []


def test_a_will_whose_key_has_aged_is_ignored(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    left, beat = will(bracelet), bracelet.beat(bracelet.heartbeat())
    assert one(pipeline, beat) == (Status.HEARTBEAT, None)
    assert one(pipeline, left, NOW + SKIPPED_AGE_S + 1) == (Status.DUPLICATE, None)
    assert lost(store) == [(1, None)]
    assert contents(store)["refusal"] == []


def test_a_forged_will_is_refused(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    assert one(pipeline, bracelet.beat(bracelet.heartbeat())) == (Status.HEARTBEAT, None)
    left = will(bracelet)
    forged = left._replace(octets=left.octets[:-1] + bytes([left.octets[-1] ^ 1]))
    assert one(pipeline, forged) == (Status.REFUSED, Reason.BAD_TAG)
    assert lost(store) == [(0, None)]
