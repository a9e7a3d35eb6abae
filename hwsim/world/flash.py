"""The flash image: an erased chip in a file, and the workshop's access to its files.

The interpreter's own littlefs reads and writes the files on the same image, in a process of its own, while the device
is off. From a running device it reads a copy of the image, as it would be found after a power cut.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.world.chip import SIZE
from hwsim.world.device import SimulationError
from hwsim.world.link import Interpreter, LinkClosed, Silent

if TYPE_CHECKING:
    from hwsim.world.device import Device

_WALL_LIMIT_S = 60.0


def create(path: Path) -> None:
    """Make an erased chip, unless there is an image already."""
    if not path.exists():
        path.write_bytes(b"\xff" * SIZE)
    elif not path.is_file() or path.stat().st_size != SIZE:
        raise ValueError(f"{path} is no flash image: a file of {SIZE} octets")


class Files:
    def __init__(self, device: Device) -> None:
        self._device = device

    def put(self, name: str, content: bytes) -> None:
        """Write a file, and make the folders on the way."""
        self.put_all({name: content})

    def put_all(self, files: Mapping[str, bytes]) -> None:
        """Write files, by their paths."""
        self._write(*(["put", _absolute(name), content.hex()] for name, content in files.items()))

    def get(self, name: str) -> bytes:
        """Read a file. Raises FileNotFoundError when there is none."""
        return bytes.fromhex(self._look(["get", _absolute(name), ""]))

    def exists(self, name: str) -> bool:
        try:
            self.get(name)
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "/") -> list[str]:
        """List the names in a folder."""
        names: list[str] = self._look(["list", _absolute(folder), ""])
        return sorted(names)

    def everything(self, size_max: int = 20000) -> dict[str, bytes]:
        """Read every file of at most this size in octets, by its path."""
        return {name: bytes.fromhex(content) for name, content in self._look(["tree", "/", str(size_max)])}

    def remove(self, name: str) -> None:
        self._write(["remove", _absolute(name), ""])

    def fill(self, name: str) -> None:
        """Write files of this name and a number until nothing fits any more."""
        self._write(["fill", _absolute(name), ""])

    def _write(self, *operations: list[str]) -> None:
        if self._device.state not in ("off", "stopped"):
            raise RuntimeError(f"{self._device.name} is on: its file system can't be written by two")
        self._run(self._device.flash_path, *operations)

    def _look(self, operation: list[str]) -> Any:
        if self._device.state in ("off", "stopped"):
            return self._run(self._device.flash_path, operation)
        with tempfile.TemporaryDirectory(prefix="hwsim-") as folder:
            return self._run(Path(shutil.copy(self._device.flash_path, folder)), operation)

    def _run(self, image: Path, *operations: list[str]) -> Any:
        """Do these operations on an image and return the answer to the last one."""
        self._device.flash.prepare()
        partitions = self._device.flash.partitions
        hello = {"mode": "files", "t": 0, "flash": str(image), "partitions": partitions, "operations": operations}
        if image == self._device.flash_path:
            hello["wear"] = str(self._device.flash.wear_path)
        interpreter = Interpreter(hello, _WALL_LIMIT_S)
        try:
            answers = interpreter.receive()[3]
        except (LinkClosed, Silent) as error:
            tail = interpreter.raw_console()
            raise SimulationError(f"{self._device.name}: its file system can't be reached\n{tail}") from error
        finally:
            interpreter.close()
        for (operation, name, _), answer in zip(operations, answers, strict=True):
            if isinstance(answer, dict):
                if answer["oserror"] == 2:
                    raise FileNotFoundError(name)
                raise OSError(answer["oserror"], operation, name)
        return answers[-1]


def _absolute(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"
