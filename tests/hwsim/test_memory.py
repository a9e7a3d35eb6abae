"""The memory beside MicroPython's heap behaves as published reports say, and our image leaves TLS enough of it.

Named are issues of micropython/micropython, and files of it and of ESP-IDF.
"""

from __future__ import annotations

import random
import re
import tomllib

import pytest

from hwsim import bench_memory
from hwsim.board import CONFIGS, load
from hwsim.budgets import BUDGETS
from hwsim.scenario import actions
from hwsim.world import memory
from hwsim.world.bracelet import FIRMWARE
from hwsim.world.memory import ENOBUFS, ENOMEM, KB, OWN, SPIRAM, STOCK, UNTRUSTED, Image, Memory, Pieces, image_of

ALARM = 112 * KB + memory.UNCOUNTED  # of MicroPython's heap: the least in which a whole life works, as bench-heap says


class Chip:
    """Stands for the device: what was told of a lack of memory."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def wire(self, device: str, peripheral: object) -> None:
        assert device == "memory"

    def note(self, what: str, **detail: object) -> None:
        self.told.append(f"{what}: {detail['part']}")


def chip(image: Image) -> Memory:
    return Memory(Chip(), image)  # type: ignore[arg-type]


def connect(found: Memory) -> int:
    """Wi-Fi, a socket and TLS: 0, or the first error."""
    for part in ("wifi", "station", "join", "socket", "wrap", "shake"):
        error: int = found.call("memory", part, ["tls" if part in ("wrap", "shake") else part, 0])
        if error:
            return error
    return 0


# -- the allocator


def test_the_first_piece_with_room_gives_its_shortest_stretch_and_neighbours_grow_together():
    heap = Pieces((100, 1000))
    first, second, third = heap.take(200), heap.take(100), heap.take(200)
    assert first and second and third and (first.piece, first.begin, second.begin) == (1, 0, 204)
    heap.give(second)
    assert heap.take(92) == memory.Block(0, 0, 96)  # it fits into the first piece
    assert heap.take(96) == memory.Block(1, 204, 100)  # 104 octets are free there
    heap.give(third)
    heap.give(first)
    assert heap.take(1000) is None and heap.largest == 1000 - 204 - 100 - 4


def test_what_was_taken_and_given_back_in_any_order_leaves_one_stretch():
    heap, chance = Pieces((50_000,)), random.Random(1)
    for _ in range(30):
        blocks = [block for _ in range(100) if (block := heap.take(chance.randint(1, 900)))]
        chance.shuffle(blocks)
        for block in blocks:
            heap.give(block)
        assert (heap.total, heap.largest) == (50_000, 49_996)
    assert heap.least[0] < 10_000


# -- as published


def test_a_heap_that_doubles_takes_166_kb_of_a_chip_without_psram():
    """56 KB at first, 56 more, and then the largest piece (mpconfigport.h, py/gc.c). An emulated chip with the stock
    image of 1.27 had 166 KB in all."""
    found = chip(STOCK)
    assert found.python == 56 * KB
    found.uses(60 * KB)
    assert found.python == 112 * KB
    found.uses(120 * KB)
    assert 165 * KB < found.python < 167 * KB
    found.uses(180 * KB)  # too much: nothing is left that would be worth an area
    assert found.heap.largest < 16 * KB


def test_the_largest_piece_beside_a_heap_of_112_kb():
    """Issue 14421: 112,000 octets of heap, Wi-Fi and a socket leave a largest piece of some 21.5 KB. Issue 8940: 22,528
    and 13,312 at wrap_socket."""
    found = chip(STOCK)
    found.uses(71 * KB)
    for part in ("wifi", "station", "join", "socket"):
        assert found.call("memory", part, [part, 0]) == 0
    assert found.python == 112 * KB
    assert 15 * KB < found.heap.largest < 25 * KB


def test_of_several_tls_sockets_the_last_finds_no_memory():
    """Issue 8940 and pull request 13035: beside a heap of 108 KB, and no serial ports, there is room for one."""
    found = chip(Image("of 2022", (4_452, 69_256, 13_440, 112_208), (110_592,), grows=False))
    found.give("serial ports")
    assert connect(found) == 0
    found.output("memory", ["shaken", "tls"])
    assert found.call("memory", "wrap", ["second", 0]) == ENOMEM


def test_wifi_keeps_what_it_took_at_first_when_it_is_switched_off():
    found = chip(OWN)
    whole = found.heap.total
    assert found.call("memory", "wifi", ["wifi", 0]) == 0
    initialised = found.heap.total
    for part in ("station", "join"):
        assert found.call("memory", part, [part, 0]) == 0
    assert whole - found.heap.total == pytest.approx(45.5 * KB - 6 * 1696, abs=600)  # 8940, with four buffers
    for part in ("station", "join"):
        found.output("memory", ["give", part])
    assert found.heap.total == initialised
    assert found.call("memory", "wifi", ["wifi", 0]) == 0 and found.heap.total == initialised


@pytest.mark.parametrize(
    ("left", "error"),
    [(1_000, ENOMEM), (4_500, -0x2880), (8_500, UNTRUSTED), (11_200, -0x4D80), (14_000, 0)],
)
def test_a_handshake_fails_where_its_memory_ends(left, error):
    """extmod/modtls_mbedtls.c, mbedtls_raise_error; a signature that can't be checked is none (x509_crt.c)."""
    found = chip(OWN)
    assert found.call("memory", "wrap", ["tls", 0]) == 0
    found.tighten(left)
    before = found.heap.total
    assert found.call("memory", "shake", ["tls", 0]) == error
    if error:
        assert found.heap.total == before  # what it had taken is given back


def test_who_leaves_too_little_is_told():
    found = chip(OWN)
    found.tighten(1000)
    assert [found.call("memory", part, [part, 0]) for part in ("wifi", "socket", "ppp")] == [ENOMEM, ENOBUFS, ENOBUFS]
    found.tighten(None)
    assert connect(found) == 0


# -- our boards


def test_our_image_leaves_enough_for_wifi_and_tls_whatever_the_heap_is_used_for():
    found = chip(OWN)
    found.uses(500 * KB)
    assert found.python == 140 * KB
    assert connect(found) == 0
    assert found.peak[0] > 6 * KB


def test_the_former_image_leaves_tls_none():
    """With Bluetooth and a heap that doubles."""
    found = chip(STOCK)
    found.uses(ALARM)
    assert connect(found) == ENOMEM


def test_the_model_of_our_image_is_what_its_files_say():
    folder = FIRMWARE / "image" / "TOCSIN_ESP32"
    header, source = (folder / "mpconfigboard.h").read_text(), (folder / "areas.c").read_text()
    first = re.search(r"MICROPY_GC_INITIAL_HEAP_SIZE \((\d+) \* 1024\)", header)
    second = re.search(r"#define SECOND \((\d+) \* 1024\)", source)
    assert first and second
    assert OWN.areas == (int(first[1]) * KB, int(second[1]) * KB)
    config = (folder / "sdkconfig.board").read_text().splitlines()
    assert f"CONFIG_ESP_WIFI_STATIC_RX_BUFFER_NUM={OWN.rx_buffers}" in config
    assert "CONFIG_MBEDTLS_SSL_KEEP_PEER_CERTIFICATE=n" in config and not OWN.keeps_certificate
    used = [line for line in (folder / "mpconfigboard.cmake").read_text().splitlines() if not line.startswith("#")]
    assert not any("sdkconfig.ble" in line for line in used)


def test_the_firmware_knows_what_tls_needs():
    """With so much free a refused certificate is believed: a connection takes no more, and our image leaves it."""
    found = chip(OWN)
    found.uses(ALARM)
    for part in ("wifi", "station", "join", "socket"):
        assert found.call("memory", part, [part, 0]) == 0
    before = found.heap.total
    assert found.call("memory", "wrap", ["tls", 0]) == found.call("memory", "shake", ["tls", 0]) == 0
    need = re.search(r"^NEED = (\d+)", (FIRMWARE / "tocsin/links/shortage.py").read_text(), re.MULTILINE)
    assert need and before - found.heap.total <= int(need[1]) <= before


@pytest.mark.parametrize("board", sorted(file.stem for file in CONFIGS.glob("*.toml")))
def test_each_board_has_room_for_an_alarm_and_its_connection(board):
    found = chip(image_of(load(board), False))
    found.uses(ALARM)
    assert found.python >= ALARM
    assert connect(found) == 0


def test_a_month_of_reconnecting_leaves_the_memory_as_it_was():
    """In any order, with Wi-Fi that comes and goes and sockets that fail: no stretch is lost, and TLS always fits."""
    found, chance = chip(OWN), random.Random(7)
    found.uses(ALARM)
    assert connect(found) == 0
    found.output("memory", ["shaken", "tls"])
    kept = found.heap.total, found.heap.largest
    parts = ["tls", "socket", "join", "ppp", "station"]
    for _ in range(3000):
        for part in chance.sample(parts, chance.randint(1, len(parts))):
            found.output("memory", ["give", part])
        if chance.random() < 0.3:
            assert found.call("memory", "ppp", ["ppp", 0]) == 0
            found.output("memory", ["give", "ppp"])
        for part in ("station", "join"):
            found.output("memory", ["give", part])
        found.output("memory", ["give", "tls"])
        found.output("memory", ["give", "socket"])
        assert connect(found) == 0
        found.output("memory", ["shaken", "tls"])
    assert (found.heap.total, found.heap.largest) == kept


def test_the_table_shows_it():
    """The unmodified firmware on each image: ours works, the former finds no memory for TLS, PSRAM is ample."""
    own, stock, spiram = (bench_memory.measure(image) for image in (OWN, STOCK, SPIRAM))
    assert not any(moment.short for moment in own + spiram)
    assert any("wrap" in moment.short for moment in stock)
    assert all(moment.in_use <= moment.python for moment in own)
    assert min(moment.free for moment in own) >= tomllib.loads(BUDGETS.read_text())["heap"]["beside_free"]
    assert min(moment.free for moment in spiram) > 1000 * KB


def test_the_action_is_felt_and_ends(world, tmp_path):
    from hwsim.rig import Rig

    rig = Rig(world, tmp_path)
    try:
        actions.do(rig, "memory_tight", free_kb=20)
        assert rig.bracelet.memory.heap.total <= 20 * KB
        rig.bracelet.memory.reset()  # a reset does not end it
        assert rig.bracelet.memory.heap.total <= 20 * KB
        actions.do(rig, "memory_ample")
        assert rig.bracelet.memory.heap.total > 70 * KB
    finally:
        rig.close()
