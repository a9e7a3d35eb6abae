"""A loop of resets ends in safe mode, safe mode ends by itself, and what happened is told once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import boots
from tocsin.boots import LIMIT, Boots

POWER, HARD, WATCHDOG, SLEEP, SOFT = 1, 2, 3, 4, 5


class Memory:
    """The clock's memory."""

    def __init__(self):
        self.octets = b""

    def memory(self, octets=None):
        if octets is None:
            return self.octets
        self.octets = bytes(octets)


class Cell:
    """One number in NVS, signed, 32 bits."""

    def __init__(self):
        self.value = 0
        self.writes = 0

    def read(self):
        return self.value

    def write(self, value):
        assert -(1 << 31) <= value < 1 << 31
        self.value = value
        self.writes += 1


class Chip:
    def __init__(self):
        self.rtc, self.starts, self.crash = Memory(), Cell(), Cell()

    def start(self, cause):
        if cause == POWER:
            self.rtc.octets = b""
        return self.brownout(cause)

    def brownout(self, cause=POWER):
        """For the firmware a power-on, but the clock's memory is kept."""
        return Boots(self.rtc, cause, self.starts, self.crash)


@pytest.fixture
def chip():
    return Chip()


@pytest.mark.parametrize("cause", [HARD, WATCHDOG, SOFT])
def test_a_loop_of_resets_ends_in_safe_mode(chip, cause):
    modes = [chip.start(POWER).safe] + [chip.start(cause).safe for _ in range(LIMIT + 2)]
    assert modes == [False] * LIMIT + [True] * 3


def test_a_loop_of_lost_supplies_does_every_few_times(chip):
    modes = [chip.start(POWER).safe for _ in range(2 * LIMIT + 2)]
    assert modes == ([False] * LIMIT + [True]) * 2


def test_a_loop_of_brownouts_is_one_of_resets(chip):
    modes = [chip.start(POWER).safe] + [chip.brownout().safe for _ in range(LIMIT + 1)]
    assert modes == [False] * LIMIT + [True] * 2


def test_a_start_that_lives_ends_the_count(chip):
    chip.start(POWER)
    for _ in range(20):
        start = chip.start(WATCHDOG)
        assert not start.safe
        start.lived()


def test_safe_mode_ends_when_it_has_lived_or_with_the_supply(chip):
    for _ in range(LIMIT):
        chip.start(WATCHDOG)
    start = chip.start(WATCHDOG)
    assert start.safe
    start.lived()
    assert not chip.start(HARD).safe
    for _ in range(LIMIT):
        chip.start(WATCHDOG)
    assert chip.start(WATCHDOG).safe
    assert not chip.start(POWER).safe


def test_sleeping_is_living(chip):
    chip.start(POWER)
    for _ in range(50):
        start = chip.start(SLEEP)
        assert not start.safe
    assert start.report() == (SLEEP, 1, 0, 0)
    for _ in range(2 * LIMIT):  # switched on often, and asleep each time before it had lived
        assert not chip.start(POWER).safe
        chip.start(SLEEP)


def test_what_happened_is_told_once(chip):
    chip.start(POWER)
    chip.start(WATCHDOG).crashed(0xFFFFFFFF)
    start = chip.start(HARD)
    said = start.report()
    assert said == (HARD, 3, 0xFFFFFFFF, 0)
    start.crashed(7)  # a newer one, before the broker has the heartbeat
    start.told(said)
    assert start.report() == (HARD, 0, 7, 0)
    assert chip.start(SOFT).report() == (SOFT, 1, 7, 0)


def test_a_crash_outlives_a_lost_supply(chip):
    chip.start(POWER).crashed(0x80000001)
    start = chip.start(POWER)
    assert start.report() == (POWER, 2, 0x80000001, 0)
    start.told(start.report())
    assert chip.start(POWER).crash == 0


def test_few_writes_to_flash(chip):
    start = chip.start(POWER)
    for _ in range(100):
        start.crashed(5)
        start.lived()
        start.told(start.report())
        start = chip.start(WATCHDOG)
    # One of a lost supply and its end; two of each error that was told.
    assert chip.starts.writes == 2
    assert chip.crash.writes == 200
    chip.crash.writes = 0
    for _ in range(100):
        start.crashed(6)
        start = chip.start(WATCHDOG)
    assert (chip.starts.writes, chip.crash.writes) == (2, 1)


def test_others_share_the_memory(chip):
    chip.rtc.octets = b"theirs"
    start = chip.brownout(HARD)
    assert boots.others(chip.rtc) == b"theirs"
    boots.keep_others(chip.rtc, b"new")
    start.crashed(3)
    assert boots.others(chip.rtc) == b"new"
    assert chip.start(SLEEP).crash == 3
    boots.keep_others(chip.rtc, b"")
    assert chip.start(SLEEP).crash == 3
    assert len(chip.rtc.octets) == boots.SIZE


@given(st.binary(max_size=40), st.integers(-5, 9), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_whatever_is_in_the_memories_it_starts(octets, cause, starts, crash):
    chip = Chip()
    chip.rtc.octets, chip.starts.value, chip.crash.value = octets, starts, crash
    start = Boots(chip.rtc, cause, chip.starts, chip.crash)
    low = (0, 0, 0, 0)
    assert all(least <= n <= most for least, n, most in zip(low, start.report(), (5, 255, 2**32 - 1, 1), strict=True))
    assert not start.safe


@given(st.integers(0, boots.SIZE * 8 - 1))
def test_a_flipped_bit_is_noticed(bit):
    chip = Chip()
    for _ in range(LIMIT):
        chip.start(WATCHDOG)
    chip.rtc.octets = (int.from_bytes(chip.rtc.octets, "big") ^ 1 << bit).to_bytes(boots.SIZE, "big")
    chip.starts.value = 0
    assert not chip.start(WATCHDOG).safe


def test_the_modem_is_off_until_its_key_is_pressed_or_it_answers(chip):
    """A chip that its watchdog resets before that must not wait until a modem would have answered."""
    assert chip.start(POWER).modem_off
    assert chip.start(WATCHDOG).modem_off
    started = chip.start(WATCHDOG)
    started.modem_may_be_on()
    assert not started.modem_off
    for cause in (WATCHDOG, HARD, SOFT):
        assert not chip.start(cause).modem_off
    assert not chip.brownout().modem_off, "its supply may have lasted"
    assert chip.start(SLEEP).modem_off, "switched off before"
    assert chip.start(WATCHDOG).modem_off
    chip.rtc.octets = b""
    assert not chip.start(WATCHDOG).modem_off, "nobody knows"


def test_what_is_known_of_the_modem_leaves_the_count_of_starts_alone(chip):
    chip.start(POWER)
    for _ in range(LIMIT - 1):
        assert not chip.start(WATCHDOG).safe
    started = chip.start(WATCHDOG)
    assert started.safe and started.modem_off
    for _ in range(300):
        started = chip.start(WATCHDOG)
    assert started.safe and started.modem_off and started.resets == 255
