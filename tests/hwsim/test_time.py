"""Time on the chip: sleep and what wakes it, the RTC set and drifting, ticks that wrap, the calendar."""

from __future__ import annotations

import datetime

import pytest

from hwsim.rig import Rig
from hwsim.world import Track

SLEEPER = """
import esp32, machine, time
from machine import Pin, RTC
print("@up cause=%d wake=%d memory=%s year=%d" % (
    machine.reset_cause(), machine.wake_reason(), RTC().memory().decode() or "none", time.gmtime()[0]))
"""


def sleeper(firmware, sleep: str):
    return firmware(SLEEPER + sleep)


def test_light_sleep_ends_with_its_time_and_keeps_everything(world, firmware):
    main = sleeper(
        firmware, "x = 7\nmachine.lightsleep(5000)\nprint('@woke reason=%d x=%d' % (machine.wake_reason(), x))"
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "up", within=1)
    woke = world.expect("firmware", "woke", within=6, reason=4, x=7)
    assert woke.t_us == pytest.approx(5_300_000, abs=10_000)


@pytest.mark.parametrize(
    ("arm", "reason"),
    [("wake_on_ext0(Pin(33, Pin.IN, Pin.PULL_UP), 0)", 2), ("wake_on_ext1((Pin(33, Pin.IN, Pin.PULL_UP),), 0)", 3)],
)
def test_the_button_ends_a_light_sleep(world, firmware, arm, reason):
    main = sleeper(
        firmware,
        f"esp32.{arm}\nmachine.lightsleep()\n"
        "print('@woke reason=%d level=%d' % (machine.wake_reason(), Pin(33).value()))",
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect_nothing("firmware", "woke", within=3600)
    bracelet.button.press()
    world.expect("firmware", "woke", within=0.1, reason=reason, level=0)


def test_a_level_that_is_there_already_wakes_at_once(world, firmware):
    main = sleeper(
        firmware,
        "esp32.wake_on_ext0(Pin(33, Pin.IN), 1)\nmachine.lightsleep(60000)\n"
        "print('@woke r=%d' % machine.wake_reason())",
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "woke", within=1, r=2)


def test_what_a_uart_is_sent_in_light_sleep_is_lost(world, firmware):
    main = firmware(
        """
        import machine
        from machine import UART, Pin
        Pin(14, Pin.OUT, value=1)
        uart = UART(1, baudrate=9600, tx=27, rx=26, rxbuf=2048)
        machine.lightsleep(10000)
        print("@heard n=%d" % uart.any())
        """
    )
    world.bracelet(firmware=main, track=Track.still(1, 2)).boot()
    world.expect("firmware", "heard", within=11, n=0)


def test_the_watchdog_goes_on_in_light_sleep(world, firmware):
    world.bracelet(firmware=sleeper(firmware, "machine.WDT(timeout=3000)\nmachine.lightsleep(10000)")).boot()
    world.expect("bracelet", "watchdog", within=4)
    world.expect("firmware", "up", within=1, cause=3)


def test_deep_sleep_keeps_rtc_memory_and_wakes_by_any_of_two_pins(world, firmware):
    main = sleeper(
        firmware,
        """
if machine.reset_cause() != machine.DEEPSLEEP_RESET:
    RTC().memory(b"kept")
    esp32.wake_on_ext1((Pin(27, Pin.IN, Pin.PULL_DOWN), Pin(33)), esp32.WAKEUP_ALL_LOW)
    Pin(33, Pin.IN, Pin.PULL_UP)
    machine.deepsleep(60000)
""",
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "up", within=1, cause=1, memory="none")
    world.run(5)
    bracelet.button.press()  # the other pin is pulled low: now all of them are
    world.expect("firmware", "up", within=1, cause=4, wake=3, memory="kept")


def test_ext1_with_none_keeps_its_pins_and_with_no_pins_is_disarmed(world, firmware):
    main = sleeper(
        firmware,
        """
if machine.reset_cause() != machine.DEEPSLEEP_RESET:
    esp32.wake_on_ext1((Pin(33, Pin.IN, Pin.PULL_UP),), esp32.WAKEUP_ALL_LOW)
    esp32.wake_on_ext1(None)
else:
    esp32.wake_on_ext1((Pin(33, Pin.IN, Pin.PULL_UP),), esp32.WAKEUP_ALL_LOW)
    esp32.wake_on_ext1(())
machine.deepsleep()
""",
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.run(5)
    bracelet.button.press(for_s=0.1)
    world.expect("firmware", "up", within=1, cause=4, wake=3)
    world.run(5)
    bracelet.button.press(for_s=0.1)
    world.expect_nothing("firmware", "up", within=60)


def test_only_pins_of_the_rtc_can_wake(world, firmware):
    main = firmware(
        """
        import esp32
        from machine import Pin
        for arm in (lambda: esp32.wake_on_ext0(Pin(22), 0), lambda: esp32.wake_on_ext1((Pin(33), Pin(22)), 0)):
            try:
                arm()
            except ValueError as error:
                print("@refused why=%s" % str(error).replace(" ", "_"))
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "refused", within=1, why="invalid_pin")
    world.expect("firmware", "refused", within=1, why="invalid_pin")


def test_rtc_memory_ends_at_2048_octets(world, firmware):
    main = firmware(
        """
        from machine import RTC
        RTC().memory(bytes(2048))
        try:
            RTC().memory(bytes(2049))
        except ValueError as error:
            print("@refused why=%s kept=%d" % (str(error).replace(" ", "_"), len(RTC().memory())))
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "refused", within=1, why="buffer_too_long", kept=2048)


def test_setting_the_clock_forward_and_back_moves_no_sleeping_task(world, firmware):
    main = firmware(
        """
        import asyncio, time
        from machine import RTC
        async def sleeps():
            await asyncio.sleep(10)
            print("@slept year=%d" % time.gmtime()[0])
        async def main():
            task = asyncio.create_task(sleeps())
            await asyncio.sleep(2)
            RTC().datetime((2040, 6, 1, 0, 0, 0, 0, 0))
            await asyncio.sleep(2)
            RTC().datetime((2001, 1, 1, 0, 0, 0, 0, 0))
            await task
        asyncio.run(main())
        """
    )
    world.bracelet(firmware=main).boot()
    assert world.expect("firmware", "slept", within=12, year=2001).t_us == pytest.approx(10_300_000, abs=20_000)


def test_the_rtc_drifts_by_its_crystal_awake_and_by_its_oscillator_asleep(world, firmware):
    main = firmware(
        """
        import machine, time
        if machine.reset_cause() == machine.PWRON_RESET:
            time.sleep(10000)
            print("@awake s=%d" % time.time())
            machine.deepsleep(10000000)
        print("@slept s=%d" % time.time())
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.rtc.crystal_ppm = 1000
    bracelet.rtc.sleep_ppm = -50_000
    bracelet.boot()
    world.expect("firmware", "awake", within=10_001, s=10_010)
    slept = world.expect("firmware", "slept", within=10_530, s=10_010 + 10_000)  # the timer runs from it too
    assert slept.t_us > 20_526_000_000


def test_the_calendar_is_the_one_of_2000_and_has_no_end_in_2038(world, firmware):
    seconds = [0, 59, 86_399, 5_097_600, 5_184_000, 31_622_400, 1_222_000_000, 1_893_456_000, 3_100_000_000]
    main = firmware(
        f"import time\nfor s in {seconds}:\n    t = time.gmtime(s)\n    print('@is', 't=%d' % time.mktime(t), *t)"
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.run(1)
    for second, line in zip(seconds, bracelet.console, strict=True):
        want = datetime.datetime(2000, 1, 1) + datetime.timedelta(seconds=second)
        assert line.split() == ["@is", f"t={second}", *(str(n) for n in (*want.timetuple()[:7], want.timetuple()[7]))]


def test_an_alarm_lives_through_the_wrap_of_the_ticks(world, tmp_path):
    rig = Rig(world, tmp_path, track=Track.still(1.0, 2.0))
    rig.provision()
    rig.bracelet.ticks_start_us = ((1 << 30) - 100_000) * 1000  # ticks_ms wraps 100 s after boot
    rig.answers = False
    rig.boot(settle=90)
    rig.press()
    world.run(300)
    rig.answers = True
    world.expect("firmware", "delivered", within=400)
    assert not [event for event in world.trace if event.what in ("restarted", "stuck", "watchdog", "crashed")]
    assert len(rig.accepted()) >= 3  # the alarm and its Updates, before and after
    rig.close()


def test_a_brownout_reads_as_power_on_and_keeps_rtc_memory(world, firmware):
    bracelet = world.bracelet(firmware=sleeper(firmware, "RTC().memory(b'kept')\ntime.sleep(60)"))
    bracelet.boot()
    world.expect("firmware", "up", within=1, cause=1, memory="none")
    bracelet.reset(by="brownout")
    world.expect("firmware", "up", within=1, cause=1, memory="kept")
