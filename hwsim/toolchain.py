"""Find the programs of other projects that the simulator and the tests run: MicroPython, mosquitto, gammu.

An installed program comes first. Otherwise Debian's package and the libraries it needs are unpacked, without root, into
the user's cache, and started through their own dynamic loader, so that they run on an older Debian too. apt fetches
them from the mirror this machine already uses and checks the archive's signature; nothing is installed, and later
runs need neither apt nor a network. This is no package manager: it knows how to unpack a program with its libraries,
and no maintainer script is ever run.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITE = "trixie"
OLDEST_MICROPYTHON = (1, 25)
MPY_VERSION = (6, 3)  # of the compiled files that these load, and of the native code in them (mpyfiles.rst)
# The processors of native code, by their number in sys.implementation._mpy (py/persistentcode.h), as mpy-cross calls
# them. The others of that list run no desktop.
_MPY_ARCHITECTURES = {0: None, 1: "x86", 2: "x64"}
APT_TIMEOUT = 600  # seconds for one apt command; the package index is some 10 MB

# Debian's name of the architecture, the folder of its libraries, the dynamic loader in that folder.
ARCHITECTURES = {
    "x86_64": ("amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": ("arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}
ARCHITECTURE_32 = {"x86_64": ("i386", "i386-linux-gnu", "ld-linux.so.2")}  # such a machine runs its programs too
DEBIAN_SUITE = re.compile(r"(bullseye|bookworm|trixie|forky|duke|sid|(old){0,2}stable|testing|unstable)/?")
DEBIAN_MAIN = re.compile(r"(?:^|/)debian(?:\.list)?(?:/|$)")  # not debian-security; .list: a mirror+file
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class ToolchainError(RuntimeError):
    """A missing program that can't be had; the message says in one sentence what to install."""


@dataclass(frozen=True)
class Tool:
    """A program that can be started: the arguments to begin with, its version, and where it was found."""

    argv: tuple[str, ...]
    version: str
    source: str


@dataclass(frozen=True)
class Mirror:
    """An entry of this machine's apt sources that is Debian's main archive."""

    uri: str
    keyring: Path | None  # None: apt's own trusted keys


def micropython() -> list[str]:
    """Return the arguments that start MicroPython >= 1.25, for example ["/usr/bin/micropython"]."""
    return list(wanted_micropython().argv)


def wanted_micropython() -> Tool:
    """Find the MicroPython that runs the firmware: one of 32 bits if HWSIM_BITS says so."""
    bits = wanted_bits()
    return find_micropython(bits) if bits else find_micropython()


@functools.cache
def word_bits(argv: tuple[str, ...]) -> int:
    """Return 32 or 64: the size of the words, and so of the objects, of a MicroPython."""
    question = "import sys; print(64 if sys.maxsize >> 32 else 32)"
    return 32 if _run([*argv, "-c", question]).strip() == "32" else 64


@functools.cache
def mpy_march(argv: tuple[str, ...]) -> str | None:
    """Return mpy-cross's name for the processor whose native code a MicroPython loads; None when it loads none."""
    found = int(_run([*argv, "-c", "import sys; print(sys.implementation._mpy)"]))
    version = found & 0xFF, found >> 8 & 3
    if version != MPY_VERSION:
        raise ToolchainError(
            f"{argv[-1]} loads compiled modules of version {version[0]}.{version[1]}, and the firmware is compiled to "
            f"{MPY_VERSION[0]}.{MPY_VERSION[1]}: name another MicroPython in HWSIM_MICROPYTHON."
        )
    return _MPY_ARCHITECTURES.get(found >> 10 & 0xF)


def mosquitto() -> list[str]:
    """Return the arguments that start mosquitto."""
    return list(find_mosquitto().argv)


def wanted_bits() -> int | None:
    """Return the interpreter's bits from `HWSIM_BITS`: 32 has the chip's small integers (31 bits) and object size."""
    bits = os.environ.get("HWSIM_BITS", "")
    if bits not in ("", "32"):
        raise ToolchainError(f"HWSIM_BITS must be 32 or not set, and it is {bits}.")
    return 32 if bits else None


@functools.cache
def find_micropython(bits: int | None = None) -> Tool:
    """Find MicroPython in $HWSIM_MICROPYTHON, else PATH, else Debian's package; with `bits` 32 only in the package of
    Debian's 32-bit architecture."""
    wanted = ".".join(map(str, OLDEST_MICROPYTHON))
    if bits == 32:
        return _unpacked("micropython", "usr/bin/micropython", "a 32-bit MicroPython is missing", bits)
    named = os.environ.get("HWSIM_MICROPYTHON")
    if named:
        version = _micropython_version([named])
        if version is None:
            raise ToolchainError(f"HWSIM_MICROPYTHON must name a working MicroPython >= {wanted}, and {named} is none.")
        return Tool((named,), version, "HWSIM_MICROPYTHON")
    found = shutil.which("micropython")
    if found:
        version = _micropython_version([found])
        if version is not None:
            return Tool((found,), version, "PATH")
    advice = f"MicroPython >= {wanted} is missing: install it (or name it in HWSIM_MICROPYTHON)"
    tool = _unpacked("micropython", "usr/bin/micropython", advice)
    if tuple(int(part) for part in re.findall(r"\d+", tool.version)[:2]) < OLDEST_MICROPYTHON:
        raise ToolchainError(f"{advice}; this machine's Debian archive is too old: it has {tool.version}.")
    return tool


@functools.cache
def find_gammu() -> Tool:
    """Find gammu in $HWSIM_GAMMU, else PATH, else Debian's package: the stock witness of the simulated modem."""
    named = os.environ.get("HWSIM_GAMMU")
    found = named or shutil.which("gammu")
    if found:
        version = _answered([found, "--version"], r"Gammu version (\d+(?:\.\d+)+)")
        if named and version == "unknown":
            raise ToolchainError(f"HWSIM_GAMMU must name a working gammu, and {named} is none.")
        return Tool((found,), version, "HWSIM_GAMMU" if named else "PATH")
    return _unpacked("gammu", "usr/bin/gammu", "gammu is missing: install Debian's package gammu")


@functools.cache
def find_mosquitto(suite: str | None = None) -> Tool:
    """Find mosquitto on PATH (and in sbin, which is often not on it), else in Debian's package; with `suite` only in
    the package of that Debian."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if found and suite is None:
        return Tool((found,), _answered([found, "-h"], r"version (\d+(?:\.\d+)+)"), "PATH")
    advice = "mosquitto is missing: install Debian's package mosquitto"
    return _unpacked("mosquitto", "usr/sbin/mosquitto", advice, suite=suite or SUITE)


def _micropython_version(argv: Sequence[str]) -> str | None:
    """Return the interpreter's version, or None when it doesn't run, is too old, or lacks what the firmware needs."""
    question = "import sys, tls, vfs, cryptolib, ffi; vfs.VfsRom; print(*sys.implementation.version[:3])"
    try:
        answer = subprocess.run(
            [*argv, "-c", question], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True
        )
        version = tuple(int(part) for part in answer.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return ".".join(map(str, version)) if version >= OLDEST_MICROPYTHON else None


def _answered(question: list[str], pattern: str) -> str:
    """Read the version in a program's answer. The exit status is ignored: it differs between releases."""
    try:
        answer = subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    found = re.search(pattern, answer.stdout)
    return found.group(1) if found else "unknown"


def _unpacked(package: str, program: str, advice: str, bits: int | None = None, suite: str = SUITE) -> Tool:
    try:
        tree = unpack_debian(package, suite, bits)
    except ToolchainError as why:
        raise ToolchainError(f"{advice}; unpacking Debian's package did not work either: {why}") from why
    _, triplet, loader = _architecture(bits)
    argv = (*_started_by(tree, triplet, loader), str(tree / program))
    version = json.loads((tree / "manifest.json").read_text())["version"]
    return Tool(argv, version, f"Debian {suite}, unpacked in the user's cache")


def _started_by(tree: Path, triplet: str, loader: str) -> tuple[str, ...]:
    """Return the dynamic loader among a program's own libraries, with the option that says where these are."""
    folder = tree / "usr/lib" / triplet
    return str(folder / loader), "--library-path", f"{folder}:{folder.parent}"


# -- Debian's packages, unpacked without root


def cache_folder() -> Path:
    """Return the folder of unpacked programs: $XDG_CACHE_HOME/tocsin, by default ~/.cache/tocsin."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "tocsin"


def _architecture(bits: int | None = None) -> tuple[str, str, str]:
    """Return this machine's line of ARCHITECTURES, or with `bits` 32 the 32-bit one that it runs too."""
    machine = platform.machine()
    known = ARCHITECTURE_32 if bits == 32 else ARCHITECTURES
    if sys.platform != "linux" or machine not in known:
        kind = "32-bit " if bits == 32 else ""
        raise ToolchainError(f"no {kind}Debian package is known for {sys.platform} on {machine}.")
    return known[machine]


def unpack_debian(package: str, suite: str, bits: int | None = None) -> Path:
    """Return the folder with `package` and its libraries from Debian's `suite`; unpack it on first use.

    Several processes may ask at once. A damaged folder is replaced.
    """
    architecture = _architecture(bits)
    cache = cache_folder()
    tree = cache / f"{package}-{suite}-{architecture[0]}"
    if _intact(tree):
        return tree
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not _intact(tree):  # another process may have done it while we waited
                for leftover in cache.glob(f".{package}-*"):  # of a run that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                _unpack(package, suite, architecture, tree)
    except OSError as error:
        raise ToolchainError(f"the cache folder can't be used: {error}") from error
    return tree


def _intact(tree: Path) -> bool:
    """Tell whether every file is as it was unpacked. Reads no content unless a time stamp differs (a copied cache)."""
    try:
        files = json.loads((tree / "manifest.json").read_text())["files"]
        for name, (size, modified, digest) in files.items():
            state = (tree / name).stat()
            if state.st_size != size or (int(state.st_mtime) != modified and _sha256(tree / name) != digest):
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # freed by the kernel if this process dies
        yield


def _unpack(package: str, suite: str, architecture: tuple[str, str, str], tree: Path) -> None:
    for program in ("apt-get", "apt-config", "dpkg-deb"):
        if shutil.which(program) is None:
            raise ToolchainError(f"{program} is needed for it and is not on this machine.")
    print(f"hwsim: fetching {package} from Debian {suite} (once; some 15 MB) ...", file=sys.stderr, flush=True)
    mirrors = machine_mirrors()
    if not mirrors:
        raise ToolchainError("this machine's apt sources name no Debian archive.")
    reason = ""
    for mirror in mirrors:
        # A new folder beside the final one, so that the rename is atomic and a killed run leaves nothing half done.
        with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=tree.parent) as scratch:
            try:
                new = _fetch(package, suite, architecture, mirror, Path(scratch))
            except ToolchainError as error:
                reason = str(error)
                continue
            if tree.exists():
                tree.rename(Path(scratch) / "damaged")
            new.rename(tree)
            return
    raise ToolchainError(reason)


def _fetch(package: str, suite: str, architecture: tuple[str, str, str], mirror: Mirror, scratch: Path) -> Path:
    """Download and unpack into `scratch` and return the finished folder in it."""
    debian_name, triplet, loader = architecture
    apt = _Apt(scratch / "apt", suite, debian_name, mirror)
    apt.get("update")
    apt.check_origin()
    plan = apt.get("install", "--simulate", "--no-install-recommends", package)
    versions = dict(re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE))
    if package not in versions:
        raise ToolchainError(f"Debian {suite} has no package {package}.")
    # Programs among the dependencies (adduser and the like) serve installation, which does not happen here.
    wanted = [name for name in versions if name == package or name.startswith(("lib", "zlib"))]
    downloads = scratch / "downloads"
    downloads.mkdir()
    apt.get("download", *wanted, folder=downloads)
    own, libraries, tree = scratch / "own", scratch / "libraries", scratch / "tree"
    for archive in sorted(downloads.glob("*.deb")):
        target = own if archive.name.startswith(f"{package}_") else libraries
        _run(["dpkg-deb", "--extract", str(archive), str(target)])
    kept: dict[str, tuple[int, int, str]] = {}
    for pattern in ("usr/bin/*", "usr/sbin/*"):
        _keep(own, pattern, tree, kept)
    programs = [name for name in kept if Path(name).name == package]  # others may be scripts
    for folder in (own, libraries):
        _keep(folder, f"usr/lib/{triplet}/*.so*", tree, kept)
        _keep(folder, "usr/lib/*.so*", tree, kept)  # a few packages don't use the architecture's folder
    # A library may be packaged under its full version only: installation would make the name that programs ask for.
    if ldconfig := shutil.which("ldconfig", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/sbin"])):
        _run([ldconfig, "-n", str(tree / "usr/lib" / triplet)])
    for name in programs:  # fails when a library is missing, or this kernel is too old for them
        _run([*_started_by(tree, triplet, loader), "--list", str(tree / name)])
    version = re.sub(r"^\d+:|[+-].*$", "", versions[package])  # without Debian's epoch and revision
    manifest = {"package": package, "version": version, "debian_version": versions[package], "files": kept}
    (tree / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return tree


def _keep(source: Path, pattern: str, tree: Path, kept: dict[str, tuple[int, int, str]]) -> None:
    """Copy what a program needs at run time; links become files, so that a file's state is all there is to check."""
    for path in sorted(source.glob(pattern)):
        resolved = path.resolve()
        if resolved.is_relative_to(source.resolve()) and resolved.is_file():
            name = str(path.relative_to(source))
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(resolved, target)
            state = target.stat()
            kept[name] = (state.st_size, int(state.st_mtime), _sha256(target))


class _Apt:
    """apt with a state folder, a source and settings of its own, and this machine's proxies and certificates."""

    def __init__(self, folder: Path, suite: str, architecture: str, mirror: Mirror) -> None:
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()  # nothing counts as installed, so that every library is fetched
        options = f"arch={architecture} lang=none target=Packages"
        if mirror.keyring is not None:
            options += f" signed-by={mirror.keyring}"
        (folder / "sources.list").write_text(f"deb [{options}] {mirror.uri} {suite} main\n")
        (folder / "apt.conf").write_text(
            # This machine's hooks and cross architectures are none of our business.
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n#clear APT::Architectures;\n#clear APT::Default-Release;\n"
            # Signatures and hashes are checked whatever this machine's own settings say.
            'APT::Get::AllowUnauthenticated "false";\n'
            'Acquire::AllowInsecureRepositories "false";\nAcquire::AllowWeakRepositories "false";\n'
            'Acquire::AllowDowngradeToInsecureRepositories "false";\n'
            f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
            f'Dir::State "{folder}";\nDir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n'
            f'Dir::Cache "{folder}";\nDir::Cache::archives "{folder}/archives";\n'
            'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
            f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
            'Dir::Etc::preferences "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
            'Acquire::Retries "2";\nAcquire::http::Timeout "30";\nAcquire::https::Timeout "30";\n'
            'APT::Update::Error-Mode "any";\n'
        )
        self.folder = folder

    def get(self, *arguments: str, folder: Path | None = None) -> str:
        return _run(["apt-get", "-q", "-c", str(self.folder / "apt.conf"), *arguments], folder)

    def check_origin(self) -> None:
        """Refuse another vendor's archive under a Debian-like address: it would be signed too, by its own key."""
        for release in (self.folder / "lists").glob("*Release"):
            if re.search(r"^Origin: Debian$", release.read_text(errors="replace"), re.MULTILINE):
                return
        raise ToolchainError("the archive is not Debian's.")


def _run(command: list[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(f"{command[0]} failed: {error}") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))] or [done.stderr.strip()]
        raise ToolchainError(f"{command[0]} failed: {errors[0]}")
    return done.stdout


def machine_mirrors() -> list[Mirror]:
    """List Debian's main archives that this machine's apt sources name, in their order."""
    answer = _run(["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"])
    places = dict(re.findall(r"^(\w+)='(.*)'$", answer, re.MULTILINE))
    files = [Path(places.get("LIST", "/etc/apt/sources.list"))]
    parts = Path(places.get("PARTS", "/etc/apt/sources.list.d"))
    files += sorted([*parts.glob("*.list"), *parts.glob("*.sources")])
    found: list[Mirror] = []
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        for mirror in parse_sources(text, deb822=file.suffix == ".sources"):
            if mirror not in found:
                found.append(mirror)
    return found


def parse_sources(text: str, deb822: bool) -> list[Mirror]:
    """Find Debian's main archives among apt sources, in either of their two formats (sources.list(5))."""
    found = []
    for types, uris, suites, components, signed_by in _deb822(text) if deb822 else _one_line(text):
        if "deb" in types and "main" in components and any(DEBIAN_SUITE.fullmatch(suite) for suite in suites):
            found += [Mirror(uri, _keyring(signed_by)) for uri in uris if DEBIAN_MAIN.search(uri)]
    return [mirror for mirror in found if not mirror.uri.startswith("cdrom:")]


_Entry = tuple[list[str], list[str], list[str], list[str], str]  # types, URIs, suites, components, Signed-By


def _one_line(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        entry = re.match(r"\s*(deb)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if entry:
            kind, options, uri, suite, components = entry.groups()
            signed_by = re.search(r"(?:^|\s)signed-by=(\S+)", options or "")
            yield [kind], [uri], [suite], components.split(), signed_by.group(1) if signed_by else ""


def _deb822(text: str) -> Iterator[_Entry]:
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE))
        by_name = {name.lower(): value for name, value in fields.items()}
        if by_name.get("enabled", "yes").strip().lower() not in ("no", "false", "0"):
            types, uris, suites, components = (
                by_name.get(name, "").split() for name in ("types", "uris", "suites", "components")
            )
            yield types, uris, suites, components, by_name.get("signed-by", "").strip()


def _keyring(signed_by: str) -> Path | None:
    """Return the entry's own keyring file, else Debian's: a key block or fingerprint in its place may not know our
    suite."""
    for name in (*re.split(r"[,\s]+", signed_by), str(DEBIAN_KEYRING)):
        if name.startswith("/") and Path(name).is_file():
            return Path(name)
    return None
