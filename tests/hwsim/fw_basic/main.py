"""For the simulator's own tests: blinks when pressed, counts boots, feeds a watchdog, reports what GNSS says."""

import asyncio
import json
import os
import random
import time

import machine

with open("/board.json") as f:
    board = json.load(f)

led = machine.Pin(board["led"]["pin"], machine.Pin.OUT, value=0)
button = machine.Pin(board["button"]["pin"], machine.Pin.IN, machine.Pin.PULL_UP)
motor = machine.PWM(machine.Pin(board["haptic"]["pin"]), freq=board["haptic"]["frequency_hz"], duty_u16=0)
cell = machine.ADC(machine.Pin(board["battery"]["pin"]), atten=machine.ADC.ATTN_11DB)
if "power" in board["gnss"]:
    machine.Pin(board["gnss"]["power"], machine.Pin.OUT, value=1)
gnss = machine.UART(1, 9600, tx=board["gnss"]["tx"], rx=board["gnss"]["rx"], rxbuf=1024)
watchdog = machine.WDT(timeout=5000)

try:
    with open("/boots") as f:
        boots = int(f.read()) + 1
except OSError:
    boots = 1
with open("/boots.new", "w") as f:
    f.write(str(boots))
os.rename("/boots.new", "/boots")

changed = asyncio.ThreadSafeFlag()
button.irq(lambda pin: changed.set(), machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING)

# From here on a press is seen.
print(f"@boot n={boots} cause={machine.reset_cause()} rtc={time.time()} random={random.getrandbits(16)}")
print(f"@urandom hex={os.urandom(4).hex()}")
print("plain text")


async def presses():
    while True:
        await changed.wait()
        led.value(1 - button.value())
        if not button.value():
            print(f"@pressed ticks={time.ticks_ms()} mv={cell.read_uv() // 1000}")
            motor.duty_u16(40000)
            await asyncio.sleep_ms(80)
            motor.duty_u16(0)


async def receiver():
    lines = asyncio.StreamReader(gnss)
    had = None
    while True:
        line = await lines.readline()
        if line[3:6] == b"RMC":
            has = line.split(b",")[2] == b"A"
            if has != had:
                had = has
                print(f"@fix valid={int(has)}")


async def feeder():
    while True:
        watchdog.feed()
        await asyncio.sleep_ms(2000)


async def main():
    await asyncio.gather(presses(), receiver(), feeder())


asyncio.run(main())
