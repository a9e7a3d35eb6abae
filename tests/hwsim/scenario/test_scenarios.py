"""Every scenario that comes with the simulator, with the firmware as it is."""

import pytest

from hwsim.scenario import file
from hwsim.scenario.judge import judge
from hwsim.scenario.play import play
from hwsim.world.trace import format_events


def scenario(name):
    return file.load(file.find(name))


# Every twelfth with each test command, the others with the long ones.
NAMES = [pytest.param(name, marks=[pytest.mark.long] if place % 12 else []) for place, name in enumerate(file.names())]


@pytest.mark.parametrize("name", NAMES)
def test_everything_holds(name):
    played = play(scenario(name))
    failed = [verdict for verdict in judge(played) if not verdict.held]
    assert not failed, f"{failed}\n{format_events(played.trace[-60:])}"


def test_the_same_seed_is_the_same_story_and_another_is_not():
    name = "flaky_wifi_in_a_police_station"
    first = play(scenario(name), seed=3)
    assert play(scenario(name), seed=3).digest == first.digest
    assert play(scenario(name), seed=4).digest != first.digest


@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.long) for seed in (3, 4))])
@pytest.mark.parametrize("name", ["modem_line_full_of_noise", "slow_satellite_link", "sms_overtake_each_other"])
def test_chance_decides_nothing_that_matters(name, seed):
    assert [verdict for verdict in judge(play(scenario(name), seed)) if not verdict.held] == []


def test_there_are_enough_and_each_says_what_happens_to_somebody():
    scenarios = [scenario(name) for name in file.names()]
    assert len(scenarios) >= 30
    assert len({s.title for s in scenarios}) == len(scenarios)


def test_every_family_of_faults_occurs():
    from hwsim.scenario.actions import ACTIONS

    used = {event.do for name in file.names() for event in scenario(name).events}
    faults = {name for name, action in ACTIONS.items() if action.undo or action.family in ("modem", "power")}
    assert faults - used - {"modem_off", "reset"} == set()
