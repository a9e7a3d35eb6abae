"""Revoked: wiped, blank, silent, whatever happens on the way; and nothing of the keys is left on the chip."""

import json

import pytest

from hwsim.powercut.secrets import Secrets, chip_seeds, dense
from hwsim.rig import Rig
from hwsim.world import World
from hwsim.world.chip import JOURNAL_SECTORS
from relay.store import commands
from relay.verify import keys

PASSWORD = 16  # octets of it that are looked for: it crosses no block of the file system in one piece for certain


def sent(bench):
    """How much the bracelet has sent to anybody."""
    alarms = [message for message in bench.broker.published if not message.topic.endswith("/ack")]
    return len(alarms), len(bench.items)


def unfinished(bench):
    with bench.store.read() as connection:
        return commands.unfinished(connection, int(bench.kid, 16))


class Left:
    """What must be nowhere on the chip after the wipe."""

    def __init__(self, bench):
        self.bench = bench
        files = bench.bracelet.files
        answer = json.loads(files.get("/answer.json"))
        made = Secrets.of(bench.offer, answer, chip_seeds(bench.bracelet))
        roots = keys.roots(made.shared, bytes.fromhex(bench.kid), bytes.fromhex(bench.offer["relay_id"]))
        self.secrets = {"ephemeral": made.ephemeral, "shared": made.shared, "prk": made.prk}
        identity = files.get("/identity")
        self.secrets["signing seed"] = identity[identity.index(b"\x58\x20") + 2 :][:32]  # CBOR: 32 octets follow
        for chain, key in roots._asdict().items():
            for counter in range(80):
                self.secrets[f"{chain} chain key {counter}"] = key
                self.secrets[f"{chain} message key {counter}"] = keys.message_key(key)[:16]
                key = keys.next_chain_key(key)
        self.secrets["password"] = bench.offer["mqtt"]["password"].encode()[:PASSWORD]
        self.secrets["Wi-Fi key"] = b"hwsim-key"
        self.secrets["relay's number"] = bench.offer["sms"].encode()

    def found(self):
        """Names of the secrets that are readable in a dump of the chip."""
        raw = dense(self.bench.bracelet.flash_path.read_bytes() + self.bench.bracelet.flash.nvs.image)
        return [name for name, secret in self.secrets.items() if secret in raw]


def blank(bench, world, left):
    """It is wiped, says so, and is silent for ever."""
    world.run_until(lambda: any(e.what == "wiped" for e in world.trace), 120)
    world.expect("firmware", "wiped", within=1)
    world.expect("firmware", "blank", within=5)
    world.run(200)  # the broker notices that the connection is gone, and sends the will that it was left with
    before = sent(bench)
    bench.bracelet.button.hold(3.5)
    world.run(600)
    assert sent(bench) == before
    assert bench.bracelet.files.names() == ["board.json"]
    journal = bench.bracelet.flash_path.read_bytes()[-JOURNAL_SECTORS * 4096 :]
    assert journal == b"\xff" * len(journal)
    assert left.found() == []


def test_a_revoked_bracelet_is_wiped_and_silent(bench, world):
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=30)
    left = Left(bench)
    assert "signing seed" in left.found()
    assert any("chain key" in name for name in left.found())
    start = world.now_us
    bench.revoke()
    world.expect("firmware", "revoke", within=10)
    world.run(4)
    assert len([ms for ms in bench.bracelet.haptic.felt_since(start) if ms < 70]) == 6  # fault
    assert bench.registry.get(bench.kid).state == "revoked"
    assert unfinished(bench) == []
    blank(bench, world, left)


def test_an_undelivered_alarm_goes_with_it(bench, world):
    bench.boot(settle=20)
    left = Left(bench)
    bench.answers = False
    bench.press()
    world.run(10)
    bench.revoke()
    world.expect("firmware", "revoke", within=10)
    blank(bench, world, left)


def test_until_the_wipe_is_confirmed_only_heartbeats_count(bench, world):
    bench.boot(settle=60)
    bench.bracelet.wifi.up = False
    world.run(15)
    bench.revoke()
    assert bench.registry.get(bench.kid).state == "revoking"
    bench.press()
    world.run(30)  # by SMS
    assert set(bench.refused()) == {"revoked"}
    assert bench.accepted() == []
    bench.bracelet.wifi.up = True
    world.expect("firmware", "revoke", within=400)
    world.run(5)
    assert bench.registry.get(bench.kid).state == "revoked"


def test_by_sms_it_is_wiped_without_a_word(make_bench, world):
    """Without a data network nothing can confirm it: an operator ends it."""
    bench = make_bench(wifi=False)
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=30)
    left = Left(bench)
    bench.revoke()
    world.expect("firmware", "revoke", within=10, path="sms")
    blank(bench, world, left)
    assert bench.registry.get(bench.kid).state == "revoking"
    bench.registry.revoke(bench.kid, now=world.unix_time)
    assert bench.registry.get(bench.kid).state == "revoked"


def test_a_new_offer_makes_it_another_bracelet(bench, world):
    bench.boot(settle=20)
    bench.revoke()
    world.expect("firmware", "wiped", within=120)
    world.expect("firmware", "blank", within=5)
    bench.bracelet.power_cut()
    fresh = bench.registry.offer(
        "again", now=world.unix_time, host="relay.test", port=8883, ca_der=bench.ca.cert_der, wifi=[]
    )
    bench.bracelet.files.put("/offer.json", json.dumps(fresh).encode())
    bench.bracelet.boot()
    world.expect("firmware", "provisioned", within=5)
    world.expect("firmware", "armed", within=5)


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    """Operations of the flash from switching on: until it is revoked, until it is blank."""
    with World() as world:
        bench = Rig(world, tmp_path_factory.mktemp("uncut"))
        bench.provision()
        bench.boot(settle=20)
        before = bench.bracelet.flash.operations
        bench.revoke()
        world.expect("firmware", "wiped", within=120)
        after = bench.bracelet.flash.operations
        bench.close()
    return before, after


# Mostly in the first part, in which the keys go; some in the rest, which only fills.
@pytest.mark.long
@pytest.mark.parametrize("how", ["clean", "torn"])
@pytest.mark.parametrize("part", range(2))
def test_the_supply_is_lost_at_any_moment_of_the_wipe(operations, tmp_path, part, how):
    before, after = operations
    wanted = [*range(1, 61, 8), *range(61, after - before, 4001)]
    for number in wanted[part::2]:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with World() as one:
            bench = Rig(one, folder)
            bench.provision()
            left = Left(bench)
            bench.bracelet.flash.cut_how = how
            bench.bracelet.power_cut_at_flash_operation = before + number
            bench.bracelet.restart_after_cut = 2
            bench.boot(settle=20)
            bench.revoke()
            assert one.run_until(lambda one=one: any(e.what == "power cut" for e in one.trace), 60)
            blank(bench, one, left)
            bench.close()
