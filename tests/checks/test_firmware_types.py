"""The firmware uses only what an ESP32 has."""

from __future__ import annotations

from pathlib import Path

from . import FIRMWARE
from .firmware_types import check

GOOD = """
import asyncio, machine, network, esp32, time, ssl, socket, select, os, json, hashlib, cryptolib, micropython
from micropython import const

LED = const(2)


async def main():
    pin = machine.Pin(LED, machine.Pin.OUT, value=0)
    uart = machine.UART(1, baudrate=9600, tx=17, rx=16, rxbuf=1024)
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    store = esp32.NVS("tocsin")
    store.set_i32("boots", 1)
    aes = cryptolib.aes(bytes(16), 1)
    while True:
        pin(not pin())
        uart.write(hashlib.sha256(aes.encrypt(bytes(16))).digest())
        started = time.ticks_ms()
        await asyncio.sleep_ms(10)
        machine.WDT(timeout=8000).feed()
        if time.ticks_diff(time.ticks_ms(), started) > 20:
            machine.reset()


@micropython.viper
def add(a: int, b: int) -> int:
    return a + b
"""

BAD = {
    "machine.Pim(2)": 'has no attribute "Pim"',
    "machine.Pin(2).toggle_twice()": 'has no attribute "toggle_twice"',
    "machine.WDT(time_out=8000)": 'Unexpected keyword argument "time_out"',
    "import pathlib": 'module named "pathlib"',
    "import dataclasses": 'module named "dataclasses"',
    "time.perf_counter()": 'has no attribute "perf_counter"',
    "time.monotonic()": 'has no attribute "monotonic"',
    "socket.create_connection(('', 1))": 'has no attribute "create_connection"',
    "network.WLAN(network.STA_IF).konnect()": 'has no attribute "konnect"',
    "esp32.NVS('x').get_string('y')": 'has no attribute "get_string"',
    "undefined_name": 'Name "undefined_name" is not defined',
    "machine.UART(1).read(1, 2, 3, 4)": "No overload variant",
}


def test_the_firmware_uses_only_what_an_esp32_has() -> None:
    assert [str(finding) for finding in check(FIRMWARE)] == []


def test_what_an_esp32_has_is_accepted_and_what_it_has_not_is_seen(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    head = "import esp32, machine, network, socket, time\n\n\ndef f():\n"
    (tmp_path / "bad.py").write_text(head + "".join(f"    {line}\n" for line in BAD))
    findings = check(tmp_path)
    messages = {finding.line: finding.message for finding in findings if finding.file == "bad.py"}
    unseen = [line for number, line in enumerate(BAD, start=5) if BAD[line] not in messages.get(number, "")]
    assert unseen == []
    assert [str(finding) for finding in findings if finding.file != "bad.py"] == []
