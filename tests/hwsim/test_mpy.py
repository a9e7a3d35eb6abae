"""Firmware compiled beforehand, as a bracelet gets it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwsim import mpy, toolchain

NATIVE = "import micropython\n@micropython.viper\ndef f(a: int) -> int:\n    return a + 1\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/tocsin/mpy"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "source"
    (made / "pack").mkdir(parents=True)
    (made / "main.py").write_text("import pack.thing\n")
    (made / "boot.py").write_text("")
    (made / "pack/__init__.py").write_text("")
    (made / "pack/thing.py").write_text("def f():\n    return 1\n")
    return made


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_modules_are_compiled_and_what_is_looked_for_by_name_stays_source(folder, cache):
    done = mpy.compiled(folder, "x64")
    assert names(done) == ["boot.py", "main.py", "pack/__init__.mpy", "pack/thing.mpy"]
    content = (done / "pack/thing.mpy").read_bytes()
    assert content[:2] == b"M\x06" and b"pack/thing.py" in content
    assert str(folder).encode() not in content


def test_the_cache_follows_the_sources(folder, cache):
    first = mpy.compiled(folder, "x64")
    assert mpy.compiled(folder, "x64") == first
    assert mpy.compiled(folder, "xtensawin") != first
    (folder / "pack/thing.py").write_text("def f():\n    return 2\n")
    second = mpy.compiled(folder, "x64")
    assert second != first
    (folder / "pack/thing.py").rename(folder / "pack/other.py")
    assert mpy.compiled(folder, "x64") not in (first, second)
    assert not list(cache.glob(".*"))


def test_a_linked_package_is_compiled_too(folder, cache, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "main.py").write_text("")
    (own / "pack").symlink_to(folder / "pack")
    assert names(mpy.compiled(own, "x64")) == ["main.py", "pack/__init__.mpy", "pack/thing.mpy"]


def test_several_processes_may_want_the_same(folder, cache):
    program = f"from pathlib import Path; from hwsim import mpy; print(mpy.compiled(Path({str(folder)!r}), 'x64'))"
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert said == {str(mpy.compiled(folder, "x64"))}
    assert len(list(cache.iterdir())) == 1
    assert len(names(Path(said.pop()))) == 4


def test_what_nobody_uses_any_more_is_dropped(folder, cache):
    used, unused = mpy.compiled(folder, "x64"), mpy.compiled(folder, "x86")
    long_ago = time.time() - 3 * 86400
    for entry in (used, unused):
        os.utime(entry.parent, (long_ago, long_ago))
    mpy.compiled(folder, "x64")
    mpy.compiled(folder, "xtensawin")
    assert used.exists() and not unused.exists()


def test_an_error_says_file_and_line(folder, cache):
    (folder / "pack/thing.py").write_text("def f():\n    return (\n\nif\n")
    with pytest.raises(mpy.CompileError, match=r"^pack/thing\.py, line 2: SyntaxError: '\(' was never closed$"):
        mpy.compiled(folder, "x64")
    assert not list(cache.iterdir())


def test_native_code_stays_source_where_there_is_no_emitter(folder, cache):
    (folder / "pack/fast.py").write_text(NATIVE)
    assert "pack/fast.py" in names(mpy.compiled(folder, None))
    assert "pack/fast.mpy" in names(mpy.compiled(folder, "x64"))


def test_an_interpreter_that_loads_another_version_is_refused(tmp_path):
    program = tmp_path / "micropython"
    program.write_text("#!/bin/sh\necho $((2 << 10 | 1 << 8 | 7))\n")
    program.chmod(0o755)
    with pytest.raises(toolchain.ToolchainError, match=r"version 7\.1, and the firmware is compiled to 6\.3"):
        toolchain.mpy_march((str(program),))


def test_the_firmware_runs_compiled_and_tracebacks_say_where(world, firmware):
    main = firmware("import thing\nthing.fail()\n")
    (main / "thing.py").write_text("print('@is file=%s' % __file__)\n\ndef fail():\n    raise ValueError('no')\n")
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.expect("firmware", "is", within=1, file="/rom/thing.mpy")
    world.expect("bracelet", "main.py ended", within=1)
    assert '  File "thing.py", line 4, in fail' in bracelet.console


def test_a_module_on_the_flash_goes_before(world, firmware):
    main = firmware("import thing\nprint('@is n=%d' % thing.n)\n")
    (main / "thing.py").write_text("n = 1\n")
    bracelet = world.bracelet(firmware=main)
    bracelet.files.put("/thing.py", b"n = 2\n")
    bracelet.boot()
    world.expect("firmware", "is", within=1, n=2)


def test_a_firmware_that_does_not_compile_is_an_error_of_the_world(world, firmware):
    main = firmware("import thing\n")
    (main / "thing.py").write_text("x = = 1\n")
    world.bracelet(firmware=main).boot()
    with pytest.raises(mpy.CompileError, match=r"thing\.py, line 1"):
        world.run(1)
