"""Give pytest the fixture `world`, and show the world's trace in the report of a test that failed.

    def test_alarm(world):
        bracelet = world.bracelet()
        bracelet.boot()
        world.expect("firmware", "armed", within=20)
        bracelet.button.hold(3.2)
        world.expect("firmware", "raised", within=1)

The seed is 1, or the marker's: `@pytest.mark.world(seed=7)`. The marker takes every keyword of `World`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from hwsim.world import World

_TRACE_EVENTS = 80
_WORLDS = pytest.StashKey[list[World]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "world(seed=1, realtime=False, ...): arguments of the fixture `world`")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A simulated world of its own, ended after the test."""
    marker = request.node.get_closest_marker("world")
    created = World(**(marker.kwargs if marker else {}))
    request.node.stash.setdefault(_WORLDS, []).append(created)
    yield created
    created.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for created in item.stash.get(_WORLDS, []):
            title = f"trace of the world (seed {created.seed}, last {_TRACE_EVENTS} events)"
            report.sections.append((title, created.format_trace(_TRACE_EVENTS)))
    return report
