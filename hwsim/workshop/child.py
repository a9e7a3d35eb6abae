"""Run a stock program so that it ends with flash.sh, however that ends.

An esptool that is left alone goes on writing, and the next run of flash.sh finds the port taken.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def command(module: str, arguments: list[str]) -> list[str]:
    """Return the command that this process starts instead of `python -m module arguments`."""
    return [sys.executable, "-m", __spec__.name, str(os.getpid()), module, *arguments]


def main() -> None:
    parent, module = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":  # elsewhere it ends when the board does not answer any more
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # killed before the kernel knew
            return
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
