"""Nothing stands before a press: whatever part blocks or kills a start, and whenever the button is held, the alarm is
raised, and goes out by what is left.
"""

import itertools

import pytest

from hwsim.rig import APN

HELD_S = 12  # in need one holds on until the long pulse
PARTS = [
    "haptic", "led", "strap", "battery", "gnss", "gnss_on", "modem", "modem_key", "wifi", "wifi_on", "wifi_join", "ppp",
    "socket", "tls",
]  # fmt: skip
FAULTS = {"blocks": {}, "brownout": {}, "supply lost": {"off_s": 2.0}}
AT = {"down at its start": 0.0, "while it starts": 0.33, "just armed": 0.5, "later": 30.0}
# Each call and fault at one of the moments in turn, the two that were seen on chips at each: all 168 take four minutes.
CASES = [
    (part, fault, at)
    for place, (part, fault) in enumerate(itertools.product(PARTS, FAULTS))
    for number, at in enumerate(AT)
    if number == place % len(AT) or part in ("wifi_on", "modem_key")
]


def spoil(bench, part, fault):
    calls = bench.bracelet.driver_calls
    if fault == "blocks":
        calls.block(part)
    else:
        calls.kill(part, **FAULTS[fault])


def held_until_raised(bench, world, within):
    """Hold the button until the long pulse would be felt; seconds that it took."""
    began = world.now_us
    bench.bracelet.button.press()
    raised = world.expect("firmware", "raised", within=within)
    world.run(0.5)
    bench.bracelet.button.release()
    return (raised.t_us - began) / 1e6


@pytest.mark.parametrize(("part", "fault", "at"), CASES)
def test_an_alarm_is_raised_and_goes_out_by_what_is_left(make_bench, world, part, fault, at):
    bench = make_bench(apn=APN)
    spoil(bench, part, fault)
    world.run(1)
    began = world.now_us
    if AT[at] == 0:
        world.call(bench.bracelet.button.press)
        bench.bracelet.boot()
    else:
        bench.bracelet.boot()
        world.run(AT[at])
        began = world.now_us
        world.call(bench.bracelet.button.press)
    raised = world.expect("firmware", "raised", within=20)
    seconds = (raised.t_us - began) / 1e6
    world.run(0.5)
    world.call(bench.bracelet.button.release)
    # Nothing was begun before a button that was down; else at most one part's call had to be waited out.
    assert seconds < (4 if AT[at] == 0 else 17)
    story = bench.alarms()[0] if bench.alarms()[0].relay_us else None
    while story is None and world.now_us - began < 60e6:
        world.run(1)
        found = [each for each in bench.alarms() if each.relay_us]
        story = found[0] if found else None
    assert story and story.relay_us - began < 60e6


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("parts", [("wifi_join", "socket"), ("wifi_on", "gnss_on"), ("haptic", "wifi_on")])
def test_two_parts_at_once(make_bench, world, parts, fault):
    """Also where the chip ends a data session, in which the modem then still is, and no part is left that has one."""
    bench = make_bench(apn=APN)
    for part in parts:
        spoil(bench, part, fault)
    world.run(1)
    bench.bracelet.boot()
    world.run(AT["while it starts"])
    world.call(bench.bracelet.button.press)
    world.expect("firmware", "raised", within=20)
    world.run(0.5)
    world.call(bench.bracelet.button.release)
    world.expect("relay", "new", within=60)
