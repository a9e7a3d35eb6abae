"""The simulated world: clock, bracelets, networks, the mobile network, and everything that can go wrong with them."""

from hwsim.world.device import SimulationError
from hwsim.world.gnss import Track
from hwsim.world.trace import TraceEvent
from hwsim.world.world import START, World

__all__ = ["START", "SimulationError", "TraceEvent", "Track", "World"]
