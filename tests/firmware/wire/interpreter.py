"""The firmware in a real MicroPython interpreter, as a process that answers batches of calls (see device.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from hwsim.toolchain import micropython

ROOT = Path(__file__).resolve().parents[3]
FIRMWARE = ROOT / "firmware"
NATIVE = ("sha512_viper", "field_viper", "curve_viper")

# What a .mpy for another processor begins with: "M", version 6.3, architecture (xtensawin is 10), bits of a small int.
# MicroPython refuses it with ValueError before it reads any further.
FOREIGN = bytes((ord("M"), 6, 10 << 2 | 3, 31))


class Refused(Exception):
    """The firmware raised ValueError."""


class Device:
    """`with Device(firmware) as device: device.call("tocsin.cbor.encode", 1)`."""

    def __init__(self, firmware: Path = FIRMWARE) -> None:
        environment = {**os.environ, "MICROPYPATH": f"{firmware}:.frozen"}
        self._process = subprocess.Popen(
            [*micropython(), "-X", "heapsize=32m", str(Path(__file__).with_name("device.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
        )

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def batch(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        """The result of each call; a Refused instance where the firmware raised ValueError."""
        results: list[Any] = []
        for start in range(0, len(calls), 200):
            results += self._exchange(calls[start : start + 200])
        return results

    def call(self, name: str, *arguments: Any) -> Any:
        """The result of one call; raises Refused where the firmware raised ValueError."""
        result = self.batch([(name, *arguments)])[0]
        if isinstance(result, Refused):
            raise result
        return result

    def _exchange(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        assert self._process.stdin
        assert self._process.stdout
        # MicroPython's json doesn't join surrogate pairs, so characters go as they are
        line = json.dumps([[_pack(item) for item in call] for call in calls], ensure_ascii=False)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the interpreter has ended"
        results: list[Any] = []
        for call, (outcome, result) in zip(calls, json.loads(line), strict=True):
            if outcome == "ok":
                results.append(_unpack(result))
            else:
                assert outcome in ("ValueError", "UnicodeError"), (outcome, result, call[0])
                results.append(Refused(result))
        return results


def without_native_code(folder: Path) -> Path:
    """A copy of the firmware whose native modules are for a processor that this interpreter hasn't."""
    shutil.copytree(FIRMWARE / "tocsin", folder / "tocsin")
    for name in NATIVE:
        (folder / "tocsin/crypto" / f"{name}.py").unlink()
        (folder / "tocsin/crypto" / f"{name}.mpy").write_bytes(FOREIGN)
    return folder


def _pack(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"h": value.hex()}
    if isinstance(value, (list, tuple)):
        return [_pack(item) for item in value]
    if isinstance(value, dict):
        return {"m": [[_pack(key), _pack(item)] for key, item in value.items()]}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if isinstance(value, dict):
        if "h" in value:
            return bytes.fromhex(value["h"])
        return {_unpack(key): _unpack(item) for key, item in value["m"]}
    return value
