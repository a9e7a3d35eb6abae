"""Checks the firmware against the modules that an ESP32 with MicroPython 1.25 really has.

The interpreter on a desktop has other modules, classes and arguments than the one on the chip, and the simulator's
shims have what we wrote into them: a misspelt `machine.Pin` option would pass every test and fail on the wrist. So mypy
reads the firmware with the stubs of the ESP32's build in place of CPython's library. The firmware has no annotations,
so this finds what does not exist or is called wrongly, and is no proof of types.

    python -m tests.checks.firmware_types [FOLDER]
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

STUBS = ("micropython-esp32-stubs", "micropython-stdlib-stubs")
# What mypy calls a thing that isn't there, or is called with what it doesn't take.
CODES = {
    "attr-defined",
    "arg-type",
    "call-arg",
    "call-overload",
    "import-not-found",
    "name-defined",
    "operator",
    "syntax",
}
# Where the stubs say less than the chip can do, or mypy infers what code without annotations did not promise.
GAPS = [
    (r'expected "ptr(8|16|32)"', "Viper turns any buffer into a pointer"),
    (r'Module "asyncio" has no attribute "core"', "asyncio.core is there; its IOQueue is how to wait for a socket"),
    (r'"SSLContext" has no attribute "verify_mode"', "an attribute of the C type"),
    (r'"StreamReader" has no attribute "(write|drain)"', "MicroPython has one Stream class for both directions"),
    (r'Unexpected keyword argument "atten" for "ADC"', "documented for the ESP32's ADC"),
    (r'Unexpected keyword argument "hold" for ("init" of )?"Pin"', "documented for the ESP32's Pin"),
    (r'Argument 3 to "Pin" has incompatible type "None"', "no pull; docs/library/machine.Pin.rst"),
    (r'"stream" for "config" of "PPP"|"PPP" has no attribute "active"', "those of 1.25; we want 1.27 for PPP"),
    (r'Module has no attribute "(rom_ioctl|VfsRom)"', "an image with ROMFS has both (docs/library/vfs.rst)"),
    (r'to "append" of "list" has incompatible type', "a list of tuples of several shapes"),
]


@dataclass(frozen=True)
class Finding:
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def check(folder: Path) -> list[Finding]:
    """What the firmware in `folder` uses that an ESP32 does not have."""
    with tempfile.TemporaryDirectory(prefix="firmware-types-") as scratch:
        stubs = Path(scratch)
        _lay_out(stubs)
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file=",
            "--no-site-packages",
            "--check-untyped-defs",
            "--python-version=3.11",
            "--platform=linux",
            "--output=json",
            "--no-error-summary",
            "--hide-error-context",
            f"--custom-typeshed-dir={stubs / 'typeshed'}",
            f"--cache-dir={stubs / 'cache'}",
            ".",
        ]
        environment = {**os.environ, "MYPYPATH": str(stubs / "modules")}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"mypy failed: {done.stderr or done.stdout}")
    found = []
    for line in done.stdout.splitlines():
        error = json.loads(line)
        ours = not os.path.isabs(error["file"]) and not error["file"].startswith("..")  # not an error in a stub
        known = any(re.search(pattern, error["message"]) for pattern, _ in GAPS)
        if ours and error["severity"] == "error" and error["code"] in CODES and not known:
            found.append(Finding(error["file"], error["line"], error["message"]))
    return found


def _lay_out(target: Path) -> None:
    """The stubs as mypy wants them: `typeshed` in place of its own, `modules` beside it, apart from other packages."""
    for distribution in map(importlib.metadata.distribution, STUBS):
        for file in distribution.files or ():
            if file.suffix == ".pyi" or file.name == "VERSIONS":
                place = "typeshed" if file.parts[0] in ("stdlib", "stubs") else "modules"
                link = target / place / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(distribution.locate_file(file))).resolve())


def main(arguments: list[str]) -> int:
    findings = check(Path(arguments[0]) if arguments else Path(__file__).parents[2] / "firmware")
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
