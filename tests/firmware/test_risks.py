"""Which part ended the starts before is found by its mark, and left out for longer and longer, but never for good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import boots, risks
from tocsin.boots import Boots
from tocsin.risks import NAMES, Risks

from tests.firmware.test_boots import POWER, SLEEP, WATCHDOG, Cell, Memory

BOTH = ["modem", "wifi"]


class Chip:
    """Starts of a bracelet; `dies_at` is what ends one."""

    def __init__(self):
        self.rtc, self.starts, self.crash, self.risks = Memory(), Cell(), Cell(), Cell()

    def start(self, cause=WATCHDOG, lost=False):
        if lost:
            self.rtc.octets = b""
        return Boots(self.rtc, POWER if lost else cause, self.starts, self.crash, self.risks)

    def dies_at(self, name, cause=WATCHDOG, lost=False):
        """A start that begins all parts up to this one, and dies in its call. What it had blamed."""
        start = self.start(cause, lost)
        for each in NAMES[: NAMES.index(name) + 1]:
            if each != name and start.risks.count(each):
                continue
            start.risks.begin(each)
            start.marked()
            if each == name:
                return start.risks.blamed
            start.risks.begun()
            start.marked()
        raise AssertionError


@pytest.fixture
def chip():
    made = Chip()
    made.start(lost=True).lived()
    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_part_in_whose_call_it_died_is_known_to_the_next_start(chip, name):
    assert chip.dies_at(name) is None
    start = chip.start()
    assert start.risks.blamed == name
    assert [each for each in NAMES if start.risks.count(each)] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_when_the_supply_is_lost_each_time_the_third_start_knows_it(chip, name):
    writes = chip.risks.writes
    assert chip.dies_at(name, lost=True) is None
    assert chip.risks.writes == writes, "a supply that is lost once is no reason to write"
    assert chip.dies_at(name, lost=True) is None
    start = chip.start(lost=True)
    assert start.risks.blamed == name
    start.lived()
    start = chip.start(lost=True)
    assert start.risks.count(name), "it was not even tried"
    start.risks.lived(NAMES)
    start.lived()
    assert chip.risks.value == 0


def test_each_death_makes_the_pause_longer_and_it_never_ends_for_good(chip):
    pauses = []
    for _ in range(9):
        chip.dies_at("wifi")
        pauses.append(chip.start().risks.pause("wifi", False, BOTH))
        chip.start()  # that one died of nothing known
    assert pauses == sorted(pauses)
    assert pauses[0] == risks.FIRST_MS
    assert pauses[-1] == risks.LAST_MS


def test_while_an_alarm_waits_the_others_have_their_time_and_no_pause_is_long(chip):
    for _ in range(9):
        chip.dies_at("wifi")
        found = chip.start().risks
        assert risks.PATIENT_MS <= found.pause("wifi", True, BOTH) <= risks.WAITING_MAX_MS


def test_with_nothing_else_left_it_is_tried_at_once_while_an_alarm_waits(chip):
    chip.dies_at("wifi")
    found = chip.start().risks
    assert found.pause("wifi", True, ["wifi"]) == 0
    assert found.pause("wifi", False, ["wifi"]) > 0


def test_of_two_that_kill_the_one_that_killed_less_is_tried(chip):
    for name in ("wifi", "wifi", "modem", "modem", "modem"):
        chip.dies_at(name)
    found = chip.start().risks
    assert found.pause("wifi", True, BOTH) == 0
    assert found.pause("modem", True, BOTH) >= risks.PATIENT_MS


def test_a_modem_that_ended_one_start_comes_last_and_alone_but_soon(chip):
    chip.dies_at("modem")
    found = chip.start().risks
    assert found.pause("modem", True, BOTH) == found.pause("modem", False, BOTH) == risks.SOON_MS


def test_one_that_is_settled_is_not_blamed(chip):
    start = chip.start()
    for name in ("modem", "wifi"):
        start.risks.begin(name)
        start.risks.begun()
    start.risks.done("wifi")
    start.marked()
    assert chip.start().risks.blamed == "modem"
    start = chip.start()
    start.risks.begin("wifi")
    start.risks.begun()
    start.risks.done("wifi")
    start.marked()
    assert chip.start().risks.blamed is None


def test_of_several_none_is_blamed_but_they_start_one_after_another_and_then_all_of_them(chip):
    for expected in (False, True):
        start = chip.start()
        assert start.risks.slow == expected
        for name in ("modem", "wifi"):
            start.risks.begin(name)
            start.risks.begun()
        start.marked()
    found = chip.start().risks
    assert (found.blamed, found.slow, found.count("modem"), found.count("wifi")) == (None, True, 1, 1)


def test_what_ends_on_purpose_or_in_sleep_blames_nobody(chip):
    start = chip.start()
    start.risks.begin("wifi")
    start.marked()
    start.lived()
    assert chip.start().risks.blamed is None
    start = chip.start()
    start.risks.begin("wifi")
    start.marked()
    assert chip.start(SLEEP).risks.blamed is None


def test_more_and_more_wakings_pass_without_it(chip):
    waited = []
    for _ in range(4):
        chip.dies_at("wifi", SLEEP)
        chip.start()
        wakings = 0
        while chip.start(SLEEP).risks.pause("wifi", False, BOTH) is None:
            wakings += 1
        waited.append(wakings)
    assert waited == [0, 2, 6, 14]


def test_an_ordinary_waking_writes_no_flash(chip):
    chip.start(SLEEP)
    before = chip.starts.writes, chip.risks.writes, chip.crash.writes
    for _ in range(50):
        start = chip.start(SLEEP)
        for name in NAMES:
            start.risks.begin(name)
            start.marked()
            start.risks.begun()
            start.risks.done(name)
        start.marked()
    assert (chip.starts.writes, chip.risks.writes, chip.crash.writes) == before


def test_a_press_is_remembered_over_a_reset_and_not_over_a_lost_supply(chip):
    start = chip.start()
    start.risks.held = 3
    start.marked()
    assert chip.start().risks.held == 3
    assert chip.start(lost=True).risks.held == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(["dies", "settles", "lives"]),
            st.booleans(),
            st.sampled_from([POWER, WATCHDOG, SLEEP]),
        ),
        max_size=60,
    )
)
def test_whatever_happened_something_is_left_to_call_with_and_all_of_it_is_tried_again(life):
    chip = Chip()
    for name, how, lost, cause in life:
        start = chip.start(cause, lost)
        start.risks.begin(name)
        start.marked()
        if how != "dies":
            start.risks.begun()
            start.risks.done(name)
            start.marked()
        if how == "lives":
            start.risks.lived([name])
            start.lived()
    found = chip.start()
    assert 0 in [found.risks.pause(name, True, BOTH) for name in BOTH] or found.risks.count("modem") == 1
    for name in NAMES:
        for waiting in (False, True):
            assert 0 <= found.risks.pause(name, waiting, BOTH) <= (risks.WAITING_MAX_MS if waiting else risks.LAST_MS)
    for _ in range(1 << 8):
        found = chip.start(SLEEP).risks
    assert None not in [found.pause(name, False, BOTH) for name in NAMES]


@given(st.binary(min_size=risks.SIZE, max_size=risks.SIZE), st.integers(-(2**31), 2**31 - 1), st.booleans())
def test_whatever_octets_and_numbers_it_finds_it_goes_on(octets, number, kept):
    found = Risks(octets if kept else None, number, True, False)
    again = Risks(found.octets(), 0, False, False)
    assert [again.count(name) for name in NAMES] == [found.count(name) for name in NAMES]
    assert (again.held, again.slow) == (found.held, found.slow)
    assert 0 <= found.number() < 1 << 23
    assert len(found.octets()) == risks.SIZE < boots.SIZE


@given(st.lists(st.sampled_from(NAMES), max_size=5), st.sampled_from(NAMES), st.integers(0, 5), st.booleans())
def test_octets_say_all_of_it(opened, current, held, slow):
    found = Risks(None, 0, False, False)
    for name in opened:
        found.begin(name)
    found.begin(current)
    found.held, found.slow = held, slow
    again = Risks(found.octets(), 0, True, False)
    assert (again.blamed, again.held) == (current, held)
