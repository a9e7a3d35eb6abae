"""Reading flash: counted in a chip's commands, charged, and what a start makes of it on each kind of image."""

from __future__ import annotations

import tomllib

import pytest

from hwsim import budgets
from hwsim.world import World
from hwsim.world.bracelet import FILES

COMMAND = 64  # octets: ESP-IDF, components/hal/include/hal/spi_flash_hal.h, SPI_FLASH_HAL_MAX_READ_BYTES
LIMIT = tomllib.loads(budgets.BUDGETS.read_text())["start"]["flash_reads"]
PROGRAM = """
import time
from esp32 import Partition
flash = Partition.find(Partition.TYPE_DATA, label="journal")[0]
print("@begin")
begin = time.ticks_us()
for size in {sizes}:
    flash.readblocks(0, bytearray(size), 0)
print("@end us=%d" % time.ticks_diff(time.ticks_us(), begin))
"""


def played(tmp_path, text, read_us=None):
    """(commands, microseconds) between @begin and @end of a program."""
    (tmp_path / "main.py").write_text(text)
    with World(seed=1) as world:
        bracelet = world.bracelet(firmware=tmp_path)
        if read_us is not None:
            bracelet.flash.read_us = read_us
        bracelet.boot()
        end = world.expect("firmware", "end", within=10)
        reads = bracelet.flash.reads_until
        return reads["end"] - reads["begin"], int(end.detail["us"])


@pytest.mark.parametrize(("sizes", "commands"), [([1], 1), ([64], 1), ([65], 2), ([4096], 64), ([32, 128], 3)])
def test_a_read_is_as_many_commands_as_its_octets_need(tmp_path, sizes, commands):
    assert -(-max(sizes) // COMMAND) <= commands
    found, us = played(tmp_path, PROGRAM.format(sizes=sizes))
    assert found == commands
    assert commands * 80 <= us < commands * 80 + 100


def test_it_can_be_switched_off(tmp_path):
    found, us = played(tmp_path, PROGRAM.format(sizes=[4096]), read_us=0)
    assert found == 64
    assert us < 100


def test_a_name_in_littlefs_costs_more_than_its_content(tmp_path):
    """The reason for the bundle. MicroPython: extmod/vfs_lfsx.c reads 32 octets at least and 128 at once."""
    files = "".join(f"open('/file{number}', 'w').close()\n" for number in range(80))
    lookup = "import os\nprint('@begin')\nos.stat('/file79')\nprint('@end us=0')\n"
    found, _ = played(tmp_path, files + lookup)
    assert 70 <= found <= 270


def test_a_start_from_files_costs_what_it_did_on_the_emulated_chip():
    """60,500 there, of a firmware that loaded all modules before it was armed, where this one loads its parts later:
    the model is of that size. So the former way to flash a stock image fails the budget that a bundle meets."""
    reads = budgets.flash_reads(FILES)
    assert 30_000 < reads < 90_000
    assert reads > LIMIT


@pytest.mark.parametrize("image", ["ROMFS", "bundle"])
def test_a_start_is_within_its_budget(image):
    assert budgets.flash_reads(budgets.IMAGES[image]) <= LIMIT
