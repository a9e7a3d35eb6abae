"""The heap that the firmware needs, and what of the interpreter's heap is the simulator's own."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hwsim import bench_heap, cli, toolchain
from hwsim.rig import Rig
from hwsim.world import World
from hwsim.world.link import HEAP, SHIMS_HEAP, heap_size, heap_used, octets

BITS = toolchain.word_bits(tuple(toolchain.micropython()))
SHIMS = """
import esp32, machine, network, os, select, socket, ssl, time
first = machine.UART(1, baudrate=9600, tx=27, rx=26, rxbuf=2048)
second = machine.UART(2, baudrate=115200, tx=17, rx=16, rxbuf=4096)
time.sleep(100)
"""


@pytest.mark.world(heap=1024 * 1024)
def test_what_is_taken_for_the_shims_is_what_they_take(world, tmp_path, firmware):
    rig = Rig(world, tmp_path, firmware=firmware(SHIMS))
    meter = bench_heap.HeapMeter(rig)
    rig.bracelet.boot()
    world.run(1)
    meter.used()
    assert 0.9 * SHIMS_HEAP[BITS] < meter.octets < SHIMS_HEAP[BITS]
    rig.close()


def test_the_whole_life_fits_with_a_margin():
    used = bench_heap.live(HEAP * 15 // 16)
    assert used["armed"] < used["idle"] < HEAP
    assert not bench_heap.succeeds(used["armed"])


def test_the_smallest_heap_is_found():
    asked = []

    def works(heap: int) -> bool:
        asked.append(heap)
        return heap >= 70_000

    assert bench_heap.smallest(works, 10_000, 256 * 1024, 1024) == 69 * 1024
    assert len(asked) <= 8


@pytest.mark.parametrize("bits", [32, 64])
def test_octets_of_the_chip_and_of_the_interpreter(bits):
    assert heap_used(heap_size(100_000, bits), bits) == 100_000
    assert heap_used(1000, bits) == 0


@pytest.mark.parametrize(("text", "size"), [("110k", 112_640), ("1M", 1 << 20), ("65536", 65_536), (" 2k ", 2048)])
def test_sizes(text, size):
    assert octets(text) == size


@pytest.mark.parametrize("text", ["", "k", "0", "-1", "1.5k", "110kb"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size of a heap"):
        octets(text)


def test_the_environment_says_how_much(monkeypatch):
    monkeypatch.setenv("HWSIM_HEAP", "200k")
    with World() as world, World(heap=3) as other:
        assert (world.heap, other.heap) == (204_800, 3)
    monkeypatch.setenv("HWSIM_HEAP", "much")
    with pytest.raises(toolchain.ToolchainError, match="HWSIM_HEAP: much is no size"):
        World()
    monkeypatch.delenv("HWSIM_HEAP")
    with World() as world:
        assert world.heap == HEAP


def test_the_option_is_heard_and_checked(monkeypatch):
    monkeypatch.setenv("HWSIM_HEAP", "")  # put back after the test
    wrong = CliRunner().invoke(cli.main, ["run", "--heap", "much", "grabbed_on_the_street"])
    assert wrong.exit_code == 2 and "much is no size of a heap" in wrong.output
    small = CliRunner().invoke(cli.main, ["run", "--heap", "20k", "grabbed_on_the_street"])
    assert small.exit_code == 1
