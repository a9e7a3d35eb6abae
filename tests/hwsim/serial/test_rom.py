"""The loaders without a port: what esptool's sessions don't show, refusals and noise."""

from __future__ import annotations

import functools
import hashlib
import operator
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.chips import FAMILIES
from hwsim.serial import slip
from hwsim.serial.rom import SYNC, Chip, Loader
from hwsim.serial.spiflash import SpiFlash

MAC = bytes.fromhex("240ac4000001")
ESP32 = Chip(FAMILIES["esp32"], MAC)
OK = 0


def flash_in(folder):
    return SpiFlash(folder / "chip.img", FAMILIES["esp32"], 4)


class Host:
    """Sends commands and takes answers."""

    def __init__(self, flash, chip=ESP32):
        self.flash, self.left, self.notes = flash, 0, []
        self.frames = []
        decoder = slip.Decoder()
        self.loader = Loader(
            chip,
            flash,
            lambda data: self.frames.extend(decoder.feed(data)),
            self._leave,
            lambda what, **detail: self.notes.append((what, detail)),
        )

    def _leave(self):
        self.left += 1

    def send(self, op, data=b"", checksum=0):
        self.frames.clear()
        self.loader.feed(slip.encode(struct.pack("<BBHI", 0, op, len(data), checksum) + data))
        return self.frames

    def __call__(self, op, *words, data=b"", checksum=0, tail=4):
        """The status, the value and the data of one answer."""
        (frame,) = self.send(op, struct.pack(f"<{len(words)}I", *words) + data, checksum)
        direction, answered, length, value = struct.unpack_from("<BBHI", frame)
        assert (direction, answered, length) == (1, op, len(frame) - 8)
        body, status = frame[8:-tail], frame[-tail:]
        return (status[1] if status[0] else OK), value, body

    def block(self, op, data, tail=4):
        return self(op, len(data), 0, 0, 0, data=data, checksum=xor(data), tail=tail)[0]

    def start_stub(self):
        assert self(0x05, 16, 1, 0x1800, 0x40090000)[0] == OK
        assert self.block(0x07, bytes(16)) == OK
        answer, greeting = self.send(0x06, struct.pack("<II", 0, 0x40090004))
        assert (answer[1], greeting) == (0x06, b"OHAI")


def xor(data):
    return functools.reduce(operator.xor, data, 0xEF)


@pytest.fixture
def host(tmp_path):
    return Host(flash_in(tmp_path))


def test_sync_is_answered_eight_times_and_tells_rom_from_stub(host):
    host.loader.feed(SYNC)
    values = [struct.unpack_from("<I", frame, 4)[0] for frame in host.frames]
    assert len(values) == 8
    assert all(values)
    host.start_stub()
    host.frames.clear()
    host.loader.feed(SYNC)
    assert [frame[4:8] for frame in host.frames] == [bytes(4)] * 8


@pytest.mark.parametrize("op", [0x14, 0xD0, 0xD1, 0xD2, 0xFF])
def test_the_rom_refuses_what_it_does_not_know(host, op):
    assert host(op, 0, 0, 0, 0)[0] == 0x05


def test_a_block_with_a_wrong_checksum_or_length_is_refused_and_not_written(host):
    assert host(0x02, 4096, 1, 4096, 0x100000)[0] == OK
    assert host(0x03, 4, 0, 0, 0, data=b"data", checksum=xor(b"data") ^ 1)[0] == 0x07
    assert host(0x03, 5, 0, 0, 0, data=b"data", checksum=xor(b"data"))[0] == 0x05
    assert host.flash.read(0x100000, 4) == b"\xff" * 4
    assert host.block(0x03, b"data") == OK  # and may be sent again
    assert host.flash.read(0x100000, 5) == b"data\xff"


def test_data_without_a_beginning_or_of_the_other_kind_is_refused(host):
    assert host.block(0x03, b"data") == 0x05
    host(0x02, 4096, 1, 4096, 0x100000)
    assert host.block(0x11, zlib.compress(b"data")) == 0x05
    host(0x10, 4096, 1, 4096, 0x100000)
    assert host.block(0x11, b"this is no deflate stream") == 0x0B
    host.start_stub()
    assert host.block(0x03, b"data", tail=2) == 0xFF


def test_nothing_goes_beyond_the_end(host):
    assert host(0x02, 0x2000, 1, 4096, 0x3FF000)[0] == 0x08
    assert host(0x0E, 0x3FFFF0, 64)[0] == 0x09
    assert host(0x0E, 0, 65)[0] == 0x0A
    assert host(0x13, 0, 0x400001, 0, 0)[0] == 0x09
    host.start_stub()
    assert host(0xD1, 0x400000, 0x1000, tail=2)[0] == 0xC4
    assert host(0xD1, 0x100, 0x1000, tail=2)[0] == 0xFF  # not a sector's beginning


def test_cells_are_only_cleared_until_they_are_erased(host):
    host(0x02, 4096, 1, 4096, 0x100000)
    host.block(0x03, b"\x0f")
    host.flash.program(0x100000, b"\xf3")
    assert host.flash.read(0x100000, 1) == b"\x03"
    host(0x02, 1, 1, 4096, 0x100000)
    assert host.flash.read(0x100000, 1) == b"\xff"


def test_the_stub_reads_no_further_ahead_than_it_is_allowed(host):
    content = bytes(range(256)) * 40
    host.flash.program(0x100000, content)
    host.start_stub()
    _, *blocks = host.send(0xD2, struct.pack("<IIII", 0x100000, len(content), 1024, 2))
    assert b"".join(blocks) == content[:2048]
    got = len(content[:2048])
    while got < len(content):
        host.frames.clear()
        host.loader.feed(slip.encode(struct.pack("<I", got)))
        assert b"".join(host.frames) == content[got : got + 2048]
        got += len(b"".join(host.frames))
    host.frames.clear()
    host.loader.feed(slip.encode(struct.pack("<I", got)))
    assert host.frames == [hashlib.md5(content, usedforsecurity=False).digest()]


def test_running_what_was_not_uploaded_ends_all_talk(host):
    assert host(0x06, 0, 0x40090004)[0] == OK
    host.frames.clear()
    host.loader.feed(SYNC)
    assert host.frames == []
    assert host.notes == [("crashed", {})]


def test_ways_out(host):
    host(0x02, 0, 0, 4096, 0)
    host(0x04, 0)
    assert host.left == 1
    host.start_stub()
    host(0x04, 1, tail=2)
    assert host.left == 1  # the stub stays
    assert len(host.send(0x04, struct.pack("<I", 0))[0]) == 8 + 2
    host.loader.feed(SYNC)
    assert any(host.frames[-1][4:8])  # the ROM answers again


frames = st.builds(
    lambda op, data, good: slip.encode(struct.pack("<BBHI", 0, op, len(data), xor(data[16:]) if good else 0) + data),
    st.sampled_from([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 0xD0, 0xD1, 0xD2, 0xD3]),
    st.lists(st.sampled_from([0, 1, 4, 0x1000, 0x100000, 0x3FF000, 0x400000, 0xFFFFFFFF, 0x3FF42000]), max_size=6).map(
        lambda words: struct.pack(f"<{len(words)}I", *words)
    )
    | st.binary(max_size=80),
    st.booleans(),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    flash = flash_in(folder)
    return flash, folder


@settings(max_examples=60)
@given(st.lists(frames | st.binary(max_size=60), max_size=8))
def test_no_noise_breaks_it(fuzzed, pieces):
    flash, folder = fuzzed
    host = Host(flash)
    for piece in pieces:
        host.loader.feed(piece)
    crashed = ("crashed", {}) in host.notes
    host.frames.clear()
    host.loader.feed(b"\xc0" + SYNC)
    assert len(host.frames) == (0 if crashed else 8)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sizes == {"chip.img": flash.size}
