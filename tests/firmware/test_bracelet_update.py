"""Updates: a signed bundle goes into the other slot, is tried, and stays only if it could raise a drill."""

from __future__ import annotations

import re
import shutil
from statistics import median

import pytest
from nacl.signing import SigningKey

from hwsim import bundle, mpy, toolchain
from hwsim.world import chip
from hwsim.world.bracelet import FIRMWARE

KEY = SigningKey(bytes(range(32)))
SLOTS = [chip.ROMFS.first + number * 0x20000 for number in (1, 2)]  # in the image of the flash


def march():
    return toolchain.mpy_march(tuple(toolchain.micropython()))


@pytest.fixture
def release(tmp_path):
    """Makes a bundle of the firmware with another version, and with changes: (file, old text, new text)."""

    def make(version, *changes, key=KEY):
        folder = tmp_path / f"release{version}"
        shutil.copytree(FIRMWARE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.md", "image"))
        changes = (*changes, ("__init__.py", "VERSION = 1 ", f"VERSION = {version} "))
        for name, old, new in changes:
            file = folder / "tocsin" / name
            text = file.read_text()
            assert text.count(old) == 1, old
            file.write_text(text.replace(old, new))
        return bundle.make(folder, march(), key)

    return make


either = pytest.mark.parametrize("loaded", [False, True], ids=["romfs", "files"])  # see firmware/README.md, The image


@pytest.fixture
def updating(make_bench, world):
    """A bracelet that finds this bundle at its next start."""

    def make(octets, **options):
        bench = make_bench(**options)
        give(bench, octets)
        bench.bracelet.boot()
        world.expect("firmware", "armed", within=5)
        return bench

    return make


def give(bench, octets):
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.bracelet.files.put("/update.bin", octets)


def firmware(world, state, within=120, **detail):
    return world.expect("firmware", "firmware", within=within, state=state, **detail)


def felt(bench, since_us):
    return bench.bracelet.haptic.felt_since(since_us)


@either
def test_a_new_version_is_installed_tried_and_kept(updating, release, world, loaded):
    bench = updating(release(2), loaded=loaded)
    firmware(world, "installed", version=2)
    firmware(world, "trial", version=2)
    start = world.now_us
    firmware(world, "kept", version=2)
    assert felt(bench, start) == []
    (drill,) = bench.documents().values()
    assert drill["flags"]["drill"]
    world.expect("firmware", "armed", within=30)
    assert not bench.bracelet.files.exists("/update.bin")
    world.run(30)
    bench.press()  # a real alarm, by the new program
    world.expect("firmware", "delivered", within=10)
    world.run(20)
    assert [document["flags"]["drill"] for document in bench.documents().values()].count(False) >= 1
    assert felt(bench, start) != []


def slots(bench, loaded):
    """What each begins with."""
    if loaded:
        files = [name for name in ("/slot1.bin", "/slot2.bin") if bench.bracelet.files.exists(name)]
        return [bench.bracelet.files.get(name)[:4] for name in files]
    octets = bench.bracelet.flash_path.read_bytes()
    return [octets[at : at + 4] for at in SLOTS]


@either
def test_the_next_one_goes_into_the_other_slot_and_an_older_one_nowhere(updating, release, world, loaded):
    bench = updating(release(2), loaded=loaded)
    firmware(world, "kept", version=2)
    world.run(20)
    bench.bracelet.power_cut()
    give(bench, release(3))
    bench.bracelet.boot()
    firmware(world, "kept", version=3)
    assert slots(bench, loaded) == [b"TCNB", b"TCNB"]
    for version in (1, 2, 3):
        world.run(20)
        bench.bracelet.power_cut()
        give(bench, bundle.sign(version, bundle.processor(march()), b"older", KEY))
        bench.bracelet.boot()
        world.expect("firmware", "refused", within=60, what="update", reason="version")
    assert not bench.bracelet.files.exists("/update.bin")


def flip(octets, at):
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


FAULTS = {
    "signature": lambda good: flip(good, 5 + int.from_bytes(good[4:6], "big")),
    "digest": lambda good: flip(good, 5000),
    "size": lambda good: good[:-1],
    "header": lambda good: b"TCNX" + good[4:],
}


@either
@pytest.mark.parametrize("reason", FAULTS)
def test_what_is_not_as_its_maker_signed_it_is_refused(updating, release, world, reason, loaded):
    bench = updating(FAULTS[reason](release(2)), loaded=loaded)
    world.expect("firmware", "refused", within=60, what="update", reason=reason)
    assert not bench.bracelet.files.exists("/update.bin")
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=30)


def test_another_makers_and_another_processors_are_refused(updating, release, world):
    bench = updating(release(2, key=SigningKey(bytes(32))))
    world.expect("firmware", "refused", within=60, what="update", reason="signature")
    bench.bracelet.power_cut()
    image = mpy.rom(FIRMWARE, "xtensawin").read_bytes()
    give(bench, bundle.sign(2, bundle.processor("xtensawin"), image, KEY))
    bench.bracelet.boot()
    world.expect("firmware", "refused", within=60, what="update", reason="processor")


def test_without_the_makers_key_nothing_is_installed(make_bench, release, world):
    bench = make_bench()
    bench.bracelet.files.put("/update.bin", release(2))
    bench.bracelet.boot()
    world.expect("firmware", "refused", within=60, what="update", reason="key")


PROGRAMS = {
    "can't be loaded": "import nothing",
    "hangs as it is loaded": "while True:\n    pass",
    "starts over and over": "import machine\ndef main():\n    machine.reset()",
    "ends": "def main():\n    pass",
}


@either
@pytest.mark.parametrize("fault", PROGRAMS)
def test_one_that_does_not_even_start_is_left_again(updating, world, tmp_path, fault, loaded):
    world.wall_limit_s = 1.0  # for the one that hangs
    (tmp_path / "files/tocsin").mkdir(parents=True)
    (tmp_path / "files/tocsin/app.py").write_text(PROGRAMS[fault])
    mpy.make_rom(tmp_path / "files", tmp_path / "image")
    image = (tmp_path / "image").read_bytes()
    bench = updating(bundle.sign(2, bundle.processor(march()), image, KEY), loaded=loaded)
    firmware(world, "installed")
    firmware(world, "given_up", within=300)
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=60)


BROKEN = {
    "can't seal": ("envelope.py", "def _seal(kid, counter, chain_key, plaintext):\n",
                   "def _seal(kid, counter, chain_key, plaintext):\n    raise OSError(5)\n"),
    "nobody understands it": ("envelope.py", 'cbor.encode(["TCN1", relay_id', 'cbor.encode(["TCN9", relay_id'),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_one_that_can_not_raise_a_drill_is_left_again(updating, release, world, fault):
    bench = updating(release(2, BROKEN[fault]))
    firmware(world, "installed")
    firmware(world, "given_up", within=2000)
    world.expect("firmware", "armed", within=30)
    bench.press()
    world.expect("firmware", "delivered", within=60)
    world.run(60)
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    world.expect_nothing("firmware", "firmware", within=60)


def test_an_alarm_in_the_middle_goes_first(updating, release, world):
    bench = updating(release(2))
    bench.press()
    world.expect("firmware", "delivered", within=10)
    world.expect_nothing("firmware", "firmware", within=120)
    bench.close_alarm()
    firmware(world, "installed")


def test_a_press_during_the_trial_is_for_the_former_program(updating, release, world):
    bench = updating(release(2, BROKEN["nobody understands it"]))
    firmware(world, "trial")
    world.run(60)
    bench.bracelet.button.hold(4.5)
    firmware(world, "given_up", within=0)
    world.expect("firmware", "raised", within=5, by="hold")
    world.expect("firmware", "delivered", within=30)
    assert [document["flags"]["drill"] for document in bench.documents().values()] == [False]


def test_a_strap_cut_during_the_trial_too(updating, release, world):
    bench = updating(release(2, BROKEN["nobody understands it"]))
    bench.bracelet.strap.close()
    firmware(world, "trial")
    world.run(60)
    bench.bracelet.strap.open()
    world.expect("firmware", "raised", within=10, by="strap")
    world.expect("firmware", "delivered", within=30)


def test_a_slot_whose_flash_was_damaged_leaves_the_first_image(updating, release, world):
    bench = updating(release(2))
    firmware(world, "kept")
    world.run(20)
    bench.bracelet.power_cut()
    path = bench.bracelet.flash_path
    octets = path.read_bytes()
    at = SLOTS[0]
    path.write_bytes(octets[: at + 1024] + b"\xff" * 0x10000 + octets[at + 1024 + 0x10000 :])
    bench.bracelet.boot()
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=30)


def empty(octets):
    return b""


def damaged(octets):
    return octets[:1024] + b"\xff" * 0x10000 + octets[1024 + 0x10000 :]


def without_its_end(octets):
    return octets[:40000]


def all_one_folder(octets):
    """Of 12 MB, as its length says."""
    return octets[:1024] + b"\xd2\xcd\x31\x86\x80\x80\x00" + b"\x04\x85\x80\x80\x00\x01a" * 20000


@pytest.mark.parametrize("damage", [empty, damaged, without_its_end, all_one_folder])
def test_a_slots_file_that_was_damaged_leaves_the_first_image(updating, release, world, damage):
    bench = updating(release(2), loaded=True)
    firmware(world, "kept")
    world.run(20)
    bench.bracelet.power_cut()
    bench.bracelet.files.put("/slot1.bin", damage(bench.bracelet.files.get("/slot1.bin")))
    bench.bracelet.boot()
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=30)


def test_both_sides_mean_the_same_bundle():
    text = (FIRMWARE / "tocsin/update.py").read_text()
    assert re.search(rf"^HEADER = {bundle.HEADER}\b", text, re.MULTILINE)
    assert re.search(rf'^LABEL = b"{bundle.LABEL.decode()}"', text, re.MULTILINE)
    slots = (FIRMWARE / "slots.py").read_text()
    assert re.search(rf"^_HEADER = {bundle.HEADER}\b", slots, re.MULTILINE)
    assert {re.search(r"^_?ROOM = (\w+)", each, re.MULTILINE)[1] for each in (text, slots)} == {"0x20000"}


# -- over the air


def keyed(make_bench, **options):
    bench = make_bench(**options)
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.boot(settle=20)
    return bench


def test_a_bundle_is_fetched_by_mqtt_installed_and_kept(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    firmware(world, "fetched", within=300)
    firmware(world, "kept", version=2)
    world.run(20)
    assert {"/update.get", "/update.part", "/update.bin"} & bench.bracelet.files.everything().keys() == set()
    assert "c" not in {topic.split("/")[0] for topic in bench.broker.sessions[bench.kid].subscriptions}
    assert list(bench.broker.sessions[bench.kid].subscriptions) == [f"b/{bench.kid[:2]}/{bench.kid}/ack"]


def test_it_goes_on_after_a_reset_and_waits_for_an_alarm(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(4)
    before = pieces_asked(world)
    assert before > 5
    bench.press()
    world.expect("firmware", "delivered", within=5)
    world.run(2)
    during = pieces_asked(world)
    world.run(60)
    assert pieces_asked(world) == during
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    bench.close_alarm()
    firmware(world, "fetched", within=2000)  # it may sleep once in between
    asked = pieces_asked(world)
    assert asked <= -(-len(release_size(bench)) // 448) + 3  # none twice but those on their way
    firmware(world, "kept", version=2)


def release_size(bench):
    return b"".join(bench.broker.retained.values())


def pieces_asked(world):
    return sum(event.what == "subscribe" and event.detail["topic"].startswith("fw/") for event in world.trace)


def test_pieces_that_are_not_the_bundles_are_found(make_bench, release, world):
    bench = keyed(make_bench)
    octets = release(2)
    bench.update(octets)
    topic = next(topic for topic in bench.broker.retained if topic.endswith("/9"))
    bench.broker.retain(topic, flip(bench.broker.retained[topic], 100))
    world.expect("firmware", "refused", within=300, what="update", reason="digest")
    world.run(30)
    bench.press()
    world.expect("firmware", "delivered", within=10)


def test_without_pieces_it_gives_up_until_the_next_start(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    kept = dict(bench.broker.retained)
    bench.broker.retained.clear()
    world.run(200)
    bench.broker.retained.update(kept)
    bench.bracelet.reset()
    firmware(world, "fetched", within=300)


def test_an_older_one_is_not_even_fetched(make_bench, world):
    bench = keyed(make_bench)
    bench.update(bundle.sign(1, bundle.processor(march()), b"older", KEY))
    world.expect("firmware", "refused", within=20, what="update", reason="version")
    assert pieces_asked(world) == 0


def awake_s(world, since_us):
    """How long each waking from deep sleep lasted."""
    found, woke = [], None
    for event in world.trace:
        if event.t_us < since_us or event.who != "firmware":
            continue
        if event.what == "woke":
            woke = event.t_us
        elif event.what == "asleep" and woke is not None:
            found.append((event.t_us - woke) / 1e6)
            woke = None
    return found


def test_an_alarm_that_goes_on_sleeps_as_if_no_bundle_waited(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    bench.press()
    world.run(1200)
    start = world.now_us
    world.run(2400)
    assert median(awake_s(world, start)) < 60
    assert not bench.bracelet.files.exists("/update.bin")
    bench.close_alarm()
    firmware(world, "kept", within=3600)


def test_without_a_network_nothing_stays_awake_for_a_bundle(make_bench, release, world):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    bench.bracelet.wifi.up = False
    world.run(600)
    start = world.now_us
    world.run(4 * 3600)
    assert median(awake_s(world, start)) < 5
    bench.bracelet.wifi.up = True
    firmware(world, "kept", within=3600)


def test_pieces_that_never_come_are_given_up_for_good(make_bench, world, release):
    bench = keyed(make_bench)
    bench.update(release(2))
    bench.broker.retained.clear()
    world.expect("firmware", "refused", within=10 * 3600, what="update", reason="silent")
    asked = pieces_asked(world)
    assert asked < 200
    world.run(3600)
    assert pieces_asked(world) == asked
    bench.update(release(3))  # once more ordered, it is asked for anew
    firmware(world, "kept", within=3600, version=3)


def test_another_order_in_the_middle_takes_its_place(make_bench, world, release):
    bench = keyed(make_bench)
    bench.update(release(2))
    world.expect("firmware", "update", within=10, path="mqtt")
    world.run(3)
    bench.update(release(3))
    firmware(world, "kept", within=600, version=3)
    assert not any(event.what == "refused" for event in world.trace if event.who == "firmware")


@either
def test_a_full_file_system_refuses_and_loses_nothing(make_bench, world, release, loaded):
    bench = make_bench(loaded=loaded)
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.bracelet.files.fill("/full")
    bench.boot(settle=20)
    before = bench.bracelet.files.everything().keys()
    bench.update(release(2))
    world.expect("firmware", "refused", within=60, what="update")
    assert bench.bracelet.files.everything().keys() == before
    bench.press()
    world.expect("firmware", "delivered", within=10)
