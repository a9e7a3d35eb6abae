"""For all tests: the examples hypothesis tries, which worker runs what mostly waits, and the fixture `world` where the
package isn't installed."""

from __future__ import annotations

import gc
import signal
import zlib
from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no deadline: the machine may be busy. `thorough` is for .ci/run,
# and for whoever has changed what is tried: python -m pytest -m hypothesis --hypothesis-profile=thorough
settings.register_profile(
    "usual", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25
)
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=100)

# A shell without job control starts what runs in the background with Ctrl-C ignored, and what tests start would inherit
# that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if not entry_points(group="pytest11", name="hwsim"):
    pytest_plugins = ["hwsim.pytest_plugin"]

# Tests that wait, for real brokers, programs and clocks. Those of a folder are one group, and of a broker if there are
# several: xdist begins with groups, so most workers wait while the others compute, and none is left waiting at the end.
WAITING = ("end_to_end", "broker", "relay/service", "hwsim/serial", "hwsim/test_realtime.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="I/N", default="1/1", help="play part I of N; a group of tests is not divided")


def pytest_collection_finish() -> None:
    """Some thousand tests and all that they import stay to the end: the collector need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, parts = (int(number) for number in config.getoption("part").split("/"))
    other = {item for item in items if zlib.crc32(_undivided(item).encode()) % parts != part - 1}
    if other:
        config.hook.pytest_deselected(items=list(other))
        items[:] = [item for item in items if item not in other]
    for item in items:
        for place in WAITING:
            if item.nodeid.startswith(f"tests/{place}"):
                given = item.callspec.params if hasattr(item, "callspec") else {}
                item.add_marker(pytest.mark.xdist_group(f"{place} {given.get('broker', '')}"))


def _undivided(item: pytest.Item) -> str:
    """Name what stays in one part: the test, or its module where tests share something costly."""
    return item.nodeid.partition("::")[0] if item.get_closest_marker("xdist_group") else item.nodeid
