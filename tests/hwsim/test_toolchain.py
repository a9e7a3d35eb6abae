"""Finding MicroPython and mosquitto: an installed one, or Debian's package in a cache of the user's own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwsim import toolchain
from hwsim.toolchain import DEBIAN_KEYRING, Mirror, ToolchainError, parse_sources

from .debian_archive import TRIPLET, Archive, Key

CONFIGURED = DEBIAN_KEYRING if DEBIAN_KEYRING.is_file() else None


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test finds the tools anew, and leaves nothing it found to others."""
    for find in (toolchain.find_micropython, toolchain.find_mosquitto):
        find.cache_clear()
    yield
    for find in (toolchain.find_micropython, toolchain.find_mosquitto):
        find.cache_clear()


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/tocsin"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_cache: Path) -> Path:
    """A machine without any program, and without a cache; returns the folder that is its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("HWSIM_MICROPYTHON", raising=False)
    return folder


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> Archive:
    """A machine whose apt knows one archive: our own."""
    made = Archive(tmp_path)
    monkeypatch.setenv("APT_CONFIG", made.machine())
    return made


def interpreter(folder: Path, answer: str) -> Path:
    """A program that answers every question alike."""
    program = folder / "micropython"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    return program


# -- which one


def test_the_one_found_runs_what_the_firmware_needs() -> None:
    question = "import asyncio, cryptolib, hashlib, machine, tls, vfs; print(6 * 7)"
    done = subprocess.run([*toolchain.micropython(), "-c", question], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_mosquitto_runs() -> None:
    done = subprocess.run([*toolchain.mosquitto(), "-h"], capture_output=True, text=True, check=False)
    assert f"version {toolchain.find_mosquitto().version}" in done.stdout


def test_a_named_interpreter_comes_first(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter(bare, "echo 1 26 0")
    named = interpreter(tmp_path, "echo 1 25 1")
    monkeypatch.setenv("HWSIM_MICROPYTHON", str(named))
    tool = toolchain.find_micropython()
    assert (tool.argv, tool.version, tool.source) == ((str(named),), "1.25.1", "HWSIM_MICROPYTHON")
    assert toolchain.micropython() == [str(named)]


def test_then_comes_the_installed_one(bare: Path) -> None:
    installed = interpreter(bare, "echo 1 25 0")
    tool = toolchain.find_micropython()
    assert (tool.argv, tool.source) == ((str(installed),), "PATH")


@pytest.mark.parametrize("answer", ["echo 1 24 1", "echo 0 99 9", "exit 1", "echo nonsense", "kill -9 $$"])
def test_a_named_interpreter_that_does_not_serve_is_an_error(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setenv("HWSIM_MICROPYTHON", str(interpreter(tmp_path, answer)))
    with pytest.raises(ToolchainError, match=r"must name a working MicroPython >= 1\.25"):
        toolchain.find_micropython()


def test_a_named_interpreter_that_is_not_there_is_an_error(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSIM_MICROPYTHON", "/nowhere/micropython")
    with pytest.raises(ToolchainError, match="/nowhere/micropython is none"):
        toolchain.find_micropython()


@pytest.mark.parametrize("installed", [None, "echo 1 19 1"], ids=["none", "too old"])
def test_without_any_one_sentence_says_what_to_install(bare: Path, installed: str | None) -> None:
    if installed is not None:
        interpreter(bare, installed)
    with pytest.raises(ToolchainError) as caught:
        toolchain.find_micropython()
    assert str(caught.value) == (
        "MicroPython >= 1.25 is missing: install it (or name it in HWSIM_MICROPYTHON); unpacking Debian's package did "
        "not work either: apt-get is needed for it and is not on this machine."
    )


# -- unpacking


def test_a_package_is_unpacked_with_its_libraries_and_nothing_else(archive: Archive) -> None:
    tree = toolchain.unpack_debian("tool", "trixie")
    assert subprocess.check_output([tree / "usr/bin/tool"], text=True) == "works\n"
    libraries = tree / "usr/lib" / TRIPLET
    assert {file.name for file in libraries.glob("libtool*")} == {"libtool-test.so", "libtool-test.so.1"}
    assert not any(file.is_symlink() for file in tree.rglob("*"))
    assert not [file for file in tree.rglob("*") if "adduser" in file.name or "doc" in file.parts]
    assert sorted(file.name for file in tree.parent.iterdir()) == ["lock", tree.name]


def test_the_second_time_needs_neither_apt_nor_the_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = toolchain.unpack_debian("tool", "trixie")
    shutil.rmtree(archive.folder)
    monkeypatch.setenv("PATH", "/nowhere")
    assert toolchain.unpack_debian("tool", "trixie") == tree


@pytest.mark.parametrize("harm", ["truncated", "changed", "missing library", "no manifest", "half a manifest", "file"])
def test_a_damaged_copy_is_replaced(archive: Archive, harm: str) -> None:
    tree = toolchain.unpack_debian("tool", "trixie")
    program, manifest = tree / "usr/bin/tool", tree / "manifest.json"
    if harm == "truncated":
        os.truncate(program, 5)
    elif harm == "changed":
        program.write_text(program.read_text().replace("works", "bites"))
        os.utime(program, (0, 0))
    elif harm == "missing library":
        (tree / f"usr/lib/{TRIPLET}/libtool-test.so.1").unlink()
    elif harm == "no manifest":
        manifest.unlink()
    elif harm == "half a manifest":
        manifest.write_text(manifest.read_text()[:100])
    else:
        shutil.rmtree(tree)
        tree.write_text("not a folder")
    assert toolchain.unpack_debian("tool", "trixie") == tree
    assert subprocess.check_output([program], text=True) == "works\n"
    assert sorted(file.name for file in tree.parent.iterdir()) == ["lock", tree.name]


def test_a_copied_cache_with_new_time_stamps_is_as_good(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = toolchain.unpack_debian("tool", "trixie")
    for file in tree.rglob("*"):
        os.utime(file, (0, 0))
    monkeypatch.setenv("PATH", "/nowhere")
    assert toolchain.unpack_debian("tool", "trixie") == tree


def test_several_processes_unpack_it_once(archive: Archive, capfd: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        trees = pool.starmap(toolchain.unpack_debian, [("tool", "trixie")] * 4)
    assert len(set(trees)) == 1
    assert capfd.readouterr().err.count("fetching tool") == 1


def test_a_process_killed_in_the_middle_does_no_harm(archive: Archive, empty_cache: Path) -> None:
    leftover = empty_cache / ".tool-abc"
    (leftover / "tree/usr").mkdir(parents=True)
    (empty_cache / "lock").touch()
    tree = toolchain.unpack_debian("tool", "trixie")
    assert subprocess.check_output([tree / "usr/bin/tool"], text=True) == "works\n"
    assert not leftover.exists()


FORGERIES = {
    "other key": "is not signed",
    "unsigned": "is not signed",
    "index": "Packages  Hash Sum mismatch",
    "package": "deb  Hash Sum mismatch",
    "origin": "the archive is not Debian's",
    "no package": "Unable to locate package tool",
}
WEAK = 'APT::Get::AllowUnauthenticated "true";\nAcquire::AllowInsecureRepositories "true";\n'


@pytest.mark.parametrize("machine", ["", WEAK], ids=["strict", "careless"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_is_not_signed_by_debian_is_refused(
    archive: Archive, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, forgery: str, machine: str
) -> None:
    release = archive.folder / "dists/trixie/InRelease"
    if forgery == "other key":
        archive.publish(key=Key())
    elif forgery == "unsigned":
        text = release.read_text()
        release.unlink()
        release.with_name("Release").write_text(text.split("\n\n", 1)[1].split("\n-----BEGIN")[0] + "\n")
    elif forgery == "index":
        archive.index.write_text(archive.index.read_text().replace("for a test", "for a jest"))
    elif forgery == "package":
        octets = archive.deb("tool").read_bytes()
        archive.deb("tool").write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    elif forgery == "origin":
        archive.publish(origin="Somebody")
    else:
        archive.index.write_text("")
        archive.publish()
    monkeypatch.setenv("APT_CONFIG", archive.machine("trusted=yes" if machine else "", machine))
    with pytest.raises(ToolchainError, match=FORGERIES[forgery]):
        toolchain.unpack_debian("tool", "trixie")
    assert [file.name for file in empty_cache.iterdir()] == ["lock"]


def test_a_machine_without_debians_archive_says_so(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://example.org/other stable main\n")
    with pytest.raises(ToolchainError, match="name no Debian archive"):
        toolchain.unpack_debian("tool", "trixie")


def test_a_cache_that_can_not_be_written_says_so(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ToolchainError, match="cache folder can't be used"):
        toolchain.unpack_debian("tool", "trixie")


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert toolchain.cache_folder() == tmp_path / ".cache/tocsin"


# -- the machine's own sources

FOUND = [Mirror("http://mirror.example/debian", CONFIGURED)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://mirror.example/debian bookworm main", FOUND),
        ("  deb  [ arch=amd64 lang=en ]  http://mirror.example/debian  bookworm  contrib main  # ours", FOUND),
        ("deb http://mirror.example/debian stable main contrib non-free-firmware", FOUND),
        ("deb [signed-by=/nowhere.gpg] http://mirror.example/debian bookworm main", FOUND),
        ("deb file:/srv/debian/ bookworm main", [Mirror("file:/srv/debian/", CONFIGURED)]),
        ("deb mirror+file:/etc/apt/debian.list sid main", [Mirror("mirror+file:/etc/apt/debian.list", CONFIGURED)]),
        ("# deb http://mirror.example/debian bookworm main", []),
        ("deb-src http://mirror.example/debian bookworm main", []),
        ("deb http://mirror.example/debian-security bookworm-security main", []),
        ("deb http://mirror.example/debian bookworm-updates main", []),
        ("deb http://mirror.example/debian bookworm contrib", []),
        ("deb http://example.org/debiandocker bookworm main", []),
        ("deb cdrom:[Debian 12]/debian bookworm main", []),
        ("", []),
    ],
)
def test_one_line_sources(line: str, expected: list[Mirror]) -> None:
    assert parse_sources(line + "\n", deb822=False) == expected


STANZA = """\
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STANZA, FOUND),
        (STANZA + "# a remark\nSigned-By: /nowhere.gpg\n", FOUND),
        (STANZA + "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n /abc\n -----END\n", FOUND),
        (STANZA + "Enabled: yes\n\n\n" + STANZA.replace("mirror.example", "other.example") + "Enabled: no\n", FOUND),
        (STANZA.replace("Suites: bookworm bookworm-updates", "suites:\n bookworm\n bookworm-updates"), FOUND),
        (STANZA.replace("deb deb-src", "deb-src"), []),
        (STANZA.replace("/debian", "/debian-security"), []),
        (STANZA.replace("Components: main", "Components: contrib"), []),
        ("", []),
    ],
    ids=["plain", "keyring gone", "key block", "disabled", "folded", "sources only", "security", "no main", "empty"],
)
def test_deb822_sources(text: str, expected: list[Mirror]) -> None:
    assert parse_sources(text, deb822=True) == expected


def test_the_entrys_own_keyring_is_used(tmp_path: Path) -> None:
    keyring = tmp_path / "own.gpg"
    keyring.touch()
    expected = [Mirror("http://mirror.example/debian", keyring)]
    line = f"deb [arch=amd64 signed-by={keyring}] http://mirror.example/debian bookworm main"
    assert parse_sources(line, deb822=False) == expected
    assert parse_sources(f"{STANZA}Signed-By: {keyring}\n", deb822=True) == expected
