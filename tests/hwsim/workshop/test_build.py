"""What is asked of an interpreter before the firmware goes on the board."""

from __future__ import annotations

import pytest

from hwsim.toolchain import MPY_VERSION
from hwsim.workshop import build
from hwsim.workshop.trouble import Trouble

KB = 1024
WORD = MPY_VERSION[0] | MPY_VERSION[1] << 8 | 10 << 10  # xtensawin


def test_what_an_interpreter_says_of_itself():
    assert build.found(f"1.27.0 {WORD} True 4177920\r\n", "p") == ("1.27.0", "xtensawin", 4177920)
    assert build.found(f"a notice\n1.25.1 {WORD & 0x3FF} True 200000", "p").march is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "does not say what it is"),
        ("Traceback (most recent call last):", "does not say what it is"),
        (f"1.24.1 {WORD} True 4177920", "MicroPython 1.24.1 is too old"),
        (f"1.27.0 {WORD} False 4177920", "finds no journal partition"),
        (f"1.27.0 {WORD + 1} True 4177920", "loads compiled modules of version"),
    ],
)
def test_one_that_will_not_do(said, why):
    with pytest.raises(Trouble, match=why):
        build.found(said, "p")


def test_files_need_room():
    build.refuse_small(4 << 20, "p")
    build.refuse_small(200 * KB, "p")
    with pytest.raises(Trouble, match=r"has 160 KB of heap, and the firmware in its heap needs 195 KB: its PSRAM"):
        build.refuse_small(160 * KB, "p")


def test_what_was_copied_is_compared():
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc": FIPS 180-4's example
    said = f"%rom True\r\n%file /board.json {digest}\r\n%file /boot.py {digest[::-1]}\r\n"
    build.compare(said, {"board.json": b"abc"}, "p", on_rom=True)
    with pytest.raises(Trouble, match=r"boot.py is another there than here: is the flash at p worn"):
        build.compare(said, {"board.json": b"abc", "boot.py": b"abc"}, "p", on_rom=True)
    with pytest.raises(Trouble, match=r"tocsin/app.mpy did not arrive"):
        build.compare(said, {"tocsin/app.mpy": b"abc"}, "p", on_rom=False)
    unmounted = said.replace("True", "False")
    build.compare(unmounted, {"board.json": b"abc"}, "p", on_rom=False)
    with pytest.raises(Trouble, match="built without MICROPY_VFS_ROM"):
        build.compare(unmounted, {"board.json": b"abc"}, "p", on_rom=True)
