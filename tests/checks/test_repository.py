"""What is in the repository, and what must not be."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from . import ROOT

TOP_LEVEL = {
    "README.md",
    "LICENSE",
    "pyproject.toml",
    ".gitignore",
    ".ci",
    "flash.sh",
    "firmware",
    "relay",
    "hwsim",
    "board_configs",
    "tests",
}
FOLDERS_WITH_README = ["", "firmware", "relay", "hwsim", "board_configs"]
LONGEST = 500  # lines; what is longer is not read in one sitting
# Numbers and tables, where length says nothing.
LONG_BY_NATURE = {"firmware/tocsin/crypto/comb_table.py"}


def tracked() -> list[Path]:
    """The files of the repository: what git has, and what it would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(file for name in set(names.split("\0")) if name and (file := ROOT / name).is_file())


def texts() -> list[tuple[str, str]]:
    return [(str(file.relative_to(ROOT)), file.read_text()) for file in tracked() if file.suffix != ".bin"]


def test_nothing_else_is_at_the_top() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in tracked()} - TOP_LEVEL == set()


@pytest.mark.parametrize("folder", FOLDERS_WITH_README)
def test_documentation_lives_where_it_applies(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def test_the_licence_is_named_and_comes_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["license"], project["license-files"]) == ("tocsin", "Apache-2.0", ["LICENSE"])
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_every_dependency_says_what_it_is_for() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("\ndependencies = [\n")[1].split("\n]\n")[0].splitlines()
    unexplained = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.lstrip().startswith('"') and "#" not in line and not before.lstrip().startswith("#"):
            unexplained.append(line)
    assert unexplained == []


def imported(files: list[Path]) -> set[str]:
    """The distributions whose modules these files import, by their normalised names."""
    modules: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    modules -= sys.stdlib_module_names | {"relay", "hwsim", "tests", "firmware"}
    providers = importlib.metadata.packages_distributions()
    return {normalised(name) for module in modules for name in providers.get(module, [module])}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {normalised(re.split(r"[^\w.-]", line)[0]) for line in lines}


def test_every_import_is_declared() -> None:
    """An undeclared one works wherever something else happened to bring it."""
    python = [file for file in tracked() if file.suffix == ".py"]
    tested = [file for file in python if file.is_relative_to(ROOT / "tests") or file.name == "pytest_plugin.py"]
    # Firmware, shims and the tests' own firmware run in MicroPython.
    micropython = re.compile(
        r"/(?:firmware/|hwsim/shims/|hwsim/workshop/(?:selftest|smsdrill)\.py|tests/(?:hwsim|firmware)/fw_|tests/firmware/wire/device\.py)"
    )
    product = [file for file in python if file not in tested and not micropython.search(str(file))]
    flashing = [file for file in product if file.is_relative_to(ROOT / "hwsim/workshop")]
    assert imported([file for file in product if file not in flashing]) - declared() == set()
    assert imported(flashing) - declared("flash") == set()
    assert imported([file for file in tested if not micropython.search(str(file))]) - declared("test") == set()


@pytest.mark.parametrize("package", ["relay", "hwsim"])
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_files_hold_one_thing() -> None:
    counts = {name: len(text.splitlines()) for name, text in texts() if name.endswith(".py")}
    assert {name: n for name, n in counts.items() if n > LONGEST and name not in LONG_BY_NATURE} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = []
    for name, text in texts():
        if name.endswith(".py") and text.strip():
            # The shims are read by MicroPython at every boot of a bracelet: a remark costs it less than a text.
            remark = r"# [^\n]{20,}" if name.startswith("hwsim/shims/") else r"(?!)"
            if not re.match(rf'(?:#[^\n]*\n|\n)*"""|{remark}', text):
                silent.append(name)
    assert silent == []


# In pieces, so that this file is not what it looks for.
FORBIDDEN = {
    "a path of somebody's machine": r"(?:^|[\s\"'(=])/(?:home|work|Users)/[\w.-]+",
    "something left for later": r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b",
    "a skipped test": r"pytest\.(?:mark\.)?" r"(?:skip|xfail)",
    "a private key": r"-----BEGIN (?:EC |RSA |OPENSSH )?PRIVATE" r" KEY-----\n[A-Za-z0-9+/]{40}",
    "an address of a package mirror": r"https?://[\w.-]*(?:artifactory|nexus|pkg\.dev)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_must_not_be_here(what: str) -> None:
    found = []
    for name, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if re.search(FORBIDDEN[what], line):
                found.append(f"{name}:{number}")
    assert found == []


def test_exceptions_from_a_check_name_their_reason() -> None:
    """`noqa: CODE`, `type: ignore[code]` and `pragma` stand with a second remark, or a sentence, that says why."""
    bare = []
    for name, text in texts():
        if not name.startswith(("relay/", "hwsim/")) or name.startswith("hwsim/shims/") or not name.endswith(".py"):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            found = re.search(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])(.*)$", line)
            if found and not re.search(r"\w{3,}", found.group(1)) and line.count("#") < 2:
                bare.append(f"{name}:{number}")
    assert bare == []
