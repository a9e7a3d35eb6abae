"""For all tests: the examples hypothesis tries, and the fixture `world` where the package isn't installed."""

from __future__ import annotations

from importlib.metadata import entry_points

from hypothesis import HealthCheck, settings

# The same examples every time, and no deadline: the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

if not entry_points(group="pytest11", name="hwsim"):
    pytest_plugins = ["hwsim.pytest_plugin"]
