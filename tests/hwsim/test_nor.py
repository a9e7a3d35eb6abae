"""What flash cells do: whole operations, torn ones, and where the supply can fail."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.world import World
from hwsim.world.chip import CLEAN, TORN
from hwsim.world.nor import SECTOR, UNIT, programmed, torn_erase, torn_program

cells = st.binary(min_size=1, max_size=300)


@st.composite
def programs(draw):
    old = draw(cells)
    new = draw(st.binary(min_size=len(old), max_size=len(old)))
    return old, new, draw(st.integers(0, 4096)), random.Random(draw(st.integers()))


@given(cells)
def test_programming_only_clears_bits(old):
    new = bytes(reversed(old))
    after = programmed(old, new)
    assert all(a & ~b == 0 and a & ~c == 0 for a, b, c in zip(after, old, new, strict=True))
    assert programmed(b"\xff" * len(new), new) == new


@given(programs())
def test_a_torn_program_is_whole_units_one_in_between_and_the_rest_untouched(case):
    old, new, address, dice = case
    whole = programmed(old, new)
    after = torn_program(old, new, address, dice)
    assert len(after) == len(old)
    different = {(address + i) // UNIT for i in range(len(old)) if after[i] not in (old[i], whole[i])}
    assert len(different) <= 1
    touched = [(address + i) // UNIT for i in range(len(old)) if after[i] != old[i]]
    undone = [(address + i) // UNIT for i in range(len(old)) if after[i] != whole[i]]
    assert not touched or not undone or max(touched) <= min(undone)
    assert all(a & ~o == 0 and w & ~a == 0 for a, o, w in zip(after, old, whole, strict=True))  # between the two


@given(st.binary(min_size=1, max_size=64), st.integers())
def test_a_torn_erase_sets_bits_and_clears_none(pattern, seed):
    old = (pattern * SECTOR)[:SECTOR]
    after = torn_erase(old, random.Random(seed))
    assert len(after) == SECTOR
    assert all(o & ~a == 0 for a, o in zip(after, old, strict=True))
    assert after == torn_erase(old, random.Random(seed))


def test_torn_operations_leave_many_different_things():
    new = bytes(128)
    left = {torn_program(b"\xff" * 128, new, 0, random.Random(seed)) for seed in range(50)}
    assert len(left) > 40
    assert new not in left
    assert len({torn_erase(bytes(SECTOR), random.Random(seed)) for seed in range(50)}) > 40


COUNTER = """
try:
    with open("/n") as f:
        n = int(f.read())
except OSError:
    n = 0
print(f"@found n={n}")
with open("/n", "w") as f:
    f.write(str(n + 1))
"""


def _wrote(world, firmware, operation, how):
    bracelet = world.bracelet(firmware=firmware(COUNTER))
    bracelet.boot()
    world.run(1)
    bracelet.power_cut()
    before = bracelet.flash_path.read_bytes()
    bracelet.flash.cut_how = how
    bracelet.power_cut_at_flash_operation = operation
    bracelet.boot()
    world.run(1)
    assert bracelet.state == "off"
    return bracelet, before


def test_a_clean_cut_leaves_what_the_operations_before_it_left(world, firmware):
    bracelet, before = _wrote(world, firmware, 1, CLEAN)
    assert bracelet.flash_operations == 1
    assert bracelet.flash_path.read_bytes() == before
    assert bracelet.files.get("/n") == b"1"


def test_a_torn_cut_follows_the_seed(firmware):
    images = []
    for seed in (1, 1, 2):
        with World(seed=seed) as world:
            bracelet, _ = _wrote(world, firmware, 1, TORN)
            images.append(bracelet.flash_path.read_bytes())
    assert images[0] == images[1]
    assert images[0] != images[2]


def test_wear_is_counted_over_resets_and_for_the_workshop_too(world, firmware):
    bracelet = world.bracelet(firmware=firmware(COUNTER))
    erased = sum(bracelet.flash.erases.values())  # formatting
    assert erased >= 2
    bracelet.boot()
    world.run(1)
    one_life = bracelet.flash.operations
    assert one_life > 0
    bracelet.reset()
    world.run(1)
    assert bracelet.flash.operations > one_life
    total = sum(bracelet.flash.programs.values())
    bracelet.power_cut()
    bracelet.files.put("/x", bytes(5000))
    assert sum(bracelet.flash.programs.values()) > total
    assert sum(bracelet.flash.erases.values()) >= erased + 2
    bracelet.boot()
    assert bracelet.flash.operations == 0


def test_a_cut_counts_on_over_a_reset_and_ends_with_the_supply(world, firmware):
    bracelet = world.bracelet(firmware=firmware(COUNTER))
    bracelet.power_cut_at_flash_operation = 4
    bracelet.boot()
    world.run(1)
    assert bracelet.state != "off"
    assert 0 < bracelet.flash.operations < 4
    for _ in range(6):
        if bracelet.state != "off":
            bracelet.reset()
            world.run(1)
    assert bracelet.state == "off"
    assert bracelet.flash_operations == 4
    bracelet.boot()
    world.run(1)
    assert bracelet.state != "off"


@pytest.mark.parametrize("how", [CLEAN, TORN])
def test_programs_and_read_back_agree_with_what_the_file_system_believes(world, firmware, how):
    """At every operation: what littlefs finds afterwards is the old content or the new, never a mixture."""
    bracelet = world.bracelet(firmware=firmware(COUNTER))
    bracelet.flash.cut_how = how
    for operation in range(1, 12):
        bracelet.power_cut_at_flash_operation = operation
        bracelet.boot()
        world.run(1)
        bracelet.power_cut()
        content = bracelet.files.get("/n") if bracelet.files.exists("/n") else b"0"
        assert content == b"" or content.isdigit()
