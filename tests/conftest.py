"""For all tests: the examples hypothesis tries, a busy machine, and the fixture `world` where the package isn't
installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no deadline: the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

if not entry_points(group="pytest11", name="hwsim"):
    pytest_plugins = ["hwsim.pytest_plugin"]


@pytest.fixture
def load() -> Iterator[None]:
    """A machine that has better things to do."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()
