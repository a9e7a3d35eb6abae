"""Nothing stands before a press: whatever driver call blocks or kills a start, and whenever the button is held, the
alarm is raised, and goes out by what is left. `hwsim starts` plays all of it, on any board.
"""

import pytest
from tocsin import boots, risks

from hwsim import starts

# Each call and fault at one of the moments in turn, the two that were seen on chips at each: all of it takes minutes.
CALLS = list(dict.fromkeys(case.call for case in starts.cases("reference")))
CASES = [
    case
    for case in starts.cases("reference")
    if case.call in ("wifi_on", "modem_key")
    or (CALLS.index(case.call) + list(starts.FAULTS).index(case.fault)) % len(starts.MOMENTS)
    == list(starts.MOMENTS).index(case.moment)
]


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alarm_is_raised_and_goes_out_by_what_is_left(case):
    assert starts.play(case).failure(case) is None


@pytest.mark.parametrize("fault", starts.FAULTS)
@pytest.mark.parametrize("calls", ["wifi_join+socket", "wifi_on+gnss_on", "haptic+wifi_on"])
def test_two_at_once(calls, fault):
    """Also where the chip ends a data session, in which the modem then still is, and no part is left that has one."""
    case = starts.Case(calls, fault, "while it starts")
    assert starts.play(case).failure(case) is None


def test_a_press_that_was_let_go_is_not_remembered(bench, world):
    """Also where the release is seen in the moment in which a tick is due: 600 ms from the edge, 20 ms a look."""
    bench.boot(settle=15)
    for for_ms in range(560, 640, 4):
        bench.bracelet.button.press(for_ms / 1000)
        world.run(2.5)
        octets = bytes.fromhex(bench.bracelet.rtc.memory)
        assert octets[:4] == boots._MAGIC
        assert risks.Risks(octets[10 : 10 + risks.SIZE], 0, False, False).held == 0, for_ms
