"""Test whether every part is there, on a bracelet without an identity. mpremote runs it, with the firmware's drivers.

It writes `@test part= result=` to the console for each part; the workshop asks the engineer what was felt and seen. It
is compiled together with the firmware, because of the short names, and doesn't stay on the bracelet. It says nothing
private: no position, no number, no name.
"""

import asyncio
import time

import machine
from tocsin import at, board, log
from tocsin.clock import Clock
from tocsin.drivers.battery import Battery
from tocsin.drivers.button import Button
from tocsin.drivers.gnss import Gnss
from tocsin.drivers.haptic import Haptic
from tocsin.drivers.led import Led
from tocsin.drivers.modem import Modem
from tocsin.drivers.strap import Contact

HAND_MS = 60000  # for the engineer to press
SETTLE_MS = 500  # a contact that is good moves no more
RADIO_MS = 180000  # to find a network in a new place
SIM_MS = 45000  # a SIM that only starts slowly is known by then: the firmware asks every 30 s
PROGRESS_MS = 20000
LOOK_MS = 50
KEPT = 2048  # octets of the receiver: two seconds and more
SHOWN_MS = 2400
BELOW_MV, ABOVE_MV = 200, 200  # beyond the board's table: a cell that reads so is none
DENIED = 3  # registration: 3GPP TS 27.007, 7.2


async def _until(happened, ms):
    start = time.ticks_ms()
    while not happened():
        if time.ticks_diff(time.ticks_ms(), start) > ms:
            return False
        await asyncio.sleep_ms(LOOK_MS)
    return True


def _watch(wiring):
    """Return (edges of the button, changes of the strap): both, because they may have been soldered to each other's
    pins."""
    edges, seen = [], []

    def sample(closed):
        if not seen or seen[-1] != closed:
            seen.append(closed)

    asyncio.create_task(Button(wiring["button"], edges.append, _nothing, _nothing).run())
    if "strap" in wiring:
        asyncio.create_task(Contact(wiring["strap"], sample).run())
    return edges, seen


async def _button(wiring):
    edges, seen = _watch(wiring)
    await asyncio.sleep_ms(SETTLE_MS)
    if edges:
        return "stuck"
    before = len(seen)
    log.event("test", part="button", wanted="press")
    if not await _until(lambda: edges[:2] == [True, False], HAND_MS):
        return "stuck" if edges else "swapped" if len(seen) > before else "silent"
    await asyncio.sleep_ms(SETTLE_MS)
    return "ok" if len(edges) == 2 else "bounces"


async def _strap(wiring):
    edges, seen = _watch(wiring)
    await asyncio.sleep_ms(SETTLE_MS)
    if seen[-1]:  # an open strap reads so when its level is the wrong way round: hence the order of what is wanted
        log.event("test", part="strap", wanted="open")
        if not await _until(lambda: not seen[-1], HAND_MS):
            return "closed"
        await asyncio.sleep_ms(SETTLE_MS)
    before = len(seen)
    log.event("test", part="strap", wanted="close")
    if await _until(lambda: len(seen) > before + 1 and not seen[-1], HAND_MS):
        return "ok"
    return "stuck" if len(seen) > before else "swapped" if edges else "open"


async def _led(wiring):
    led = Led(wiring["led"])
    task = asyncio.create_task(led.run())
    led.show("fault")
    await asyncio.sleep_ms(SHOWN_MS)
    led.show(None)
    await asyncio.sleep_ms(1000)
    task.cancel()
    return "shown"


async def _haptic(wiring):
    haptic = Haptic(wiring["haptic"])
    asyncio.create_task(haptic.run())
    haptic.play("heard")
    await _until(lambda: not haptic.busy(), SHOWN_MS)
    return "shown"


async def _battery(wiring):
    wiring = wiring["battery"]
    battery = Battery(wiring, _nothing)
    try:
        uv = battery._adc.read_uv()
    except OSError:
        return "uncalibrated"
    mv = uv // 1000 * wiring.get("divider_num", 1) // wiring.get("divider_den", 1)
    low, high = wiring["table"][0][0] - BELOW_MV, wiring["table"][-1][0] + ABOVE_MV
    log.event("test", part="battery", percent=battery.percent)
    return "ok" if low <= mv <= high else "low" if mv < low else "high"


def _sentences(data):
    """Count whole NMEA sentences, by their checksums (NMEA 0183: exclusive or of the octets between $ and *)."""
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


def _sky(data):
    """Tell whether the receiver hears the sky: a satellite with a signal (GSV: the last of its four values), or a
    fix."""
    for line in data.split(b"\n"):
        items = line.split(b"*")[0].split(b",")
        if items[0][3:] == b"GSV" and any(items[at] for at in range(7, len(items), 4)):
            return True
        if items[0][3:] == b"RMC" and len(items) > 2 and items[2] == b"A":
            return True
    return False


async def _radio(wiring):
    """Test modem and receiver together: the one may be in the other, and both take their time."""
    clock = Clock(time.ticks_ms, time.ticks_diff, machine.RTC())
    heard = [b""]
    gnss = Gnss(wiring["gnss"], clock, _nothing, _nothing)

    def feed(data, heard_at):
        heard[0] = (heard[0] + data)[-KEPT:]

    gnss.feed = feed
    modem = Modem(wiring["modem"], clock, _nothing, _nothing, _nothing, _nothing)
    told = modem._network
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
    since = [clock.ms()] * 3  # begin; the SIM was last not known to be broken; progress was last told

    def network():
        if modem.registered:
            return "ok"
        return "denied" if modem.stat == DENIED else "deaf" if modem.signal == at.UNKNOWN_DBM else "none"

    def over():
        now = clock.ms()
        if "gnss" not in found and _sentences(heard[0]):
            found.append("gnss")
            log.event("test", part="gnss", result="ok")
        if told._sim != "failed":
            since[1] = now
        if now - since[2] >= PROGRESS_MS:
            since[2] = now
            log.event("test", part="network", state=network(), seconds=(now - since[0]) // 1000)
        no_sim = told._sim in ("missing", "locked") or now - since[1] > SIM_MS
        return "gnss" in found and (modem.registered or no_sim)

    await _until(over, RADIO_MS)
    if "gnss" not in found:
        log.event("test", part="gnss", result="garbled" if heard[0] else "silent")
    log.event("test", part="sky", result="ok" if _sky(heard[0]) else "none")
    log.event("test", part="sim", result="ok" if modem.registered or told._sim == "ready" else told._sim)
    return network()


def _nothing(*arguments):
    return None


def main(part):
    wiring = board.load()
    tests = {
        "led": _led,
        "haptic": _haptic,
        "button": _button,
        "strap": _strap,
        "battery": _battery,
        "radio": _radio,
    }
    result = asyncio.run(tests[part](wiring))
    log.event("test", part="network" if part == "radio" else part, result=result)
