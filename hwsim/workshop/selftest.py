"""On the bracelet, before it has an identity: is every part there? Run by mpremote, with the firmware's own drivers.

`@test part= result=` on the console for each part; what is felt and seen the workshop asks the engineer. Compiled
together with the firmware, because that has short names; it does not stay on the bracelet. Says nothing private: no
position, no number, no name.
"""

import asyncio
import time

import machine
from tocsin import board, log
from tocsin.clock import Clock
from tocsin.drivers.battery import Battery
from tocsin.drivers.button import Button
from tocsin.drivers.gnss import Gnss
from tocsin.drivers.haptic import Haptic
from tocsin.drivers.led import Led
from tocsin.drivers.modem import Modem
from tocsin.drivers.strap import Contact

HAND_MS = 60000  # for the engineer to press
RADIO_MS = 180000  # to find a network in a new place
LOOK_MS = 50
KEPT = 1024  # octets of the receiver's
SHOWN_MS = 2400
BELOW_MV, ABOVE_MV = 200, 200  # beyond the board's table: a cell that reads so is none


async def _until(happened, ms):
    start = time.ticks_ms()
    while not happened():
        if time.ticks_diff(time.ticks_ms(), start) > ms:
            return False
        await asyncio.sleep_ms(LOOK_MS)
    return True


async def _button(wiring):
    edges = []
    button = Button(wiring, edges.append, _nothing, _nothing)
    asyncio.create_task(button.run())
    await asyncio.sleep_ms(500)
    if edges:
        return "stuck"
    log.event("test", part="button", wanted="hand")
    return "ok" if await _until(lambda: edges[:2] == [True, False], HAND_MS) else "stuck" if edges else "silent"


async def _strap(wiring):
    seen = []

    def sample(closed):
        if not seen or seen[-1] != closed:
            seen.append(closed)

    asyncio.create_task(Contact(wiring, sample).run())
    log.event("test", part="strap", wanted="hand")
    if await _until(lambda: len(seen) > 1 and not seen[-1], HAND_MS):
        return "ok"
    return "stuck" if len(seen) > 1 else "closed" if seen and seen[0] else "open"


async def _led(wiring):
    led = Led(wiring)
    task = asyncio.create_task(led.run())
    led.show("fault")
    await asyncio.sleep_ms(SHOWN_MS)
    led.show(None)
    await asyncio.sleep_ms(1000)
    task.cancel()
    return "shown"


async def _haptic(wiring):
    haptic = Haptic(wiring)
    asyncio.create_task(haptic.run())
    haptic.play("heard")
    await _until(lambda: not haptic.busy(), SHOWN_MS)
    return "shown"


async def _battery(wiring):
    battery = Battery(wiring, _nothing)
    mv = battery._adc.read_uv() // 1000 * wiring.get("divider_num", 1) // wiring.get("divider_den", 1)
    low, high = wiring["table"][0][0] - BELOW_MV, wiring["table"][-1][0] + ABOVE_MV
    log.event("test", part="battery", percent=battery.percent)
    return "ok" if low <= mv <= high else "low" if mv < low else "high"


def _sentences(data):
    """How many whole NMEA sentences, by their checksums (NMEA 0183: exclusive or of what is between $ and *)."""
    good = 0
    for line in data.split(b"\n"):
        line = line.strip()
        star = line.rfind(b"*")
        if line[:1] == b"$" and star > 0:
            check = 0
            for octet in line[1:star]:
                check ^= octet
            good += line[star + 1 :].upper() == b"%02X" % check
    return good


async def _radio(wiring):
    """Modem and receiver together: the one may be in the other, and both take their time."""
    clock = Clock(time.ticks_ms, time.ticks_diff, machine.RTC())
    heard = [b""]
    gnss = Gnss(wiring["gnss"], clock, _nothing, _nothing)

    def feed(data, heard_at):
        heard[0] = (heard[0] + data)[-KEPT:]

    gnss.feed = feed
    modem = Modem(wiring["modem"], clock, _nothing, _nothing, _nothing, _nothing)
    if gnss.commands:
        modem.gnss = gnss
        gnss.changed = modem.look
    else:
        asyncio.create_task(gnss.run())
    asyncio.create_task(modem.reader())
    asyncio.create_task(modem.run())
    gnss.switch(True)
    modem.switch(True)
    found = []

    def over():
        if "gnss" not in found and _sentences(heard[0]):
            found.append("gnss")
            log.event("test", part="gnss", result="ok")
        return "gnss" in found and (modem.registered or modem._sim != "ready")

    await _until(over, RADIO_MS)
    if "gnss" not in found:
        log.event("test", part="gnss", result="silent")
    log.event("test", part="sim", result="ok" if modem.registered else modem._sim)
    return "ok" if modem.registered else "none"


def _nothing(*arguments):
    return None


def main(part):
    wiring = board.load()
    tests = {
        "led": _led, "haptic": _haptic, "button": _button, "strap": _strap, "battery": _battery, "radio": _radio,
    }  # fmt: skip
    result = asyncio.run(tests[part](wiring if part == "radio" else wiring[part]))
    log.event("test", part="network" if part == "radio" else part, result=result)
