"""The next version of a firmware, as a bundle: the same program with a higher number."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from nacl.signing import SigningKey

from hwsim import bundle as bundles
from hwsim import toolchain

KEY = SigningKey(bytes(range(32)))  # the maker's in the simulator; nobody has it elsewhere


@functools.cache
def bundle(firmware: Path) -> bytes:
    """Make the next version's bundle, signed with KEY, for the interpreter that runs the simulator."""
    version = bundles.version_of(firmware)
    with tempfile.TemporaryDirectory(prefix="hwsim-") as scratch:
        folder = Path(scratch) / "firmware"
        shutil.copytree(firmware, folder, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / "tocsin" / "__init__.py"
        file.write_text(file.read_text().replace(f"VERSION = {version}", f"VERSION = {version + 1}", 1))
        return bundles.make(folder, toolchain.mpy_march(tuple(toolchain.micropython())), KEY)
