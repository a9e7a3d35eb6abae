"""Order and bounds of what waits."""

from hypothesis import given
from hypothesis import strategies as st

from relay.ingest.lanes import Lanes
from relay.ingest.ratelimit import RateLimit


def test_alarms_go_first_and_each_lane_keeps_its_order() -> None:
    lanes: Lanes[str] = Lanes(10)
    for item in ("h1", "a1", "h2", "a2"):
        lanes.put(item, alarm=item.startswith("a"))
    assert lanes.take(3) == ["a1", "a2", "h1"]
    assert lanes.take(3) == ["h2"]
    assert lanes.take(3) == []


def test_room() -> None:
    lanes: Lanes[int] = Lanes(2)
    lanes.put(1, alarm=True)
    assert lanes.has_room
    lanes.put(2, alarm=False)
    assert not lanes.has_room


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 40))
def test_a_batch_put_back_comes_again_in_the_same_order(kinds: list[bool], most: int) -> None:
    lanes: Lanes[tuple[int, bool]] = Lanes(100)
    for number, alarm in enumerate(kinds):
        lanes.put((number, alarm), alarm=alarm)
    before = lanes.take(len(kinds))
    lanes.put_back(before, alarms=lambda item: item[1])
    batch = lanes.take(most)
    lanes.put_back(batch, alarms=lambda item: item[1])
    assert lanes.take(len(kinds)) == before


def test_a_rate_limit_fills_up_again() -> None:
    limit = RateLimit(per_hour=60, burst=2)
    assert [limit.allow("a", 0.0) for _ in range(3)] == [True, True, False]
    assert limit.allow("b", 0.0)
    assert not limit.allow("a", 59.0)
    assert limit.allow("a", 61.0)


def test_a_rate_limit_does_not_grow_for_ever() -> None:
    limit = RateLimit(per_hour=1, burst=1, remember=100)
    for number in range(1000):
        limit.allow(str(number), 0.0)
    assert len(limit._buckets) == 100
