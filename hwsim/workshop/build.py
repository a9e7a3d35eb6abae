"""Compile and install the firmware for the chip that is there, with the self-test, which needs the same short names."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from hwsim import bundle, mpy
from hwsim.board import Board
from hwsim.toolchain import MPY_VERSION
from hwsim.workshop.tools import Cable
from hwsim.workshop.trouble import Trouble
from hwsim.world.bracelet import FIRMWARE
from hwsim.world.link import HEAP, LOADED

SLOTS = "slots.mpy"
SELFTEST, SMSDRILL = "selftest", "smsdrill"  # modules that run on the bracelet and don't stay there
# The architectures as mpy-cross calls them, by their number (docs/reference/mpyfiles.rst).
_ARCHITECTURES = (
    None,
    "x86",
    "x64",
    "armv6",
    "armv6m",
    "armv7m",
    "armv7em",
    "armv7emsp",
    "armv7emdp",
    "xtensa",
    "xtensawin",
    "rv32imc",
)
# Asks MicroPython on the board for its version, the compiled modules that it loads, whether the journal's partition is
# there, and octets of heap. mem_free counts what the heap can still grow by (py/modgc.c).
WHO = (
    "import sys, esp32, gc; gc.collect(); v = sys.implementation; "
    "print('%d.%d.%d' % v.version[:3], getattr(v, '_mpy', 0), "
    "bool(esp32.Partition.find(esp32.Partition.TYPE_DATA, label='journal')), gc.mem_free() + gc.mem_alloc())"
)
_OLDEST = (1, 25)
_FILES_HEAP = HEAP + LOADED  # of a simulated bracelet that loads its modules (firmware/image/README.md)
# Before a module of ours is imported at the prompt: the program is found as main.py finds it, the module in "/".
FIND = "import sys, slots; slots.Choice(); sys.path.append('')"
KEY = "update.key"
NO_KEY = f"""
import os
try: os.remove('/{KEY}')
except OSError: pass
"""
# Every file with its SHA-256, and whether a ROMFS is mounted.
_LIST = """
import os, hashlib, binascii
print('%rom', 'rom' in os.listdir('/'))
def walk(top):
    for name, kind, *_ in os.ilistdir(top or '/'):
        path = top + '/' + name
        if kind & 0x4000:
            if path not in ('/rom',): walk(path)
        else:
            digest = hashlib.sha256()
            with open(path, 'rb') as file:
                while True:
                    data = file.read(512)
                    if not data: break
                    digest.update(data)
            print('%file', path, binascii.hexlify(digest.digest()).decode())
walk('')
"""


class Found(NamedTuple):
    """The interpreter on the board."""

    version: str
    march: str | None  # its processor, as mpy-cross calls it
    heap: int  # octets, all of it


def found(said: str, port: str) -> Found:
    """Read the answer to WHO. Raises Trouble when our firmware can't run there."""
    try:
        version, mpy, journal, heap = said.split()[-4:]
        known = Found(version, march(int(mpy)), int(heap))
        old = tuple(int(word) for word in version.split(".")[:2]) < _OLDEST
    except ValueError:
        raise Trouble(f"MicroPython at {port} does not say what it is; run this again") from None
    if old:
        raise Trouble(f"MicroPython {version} is too old: 1.25 or newer, see [image] in the board file")
    if journal != "True":
        raise Trouble(f"MicroPython at {port} finds no journal partition; run this with --from-start")
    return known


def refuse_small(heap: int, port: str) -> None:
    """Raise Trouble when the firmware, loaded into the heap, has no room in so many octets of it."""
    if heap < _FILES_HEAP:
        raise Trouble(
            f"MicroPython at {port} has {heap >> 10} KB of heap, and the firmware in its heap needs "
            f"{_FILES_HEAP >> 10} KB: its PSRAM is missing or not found, or the image was built without it; see "
            "[image] in the board file, or build firmware/image/TOCSIN_ESP32, which needs none, and run this with "
            "--image FILE --from-start"
        )


def march(mpy_word: int) -> str | None:
    """Return the processor, from sys.implementation._mpy. Raises Trouble when it doesn't load what we compile."""
    version = mpy_word & 0xFF, mpy_word >> 8 & 3
    if version != MPY_VERSION:
        raise Trouble(
            f"this MicroPython loads compiled modules of version {version[0]}.{version[1]}, and ours are "
            f"{MPY_VERSION[0]}.{MPY_VERSION[1]}: see [image] in the board file"
        )
    number = mpy_word >> 10 & 0xF
    return _ARCHITECTURES[number] if number < len(_ARCHITECTURES) else None


def compiled(processor: str | None) -> Path:
    """Return a folder with main.py, tocsin/, the self-test and the drill by SMS, compiled; kept in the user's cache."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
        stage = Path(scratch)
        for name in ("main.py", "slots.py"):
            (stage / name).symlink_to(FIRMWARE / name)
        (stage / "tocsin").symlink_to(FIRMWARE / "tocsin")
        for name in (SELFTEST, SMSDRILL):
            (stage / f"{name}.py").symlink_to(Path(__file__).with_name(f"{name}.py"))
        return mpy.compiled(stage, processor)


def _parts(made: Path) -> dict[str, Path]:
    """Return the files that stay on the bracelet, by their paths there."""
    found = {file.relative_to(made).as_posix(): file for file in made.rglob("*") if file.is_file()}
    left_out = (f"{SELFTEST}.mpy", f"{SMSDRILL}.mpy", "main.py")
    return {name: file for name, file in sorted(found.items()) if name not in left_out}


def digest(made: Path) -> str:
    """Return a hash of all that is compiled: it tells which firmware this is."""
    total = hashlib.sha256()
    for name, file in _parts(made).items():
        total.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def rom(made: Path, image: Path, room: int) -> Path:
    """Make the ROMFS image of the same. Raises Trouble when its partition is too small."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
        for name, file in _parts(made).items():
            place = Path(scratch) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        mpy.make_rom(Path(scratch), image)
    # The rest of such a partition is for updates (firmware/slots.py).
    room = min(room, bundle.HEADER + bundle.IMAGE_MAX)
    if image.stat().st_size > room:
        raise Trouble(f"the firmware takes {image.stat().st_size} octets, and has room for {room}")
    return image


def bundled(made: Path, processor: str | None) -> dict[str, bytes]:
    """Return the same for an image that runs nothing from a partition: all of it in one bundle, and the module that
    finds it there."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
        image = rom(made, Path(scratch) / "romfs", bundle.IMAGE_MAX).read_bytes()
    whole = bundle.unsigned(bundle.version_of(FIRMWARE), bundle.processor(processor), image)
    return {SLOTS: (made / SLOTS).read_bytes(), bundle.FIRST.lstrip("/"): whole}


def files(board: Board, key: bytes | None, program: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files for the file system; main.py follows last of all, so that half an installation never starts.
    `key`: the maker's public one. `program`: `bundled`, or nothing where the program runs from a partition."""
    return {"board.json": board.to_json().encode(), **program} | ({} if key is None else {KEY: key})


def install(cable: Cable, wanted: dict[str, bytes], stage: Path, within: float, *, on_rom: bool) -> None:
    """Copy the files, then compare each with its SHA-256 as the board reads it back."""
    shutil.rmtree(stage, ignore_errors=True)
    try:
        for name, content in wanted.items():
            place = stage / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        tops = sorted(str(entry) for entry in stage.iterdir())
        cable.mpremote("fs", "cp", "-r", *tops, ":", within=within)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    former = "" if KEY in wanted else NO_KEY
    compare(cable.mpremote("exec", former + _LIST, within=within), wanted, cable.port, on_rom=on_rom)


def compare(said: str, wanted: dict[str, bytes], port: str, *, on_rom: bool) -> None:
    """Compare the board's list of files with those that were copied. Raises Trouble when a file differs, or when no
    ROMFS is mounted for the modules."""
    lines = said.splitlines()
    there = {line.split()[1].lstrip("/"): line.split()[2] for line in lines if line.startswith("%file ")}
    for name, content in wanted.items():
        if there.get(name) != hashlib.sha256(content).hexdigest():
            what = "is another there than here" if name in there else "did not arrive"
            raise Trouble(f"{name} {what}: is the flash at {port} worn? Run this with --from-start")
    if on_rom and "%rom True" not in lines:
        raise Trouble(
            f"MicroPython at {port} does not mount the image's romfs partition: it was built without MICROPY_VFS_ROM "
            "(firmware/image/TOCSIN_ESP32 says how). Run this with another --image and --from-start"
        )
