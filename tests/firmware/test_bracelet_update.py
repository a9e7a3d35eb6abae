"""Updates: a signed bundle goes into the other slot, is tried, and stays only if it could raise a drill."""

from __future__ import annotations

import re

import pytest
from nacl.signing import SigningKey

from hwsim import bundle, mpy
from hwsim.powercut.release import KEY
from hwsim.world import chip
from hwsim.world.bracelet import FIRMWARE
from tests import edwards
from tests.firmware.updates import each, either, firmware, flip, march

SLOTS = [chip.ROMFS.first + number * 0x28000 for number in (1, 2)]  # in the image of the flash


@pytest.fixture
def updating(make_bench, world):
    """A bracelet that finds this bundle at its next start."""

    def make(octets, **options):
        bench = make_bench(**options)
        give(bench, octets)
        bench.bracelet.boot()
        world.expect("firmware", "armed", within=10)
        return bench

    return make


def give(bench, octets):
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key))
    bench.bracelet.files.put("/update.bin", octets)


def felt(bench, since_us):
    return bench.bracelet.haptic.felt_since(since_us)


@each
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


@pytest.mark.parametrize("kind", ["too short", "no point", "not canonical", "small order, 0", "small order, 2"])
def test_with_a_key_that_is_none_nothing_is_installed(make_bench, release, world, kind):
    """Of small order: with R the neutral point and S = 0 such a signature is good for every message, or one in four."""
    octets = bytearray(release(2))
    end = 6 + int.from_bytes(octets[4:6], "big")
    octets[end - 64 : end] = edwards.encode(edwards.NEUTRAL) + bytes(32)
    bench = make_bench()
    bench.bracelet.files.put("/update.key", edwards.BAD_KEYS[kind])
    bench.bracelet.files.put("/update.bin", bytes(octets))
    bench.bracelet.boot()
    world.expect("firmware", "refused", within=60, what="update", reason="key")


@pytest.mark.parametrize("behind", [b"\n", bytes(32)])
def test_a_makers_key_with_something_behind_it_is_none(make_bench, release, world, behind):
    bench = make_bench()
    bench.bracelet.files.put("/update.key", bytes(KEY.verify_key) + behind)
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
    (tmp_path / "files/tocsin").mkdir(parents=True)
    (tmp_path / "files/tocsin/app.py").write_text(PROGRAMS[fault])
    mpy.make_rom(tmp_path / "files", tmp_path / "image")
    image = (tmp_path / "image").read_bytes()
    bench = updating(bundle.sign(2, bundle.processor(march()), image, KEY), loaded=loaded)
    firmware(world, "installed")
    if fault == "hangs as it is loaded":  # no longer than it must; the start that gives it up may be slow
        patience, world.wall_limit_s = world.wall_limit_s, 1.0
        for _ in range(3):
            world.expect("bracelet", "stuck", within=100)
        world.wall_limit_s = patience
    firmware(world, "given_up", within=300)
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=60)


BROKEN = {
    "can't seal": (
        "envelope.py",
        "def _seal(kid, counter, chain_key, plaintext):\n",
        "def _seal(kid, counter, chain_key, plaintext):\n    raise OSError(5)\n",
    ),
    "nobody understands it": ("envelope.py", 'cbor.encode(["TCN1", relay_id', 'cbor.encode(["TCN9", relay_id'),
}


@pytest.mark.parametrize("fault", ["can't seal", pytest.param("nobody understands it", marks=pytest.mark.long)])
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


@pytest.mark.parametrize("octets", [0x10000, 1])
def test_a_slot_whose_flash_was_damaged_leaves_the_first_image(updating, release, world, octets):
    bench = updating(release(2))
    firmware(world, "kept")
    world.run(20)
    bench.bracelet.power_cut()
    path = bench.bracelet.flash_path
    image = bytearray(path.read_bytes())
    image[SLOTS[0] + 2048 : SLOTS[0] + 2048 + octets] = bytes(octet ^ 4 for octet in image[SLOTS[0] + 2048 :][:octets])
    path.write_bytes(image)
    bench.bracelet.boot()
    firmware(world, "damaged", within=5)
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=30)
    bench.bracelet.reset()
    world.expect_nothing("firmware", "firmware", within=10)  # it is not tried again


def empty(octets):
    return b""


def damaged(octets):
    return octets[:1024] + b"\xff" * 0x10000 + octets[1024 + 0x10000 :]


def one_bit(octets):
    return flip(octets, 60000)


def without_its_end(octets):
    return octets[:40000]


def all_one_folder(octets):
    """Of 12 MB, as its length says."""
    return octets[:1024] + b"\xd2\xcd\x31\x86\x80\x80\x00" + b"\x04\x85\x80\x80\x00\x01a" * 20000


@pytest.mark.parametrize(
    "damage",
    [damaged, *(pytest.param(d, marks=pytest.mark.long) for d in (empty, one_bit, without_its_end, all_one_folder))],
)
def test_a_slots_file_that_was_damaged_leaves_the_first_image(updating, release, world, damage):
    bench = updating(release(2), loaded=True)
    firmware(world, "kept")
    world.run(20)
    bench.bracelet.power_cut()
    bench.bracelet.files.put("/slot1.bin", damage(bench.bracelet.files.get("/slot1.bin")))
    bench.bracelet.boot()
    firmware(world, "damaged", within=5)
    world.expect("firmware", "armed", within=5)
    bench.press()
    world.expect("firmware", "delivered", within=30)


def test_both_sides_mean_the_same_bundle():
    text = (FIRMWARE / "tocsin/update.py").read_text()
    assert re.search(rf"^HEADER = {bundle.HEADER}\b", text, re.MULTILINE)
    assert re.search(rf'^LABEL = b"{bundle.LABEL.decode()}"', text, re.MULTILINE)
    slots = (FIRMWARE / "slots.py").read_text()
    assert re.search(rf"^_HEADER = {bundle.HEADER}\b", slots, re.MULTILINE)
    assert {re.search(r"^_?ROOM = (\w+)", each, re.MULTILINE)[1] for each in (text, slots)} == {"0x28000"}
