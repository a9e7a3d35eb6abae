"""One interpreter process and the lock-step link to it. The frames are described in `shims/_hw.py`.

The process ends with this object, and with this program however that ends: it finds its end of the socket closed, and,
for a firmware that never looks, the shim asks the kernel to be killed with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
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

from hwsim import toolchain

# Made once: json.dumps with separators makes an encoder each time, and json.loads guesses the encoding of octets.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode

SHIMS = Path(__file__).resolve().parent.parent / "shims"

# What the firmware has for its objects, in octets of a chip with 32-bit words. An ESP32 without PSRAM gives MicroPython
# 64 KB at start and more while there is memory (ports/esp32, MICROPY_GC_INITIAL_HEAP_SIZE, MICROPY_GC_SPLIT_HEAP_AUTO),
# older releases 111 KB for good; Wi-Fi and TLS take theirs out of the same memory. This firmware does not fit in 111:
# measured in the 32-bit interpreter it holds 112 KB when it runs, and to be compiled from source it wants 200 KB (with
# 184 KB it doesn't start). So the default is what it needs and some margin, not what the chip has.
HEAP = 256 * 1024
# The chip has these modules in flash, here they are objects: `machine` to `ssl` as imported, in the 32-bit interpreter,
# and the link's buffer.
_SHIMS_HEAP = (44 + 16) * 1024


def heap_size(heap: int, bits: int) -> int:
    """Octets of heap that give the firmware as much room as `heap` on the chip: with 64-bit words the same objects took
    236 KB where 32-bit words made it 156 KB."""
    return (heap + _SHIMS_HEAP) * (3 if bits == 64 else 2) // 2


class LinkClosed(Exception):
    """The interpreter ended without saying goodbye."""


class Silent(Exception):
    """The interpreter did not touch a peripheral for so long that its processor must be taken for stuck."""


class Interpreter:
    def __init__(self, hello: dict[str, Any], wall_limit_s: float, console_fd: int | None = None) -> None:
        """`console_fd` takes its standard output instead of `raw_console`."""
        ours, theirs = socket.socketpair()
        # A file and not a pipe: a pipe that nobody empties would stop the interpreter in the middle of a print.
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._console_read = 0
        tool = toolchain.micropython()
        size = heap_size(hello.get("heap", HEAP), toolchain.word_bits(tuple(tool)))
        argv = [*tool, "-X", f"heapsize={size}", "_run.py", str(theirs.fileno())]
        environment = {"MICROPYPATH": f"{SHIMS}:.frozen", "PATH": os.environ.get("PATH", os.defpath)}
        try:
            self._process = subprocess.Popen(
                argv,
                env=environment,
                cwd=SHIMS,  # so that tracebacks name no path of this machine
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
        self.frames: Counter[str] = Counter()  # that it sent, by their kind
        # The kernel takes the end of the thread that started a process for the end of its parent. Interpreters of other
        # threads end at their next exchange instead.
        main = threading.current_thread() is threading.main_thread()
        with contextlib.suppress(LinkClosed):  # it is gone already: whoever listens to it will hear that
            self.send(hello | {"simulator": os.getpid() if main else 0})

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
        """Seconds of processor time that it has used (Linux: proc(5), utime and stime)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def interrupt(self) -> bool:
        """Raise KeyboardInterrupt in what it computes; False when it doesn't compute, but speaks or waits for us."""
        if select.select([self._socket], [], [], 0)[0]:
            return False
        self._process.send_signal(signal.SIGINT)
        return True

    def raw_console(self) -> str:
        """What came out of standard output since the last call (tracebacks; printed lines come over the link)."""
        end = os.fstat(self._console.fileno()).st_size
        if end == self._console_read:
            return ""
        data = os.pread(self._console.fileno(), end - self._console_read, self._console_read)
        self._console_read = end
        return data.decode(errors="replace")

    def close(self) -> str:
        """End the process and return the rest of its console.

        Killed before the link is closed: a lost supply lets no `finally` of the firmware run.
        """
        self._process.kill()
        self._process.wait()
        self._socket.close()
        rest = self.raw_console()
        self._console.close()
        return rest
