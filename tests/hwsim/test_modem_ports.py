"""A modem on a bracelet's pins and serial line: its key, the rate, CTS."""

from __future__ import annotations

import pytest

KEY = """
import machine, time
key = machine.Pin(4, machine.Pin.OUT, value=0)
def hold(ms):
    key.value(1); time.sleep_ms(ms); key.value(0)
hold(1100)
time.sleep(12)
%s
print("@done")
time.sleep(1000)
"""


def changes(world, *what):
    events = [event for event in world.trace if event.who == "modem" and event.what in what]
    return [(event.what, event.t_us / 1e6) for event in events]


@pytest.mark.parametrize("off_s", [2.0, 7.0])
def test_while_it_switches_off_its_key_does_nothing(world, firmware, off_s):
    """SIM7000 Hardware Design V1.04, table 9: 1.8 to 6.9 s until it is off."""
    bracelet = world.bracelet(firmware=firmware(KEY % "hold(1100); time.sleep_ms(500); hold(1100)"))
    bracelet.modem.habits.off_s = off_s
    bracelet.boot()
    world.run(40)
    (_, on), (_, off) = changes(world, "on", "off")
    assert off - on == pytest.approx(1.1 - 1.0 + 12 + 1.0 + off_s, abs=0.2)
    assert not bracelet.modem.on  # the second hold was too early


def test_a_key_that_is_held_until_it_is_off_switches_it_on_again(world, firmware):
    bracelet = world.bracelet(firmware=firmware(KEY % "hold(7000)"))
    bracelet.modem.habits.off_s = 3.0
    bracelet.boot()
    world.run(40)
    assert [what for what, _ in changes(world, "on", "off")] == ["on", "off", "on"]
    assert bracelet.modem.on


def test_it_says_farewell_and_is_deaf_until_it_is_off(world, firmware):
    bracelet = world.bracelet(firmware=firmware(KEY % "hold(1100)"))
    modem = bracelet.modem
    said = []
    send = modem._send
    modem._send = lambda data: (said.append(data), send(data))
    bracelet.boot()
    world.run(13.6)
    world.run_until(lambda: modem.leaving, 5)
    said.clear()
    world.call(lambda: modem.feed(b"AT\r"))
    world.run(1)
    assert said == []
    assert not modem.sms_path
    world.run(5)
    assert not modem.on
    assert modem.sms_path  # it can be switched on


SERIAL = """
import machine, time
uart = machine.UART(2, 115200, tx=17, rx=16, rts=22, cts=21, flow=machine.UART.RTS | machine.UART.CTS,
                    txbuf=1024, rxbuf=2048)
key = machine.Pin(4, machine.Pin.OUT, value=1)
time.sleep_ms(1100)
key.value(0)
time.sleep(9)
uart.read()
%s
"""


def test_a_modem_that_holds_cts_off_stops_what_is_written(world, firmware):
    """A kilobyte and the FIFO wait; the next octet blocks without an end (espressif/esp-idf#6695)."""
    main = firmware(
        SERIAL
        % """
uart.write("ATE0\\\\r")
time.sleep_ms(200)
print("@first octets=%d" % len(uart.read() or b""))
print("@ready")
time.sleep(2)
print("@queued n=%d done=%d" % (uart.write(b"A" * 1000), uart.txdone()))
print("@silent octets=%d" % len(uart.read() or b""))
print("@more n=%d" % uart.write(b"T" * 200))
time.sleep(1)
print("@after done=%d" % uart.txdone())
time.sleep(1000)
""".replace("\\\\", "\\")
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "first", within=15, octets=lambda n: n > 0)
    world.expect("firmware", "ready", within=1)
    world.call(lambda: bracelet.modem.stall(True))
    world.expect("firmware", "queued", within=3, n=1000, done=0)
    world.expect("firmware", "silent", within=1, octets=0)
    world.run(30)
    assert not any(event.what == "more" for event in world.trace)  # the firmware stands still
    world.call(lambda: bracelet.modem.stall(False))
    world.expect("firmware", "more", within=1, n=200)
    world.expect("firmware", "after", within=3, done=1)


@pytest.mark.parametrize("stalled", [True, False])
def test_deep_sleep_waits_for_what_is_not_sent(world, firmware, stalled):
    """esp_deep_sleep waits for every UART, without an end (ESP-IDF, sleep_uart.c; espressif/esp-idf#3620)."""
    main = firmware(
        SERIAL
        % """
wdt = machine.WDT(timeout=8000)
print("@ready")
time.sleep(1)
uart.write(b"AT" * 20)
machine.deepsleep(60000)
"""
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "ready", within=15)
    if stalled:
        world.call(lambda: bracelet.modem.stall(True))
        world.expect("bracelet", "watchdog", within=10)
    else:
        world.expect("bracelet", "deep sleep", within=3)


def test_without_the_wire_or_without_minding_it_cts_is_nothing(world, firmware):
    unminded = SERIAL.replace(", flow=machine.UART.RTS | machine.UART.CTS", "")
    main = firmware(unminded % 'print("@n n=%d" % uart.write(b"A" * 5000))')
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.run(1)
    world.call(lambda: bracelet.modem.stall(True))
    world.expect("firmware", "n", within=15, n=5000)


@pytest.mark.parametrize("noise", [False, True])
def test_a_rate_that_fell_back_is_silence_or_noise(world, firmware, noise):
    main = firmware(
        SERIAL
        % """
def ask(text):
    uart.write(text + "\\\\r")
    time.sleep_ms(500)
    return uart.read() or b""
print("@before ok=%d" % (b"OK" in ask("AT")))
time.sleep(15)
uart.read()
said = ask("AT")
print("@fallen ok=%d octets=%d" % (b"OK" in said, len(said)))
uart.init(9600, tx=17, rx=16)
ask("")  # ends what the noise began
print("@found ok=%d" % (b"OK" in ask("AT")))
print("@rate ok=%d" % (b"OK" in ask("AT+IPR=115200")))
uart.init(115200, tx=17, rx=16)
print("@again ok=%d" % (b"OK" in ask("AT")))
time.sleep(1000)
""".replace("\\\\", "\\")
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.modem_line.noise = noise
    bracelet.boot()
    world.expect("firmware", "before", within=15, ok=1)
    bracelet.modem.baud_at_start = 9600
    world.call(bracelet.modem.restart)
    world.expect("firmware", "fallen", within=20, ok=0, octets=lambda n: (n > 0) == noise)
    world.expect("firmware", "found", within=2, ok=1)
    world.expect("firmware", "rate", within=2, ok=1)
    world.expect("firmware", "again", within=2, ok=1)
