"""NVS: limits, errors, what is on flash when; each key changes whole or not at all, wherever the supply fails."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hwsim.world import nvs_pages
from hwsim.world.nor import SECTOR, SupplyLost, torn_erase, torn_program
from hwsim.world.nvs import Nvs


class Supply:
    """Fails after a number of operations, cleanly or torn."""

    def __init__(self, seed: int = 1) -> None:
        self.left: int | None = None
        self.torn = False
        self._dice = random.Random(seed)

    def before(self, old: bytes, address: int, data: bytes | None) -> bytes | None:
        if self.left is None:
            return None
        self.left -= 1
        if self.left >= 0:
            return None
        if not self.torn:
            return old
        return torn_erase(old, self._dice) if data is None else torn_program(old, data, address, self._dice)


@pytest.fixture
def supply() -> Supply:
    return Supply()


@pytest.fixture
def nvs(tmp_path, supply) -> Nvs:
    return Nvs(tmp_path / "nvs", supply.before)


def call(nvs: Nvs, function: str, *args: object) -> object:
    error, value, _ = nvs.call(function, list(args))
    if error:
        raise OSError(-error[0], error[1])
    return value


def refused(error: str) -> Callable[[], object]:
    return pytest.raises(OSError, match=error)


def test_values_are_kept_by_namespace_and_key(nvs):
    one, other = call(nvs, "open", "one"), call(nvs, "open", "other")
    call(nvs, "set_i32", one, "n", -5)
    call(nvs, "set_blob", other, "n", "00ff")
    assert call(nvs, "get_i32", one, "n") == -5
    assert call(nvs, "get_blob", other, "n", 2) == "00ff"
    nvs.unmount()
    assert call(nvs, "open", "one") == one
    assert call(nvs, "get_i32", one, "n") == -5
    assert nvs.values() == {("one", "n"): -5, ("other", "n"): b"\x00\xff"}


def test_limits_and_errors(nvs):
    with refused("KEY_TOO_LONG"):
        call(nvs, "open", "s" * 16)
    space = call(nvs, "open", "s" * 15)
    with refused("KEY_TOO_LONG"):
        call(nvs, "set_i32", space, "k" * 16, 1)
    call(nvs, "set_i32", space, "k" * 15, 1)
    call(nvs, "set_blob", space, "blob", "00" * 40)
    with refused("INVALID_LENGTH"):
        call(nvs, "get_blob", space, "blob", 39)
    for function, args in (("get_i32", ["blob"]), ("get_blob", ["k" * 15, 99]), ("erase_key", ["none"])):
        with refused("NOT_FOUND"):
            call(nvs, function, space, *args)
    with refused("VALUE_TOO_LONG"):
        call(nvs, "set_blob", space, "big", "00" * 20001)
    with refused("INVALID_HANDLE"):
        call(nvs, "commit", 0)


def test_a_full_partition_refuses_and_keeps_what_it_has(nvs):
    space = call(nvs, "open", "s")
    stored = 0
    with refused("NOT_ENOUGH_SPACE"):
        while True:
            call(nvs, "set_i32", space, f"k{stored}", stored)
            stored += 1
    # One of the six pages stays free; an entry is the namespace.
    assert stored == (nvs_pages.PAGES - 1) * nvs_pages.ENTRIES - 1
    for reading in ("as it runs", "after a reset"):
        assert call(nvs, "get_i32", space, f"k{stored - 1}") == stored - 1, reading
        nvs.unmount()
    call(nvs, "erase_key", space, "k0")
    call(nvs, "set_i32", space, "new", 1)
    assert call(nvs, "get_i32", space, "new") == 1


def test_it_is_on_flash_before_the_commit(nvs):
    space = call(nvs, "open", "s")
    call(nvs, "set_i32", space, "n", 7)
    before = nvs.image
    call(nvs, "commit", space)
    assert nvs.image == before
    nvs.unmount()
    assert call(nvs, "get_i32", space, "n") == 7


def test_the_same_value_is_not_written_again(nvs):
    space = call(nvs, "open", "s")
    call(nvs, "set_i32", space, "n", 7)
    call(nvs, "set_blob", space, "b", "aa" * 50)
    before = nvs.operations
    call(nvs, "set_i32", space, "n", 7)
    call(nvs, "set_blob", space, "b", "aa" * 50)
    assert nvs.operations == before


def test_what_was_replaced_or_erased_stays_readable_until_its_page_is_erased(nvs):
    space = call(nvs, "open", "s")
    secret = b"position of yesterday"
    call(nvs, "set_blob", space, "b", secret.hex())
    call(nvs, "set_blob", space, "b", b"new".hex())
    assert secret in nvs.image
    call(nvs, "erase_key", space, "b")
    assert secret in nvs.image
    assert nvs.values() == {}
    for number in range(700):  # which is long, and for the page that also holds something that stays for ever
        call(nvs, "set_i32", space, "n", number)
    assert sum(nvs.erases) > 0
    assert secret in nvs.image


def test_what_was_replaced_is_gone_with_its_page(nvs):
    space = call(nvs, "open", "s")
    for number in range(130):
        call(nvs, "set_i32", space, "n", number)
    secret = b"position of yesterday"
    call(nvs, "set_blob", space, "b", secret.hex())
    call(nvs, "erase_key", space, "b")
    for number in range(700):
        call(nvs, "set_i32", space, "n", number)
    assert sum(nvs.erases) > 0
    assert secret not in nvs.image


def test_counts_of_each_page(nvs):
    space = call(nvs, "open", "s")
    for number in range(1500):
        call(nvs, "set_i32", space, "n", number)
    assert nvs.erases[0] == 0  # something alive is there: the others, which hold nothing, are taken first
    assert max(nvs.erases[1:]) - min(nvs.erases[1:]) <= 1  # they take turns
    assert sum(nvs.erases) == pytest.approx(1500 / nvs_pages.ENTRIES - 5, abs=1)
    assert sum(nvs.programs) > 3 * 1500


def test_a_partition_of_zeros_is_begun_anew(nvs):
    nvs.path.write_bytes(bytes(nvs_pages.SIZE))
    space = call(nvs, "open", "s")
    call(nvs, "set_i32", space, "n", 1)
    assert call(nvs, "get_i32", space, "n") == 1


def test_the_format_is_the_one_of_the_partition_generator(nvs):
    """Header, table and entry of one value, against octets made by hand from ESP-IDF's description."""
    space = call(nvs, "open", "s")
    call(nvs, "set_i32", space, "n", 258)
    image = nvs.image
    assert image[:9] == bytes.fromhex("feffffff 00000000 fe")
    assert image[32] == 0b11111010  # two entries written, the rest empty
    entry = image[64 + 32 : 64 + 64]
    assert entry[:4] == bytes((1, 0x14, 1, 0xFF))
    assert entry[8:] == b"n".ljust(16, b"\0") + bytes.fromhex("02010000 ffffffff")
    assert image[128:SECTOR] == b"\xff" * (SECTOR - 128)


@settings(max_examples=8)
@given(st.integers(0, 400), st.booleans(), st.integers())
def test_moving_a_page_survives_a_lost_supply(tmp_path_factory, left, torn, seed):
    supply = Supply(seed)
    nvs = Nvs(tmp_path_factory.mktemp("nvs") / "nvs", supply.before)
    space = call(nvs, "open", "s")
    kept = {f"k{number}": number for number in range(60)}
    for key, number in kept.items():
        call(nvs, "set_i32", space, key, number)
    last = 560
    for number in range(last + 1):  # up to just before the last free page is needed
        call(nvs, "set_i32", space, "n", number)
    assert sum(nvs.erases) == 0
    supply.left, supply.torn = left, torn
    try:
        for number in range(last + 1, last + 60):
            call(nvs, "set_i32", space, "n", number)
            last = number
    except SupplyLost:
        supply.left = None
    assert call(nvs, "open", "s") == space
    values = {key: value for (_, key), value in nvs.values().items()}
    assert values.pop("n") in (last, last + 1)
    assert values == kept


class AnyLife(RuleBasedStateMachine):
    """Values, erasures, resets and lost supplies in any order, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._supply = Supply()
        self._nvs = Nvs(Path(self._folder.name) / "nvs", self._supply.before)
        self._values: dict[str, int | bytes] = {}

    def teardown(self) -> None:
        self._folder.cleanup()

    def _change(self, key: str, value: int | bytes | None, function: str, *args: object) -> None:
        after = dict(self._values)
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
        try:
            space = call(self._nvs, "open", "s")
            call(self._nvs, function, space, key, *args)
            self._values = after
        except SupplyLost:
            self._supply.left = None
            call(self._nvs, "open", "s")
            assert self._now() in (self._values, after)
            self._values = self._now()
        except OSError as error:
            assert "NOT_FOUND" in str(error) if key not in self._values else "NOT_ENOUGH_SPACE" in str(error)
        self._supply.left = None

    def _now(self) -> dict[str, int | bytes]:
        return {key: value for (_, key), value in self._nvs.values().items()}

    @rule(key=st.sampled_from(["i1", "i2", "i3"]), value=st.integers(-(2**31), 2**31 - 1))
    def number(self, key: str, value: int) -> None:
        self._change(key, value, "set_i32", value)

    @rule(key=st.sampled_from(["b1", "b2"]), value=st.binary(max_size=300))
    def blob(self, key: str, value: bytes) -> None:
        self._change(key, value, "set_blob", value.hex())

    @rule(size=st.integers(2000, 9000), octet=st.integers(0, 255))
    def large_blob(self, size: int, octet: int) -> None:
        value = bytes((octet,)) * size
        if len(self._values.get("b3", b"")) + size < 9000:
            self._change("b3", value, "set_blob", value.hex())

    @rule(key=st.sampled_from(["i1", "b1", "b3"]))
    def erase(self, key: str) -> None:
        self._change(key, None, "erase_key")

    @rule()
    def reset(self) -> None:
        self._nvs.unmount()

    @rule(left=st.integers(0, 30), torn=st.booleans())
    def supply_will_fail(self, left: int, torn: bool) -> None:
        self._supply.left, self._supply.torn = left, torn

    @invariant()
    def holds_what_was_stored(self) -> None:
        if self._supply.left is None:
            call(self._nvs, "open", "s")
            assert self._now() == self._values


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=20, stateful_step_count=30)
