"""An interpreter process and the lock-step link to it. The frames are described in `shims/_hw.py`.

The process ends with this object, and with this program, however this program ends. The process finds its end of the
socket closed; for a firmware that never looks, the shim asks the kernel to kill the process with its parent.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from hwsim import bundle, mpy, toolchain
from hwsim.world import memory

# Made once: json.dumps with separators makes an encoder each time, and json.loads guesses the encoding of octets.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode

SHIMS = Path(__file__).resolve().parent.parent / "shims"

# Room for the firmware's objects, in octets of a chip with 32-bit words: MicroPython's heap in our own image
# (world/memory.py). The memory of TLS is not in it, neither here, where TLS takes the host's, nor on the chip.
HEAP = memory.HEAP
LOADED = 72 * 1024  # more of it, where modules are loaded from files and not run from a ROMFS (measured: 60 KB)
# Heap that is needed here but not on the chip, by the bits of a word, measured as tests/hwsim/test_bench_heap.py does:
# the shims with the link's buffers, where the chip has modules in flash, and the buffers of two UARTs (73 or 93 KB); a
# receiver's words of the next seconds, which the chip is told ahead (2, 4); and the text of the longest frame while it
# is taken apart (8). The shim of PPP (3, 5), which only a bracelet with PPP loads, is not counted.
SHIMS_HEAP = {32: 83 * 1024, 64: 106 * 1024}
_WORKSHOP_HEAP = 1 << 20  # where no firmware runs, but whole files are handed over
_LARGER = {32: 10, 64: 18}  # tenths: the same objects with 64-bit words (measured: 1.79 times as large)


def wanted_heap() -> int:
    """Return the heap that `HWSIM_HEAP` asks for, in octets of the chip; HEAP when it is not set. Raises ToolchainError
    when it is no size."""
    said = os.environ.get("HWSIM_HEAP")
    if not said:
        return HEAP
    try:
        return octets(said)
    except ValueError as error:
        raise toolchain.ToolchainError(f"HWSIM_HEAP: {error}.") from error


def octets(text: str) -> int:
    """Read a size: plain octets, or with k or m for 1024 or 1024 * 1024 of them. Raises ValueError with what is
    wrong."""
    found = re.fullmatch(r"(\d+)([km]?)", text.strip().lower())
    if not found or not int(found[1]):
        raise ValueError(f"{text} is no size of a heap, as 110k, 1m or 65536 are")
    return int(found[1]) << {"": 0, "k": 10, "m": 20}[found[2]]


def heap_size(heap: int, bits: int) -> int:
    """Return the octets of heap that give the firmware as much room as `heap` on the chip."""
    return heap * _LARGER[bits] // 10 + SHIMS_HEAP[bits]


def heap_used(octets: int, bits: int) -> int:
    """Return the heap that the firmware uses, in octets of the chip, when the interpreter counts so many."""
    return max(0, octets - SHIMS_HEAP[bits]) * 10 // _LARGER[bits]


def compiled(folder: Path) -> Path:
    """Return the folder from which the interpreter gets a firmware: its modules compiled beforehand, as on a
    bracelet."""
    tool = tuple(toolchain.micropython())
    files = [(file, *_version(os.stat(file))) for file in mpy.modules(folder)]
    known, place = _compiled.get((folder, tool), ([], folder))
    if known == files:
        with contextlib.suppress(FileNotFoundError):  # nobody used it for so long that it was dropped
            os.utime(place)  # in use
            return place
    place = mpy.compiled(folder, toolchain.mpy_march(tool))
    _compiled[folder, tool] = files, place
    return place


def as_files(folder: Path) -> dict[str, bytes]:
    """Return the compiled firmware's files by their paths on the bracelet's file system."""
    place = compiled(folder)
    found = sorted(file for file in place.rglob("*") if file.is_file())
    return {f"/{file.relative_to(place).as_posix()}": file.read_bytes() for file in found}


def as_bundle(folder: Path) -> dict[str, bytes]:
    """Return the files that flash.sh puts onto a stock image: those that MicroPython itself must find, and the whole
    firmware in a bundle."""
    march, files = toolchain.mpy_march(tuple(toolchain.micropython())), as_files(folder)
    if not (folder / "slots.py").exists():  # another firmware, which knows no bundles
        return files
    image = bundle.unsigned(bundle.version_of(folder), bundle.processor(march), mpy.rom(folder, march).read_bytes())
    return {name: files[name] for name in bundle.BESIDE if name in files} | {bundle.FIRST: image}


def _version(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def rom(folder: Path) -> Path:
    """Return the firmware in an image from which it runs without being loaded into the heap."""
    return mpy.rom(folder, toolchain.mpy_march(tuple(toolchain.micropython())))


def rom_place(folder: Path) -> tuple[str, int, int]:
    """Return the place of the firmware's image, as the interpreter is told it: file, offset, size."""
    image = rom(folder)
    return str(image), 0, image.stat().st_size


@functools.cache
def _shims(argv: tuple[str, ...]) -> Path:
    return mpy.shims(toolchain.mpy_march(argv))


# The compiled firmware of a folder for an interpreter, and the folder's files at that time: a bracelet that sleeps
# starts a hundred times a day.
_compiled: dict[tuple[Path, tuple[str, ...]], tuple[list[tuple[Path, int, int, int]], Path]] = {}


class LinkClosed(Exception):
    """An interpreter that ended without a goodbye."""


class Silent(Exception):
    """An interpreter that touched no peripheral for so long that its processor must be taken for stuck."""


class Interpreter:
    def __init__(
        self,
        hello: dict[str, Any],
        wall_limit_s: float,
        console_fd: int | None = None,
        frames: Counter[str] | None = None,
    ) -> None:
        """Start the process. `console_fd` takes its standard output instead of `raw_console`; `frames` counts the
        frames that it sends, by kind."""
        ours, theirs = socket.socketpair()
        # A file and not a pipe: a pipe that nobody empties would stop the interpreter in the middle of a print.
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._console_read = 0
        tool = toolchain.micropython()
        size = heap_size(hello.get("heap", _WORKSHOP_HEAP), toolchain.word_bits(tuple(tool)))
        shims = _shims(tuple(tool))
        argv = [*tool, "-X", f"heapsize={size}", "main.py", str(theirs.fileno())]
        environment = {"MICROPYPATH": f"{shims}:.frozen", "PATH": os.environ.get("PATH", os.defpath)}
        try:
            self._process = subprocess.Popen(
                argv,
                env=environment,
                cwd=shims,  # so that tracebacks name no path of this machine
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._console if console_fd is None else console_fd,
                stderr=subprocess.STDOUT,
            )
        except BaseException:
            ours.close()
            self._console.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(wall_limit_s)
        self._socket = ours
        self._buffer = b""
        self.frames = Counter[str]() if frames is None else frames
        # The kernel takes the end of the thread that started a process for the end of its parent. Interpreters of other
        # threads end at their next exchange instead.
        main = threading.current_thread() is threading.main_thread()
        with contextlib.suppress(LinkClosed):  # it is gone already: `receive` will say so
            self.send(hello | {"shims": str(shims), "simulator": os.getpid() if main else 0})

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: object) -> None:
        body = _encode(message).encode()
        try:
            self._socket.sendall(struct.pack("<I", len(body)) + body)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LinkClosed from error

    def receive(self) -> list[Any]:
        while True:
            if len(self._buffer) >= 4:
                end = 4 + struct.unpack_from("<I", self._buffer)[0]
                if len(self._buffer) >= end:
                    body, self._buffer = self._buffer[4:end], self._buffer[end:]
                    message: list[Any] = _decode(body.decode())
                    self.frames[message[0]] += 1
                    return message
            try:
                part = self._socket.recv(65536)
            except TimeoutError as error:
                raise Silent from error
            except ConnectionResetError as error:
                raise LinkClosed from error
            if not part:
                raise LinkClosed
            self._buffer += part

    def cpu_s(self) -> float:
        """Return the seconds of processor time that it has used (Linux: proc(5), utime and stime)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def interrupt(self) -> bool:
        """Raise KeyboardInterrupt in an interpreter that computes; False when it speaks or waits for us instead."""
        if select.select([self._socket], [], [], 0)[0]:
            return False
        self._process.send_signal(signal.SIGINT)
        return True

    def raw_console(self) -> str:
        """Return its standard output since the last call (tracebacks; printed lines come over the link)."""
        end = os.fstat(self._console.fileno()).st_size
        if end == self._console_read:
            return ""
        data = os.pread(self._console.fileno(), end - self._console_read, self._console_read)
        self._console_read = end
        return data.decode(errors="replace")

    def close(self) -> str:
        """End the process and return the rest of its console.

        The process is killed before the link is closed: a lost supply lets no `finally` of the firmware run.
        """
        self._process.kill()
        self._process.wait()
        self._socket.close()
        rest = self.raw_console()
        self._console.close()
        return rest
