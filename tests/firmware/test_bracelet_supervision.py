"""What keeps a bracelet alive: restarted tasks, the watchdog; and what it measures."""

import os

from hwsim.rig import WIFI
from tests.firmware.conftest import FIRMWARE

STUCK = """
import asyncio, machine, time
from tocsin import aio, clock

async def fine():
    while True:
        supervisor.report("fine")
        await asyncio.sleep_ms(1000)

async def ends_up_stuck():
    for _ in range(30):
        supervisor.report("stuck")
        await asyncio.sleep_ms(1000)
    await asyncio.Event().wait()

async def fails():
    await asyncio.sleep_ms(10)
    raise OSError(5, "a text with something private in it")

async def main():
    supervisor.start("fine", fine, vital=True)
    supervisor.start("stuck", ends_up_stuck, vital=True)
    supervisor.start("fails", fails)
    await supervisor.watch(machine.WDT(timeout=10000))

supervisor = aio.Supervisor(clock.Clock(time.ticks_ms, time.ticks_diff))
asyncio.run(main())
"""


EVENT = """
import asyncio, time
from tocsin import aio

event = aio.Event()

async def timed(ms):
    began = time.ticks_ms()
    was_set = await event.wait(ms)
    return int(was_set), time.ticks_diff(time.ticks_ms(), began)

async def cancelled():
    try:
        await event.wait()
        print("@cancelled no=1")
    except asyncio.CancelledError:
        print("@cancelled yes=1")
        raise

async def main():
    print("@late set=%d after=%d" % await timed(700))
    waiting = asyncio.create_task(timed(5000))
    await asyncio.sleep_ms(200)
    event.set()
    print("@soon set=%d after=%d" % await waiting)
    print("@there set=%d after=%d" % await timed(0))
    event.clear()
    waiting = asyncio.create_task(cancelled())
    await asyncio.sleep_ms(10)
    waiting.cancel()
    event.set()  # before the cancelled one has run: it must not be taken back
    await asyncio.sleep_ms(10)
    print("@over done=%d" % waiting.done())

asyncio.run(main())
"""


def own_firmware(folder, main):
    os.symlink(FIRMWARE / "tocsin", folder / "tocsin")
    start = (FIRMWARE / "main.py").read_text().partition("import slots")[0]  # how it treats the heap
    (folder / "main.py").write_text(start + main)
    return folder


def test_a_stuck_vital_task_resets_the_chip_a_failing_one_is_restarted(world, tmp_path):
    bracelet = world.bracelet(firmware=own_firmware(tmp_path, STUCK))
    bracelet.boot()
    world.expect("firmware", "restarted", within=2, task="fails", reason="OSError:5")
    world.expect("firmware", "restarted", within=2, task="fails")
    world.expect("firmware", "stuck", within=60, task="stuck")
    world.expect(
        "bracelet", "boot", within=20, cause=lambda cause: "watchdog" in cause.lower() or "wdt" in cause.lower()
    )
    assert "private" not in "\n".join(bracelet.console)


def test_an_event_ends_a_wait_at_once_or_the_time_does_and_a_cancelled_one_stays_so(world, tmp_path):
    world.bracelet(firmware=own_firmware(tmp_path, EVENT)).boot()
    late = world.expect("firmware", "late", within=3, set=0)
    soon = world.expect("firmware", "soon", within=3, set=1)
    assert 700 <= int(late.detail["after"]) < 720
    assert 200 <= int(soon.detail["after"]) < 220
    world.expect("firmware", "there", within=1, set=1)
    world.expect("firmware", "cancelled", within=1, yes=1)
    world.expect("firmware", "over", within=1, done=1)


def test_a_loop_that_never_yields_is_ended_by_the_watchdog(world, tmp_path):
    loop = STUCK.replace("await asyncio.Event().wait()", "while True: time.sleep_ms(100)")
    bracelet = world.bracelet(firmware=own_firmware(tmp_path, loop))
    bracelet.boot()
    world.run(60)
    assert bracelet.boots == 2


def test_the_battery_is_told(bench, world):
    bench.bracelet.battery.percent = 37
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=2)
    (document,) = bench.documents().values()
    assert abs(document["battery"] - 37) <= 1


def test_the_cell_is_told(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=2)
    (document,) = bench.documents().values()
    cell = document["cell"]
    assert (cell["mcc"], cell["mnc"], cell["lac"], cell["cid"]) == bench.bracelet.modem.cell


def test_the_second_known_network_will_do(make_bench, world):
    bench = make_bench(networks=[("elsewhere", "unknown-key"), WIFI])
    bench.boot()
    world.expect("firmware", "link", within=40, path="mqtt", up=1)


def test_a_broker_that_does_not_acknowledge_is_left_and_the_alarm_texted(bench, world):
    bench.boot(settle=20)
    bench.answers = False
    bench.broker.puback_delay_us = None
    bench.press()
    world.expect("firmware", "link", within=13, path="mqtt", up=0)
    world.expect("sms centre", "accepted", within=20, sender="modem")
    bench.broker.puback_delay_us = 0
    bench.answers = True
    world.expect("firmware", "receipt", within=60)


def test_a_press_does_not_wait_out_the_pause_of_a_reconnect(bench, world):
    bench.boot(settle=20)
    bench.broker.down()
    world.run(1500)  # the pauses are minutes now
    bench.broker.up()
    bench.press()
    world.expect("firmware", "receipt", within=3, path="mqtt")


def test_time_is_known_again_after_a_power_cut(bench, world):
    bench.boot(settle=20)
    world.run(7300)
    bench.bracelet.power_cut()
    world.run(600)
    bench.bracelet.gnss.cold_start_s = 100_000
    bench.bracelet.modem.nitz = False
    bench.boot()
    assert any((e.what, e.detail.get("quality")) == ("clock", "saved") for e in world.trace)
    world.run(3)
    bench.press()
    world.expect("firmware", "receipt", within=20)
    (time,) = bench.times().values()
    assert world.unix_time - 600 - 3700 <= time <= world.unix_time
