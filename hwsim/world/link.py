"""One interpreter process and the lock-step link to it. The frames are described in `shims/_hw.py`.

The process ends with this object, and with this program however that ends: it finds its end of the socket closed, and,
for a firmware that never looks, the shim asks the kernel to be killed with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from hwsim import toolchain

SHIMS = Path(__file__).resolve().parent.parent / "shims"


class LinkClosed(Exception):
    """The interpreter ended without saying goodbye."""


class Silent(Exception):
    """The interpreter did not touch a peripheral for so long that its processor must be taken for stuck."""


class Interpreter:
    def __init__(self, hello: dict[str, Any], wall_limit_s: float) -> None:
        ours, theirs = socket.socketpair()
        # A file and not a pipe: a pipe that nobody empties would stop the interpreter in the middle of a print.
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._console_read = 0
        argv = [*toolchain.micropython(), "_run.py", str(theirs.fileno())]
        environment = {"MICROPYPATH": f"{SHIMS}:.frozen", "PATH": os.environ.get("PATH", os.defpath)}
        try:
            self._process = subprocess.Popen(
                argv,
                env=environment,
                cwd=SHIMS,  # so that tracebacks name no path of this machine
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._console,
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
        # The kernel takes the end of the thread that started a process for the end of its parent. Interpreters of other
        # threads end at their next exchange instead.
        main = threading.current_thread() is threading.main_thread()
        with contextlib.suppress(LinkClosed):  # it is gone already: whoever listens to it will hear that
            self.send(hello | {"simulator": os.getpid() if main else 0})

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: object) -> None:
        body = json.dumps(message, separators=(",", ":")).encode()
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
                    message: list[Any] = json.loads(body)
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
