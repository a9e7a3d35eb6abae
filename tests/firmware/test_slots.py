"""The first image of a stock MicroPython: a bundle, and what runs when it is damaged."""

from __future__ import annotations

import pytest

from hwsim import bundle
from hwsim.powercut.release import KEY
from hwsim.world import link
from hwsim.world.bracelet import FILES, FIRMWARE
from tests.firmware.updates import firmware, flip

DAMAGE = {
    "one bit": lambda octets: flip(octets, 60000),
    "its end is missing": lambda octets: octets[:40000],
    "a hole": lambda octets: octets[:3000] + b"\xff" * 0x8000 + octets[3000 + 0x8000 :],
    "its header": lambda octets: bytes(1024) + octets[1024:],
    "empty": lambda octets: b"",
}


def damage(bench, how):
    files = bench.bracelet.files
    files.put(bundle.FIRST, how(files.get(bundle.FIRST)))


def works(bench, world):
    world.expect("firmware", "armed", within=10)
    bench.press()
    world.expect("firmware", "delivered", within=60)


def test_the_bundle_is_whole_though_nobody_signed_it(make_bench, world):
    bench = make_bench(loaded=True)
    octets = bench.bracelet.files.get(bundle.FIRST)
    assert bundle.check(octets, None).version == 1
    with pytest.raises(bundle.BundleError, match="signature"):
        bundle.check(octets, KEY.verify_key)
    assert "tocsin" not in bench.bracelet.files.names("/")
    bench.bracelet.boot()
    works(bench, world)
    world.expect_nothing("firmware", "firmware", within=10)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_one_leaves_the_program_of_a_slot(make_bench, release, world, how):
    bench = make_bench(loaded=True)
    bench.bracelet.files.put("/slot2.bin", release(2))
    damage(bench, DAMAGE[how])
    bench.bracelet.boot()
    firmware(world, "damaged", within=5)
    works(bench, world)
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=10)
    world.expect_nothing("firmware", "firmware", within=10)  # it stays with that one


def test_where_there_is_no_other_the_damaged_one_runs_as_far_as_it_works(make_bench, release, world):
    bench = make_bench(loaded=True)
    # In what only updates need, with no other consequence than that the hash is another.
    damage(bench, lambda octets: octets.replace(b"TCN1 bundle", b"TCN1 bundlE"))
    bench.bracelet.files.put("/slot1.bin", flip(release(2), 50000))
    bench.bracelet.boot()
    firmware(world, "damaged", within=5)
    works(bench, world)
    bench.bracelet.reset()
    firmware(world, "damaged", within=5)
    world.expect("firmware", "armed", within=10)


def test_one_that_was_damaged_in_deep_sleep_is_found_by_another_start(make_bench, release, world):
    """Its hash is not compared after a sleep: what can't be loaded then leads to a start that does."""
    bench = make_bench(loaded=True)
    bracelet = bench.bracelet
    bracelet.boot()
    world.run_until(lambda: bracelet.state == "asleep", 600)
    image = bytearray(bracelet.flash_path.read_bytes())
    module = (link.compiled(FIRMWARE) / "tocsin/app.mpy").read_bytes()
    assert image.count(module[:48]) == 1
    image[image.find(module[:48])] = 0  # "M", by which MicroPython knows a compiled module
    bracelet.flash_path.write_bytes(image)
    bracelet.button.press(for_s=0.2)
    firmware(world, "damaged", within=30)


def test_a_board_that_was_flashed_as_files_goes_on(make_bench, world):
    bench = make_bench(loaded=FILES)
    assert not bench.bracelet.files.exists(bundle.FIRST)
    bench.bracelet.boot()
    works(bench, world)
    world.expect_nothing("firmware", "firmware", within=10)


def test_an_update_that_can_not_be_loaded_leaves_the_first_bundle(make_bench, world):
    bench = make_bench(loaded=True)
    bench.bracelet.boot()
    world.expect("firmware", "armed", within=10)
    world.run(20)
    bench.bracelet.power_cut()
    octets = bench.bracelet.files.get(bundle.FIRST)
    bench.bracelet.files.put("/slot1.bin", bundle.unsigned(2, 6, b"\xd2\xcd\x31\x00"))  # nothing is in it
    assert bundle.check(octets, None).version == 1
    bench.bracelet.flash.nvs.call("set_i32", [bench.bracelet.flash.nvs.call("open", ["tocsin"])[1], "slot", 1])
    bench.bracelet.boot()
    works(bench, world)
