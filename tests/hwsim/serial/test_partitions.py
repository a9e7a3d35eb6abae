"""The partition table in the flash decides which partitions the bracelet has, as on the chip."""

from __future__ import annotations

import json

import pytest

from hwsim.serial import image
from hwsim.world.bracelet import FIRMWARE
from hwsim.world.link import rom

from .conftest import OURS, PATIENCE, offer

ROMFS, VFS = OURS["romfs"], OURS["vfs"]


@pytest.fixture
def rewrite(usb):
    """Write to the chip while it is off, and start it."""

    def rewrite(*pieces, erase=()):
        def write():
            usb.power_cut()
            for address, size in erase:
                usb.chip.erase(address, size)
            for address, content in pieces:
                usb.chip.erase(address, len(content))
                usb.chip.program(address, content)
            usb.boot()

        usb.world.call(write)

    return rewrite


def test_a_stock_table_without_a_journal_makes_no_bracelet(usb, rewrite, mpremote):
    rewrite((image.TABLE, image.make_table(image.STOCK)), erase=[(VFS.offset, VFS.size)])
    names = "[p.info()[4] for p in __import__('esp32').Partition.find(1)]"
    assert mpremote("eval", names) == "['nvs', 'phy_init', 'vfs']\n"
    usb.world.call(usb.power_cut)
    usb.install()
    usb.files.put("/offer.json", json.dumps(offer(usb.world)).encode())
    usb.world.call(usb.boot)
    usb.world.expect("firmware", "refused", within=PATIENCE, what="offer", reason="OSError:19")  # ENODEV


def test_a_file_system_that_no_longer_fits_its_partition_is_corrupt(usb, rewrite, line):
    rewrite((image.TABLE, image.make_table(image.STOCK)))  # the old file system is shorter
    line.until(b"The filesystem appears to be corrupted")
    line.send(b"\x03")
    line.until(b"KeyboardInterrupt")
    line.until(b">>> ")
    line.send(b"open('/main.py')\r")
    line.until(b"OSError: [Errno 19] ENODEV")
    rewrite(erase=[(VFS.offset, 0x200000)])
    line.until(b"Performing initial setup")
    line.until(b">>> ")


def test_it_runs_from_a_romfs_with_the_heap_of_a_chip_without_psram(usb, rewrite, mpremote):
    rewrite((ROMFS.offset, rom(FIRMWARE).read_bytes()), erase=[(VFS.offset, VFS.size)])
    usb.world.call(usb.power_cut)
    usb.files.put("/board.json", usb.board.to_json().encode())
    usb.files.put("/main.py", (FIRMWARE / "main.py").read_bytes())
    usb.world.call(usb.boot)
    usb.world.expect("firmware", "blank", within=PATIENCE)
    assert usb.hello()["heap"] == usb.world.heap
    assert mpremote("exec", "import tocsin.app; print(tocsin.app.__file__)").startswith("/rom/")


def test_what_is_in_a_romfs_alone_is_not_started(usb, rewrite, mpremote):
    """MicroPython looks for main.py in the file system only (shared/runtime/pyexec.c, pyexec_file_if_exists)."""
    rewrite((ROMFS.offset, rom(FIRMWARE).read_bytes()), erase=[(VFS.offset, VFS.size)])
    assert mpremote("eval", "sorted(__import__('os').listdir('/'))") == "['boot.py', 'rom']\n"
    events = usb.world.trace.events
    booted = max(at for at, event in enumerate(events) if event.what == "boot" and event.detail["cause"] == "power-on")
    assert not [event for event in events[booted:] if event.who == "firmware"]


def test_what_a_loader_erases_is_gone_from_nvs(usb, mpremote, esptool):
    nvs = "import esp32; n = esp32.NVS('x'); "
    mpremote("exec", nvs + "n.set_i32('a', 5); n.commit()")
    assert mpremote("exec", nvs + "print(n.get_i32('a'))") == "5\n"
    esptool("erase-region", "0x9000", "0x6000")
    said = mpremote("exec", nvs + "n.get_i32('a')", status=1)
    assert "ESP_ERR_NVS_NOT_FOUND" in said
