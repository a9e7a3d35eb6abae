"""A bracelet on the bench whose flash, supply, receiver, modem or correspondents misbehave."""

import json
import os

import pytest

from hwsim.powercut.secrets import Secrets, chip_seeds
from hwsim.rig import PHONE
from relay.pipeline import Status


def test_reset_between_press_and_receipt_resumes_with_the_same_octets(bench, world):
    bench.boot(settle=20)
    bench.answers = False
    bench.press()
    world.run(5)
    counter = bench.accepted()[0]
    bench.bracelet.reset()
    bench.answers = True
    world.expect("firmware", "boot", within=2)
    world.expect("firmware", "receipt", within=30, counter=counter)
    assert len(bench.octets(counter)) == 1
    update = world.expect("firmware", "update", within=60)  # the alarm goes on, with a counter never used before
    assert update.detail["counter"] > counter
    world.run(2)
    assert {document["alarm"] for document in bench.documents().values()} == {f"{bench.kid}-{counter}"}
    assert not any(item.status == Status.REFUSED for item in bench.items)


def test_a_delivered_alarm_is_not_sent_again_after_a_reset_and_not_found_on_flash(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "delivered", within=2)
    octets = bench.broker.published[-1].payload
    world.run(1)
    bench.bracelet.power_cut()
    assert octets not in bench.bracelet.flash_path.read_bytes()
    before = len(bench.items)
    bench.boot(settle=4)
    assert [item for item in bench.items[before:] if item.status == Status.DUPLICATE] == []


def test_the_key_of_a_heartbeat_is_on_flash_no_more_when_it_is_sent(bench, world):
    answer = json.loads(bench.bracelet.files.get("/answer.json"))
    secrets = Secrets.of(bench.offer, answer, chip_seeds(bench.bracelet))
    bench.boot()
    sent = world.expect("firmware", "heartbeat", within=90).detail["counter"]
    octets = bench.bracelet.flash_path.read_bytes() + bench.bracelet.flash.nvs.image
    keys = [key for _, *two in secrets.chain_keys("heartbeat", sent) for key in (two[0], two[1][:16])]
    assert not any(key in octets for key in keys)


def test_file_system_full(bench, world):
    """Nothing can be written to a file from before boot on: nothing needs to be."""
    bench.bracelet.files.fill("/filler")
    for _ in range(3):
        bench.boot(settle=20)
        bench.bracelet.button.hold(3.3)
        world.expect("firmware", "receipt", within=6)
        bench.bracelet.power_cut()
    assert len(set(bench.accepted())) >= 3
    assert not any(event.what == "refused" for event in world.trace)


def test_journal_worn_out(bench, world):
    """Its flash takes nothing from before boot on; three boots, three alarms, no counter twice."""
    bench.bracelet.flash.journal_worn = True
    for _ in range(3):
        bench.boot(settle=20)
        assert any(event.detail.get("what") == "journal" for event in world.trace if event.what == "refused")
        bench.press()
        world.expect("firmware", "receipt", within=2)
        bench.bracelet.power_cut()
    assert len(set(bench.accepted())) == 3
    assert not any(item.status == Status.REFUSED for item in bench.items)


def test_a_slot_full_of_garbage(bench, world):
    partition = bench.bracelet.flash.journal
    half = len(partition) // 2
    empty = 0 if partition[:4] == b"\xff" * 4 else half
    assert partition[empty : empty + half] == b"\xff" * half  # what was before is erased, always
    bench.bracelet.flash.journal = partition[:empty] + os.urandom(half) + partition[empty + half :]
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=2)


@pytest.mark.parametrize("content", [b"TCJ1", b""])
def test_both_slots_damaged_is_shown_and_felt(bench, world, content):
    half = len(bench.bracelet.flash.journal) // 2
    bench.bracelet.flash.journal = content.ljust(half, b"\xff") * 2
    bench.bracelet.boot()
    world.expect("firmware", "refused", within=5, what="journal", reason="lost")
    world.run(10)
    assert len(bench.bracelet.haptic.pulses) == 6
    assert len(bench.bracelet.led.changes) > 20


def test_forged_replayed_and_foreign_receipts_are_refused_and_the_real_one_is_felt(bench, world):
    bench.boot(settle=20)
    topic = f"b/{bench.kid[0]}/{bench.kid}/ack"
    bench.press()
    world.expect("firmware", "receipt", within=2)
    first = bench.items[0].receipt
    bench.answers = False
    world.run(31)
    bench.press()
    world.run(2)
    second = bench.items[-1].receipt
    forged = bytearray(second)
    forged[-1] ^= 1
    foreign = second.replace(bytes.fromhex(bench.kid), b"\0\0\0\0")
    for bad in (first, bytes(forged), second[:-1], b"", b"\x80", os.urandom(28), bytes(300), foreign):
        bench.broker.publish(topic, bad)
        world.expect("firmware", "refused", within=2, what="down")
        bench.phone.send(PHONE, bad[:140] or b"\0")
        world.expect("firmware", "refused", within=10, what="down")
    start = world.now_us
    bench.broker.publish(topic, second)
    world.expect("firmware", "receipt", within=2)
    bench.broker.publish(topic, second)
    world.expect("firmware", "refused", within=2, what="down", reason="ratchet:_replay")
    world.run(2)
    assert len([ms for ms in bench.bracelet.haptic.felt_since(start) if ms > 100]) == 3


def test_receipts_that_came_while_it_was_off_are_found_on_the_sim(make_bench, world):
    bench = make_bench(wifi=False)
    bench.boot(settle=20)
    bench.press()
    world.expect("sms centre", "delivered", within=10, recipient="relay")
    bench.bracelet.reset()
    world.expect("sms centre", "delivered", within=10, recipient="modem")
    world.expect("firmware", "receipt", within=20, path="sms")
    world.expect_nothing("firmware", "raised", within=1)
    assert bench.bracelet.modem.storage == {}


def test_a_modem_that_hangs_is_switched_off_and_on(bench, world):
    bench.boot(settle=20)
    bench.bracelet.modem.mute = True
    world.expect("firmware", "modem", within=60, lost=1)
    world.expect("firmware", "link", within=60, path="sms", up=1)


@pytest.mark.parametrize("announces", [True, False])
def test_a_modem_that_restarted_by_itself_is_set_up_anew(make_bench, world, announces):
    """It has forgotten that it is to tell of messages: without that, no receipt by SMS would ever be seen."""
    bench = make_bench(wifi=False)
    modem = bench.bracelet.modem
    modem.announces = announces
    bench.boot(settle=20)
    modem.power(False)
    modem.power(True)
    world.expect("firmware", "modem", within=40, restarted=1)
    world.expect("firmware", "link", within=20, path="sms", up=1)
    bench.press()
    world.expect("firmware", "receipt", within=10, path="sms")


def test_an_sms_that_is_lost_in_the_modems_restart_is_sent_at_once_again(make_bench, world):
    bench = make_bench(wifi=False)
    bench.boot(settle=20)
    bench.press()
    world.run(1)
    assert world.sms.submitted == []
    bench.bracelet.modem.power(False)
    bench.bracelet.modem.power(True)
    world.expect("firmware", "receipt", within=20, path="sms")


def test_garbage_from_the_modem_and_the_receiver(make_bench, world):
    bench = make_bench(wifi=False)
    noise = world.random("noise")
    bench.boot(settle=20)
    line = bench.bracelet.modem

    def disturb():
        junk = bytes(noise.getrandbits(8) for _ in range(40))
        line.write(
            noise.choice([junk, b'\r\n+CMTI: "SM",99\r\n', b"\r\n+CREG: \r\n", b"RING\r\n", b"x" * 900 + b"\r\n"])
        )
        bench.bracelet.gnss.inject(noise.choice([junk, b"$GPRMC,,,,,,,,,,*53\r\n", b"$" + b"9" * 300]))
        world.after(700_000, disturb)

    disturb()
    bench.bracelet.button.press()
    world.expect("firmware", "raised", within=4)
    bench.bracelet.button.release()
    world.expect("firmware", "receipt", within=120, path="sms")
    assert not any(event.what == "restarted" for event in world.trace)


def test_a_broker_that_talks_nonsense_is_left_and_the_alarm_texted(bench, world):
    class Nonsense:
        def __init__(self, stream):
            self.stream = stream

        def received(self, data):
            self.stream.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        def closed(self):
            pass

    bench.broker.down()
    world.net.listen(bench.broker.host, bench.broker.port, Nonsense, tls=bench.certificate(bench.ca))
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=40, path="sms")


def test_a_broker_that_does_not_want_us_is_not_waited_for(bench, world):
    bench.broker.users = {}
    bench.boot(settle=20)
    world.expect("firmware", "refused", within=0, what="mqtt")
    bench.press()
    world.expect("sms centre", "accepted", within=4, sender="modem")


def test_offer_that_makes_no_sense(world):
    bracelet = world.bracelet()
    bracelet.files.put("/offer.json", b'{"tocsin": 1, "kid": "xyz"}')
    bracelet.boot()
    world.expect("firmware", "refused", within=5, what="offer")
    bracelet.power_cut()
    assert not bracelet.files.exists("/answer.json")
    assert bracelet.files.exists("/offer.json")


def test_after_provisioning_the_offer_is_gone(bench):
    assert not bench.bracelet.files.exists("/offer.json")
    assert bench.offer["relay_x25519"].encode() not in b"".join(
        [*bench.bracelet.files.everything().values(), bench.bracelet.flash.journal]
    )


def test_the_console_tells_nothing_private(make_bench, world):
    from hwsim.world import Track

    bench = make_bench(track=Track.still(48.1234567, 11.7654321))
    bench.boot(settle=60)
    bench.press()
    world.run(120)
    text = "\n".join(bench.bracelet.console)
    mqtt = bench.offer["mqtt"]
    places = ("48.1", "481234", "4807", "11.76", "117654", "1145.")
    for private in (PHONE[1:], bench.offer["sms"][1:], mqtt["password"], *bench.offer["wifi"][0], *places):
        assert private not in text
    assert "@raised" in text
