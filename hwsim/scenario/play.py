"""Play a scenario on a rig: the unmodified firmware, a real relay pipeline, one seed."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.rig import APN, AlarmStory, Arrival, Rig
from hwsim.scenario import actions, felt
from hwsim.scenario.file import Scenario
from hwsim.world import World
from hwsim.world.gnss import Point, Track
from hwsim.world.pdu import Sms
from hwsim.world.trace import TraceEvent

BEGIN_S = 10  # after the workshop the bracelet lies switched off; a scenario's times count from here


@dataclass(frozen=True)
class Document:
    """A document that the subscriber got."""

    at_us: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Played:
    """The record of a played scenario. Times in microseconds count from the world's beginning, `BEGIN_S` before the
    scenario's."""

    scenario: Scenario
    seed: int
    digest: str
    unix_time: int  # at the scenario's beginning
    end_us: int
    track: Track | None
    trace: list[TraceEvent]
    alarms: list[AlarmStory]
    arrivals: list[Arrival]
    documents: list[Document]
    copies: dict[int, int]  # how often the subscriber got each counter
    felt: list[felt.Felt]
    texted: list[Sms]  # accepted by the SMS centre from the bracelet
    armed: bool  # at the end
    boots: int

    def seconds(self, us: int) -> float:
        """Return the seconds of the scenario at a time of the world."""
        return us / 1e6 - BEGIN_S

    def where(self, unix_time: int) -> Point | None:
        """Return the true place of the person at that time."""
        return self.track.at((unix_time - self.unix_time + BEGIN_S) * 1_000_000) if self.track else None


def play(scenario: Scenario, seed: int = 1, firmware: Path | None = None) -> Played:
    """Play the scenario. `firmware`: another folder than ours, to see it fail."""
    track = Track([(t + BEGIN_S, lat, lon, alt) for t, lat, lon, alt in scenario.way]) if scenario.way else None
    with tempfile.TemporaryDirectory(prefix="hwsim-") as folder, World(seed=seed) as world:
        setup = scenario.bracelet
        apn = {**APN, "roaming": setup.roaming} if setup.apn else None
        rig = Rig(
            world,
            Path(folder),
            wifi=setup.wifi,
            apn=apn,
            sends_time=setup.time,
            track=track,
            firmware=firmware,
            loaded=setup.stock,
        )
        try:
            rig.provision()
            world.run(BEGIN_S - world.now_us / 1e6)
            rig.bracelet.gnss.cold_start_s = setup.cold_start_s
            for event in scenario.events:
                call = functools.partial(actions.do, rig, event.do, **event.arguments)
                if event.at == 0:
                    call()
                else:
                    world.at(round((BEGIN_S + event.at) * 1e6), call)
            boots = _starts(rig)
            rig.bracelet.boot()
            world.run(scenario.seconds)
            return _played(scenario, rig, track, _starts(rig) - boots)
        finally:
            rig.close()


def _played(scenario: Scenario, rig: Rig, track: Track | None, boots: int) -> Played:
    world = rig.world
    return Played(
        scenario=scenario,
        seed=world.seed,
        digest=world.digest(),
        unix_time=world.start + BEGIN_S,
        end_us=world.now_us,
        track=track,
        trace=[event for event in world.trace if event.t_us >= BEGIN_S * 1_000_000],
        alarms=rig.alarms(),
        arrivals=rig.arrivals,
        documents=[Document(at_us, content) for at_us, content in rig.subscriber()],
        copies={counter: count for (_, counter), count in rig.rebroadcasts.items()},
        felt=felt.read(rig.bracelet.haptic.pulses),
        texted=[sms for sms in world.sms.submitted if sms.sender == rig.bracelet.phone],
        armed=_armed(rig),
        boots=boots,
    )


def _starts(rig: Rig) -> int:
    """Count the bracelet's starts; waking is none."""
    boots = [event for event in rig.world.trace if event.who == rig.bracelet.name and event.what == "boot"]
    return sum(event.detail["cause"] != "deep sleep" for event in boots)


def _armed(rig: Rig) -> bool:
    """Tell whether the firmware of the last start has said that it is at work, and still is."""
    last = [event.what for event in rig.world.trace if event.what in ("boot", "armed")]
    return rig.bracelet.state in ("running", "waiting", "asleep") and last[-1] == "armed"
