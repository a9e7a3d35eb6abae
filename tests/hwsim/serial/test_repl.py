"""The prompt itself, octet by octet: what MicroPython's documentation of the REPL promises to whoever speaks to it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwsim.serial.rom import SYNC

PROMPT, RAW = b"\r\n>>> ", b"raw REPL; CTRL-B to exit\r\n>"


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """Prints, sleeps in a loop, and has a handler of an interrupt."""
    folder = tmp_path / "firmware"
    folder.mkdir()
    (folder / "main.py").write_text(
        textwrap.dedent("""
            import machine, time
            presses = []
            button = machine.Pin(33, machine.Pin.IN, machine.Pin.PULL_UP)
            button.irq(lambda pin: presses.append(pin.value()), machine.Pin.IRQ_FALLING)
            name = "main"
            print("@up cause=%d" % machine.reset_cause())
            while True:
                time.sleep_ms(50)
        """)
    )
    return folder


@pytest.fixture
def prompt(line):
    """Ctrl-C into the running firmware."""
    line.send(b"\r\x03")
    said = line.until(PROMPT)
    assert b"Traceback (most recent call last):\r\n" in said
    assert b"\r\nKeyboardInterrupt: \r\n" in said
    assert b"MicroPython v1." in said
    line.until(b">>> ")  # after the carriage return that was typed before it
    return line


def ask(line, text: bytes) -> bytes:
    """A line at the friendly prompt and its answer, without the echo."""
    line.send(text + b"\r")
    said = line.until(PROMPT)
    assert said.startswith(text + b"\r\n")
    return said[len(text) + 2 : -len(PROMPT)]


def test_what_the_firmware_prints_comes_out(usb, line):
    usb.world.call(usb.reset)
    assert line.until(b"\r\n").endswith(b"@up cause=1\r\n")


def test_the_friendly_prompt(usb, prompt):
    assert ask(prompt, b"6 * 7") == b"42"
    assert ask(prompt, b"name") == b"'main'"  # main.py's names are there
    assert ask(prompt, b"1 // 0").endswith(b"ZeroDivisionError: divide by zero")
    prompt.send(b"for n in range(2):\r")
    prompt.until(b"... ")
    prompt.send(b"    print('n', n)\r")
    prompt.until(b"... ")
    prompt.send(b"\r")
    assert prompt.until(PROMPT) == b"\r\nn 0\r\nn 1" + PROMPT
    prompt.send(b"rightx\x7f = [1,\r")
    prompt.until(b"... ")
    prompt.send(b"2]\r")
    prompt.until(b">>> ")
    assert ask(prompt, b"right") == b"[1, 2]"
    prompt.send(b"never ran\x03")
    prompt.until(PROMPT)
    prompt.send(b"\x05")
    prompt.until(b"=== ")
    prompt.send(b"if True:\r  print('pasted')\r\x04")
    assert b"\r\npasted" + PROMPT in prompt.until(b"\r\npasted" + PROMPT)


def test_input_reads_the_line(prompt):
    prompt.send(b"input('who? ')\r")
    prompt.until(b"who? ")
    prompt.send(b"me\r")
    assert prompt.until(PROMPT).endswith(b"'me'" + PROMPT)


def test_interrupts_come_while_the_prompt_waits(usb, prompt):
    usb.world.call(usb.button.press)
    assert usb.world.run_until(lambda: usb.state == "waiting", 30)
    assert ask(prompt, b"presses[0]") == b"0"


def test_control_c_at_the_prompt_and_in_what_runs_there(prompt):
    prompt.send(b"import time\r")
    prompt.until(b">>> ")
    prompt.send(b"print('go'); time.sleep(1000)\r")
    prompt.until(b"\ngo\r\n")
    prompt.send(b"\x03")
    assert b"KeyboardInterrupt" in prompt.until(PROMPT)


def test_control_c_ends_a_loop_that_touches_nothing(usb, prompt):
    prompt.send(b"while True: pass\r")
    prompt.until(b"... ")
    prompt.send(b"\r")
    assert usb.world.run_until(lambda: usb.state == "running", 30)
    usb.world.run(0.2)
    prompt.send(b"\x03")
    assert b"KeyboardInterrupt" in prompt.until(PROMPT)
    assert ask(prompt, b"6 * 7").endswith(b"42")


def test_what_comes_together_with_control_c_is_not_left_lying(usb, line):
    usb.world.call(lambda: (usb.received(b"\x03"), usb.button.press(), usb.received(b"\x01print(presses)\x04")))
    line.until(RAW)
    assert line.until(b"\x04>") == b"OK[0]\r\n\x04\x04>"


def test_power_that_fails_in_the_loader(usb, line):
    line.send(SYNC)
    line.until(b"\xc0\xc0")
    usb.world.call(usb.power_cut)
    line.close()
    usb.world.expect("usb", "closed", within=30)
    usb.world.call(usb.boot)
    usb.world.expect("firmware", "up", within=30, cause=1)


def test_control_d_starts_boot_and_main_again(usb, prompt):
    ask(prompt, b"name = 'mine'; name")
    prompt.send(b"\x04")
    assert prompt.until(b"MPY: soft reboot\r\n")
    prompt.until(b"@up cause=5\r\n")
    prompt.send(b"\x03")
    prompt.until(b">>> ")
    assert ask(prompt, b"name") == b"'main'"


def test_raw(usb, prompt):
    prompt.send(b"\x01")
    prompt.until(RAW)
    prompt.send(b"print(1 + 1)\x04")
    assert prompt.until(b">") == b"OK2\r\n\x04\x04>"
    prompt.send(b"junk\x031/0\x04")  # Ctrl-C clears the line
    assert prompt.until(b"\x04>").startswith(b"OK\x04Traceback (most recent call last):\r\n")
    prompt.send(b"x = (\x04")
    assert prompt.until(b"\x04>").endswith(b"SyntaxError: invalid syntax\r\n\x04>")
    prompt.send(b"import time; time.sleep(1000)\x04")
    prompt.until(b"OK")
    usb.world.run_until(lambda: False, 0.2)
    prompt.send(b"\x03")
    assert prompt.until(b"\x04>").endswith(b"KeyboardInterrupt: \r\n\x04>")
    prompt.send(b"\x04")  # a soft reset comes back to the raw prompt, and main.py doesn't run
    assert prompt.until(RAW) == b"OK\r\nMPY: soft reboot\r\n" + RAW
    prompt.send(b"\x02")
    prompt.until(PROMPT)


def test_raw_paste_with_its_flow_control(prompt):
    prompt.send(b"\x01")
    prompt.until(RAW)
    prompt.send(b"\x05A\x01")
    window = 128
    assert prompt.read(5) == b"R\x01" + window.to_bytes(2, "little") + b"\x01"
    code = b"total = 0\n" + b"total += 1\n" * 40 + b"print(total)\n"
    allowed = 2 * window  # the first 01 came with the header
    while code:
        part, code = code[:allowed], code[allowed:]
        prompt.send(part)
        allowed -= len(part)
        while code and not allowed:
            assert prompt.read(1) == b"\x01"
            allowed += window
    prompt.send(b"\x04")
    answer = prompt.until(b"\x04>").lstrip(b"\x01")
    assert answer == b"\x0440\r\n\x04\x04>"
    prompt.send(b"\x05A\x01")
    prompt.until(b"\x01\x80\x00\x01")
    prompt.send(b"print('cancelled')\x03")
    assert b"KeyboardInterrupt" in prompt.until(b"\x04>")
    prompt.send(b"\x05B\x01")
    assert prompt.read(3) == b"R\x00>"


def test_the_watchdog_goes_on_at_the_prompt(usb, prompt):
    ask(prompt, b"wdt = machine.WDT(timeout=300); 0")
    usb.world.expect("bracelet", "watchdog", within=30)
    usb.world.expect("firmware", "up", within=30, cause=3)


def test_and_through_a_soft_reset(usb, prompt):
    ask(prompt, b"wdt = machine.WDT(timeout=1500); 0")
    prompt.send(b"\x04")
    usb.world.expect("usb", "soft reset", within=30)
    usb.world.expect("bracelet", "watchdog", within=30)


def test_a_program_that_goes_in_the_middle_of_a_line_leaves_no_harm(usb, line):
    line.send(b"\x03\x01print('half")
    line.until(RAW)
    line.close()
    usb.world.expect("usb", "closed", within=30)
    again = type(line)(usb.port.path)
    again.send(b"\r\x03\x01")
    again.until(RAW)
    again.send(b"print('whole')\x04")
    assert again.until(b">") == b"OKwhole\r\n\x04\x04>"
    again.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.lists(st.sampled_from(b"\1\2\3\4\5A\r([{'\"\\: \x1b[#"), max_size=60).map(bytes))
def test_no_garbage_locks_it_up(line, garbage):
    line.send(garbage)
    line.send(b"\r\x03\x03\x03\x02\r\x03\r\x01\x01")
    line.until(RAW)
    line.send(b"\x03print('al' + 'ive')\x04")
    line.until(b"alive\r\n\x04\x04>")
