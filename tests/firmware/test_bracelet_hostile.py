"""A bracelet among servers that lie, stall or flood, and its own flash at its worst."""

import json
import os

import pytest

from hwsim.rig import HOST, PORT
from relay.pipeline import Status
from tests.firmware.conftest import FIRMWARE


class Server:
    """An MQTT server's octets by hand: greets, grants the subscription, and notes what is published."""

    published: list  # (first octet, end of the topic), of all connections

    def __init__(self, stream):
        self.stream = stream
        self.buffer = b""

    def received(self, data):
        self.buffer += data
        while len(self.buffer) > 1:
            size, head = self.buffer[1], 2
            if size & 0x80:
                size, head = size & 0x7F | self.buffer[2] << 7, 3
            packet, self.buffer = self.buffer[: head + size], self.buffer[head + size :]
            kind = packet[0] >> 4
            if kind == 1:
                self.stream.write(b"\x20\x02\x00\x00")
            elif kind == 8:
                self.stream.write(b"\x90\x03" + packet[head : head + 2] + b"\x00")
            elif kind == 3:
                at = head + 2 + int.from_bytes(packet[head : head + 2], "big")
                self.published.append((packet[0], packet[head + 2 : at].split(b"/")[-1]))
                self.on_publish(packet[at : at + 2])

    def on_publish(self, packet_id):
        pass

    def closed(self):
        pass


def serve(bench, world, server):
    server.published = []
    bench.broker.down()
    world.net.listen(HOST, PORT, server, tls=bench.certificate(bench.ca))
    return server.published


def test_what_a_lost_connection_left_unacknowledged_comes_again(bench, world):
    """In a session of its own, so not as a duplicate (MQTT 3.1.1, 3.3.1.1: DUP is about one session's packet)."""
    published = serve(bench, world, type("Deaf", (Server,), {}))
    bench.boot(settle=20)
    bench.bracelet.modem.service = False
    bench.press()
    world.run(40)  # no PUBACK: left and joined again
    assert len([topic for _, topic in published if topic == b"alarm"]) > 1
    assert {first for first, _ in published} == {0x32}


def test_a_suback_or_a_stranger_s_puback_acknowledges_nothing(bench, world):
    class Wrong(Server):
        def on_publish(self, packet_id):
            self.stream.write(b"\x90\x03" + packet_id + b"\x01" + b"\x40\x02\x7f\xff")

    serve(bench, world, Wrong)
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "link", within=13, path="mqtt", up=0)  # it waited for the PUBACK in vain
    world.expect_nothing("firmware", "puback", within=20)


def test_a_server_that_floods_and_does_not_read(bench, world):
    topic = f"b/{bench.kid[0]}/{bench.kid}/ack".encode()
    body = len(topic).to_bytes(2, "big") + topic + b"\x00\x07" + b"junk"

    class Flood(Server):
        def on_publish(self, packet_id):
            for _ in range(2000):
                self.stream.write(bytes((0x32, len(body))) + body)

    serve(bench, world, Flood)
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=60, path="sms")
    assert not any(event.what in ("restarted", "stuck") for event in world.trace)


def test_a_false_address_is_not_kept(bench, world):
    """A portal's name server says that everything is at the portal, whose TLS proves somebody else."""
    from relay import pki

    world.net.listen("portal.test", PORT, Server, tls=bench.certificate(pki.create_ca()))
    truth = world.net.resolve
    world.net.resolve = lambda host, path=None: truth("portal.test", path)
    bench.boot(settle=20)
    assert any(event.what == "refused" and event.detail["what"] == "tls" for event in world.trace)
    world.net.resolve = truth
    bench.press()
    world.expect("firmware", "receipt", within=5, path="mqtt")


def own_firmware(folder, main):
    os.symlink(FIRMWARE / "tocsin", folder / "tocsin")
    start = (FIRMWARE / "main.py").read_text().partition("import slots")[0]  # how it treats the heap
    (folder / "main.py").write_text(start + main)
    return folder


SLOW = """
import asyncio, io
from tocsin import clock
from tocsin.links import mqtt

class Slow(io.IOBase):
    # Takes three octets at a time, and of a write it could not finish wants the same octets again, as mbedTLS does.
    def __init__(self):
        self.taken = b""
        self.owed = None
        self.turn = 0

    def write(self, data):
        data = bytes(data)
        assert self.owed is None or data == self.owed
        self.turn += 1
        if self.turn % 2:
            self.owed = data
            return None
        self.owed = None
        self.taken += data[:3]
        return min(len(data), 3)

    def ioctl(self, request, argument):
        return argument

class Nobody:
    host = user = password = name = topic = ""
    port = 0

async def main():
    link = mqtt.Mqtt(Nobody, Nobody, b"", clock.Clock(lambda: 0, lambda a, b: a - b), *[None] * 7)
    slow = Slow()
    link._stream = asyncio.StreamReader(slow)
    link.up = True
    task = asyncio.create_task(link._send())
    sent = b""
    for n in range(40):
        packet = bytes((65 + n,)) * (n % 7 + 1)
        link._write(packet)
        sent += packet
        if n % 3 == 0:
            await asyncio.sleep_ms(n % 4)
    await asyncio.sleep_ms(100)
    print("@sent whole=%d" % (slow.taken == sent))
    for n in range(200):
        link._write(b"x")
    print("@bounded broken=%d kept=%d" % (link._broken.is_set(), len(link._out)))

asyncio.run(main())
"""


def test_packets_go_out_whole_and_in_order_through_a_socket_that_takes_little(world, tmp_path):
    world.bracelet(firmware=own_firmware(tmp_path, SLOW)).boot()
    world.expect("firmware", "sent", within=2, whole=1)
    world.expect("firmware", "bounded", within=2, broken=1, kept=64)


RADIO = """
import network, os
real = os.urandom
def urandom(n):
    if n == 32:
        print("@drawn radio=%d" % network.WLAN(network.STA_IF).active())
    return real(n)
os.urandom = urandom
from tocsin import app
app.main()
"""


def test_keys_are_drawn_while_the_radio_is_on(world, tmp_path):
    """Otherwise the chip's generator has no noise to draw from."""
    from hwsim.rig import Rig

    (tmp_path / "bench").mkdir()
    bench = Rig(world, tmp_path / "bench", firmware=own_firmware(tmp_path, RADIO))
    bench.provision()
    bench.close()
    drawn = [event.detail["radio"] for event in world.trace if event.what == "drawn"]
    assert len(drawn) >= 2
    assert set(drawn) == {1}


def test_what_can_not_start_is_reset(world, tmp_path):
    """Without a button's pin in the file, and none that it has lived with."""
    from hwsim.rig import Rig

    bench = Rig(world, tmp_path)
    bench.bracelet.files.put("/board.json", json.dumps({"led": {"pin": 2}}).encode())
    bench.bracelet.files.put("/offer.json", json.dumps(bench.offer).encode())
    bench.bracelet.boot()
    world.expect("firmware", "crashed", within=5, reason="KeyError")
    world.expect("bracelet", "boot", within=15)
    bench.close()


NO_NVS = """
import esp32
def commit(self):
    raise OSError(-4357)
esp32.NVS.commit = commit
from tocsin import app
app.main()
"""


@pytest.mark.long
def test_flash_that_refuses_every_write_is_asked_now_and_then_only(make_bench, world, tmp_path):
    bench = make_bench(firmware=own_firmware(tmp_path, NO_NVS))
    bench.boot(settle=20)
    bench.press()
    world.run(5)
    bench.bracelet.power_cut()
    bench.bracelet.flash.journal_worn = True
    bench.boot(settle=20)
    before = len(bench.accepted())
    bench.bracelet.button.hold(3.3)
    start = len(world.trace)
    world.run(600)
    refused = [event for event in world.trace[start:] if event.what == "refused" and event.detail["what"] == "journal"]
    assert 50 < len(refused) < 300
    assert len(bench.accepted()) == before  # sealing would have risked a counter used twice
    assert not any(event.what in ("restarted", "stuck") for event in world.trace)


def test_an_alert_survives_a_reset_although_the_journal_is_worn_out(bench, world):
    bench.bracelet.flash.journal_worn = True
    bench.answers = False
    bench.boot(settle=20)
    bench.press()
    world.run(3)
    octets = bench.broker.published[-1].payload
    bench.bracelet.power_cut()
    bench.answers = True
    start = len(bench.broker.published)
    bench.boot()
    world.expect("firmware", "delivered", within=10)
    assert bench.broker.published[start].payload == octets
    world.run(20)
    bench.bracelet.power_cut()
    start = len(bench.broker.published)
    bench.boot(settle=20)  # and once it is delivered it is gone
    assert octets not in [message.payload for message in bench.broker.published[start:]]


FEW = """
from tocsin import chains
chains._RELAY_GAP = 80  # in this world it is soon reached
from tocsin import app
app.main()
"""


@pytest.mark.long
def test_resets_without_an_answer_use_up_no_counters_and_leave_them_for_presses(make_bench, world, tmp_path):
    bench = make_bench(firmware=own_firmware(tmp_path, FEW))
    bench.answers = False
    bench.boot(settle=20)
    bench.press()
    world.run(20)
    for _ in range(20):
        bench.bracelet.reset()
        world.run(12)
    world.run(31)
    bench.press()
    world.run(5)
    bench.answers = True
    world.run(400)
    alerts = [event.detail["counter"] for event in world.trace if event.who == "firmware" and event.what == "raised"]
    assert alerts[1] - alerts[0] <= 20
    assert set(alerts) <= set(bench.accepted())
    update = world.expect("firmware", "update", within=700)  # answered: there are counters for Updates again
    assert update.detail["counter"] > alerts[1]


@pytest.mark.long
def test_power_cut_at_every_flash_operation_of_provisioning(world, tmp_path):
    from hwsim.rig import Rig

    flash = tmp_path / "flash"
    bench = Rig(world, tmp_path, flash=flash)
    bracelet = bench.bracelet
    bracelet.files.put("/offer.json", json.dumps(bench.offer).encode())
    blank = flash.read_bytes()
    kept = operation = 0
    while True:
        operation += 1
        flash.write_bytes(blank)
        bracelet.power_cut_at_flash_operation = operation
        bracelet.boot()
        world.run(3)
        if bracelet.state != "off":
            break
        identity = bracelet.files.get("/identity") if bracelet.files.exists("/identity") else b""
        answer = bracelet.files.get("/answer.json") if identity else None  # an empty file is none yet
        bracelet.boot()
        world.expect("firmware", "armed", within=5)
        world.run(1)
        bracelet.power_cut()
        if answer:  # what it is, it stays
            kept += 1
            assert bracelet.files.get("/answer.json") == answer
        assert not bracelet.files.exists("/offer.json")
    assert operation > 20
    assert kept > 1
    # The last of them is whole.
    bracelet.power_cut()
    bench.registry.complete(json.loads(bracelet.files.get("/answer.json")), now=world.unix_time)
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=30)  # the cuts were blamed on Wi-Fi, too: it goes by SMS
    bench.close()


@pytest.mark.long
@pytest.mark.parametrize("part", range(6))
def test_power_cut_at_every_flash_operation_of_a_whole_life(bench, world, part):
    """Boot, two alarms, one called back, receipts late: cut at every sixth operation, until there are no more."""
    operation = 1 + part
    cuts = 0
    while True:
        bench.bracelet.power_cut_at_flash_operation = operation
        operation += 6
        start = len(world.trace)
        bench.answers = False
        bench.bracelet.boot()
        world.run(12)
        for hold in ((0.1, 0.1, 3.3), (3.3,)):
            for seconds in (3.3, *hold):
                if bench.bracelet.state != "off":
                    bench.bracelet.button.hold(seconds)
                    world.run(0.2 if seconds < 1 else 1.5)
            world.run(8)
            bench.answers = True
        world.run(20)
        cut = bench.bracelet.state == "off"
        cuts += cut
        raised = [e.detail["counter"] for e in world.trace[start:] if (e.who, e.what) == ("firmware", "raised")]
        updates = [e.detail["counter"] for e in world.trace[start:] if (e.who, e.what) == ("firmware", "update")]
        assert len(set(raised + updates)) == len(raised + updates)
        if not cut:
            bench.bracelet.power_cut()
        bench.boot(settle=60)
        bench.bracelet.power_cut()
        assert set(raised) <= set(bench.accepted())
        assert not any(item.status == Status.REFUSED for item in bench.items)
        if not cut:
            break
    assert cuts > 4


NO_PARTITION = """
import esp32
esp32.Partition.find = lambda *args, **named: []
from tocsin import app
app.main()
"""


def test_without_the_journals_partition_it_says_so_and_does_not_arm(make_bench, world, tmp_path):
    """The stock image's table has none: a bracelet that was flashed without ours must not look as if it worked."""
    bench = make_bench()
    bench.bracelet.firmware = own_firmware(tmp_path, NO_PARTITION)
    start = len(world.trace)
    bench.bracelet.boot()
    world.expect("firmware", "refused", within=5, what="partition", reason="lost")
    world.run(10)
    assert not any(event.what == "armed" for event in world.trace[start:])
    assert len(bench.bracelet.haptic.pulses) == 6
