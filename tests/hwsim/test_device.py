"""The life of a simulated board: boots, resets, what is kept over them, and everything that ends a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from hwsim import toolchain
from hwsim.world import SimulationError, Track, World, flash, nor


def test_a_press_is_seen_felt_and_shown(world, basic):
    bracelet = world.bracelet(firmware=basic, track=Track.still(1.0, 2.0))
    bracelet.boot()
    world.expect("firmware", "boot", within=1, n=1, cause=1)
    world.run(4)
    start = world.now_us
    bracelet.button.hold(1)
    world.expect("led", "on")
    pressed = world.expect("firmware", "pressed")
    assert pressed.t_us - start < 1000
    assert abs(pressed.detail["mv"] - bracelet.board.to_millivolt(80) // 2) <= 3
    assert bracelet.haptic.felt_since(start) == [80]
    world.expect("led", "off", within=0.1)
    assert "plain text" in bracelet.console


def test_the_receiver_finds_its_position_and_loses_it(world, basic):
    bracelet = world.bracelet(firmware=basic, track=Track.still(1.0, 2.0))
    bracelet.boot()
    world.expect("firmware", "fix", within=3, valid=0)
    fix = world.expect("firmware", "fix", within=40, valid=1)
    assert 30e6 < fix.t_us < 36e6
    bracelet.gnss.sky = False
    world.expect("firmware", "fix", within=3, valid=0)
    bracelet.gnss.sky = True
    world.expect("firmware", "fix", within=8, valid=1)


def test_flash_survives_the_supply(world, basic, tmp_path):
    flash = tmp_path / "flash"
    bracelet = world.bracelet(firmware=basic, flash=flash)
    bracelet.boot()
    world.expect("firmware", "boot", within=1, n=1)
    bracelet.power_cut(restart_after=3)
    world.expect("firmware", "boot", within=4, n=2, cause=1, rtc=0)
    bracelet.reset()
    world.expect("firmware", "boot", within=1, n=3, cause=1)
    bracelet.power_cut()
    assert bracelet.files.get("/boots") == b"3"
    with World(seed=2) as other:
        again = other.bracelet(firmware=basic, flash=flash)
        again.boot()
        other.expect("firmware", "boot", within=1, n=4)


def test_files_are_put_read_and_removed(world, basic):
    bracelet = world.bracelet(firmware=basic)
    bracelet.files.put("/deep/er/secret", bytes(range(256)))
    assert bracelet.files.get("/deep/er/secret") == bytes(range(256))
    assert bracelet.files.names("/deep") == ["er"]
    bracelet.files.remove("/deep/er/secret")
    assert not bracelet.files.exists("/deep/er/secret")
    bracelet.boot()
    world.run(1)
    assert bracelet.files.get("/boots") == b"1"  # of a copy, while it runs
    with pytest.raises(RuntimeError, match="is on"):
        bracelet.files.put("/x", b"")


def test_resets_keep_what_the_chip_keeps(world, firmware):
    main = firmware(
        """
        import esp32, machine, time
        rtc, nvs = machine.RTC(), esp32.NVS("test")
        n = int(rtc.memory() or b"0")
        try:
            kept = nvs.get_i32("n")
        except OSError:
            kept = -1
        print(f"@up cause={machine.reset_cause()} wake={machine.wake_reason()} n={n} nvs={kept} "
              f"year={rtc.datetime()[0]} ticks={time.ticks_ms()}")
        rtc.memory(str(n + 1).encode())
        nvs.set_i32("n", n)
        if n == 0:
            nvs.commit()
            rtc.datetime((2026, 3, 1, 0, 12, 0, 0, 0))
            machine.reset()
        if n == 1:
            machine.soft_reset()
        if n == 2:
            machine.deepsleep(60000)
        if n == 3:
            machine.WDT(timeout=2000)
            while True:
                time.sleep_ms(100)
        time.sleep(100)
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "up", within=1, cause=1, n=0, nvs=-1, year=2000)
    world.expect("firmware", "up", within=1, cause=2, n=1, nvs=0, year=2026)
    soft = world.expect("firmware", "up", within=1, cause=5, n=2, nvs=1)
    slept = world.expect("firmware", "up", within=70, cause=4, wake=4, n=3, ticks=0)
    assert 59.4e6 < slept.t_us - soft.t_us < 60.5e6  # its oscillator is 1 % fast, and it boots
    bitten = world.expect(None, "watchdog", within=3)
    stored_us = 3 * nor.PAGE_US  # a value written, marked as written, the one before marked as erased
    assert abs(bitten.t_us - slept.t_us - stored_us - 2_000_000) < 100
    world.expect("firmware", "up", within=1, cause=3, n=4, year=2026)
    bracelet.power_cut(restart_after=1)
    world.expect("firmware", "up", within=3, cause=1, n=0, nvs=4, year=2000)  # NVS keeps what was never committed


def test_a_clock_that_was_set_before_the_first_boot(world, firmware):
    main = firmware("import time\nprint(f'@time now={time.time()} year={time.gmtime()[0]}')")
    bracelet = world.bracelet(firmware=main, rtc_start=1_767_225_600)
    bracelet.boot()
    world.expect("firmware", "time", within=1, now=1_767_225_600 - 946_684_800, year=2026)


def test_a_pin_wakes_it_from_deep_sleep(world, firmware):
    main = firmware(
        """
        import esp32, machine
        print(f"@up cause={machine.reset_cause()} wake={machine.wake_reason()}")
        pin = machine.Pin(33, machine.Pin.IN, machine.Pin.PULL_UP)
        esp32.wake_on_ext0(pin, esp32.WAKEUP_ALL_LOW)
        machine.deepsleep()
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "up", within=1, cause=1)
    world.expect_nothing("firmware", "up", within=3600)
    bracelet.button.press(for_s=0.5)
    world.expect("firmware", "up", within=1, cause=4, wake=2)


@pytest.mark.world(wall_limit_s=4.0)
def test_a_loop_without_end_is_ended_by_the_watchdog_in_its_own_time(world, firmware):
    bracelet = world.bracelet(
        firmware=firmware(
            """
            import machine
            print(f"@up cause={machine.reset_cause()}")
            if machine.reset_cause() == 1:
                machine.WDT(timeout=3000)
                while True:
                    pass
            """
        )
    )
    bracelet.boot()
    up = world.expect("firmware", "up", within=1, cause=1)
    world.expect(None, "stuck", within=1)
    bitten = world.expect(None, "watchdog", within=5)
    assert abs(bitten.t_us - up.t_us - 3_000_000) < 1000
    world.expect("firmware", "up", within=1, cause=3)


@pytest.mark.world(wall_limit_s=4.0)
def test_a_loop_without_end_and_without_watchdog_is_an_error(world, firmware):
    bracelet = world.bracelet(firmware=firmware("print('before')\nwhile True:\n    pass"))
    bracelet.boot()
    with pytest.raises(SimulationError, match="no watchdog") as error:
        world.run(5)
    assert "before" in str(error.value)


def test_the_end_of_main_leaves_the_prompt_and_the_watchdog(world, firmware):
    bracelet = world.bracelet(firmware=firmware("import machine\nmachine.WDT(timeout=4000)\nraise OSError(5)"))
    bracelet.boot()
    world.expect(None, "main.py ended", within=1, failed=True)
    world.expect(None, "watchdog", within=5)
    assert any("OSError: [Errno 5] EIO" in line for line in bracelet.console)
    assert not any("/hwsim/" in line for line in bracelet.console)  # no path of this machine


def test_a_crash_of_the_interpreter_is_an_error_with_its_console(world, firmware):
    main = firmware("import time, uctypes\nprint('last words')\ntime.sleep_ms(1)\nuctypes.bytearray_at(8, 8)[0] = 1")
    world.bracelet(firmware=main).boot()
    with pytest.raises(SimulationError, match="last words"):
        world.run(2)


def test_an_interpreter_that_ends_before_it_listens_is_an_error_too(world, basic, monkeypatch, tmp_path):
    bracelet = world.bracelet(firmware=basic)
    program = tmp_path / "micropython"  # it still answers what it is
    program.write_text(f'#!/bin/sh\n[ "$1" != -c ] || exec {" ".join(toolchain.micropython())} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(toolchain, "micropython", lambda: [str(program)])
    bracelet.boot()
    with pytest.raises(SimulationError, match="died"):
        world.run(2)
    with pytest.raises(SimulationError, match="file system"):
        bracelet.files.get("/board.json")


@pytest.mark.parametrize("content", [b"", b"\xff" * 5000, None], ids=["empty", "short", "a folder"])
def test_what_is_no_flash_image_is_refused(world, basic, tmp_path, content):
    image = tmp_path / "image"
    image.mkdir() if content is None else image.write_bytes(content)
    with pytest.raises(ValueError, match="no flash image"):
        world.bracelet(firmware=basic, flash=image)


@pytest.mark.parametrize("filling", [b"\0", b"\x5a"], ids=["zeros", "rubbish"])
def test_a_flash_that_holds_no_file_system_gets_one(world, basic, tmp_path, filling):
    image = tmp_path / "image"
    image.write_bytes(filling * flash.SIZE)
    bracelet = world.bracelet(firmware=basic, flash=image)
    bracelet.boot()
    world.expect("firmware", "boot", within=2)


def test_a_firmware_that_is_not_there_is_named(world, tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape("has no main.py")):
        world.bracelet(firmware=tmp_path)


def test_a_mistake_in_the_test_is_raised_and_the_world_goes_on(world, basic):
    bracelet = world.bracelet(firmware=basic)
    bracelet.boot()
    world.after(2_000_000, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        world.run(5)
    assert world.now_us == 2_000_000
    bracelet.button.hold(0.2)
    world.expect("firmware", "pressed", within=1)


def test_worlds_side_by_side_know_nothing_of_each_other(basic):
    with World() as one, World() as other, World() as alone:
        for each in (one, other, alone):
            each.bracelet(firmware=basic).boot()
        one.run(3)
        other.bracelets[0].button.hold(0.3)
        one.run(2)
        other.run(4.7)
        alone.run(5)
        assert one.digest() == alone.digest() != other.digest()


def test_a_world_that_has_ended_says_so(basic):
    world = World()
    bracelet = world.bracelet(firmware=basic)
    world.close()
    bracelet.boot()
    with pytest.raises(RuntimeError, match="has ended"):
        world.run(1)


def test_the_supply_fails_in_the_middle_of_any_flash_operation(world, firmware):
    main = firmware(
        """
        import os
        try:
            with open("/n") as f:
                n = int(f.read())
        except OSError:
            n = 0
        print(f"@found n={n}")
        with open("/n.new", "w") as f:
            f.write(str(n + 1))
        os.rename("/n.new", "/n")
        print(f"@wrote n={n + 1}")
        """
    )
    bracelet = world.bracelet(firmware=main)
    written = 0
    for operation in range(1, 12):
        bracelet.power_cut_at_flash_operation = operation
        bracelet.boot()
        found = world.expect("firmware", "found", within=2).detail["n"]
        assert found in (written, written + 1)
        world.run(1)
        wrote = [event.detail["n"] for event in world.trace if event.what == "wrote"]
        written = max([found, *wrote])
        if bracelet.state == "off":
            assert bracelet.flash_operations == operation
        bracelet.power_cut()
    assert written > 3


def test_no_finally_runs_when_the_supply_goes(world, firmware):
    main = firmware(
        """
        import time
        try:
            print("@up")
            time.sleep(1000)
        finally:
            with open("/finally", "w") as f:
                f.write("ran")
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "up", within=1)
    bracelet.power_cut()
    assert not bracelet.files.exists("/finally")


def test_ticks_wrap_as_on_the_chip(world, firmware):
    main = firmware(
        """
        import time
        assert time.ticks_add(0, -1) == (1 << 30) - 1
        start = time.ticks_ms()
        time.sleep(65)
        now = time.ticks_ms()
        print(f"@ticks wrapped={int(now < start)} passed={time.ticks_diff(now, start) // 1000}")
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.ticks_start_us = ((1 << 30) - 60_000) * 1000
    bracelet.boot()
    world.expect("firmware", "ticks", within=70, wrapped=1, passed=65)


def test_two_bracelets_share_a_world(world, basic):
    first, second = world.bracelet(firmware=basic), world.bracelet(firmware=basic, phone="+10000000009")
    first.boot()
    second.boot()
    world.run(2)
    second.button.hold(0.2)
    world.expect("firmware2", "pressed")
    assert not any(event.who == "firmware" and event.what == "pressed" for event in world.trace)
    first.button.hold(0.2)
    world.expect("firmware", "pressed")


def test_a_wrong_wiring_is_named(world, firmware):
    main = firmware("import machine, time\nmachine.UART(1, 9600, tx=18, rx=19)\ntime.sleep(1)")
    world.bracelet(firmware=main).boot()
    world.expect("bracelet", "nothing is wired there", within=1, tx=18, rx=19)


def test_nothing_is_left_behind(basic, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world = World()
    bracelets = [world.bracelet(firmware=basic, phone=f"+1000000001{n}") for n in range(3)]
    for bracelet in bracelets:
        bracelet.boot()
    world.run(2)
    processes = [bracelet.interpreter._process.pid for bracelet in bracelets]
    descriptors = len(os.listdir("/proc/self/fd"))
    world.close()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) < descriptors
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_nothing_is_left_behind_when_the_worlds_thread_died(basic, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptors = len(os.listdir("/proc/self/fd"))
    world = World(realtime=True)
    world.relay_modem("+10000000009")
    bracelet = world.bracelet(firmware=basic)
    world.start_thread()
    world.call(bracelet.boot)
    world.expect("bracelet", "boot", within=30)
    pid = world.call(lambda: bracelet.interpreter._process.pid)
    world.call(lambda: world.after(0, lambda: 1 // 0))
    with pytest.raises(RuntimeError, match="has ended"):
        while True:  # until it is dead: closed before, it would have died of nothing
            world.call(lambda: time.sleep(0.01))
    with pytest.raises(ZeroDivisionError):
        world.close()
    assert gone(pid)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def gone(pid: int) -> bool:
    """Wait until a process that isn't ours has ended; who should reap it may be slow."""
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().split(")")[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_the_interpreter_dies_with_the_simulator(tmp_path, firmware):
    """Even when the simulator is killed and the firmware is in a loop that asks the world for nothing."""
    main = firmware("print('@up')\nwhile True:\n    pass")
    program = (
        "import sys; from hwsim.world import World; w = World(wall_limit_s=60)\n"
        "b = w.bracelet(firmware=sys.argv[1]); b.boot()\n"
        "from hwsim.world import device\n"
        "device.Device._receive = lambda self: None\n"
        "w.run(1); print(b.interpreter._process.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(main)],
        env=os.environ | {"TMPDIR": str(tmp_path)},  # what it leaves there goes with the test
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    assert gone(pid)


def test_a_world_that_nobody_closes_leaves_nothing_either(tmp_path, basic):
    program = (
        "import sys; from hwsim.world import World; w = World(); b = w.bracelet(firmware=sys.argv[1])\n"
        "b.boot(); w.run(1); print(b.interpreter._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(basic)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
    assert gone(int(done.stdout))
