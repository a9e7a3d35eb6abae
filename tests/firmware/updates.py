"""What the tests of updates share: releases of the firmware, signed, and what is asked of a bracelet that gets one."""

from __future__ import annotations

import shutil

import pytest

from hwsim import bundle, toolchain
from hwsim.powercut.release import KEY
from hwsim.world.bracelet import FILES, FIRMWARE

# See firmware/image/README.md.
_ROMFS, _BUNDLE = pytest.param(False, id="romfs", marks=pytest.mark.long), pytest.param(True, id="bundle")
either = pytest.mark.parametrize("loaded", [_ROMFS, _BUNDLE])
each = pytest.mark.parametrize("loaded", [_ROMFS, _BUNDLE, pytest.param(FILES, id="files")])


def march():
    return toolchain.mpy_march(tuple(toolchain.micropython()))


def releases(folder):
    """Makes a bundle of the firmware with another version, and with changes: (file, old text, new text)."""

    def make(version, *changes, key=KEY):
        place = folder / f"release{version}"
        shutil.copytree(FIRMWARE, place, ignore=shutil.ignore_patterns("__pycache__", "*.md", "image"))
        changes = (*changes, ("__init__.py", "VERSION = 1 ", f"VERSION = {version} "))
        for name, old, new in changes:
            file = place / "tocsin" / name
            text = file.read_text()
            assert text.count(old) == 1, old
            file.write_text(text.replace(old, new))
        return bundle.make(place, march(), key)

    return make


def firmware(world, state, within=120, **detail):
    return world.expect("firmware", "firmware", within=within, state=state, **detail)


def flip(octets, at):
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
