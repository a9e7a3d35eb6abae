"""The journal: cut at every operation, torn, damaged, worn."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.journal import Journal, Record, decode

from hwsim.world.nor import SECTOR, programmed, torn_erase, torn_program

SECTORS = 6


class Lost(Exception):
    """The supply is gone."""


class Nor:
    """A chip as esp32.Partition shows it. At operation `cut` the supply fails, clean or torn by these dice."""

    def __init__(self):
        self.cells = b"\xff" * SECTORS * SECTOR
        self.done = []  # what was done: (address, data or None)
        self.cut, self.dice = None, None

    def readblocks(self, sector, buf, offset=0):
        at = sector * SECTOR + offset
        buf[:] = self.cells[at : at + len(buf)]

    def writeblocks(self, sector, buf, offset):
        self._change(sector * SECTOR + offset, bytes(buf), programmed, torn_program)

    def ioctl(self, request, argument):
        if request == 4:
            return SECTORS
        assert request == 6
        self._change(argument * SECTOR, None, lambda old, new: b"\xff" * SECTOR, torn_erase)

    def _change(self, address, data, whole, torn):
        end = address + (SECTOR if data is None else len(data))
        old = self.cells[address:end]
        new = whole(old, data)
        lost = self.cut is not None and len(self.done) == self.cut
        if lost and self.dice is None:
            raise Lost
        if lost:
            new = torn_erase(old, self.dice) if data is None else torn_program(old, data, address, self.dice)
        self.cells = self.cells[:address] + new + self.cells[end:]
        self.done.append((address, data))
        if lost:
            raise Lost


@pytest.fixture
def nor():
    return Nor()


def record():
    r = Record([20, bytes(32)], [40, bytes(range(32))], (3, b"k" * 32, {1: b"a" * 29, 2: b"b" * 29}))
    r.alarm = [17, 1767225600, 0, 1, 2, 0, 0]
    r.messages = [[17, 17, 0, bytes(140)], [18, 17, 1, b"x"]]
    r.time, r.acked = 1767225601, 17
    r.extra = [1767227400, 30, {1: 600}, 7, 1]
    return r


def full():
    r = record()
    r.messages = [[1 << 24, 1 << 24, 1, bytes(140)]] * 40
    r.down = (5000, bytes(32), {n: bytes(29) for n in range(64)})
    return r


def test_record_round_trip():
    assert vars(decode(b"".join(record().encode()))) == vars(record())


VERSION_1 = (
    "88018214582000000000000000000000000000000000000000000000000000000000000000008218285820000102030405060708090a0b0c0d"
    "0e0f101112131415161718191a1b1c1d1e1f840358206b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b01581d61"
    "6161616161616161616161616161616161616161616161616161616184111a6955b90000018184111100467365616c65641a6955b90111"
)


def test_a_record_of_the_first_version_is_read_and_written_as_the_second():
    old = decode(bytes.fromhex(VERSION_1))
    assert (old.alarm, old.messages, old.acked) == ([17, 1767225600, 0, 1], [[17, 17, 0, b"sealed"]], 17)
    assert old.extra == [0, 0, {}, 0, 0]
    old.alarm = [*old.alarm, 0, 0, 0]
    assert vars(decode(b"".join(old.encode()))) == vars(old)


@pytest.mark.parametrize("at", range(8))
def test_a_record_of_the_first_version_cut_short_is_refused(at):
    content = bytes.fromhex(VERSION_1)
    with pytest.raises(ValueError):
        decode(bytes([0x80 + at]) + content[1:])


def test_a_full_record_fits(nor):
    Journal(nor).save(full().encode())
    assert len(decode(Journal(nor).load()).messages) == 40


def test_a_full_record_needs_no_long_stretch_of_the_heap():
    pieces = full().encode()
    assert max(map(len, pieces)) <= 300
    assert len(pieces) <= 70, "nor does the list of them"


@given(st.binary(max_size=200))
def test_garbage_is_a_value_error(data):
    with pytest.raises(ValueError):
        decode(data)


@given(st.lists(st.lists(st.binary(max_size=700), max_size=8), min_size=1, max_size=5))
def test_what_was_saved_last_is_loaded(contents):
    nor = Nor()
    for content in contents:
        book = Journal(nor)
        book.load()
        book.save(content)
        assert Journal(nor).load() == b"".join(content)


def test_a_save_only_programs_and_then_erases_what_was_before(nor):
    book = Journal(nor)
    book.save([b"first"])
    for n in range(4):
        nor.done.clear()
        book.save([b"state %d" % n])
        assert [data is None for _, data in nor.done] == [False, True]
        written, erased = (address // (SECTORS * SECTOR // 2) for address, _ in nor.done)
        assert written != erased


def test_nothing_of_a_former_content_is_on_the_chip(nor):
    book = Journal(nor)
    for n in range(5):
        book.save([b"secret %d" % n, bytes(5000 * (n % 2)), b"secret %d" % n])
        assert nor.cells.count(b"secret %d" % n) == 2
        assert nor.cells.count(b"secret") == 2


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("size", [5, 300, 6000])
def test_cut_at_any_operation_it_is_the_state_before_or_after_and_never_both(size, torn):
    for seed in range(30 if torn else 1):
        cut = 0
        while True:
            nor = Nor()
            book = Journal(nor)
            book.save([b"before!", b"b" * size])
            nor.done.clear()
            nor.cut, nor.dice = cut, random.Random(seed) if torn else None
            try:
                book.save([b"after!", b"a" * size])
                break
            except Lost:
                nor.cut = None
            again = Journal(nor).load()
            assert again in (b"before!" + b"b" * size, b"after!" + b"a" * size)
            other = b"before!" if again.startswith(b"after") else b"after!"
            assert other not in nor.cells  # load() erased it
            next_book = Journal(nor)
            next_book.load()
            next_book.save([b"and on"])
            assert Journal(nor).load() == b"and on"
            cut += 1
        assert cut >= 2 + size // 256


def test_a_damaged_octet_of_the_only_whole_slot_is_seen(nor):
    Journal(nor).save([b"only"])
    whole = nor.cells
    for at in range(12 + 4 + 8):
        nor.cells = whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        assert Journal(nor).load() is None


@given(st.binary(max_size=40), st.booleans())
def test_garbage_in_the_other_slot_does_no_harm(garbage, magic):
    nor = Nor()
    Journal(nor).save([b"good"])
    half = len(nor.cells) // 2
    nor.cells = nor.cells[:half] + (b"TCJ1" * magic + garbage).ljust(half, b"\0")
    book = Journal(nor)
    assert book.load() == b"good"
    book.save([b"better"])
    assert Journal(nor).load() == b"better"


def test_nothing_there(nor):
    assert Journal(nor).load() is None
    assert not nor.done


def test_what_is_too_long_is_refused_before_anything_is_touched(nor):
    book = Journal(nor)
    book.save([b"first"])
    nor.done.clear()
    with pytest.raises(OSError):
        book.save([bytes(SECTORS * SECTOR // 2 - 19)])
    assert not nor.done
    book.save([bytes(SECTORS * SECTOR // 2 - 20)])


def worn(nor, names):
    """From now on these operations do nothing."""
    for name in names:
        setattr(nor, name, lambda *args: SECTORS if args[0] == 4 else None)


def test_a_write_that_does_nothing_is_noticed_and_the_former_state_stays(nor):
    book = Journal(nor)
    book.save([b"first"])
    worn(nor, ["writeblocks"])
    for _ in range(2):
        with pytest.raises(OSError):
            book.save([b"second"])
    assert Journal(nor).load() == b"first"


def test_an_erase_that_does_nothing_is_noticed_and_the_new_state_is_there(nor):
    book = Journal(nor)
    book.save([b"first"])
    erase = nor.ioctl
    worn(nor, ["ioctl"])
    with pytest.raises(OSError):
        book.save([b"second"])
    assert Journal(nor).load() == b"second"
    assert b"first" not in nor.cells
    with pytest.raises(OSError):
        book.save([b"third"])
    nor.ioctl = erase
    book.save([b"third"])
    assert Journal(nor).load() == b"third"
    assert b"first" not in nor.cells
    assert b"second" not in nor.cells


@pytest.mark.parametrize("place", [0, 300, 12 + 768 + 7])
def test_what_was_written_is_read_back_to_its_last_octet(nor, place):
    book = Journal(nor)
    book.save([b"before"])
    good = nor.writeblocks

    def spoilt(sector, buf, offset):
        buf = bytearray(buf)
        at = place - (sector * SECTOR + offset) % (SECTORS * SECTOR // 2)
        if 0 <= at < len(buf):
            buf[at] ^= 1
        good(sector, buf, offset)

    nor.writeblocks = spoilt
    with pytest.raises(OSError):
        book.save([bytes(range(256))] * 3)
    assert Journal(nor).load() == b"before"
