"""The chip's pads, as MicroPython's machine_pin.c, ESP-IDF's gpio.h and rtc_io_reg.h, and the data sheets say it."""

from random import Random

import pytest

from hwsim.chips import FAMILIES
from hwsim.world.pads import ASLEEP, KEEP, NO_PULL, OFF, PULL_DOWN, PULL_UP, RESET, RUNNING, Outside, Pads

WEAK_UP = Outside(resistor=1)  # 1 megohm


def pads(family, state=RUNNING):
    made = Pads(FAMILIES[family], Random(1))
    made.enter(state)
    return made


@pytest.mark.parametrize(("pin", "level"), [(1, 1), (3, 1), (6, 1), (0, 0), (2, 0), (4, 0), (5, 0), (21, 0), (7, None)])
def test_asleep_an_s3_pulls_as_the_registers_of_its_rtc_say_whatever_pin_told(pin, level):
    """rtc_io_reg.h, RUE and RDE; esp-idf#16192 measured it on GPIO1, micropython#15260 on GPIO0 of an S2."""
    chip = pads("esp32s3")
    chip.input(pin, PULL_DOWN if level else PULL_UP, None)
    chip.enter(ASLEEP)
    assert chip.seen(pin) == level


def test_an_esp32_keeps_its_one_set_of_pulls():
    """gpio.c: gpio_pullup_en() of a pad that reaches the RTC sets the RTC's pull."""
    chip = pads("esp32")
    chip.input(13, PULL_UP, None)
    chip.enter(ASLEEP)
    assert chip.seen(13) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_held_input_keeps_its_pull_and_shows_what_hangs_on_it(family):
    chip, contact = pads(family), []
    chip.attach(4, lambda: Outside(contact=contact[0] if contact else None))
    chip.input(4, PULL_UP, True)
    chip.enter(ASLEEP)
    assert chip.level(4) == 1
    contact.append(0)
    assert chip.level(4) == 0


def test_the_chips_pull_is_stronger_than_a_megohm():
    chip = pads("esp32s3")
    chip.attach(2, lambda: WEAK_UP)
    chip.input(2, NO_PULL, None)
    assert chip.level(2) == 1
    chip.enter(ASLEEP)
    assert chip.level(2) == 0


def test_a_pull_that_is_not_told_stays_that_of_the_reset():
    """Pin(4, Pin.IN) of an ESP32 leaves the pull-down of the reset; Pin(4, Pin.IN, None) takes it away."""
    chip = pads("esp32")
    chip.attach(4, lambda: WEAK_UP)
    chip.input(4, KEEP, None)
    assert chip.level(4) == 0
    chip.input(4, NO_PULL, None)
    assert chip.level(4) == 1


def test_an_input_only_pad_has_neither_pulls_nor_hold():
    chip = pads("esp32")
    chip.input(34, PULL_UP, True)
    assert chip.seen(34) is None


def test_nothing_pulls_and_so_each_look_may_differ():
    chip = pads("esp32s3")
    assert {chip.level(7) for _ in range(50)} == {0, 1}


def test_a_held_output_cannot_be_changed_until_it_is_released():
    chip = pads("esp32")
    chip.output(5, 0, hold=True)
    chip.output(5, 1)
    assert chip.seen(5) == 0
    chip.hold(5, False)
    assert chip.seen(5) == 1


@pytest.mark.parametrize(("pin", "always"), [(4, True), (5, False)])  # GPIO5 does not reach the RTC
@pytest.mark.parametrize("told", [True, False])
def test_a_hold_outlasts_resets_and_of_the_rtcs_pads_sleep(pin, always, told):
    """gpio_hold_en; gpio_deep_sleep_hold_en for the digital pads. GPIO5 is pulled up in a reset."""
    chip = pads("esp32")
    chip.output(pin, 1 if pin == 4 else 0, hold=True)
    held = chip.seen(pin)
    chip.enter(RESET)
    assert chip.seen(pin) == held
    chip.enter(RUNNING)
    chip.hold_asleep = told
    chip.enter(ASLEEP)
    chip.enter(RESET)
    assert (chip.seen(pin) == held) is (always or told)
    chip.enter(RESET, lost=True)
    assert chip.seen(pin) != held


def test_whoever_watches_hears_of_each_change_and_whether_the_chip_makes_it():
    chip, heard = pads("esp32", OFF), []
    chip.watch(5, lambda level, driven: heard.append((level, driven)))
    chip.enter(RESET)
    chip.enter(RUNNING)
    chip.output(5, 0)
    chip.enter(OFF)
    assert heard == [(None, False) if state == "off" else state for state in ((1, False), (1, False), (0, True), "off")]
