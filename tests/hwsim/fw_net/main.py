"""Connects over Wi-Fi, with TLS if told so, sends a line every 5 s and reports what comes back.

/net.json: host, port, tls, and utc to set the clock to.
"""

import asyncio
import json
import ssl

import machine
import network

with open("/net.json") as f:
    cfg = json.load(f)
if cfg.get("utc"):
    machine.RTC().datetime(cfg["utc"])
wlan = network.WLAN(network.STA_IF)


def context():
    if not cfg["tls"]:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.verify_mode = ssl.CERT_REQUIRED
    with open("/ca.der", "rb") as f:
        tls.load_verify_locations(cadata=f.read())
    return tls


def word(text):
    return str(text).strip().replace(" ", "_").replace("\n", "_")


async def session():
    reader, writer = await asyncio.open_connection(cfg["host"], cfg["port"], ssl=context(), server_hostname=cfg["host"])
    print("@connected")
    try:
        n = 0
        while True:
            n += 1
            writer.write(b"hello %d\n" % n)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readline(), 20)
            if not answer:
                print("@ended")
                return
            print(f"@answer text={word(answer.decode())}")
            await asyncio.sleep(5)
    finally:
        writer.close()
        await writer.wait_closed()


async def main():
    wlan.active(True)
    wlan.connect(cfg.get("ssid", "workshop"), cfg.get("key", "hwsim-key"))
    while not wlan.isconnected():
        await asyncio.sleep_ms(200)
    print("@wifi up=1")
    while True:
        try:
            await session()
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as e:  # noqa: UP041 - MicroPython's is its own
            print(f"@failed kind={type(e).__name__} why={word(e)}")
        await asyncio.sleep(10)


asyncio.run(main())
