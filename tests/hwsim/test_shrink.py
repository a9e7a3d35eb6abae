"""Names get short ones, constants go to where they are used, and the program is still the same."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwsim import mpy, shrink, toolchain
from hwsim.names import Module, UnknownSource
from hwsim.world.bracelet import FIRMWARE

PROGRAM = {
    "main.py": "from pack import first\nfirst.run()\n",
    "pack/__init__.py": "",
    "pack/consts.py": """
LIMIT, _STEP = 12, 1 << 3
LIMIT_WIDE = LIMIT * _STEP  # of a sum
NEGATIVE = -LIMIT
CHANGED = 1
TABLE = (LIMIT, LIMIT_WIDE)

def change():
    global CHANGED
    CHANGED = CHANGED + 1
    return CHANGED
""",
    "pack/second.py": """
from pack import consts

class Trouble(ValueError):
    pass

class Thing:
    wanted = 5

    def __init__(self, number, label="none"):
        self.number, self._label = number, label

    def __len__(self):
        return self.number

    @property
    def described(self):
        return "%s:%d" % (self._label, self.number)

    def grown(self, by=consts.LIMIT, *others, **named):
        return self.number + by + sum(others) + sum(named.values())

    def show(self):
        return self.described

def adder(amount):
    def add(number, more=0):
        return number + amount + more
    return lambda number, more: add(number, more=more) + amount
""",
    "pack/first.py": """
from pack import consts, second as other
from pack.second import Thing, Trouble

_OWN = 7
consumer = None

def run():
    global consumer
    from pack.second import adder
    consumer = Thing(3, label="word")
    consumer.outside = [number * _OWN for number in range(3)]
    print(consumer.outside, len(consumer), consumer.described, Thing.wanted)
    print(consumer.grown(), consumer.grown(1, 2, 3, extra=4), getattr(consumer, "show")())
    print(consts.LIMIT, consts.LIMIT_WIDE, consts.NEGATIVE, consts.TABLE)
    print(consts.CHANGED, consts.change(), consts.CHANGED)
    print(adder(5)(1, more=2), (consts.LIMIT).to_bytes(2, "big"), -consts.LIMIT, 2 if consts.LIMIT else 3)
    consts_ = {"other": 1}
    for consts_["x"] in (4, 5):
        pass
    print(sorted(consts_.items()), sorted((3, 1, 2), key=lambda each: -each))
    try:
        raise Trouble("x" * _OWN)
    except Trouble as error:
        print(type(error).__name__, error, shadowed(9))
    print(repr(other.adder is adder), sum(a for a in (1, 2)), [a for a in {"b": 1}])

def shadowed(_OWN, a=2):
    consts = 5
    return _OWN + consts + a
""",
}


def write(folder: Path, sources: dict[str, str]) -> None:
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def output(command: list[str], folder: Path) -> str:
    done = subprocess.run([*command, "main.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shrunk(sources: dict[str, str], reserved: tuple[str, ...] = ()) -> dict[str, str]:
    return sources | shrink.shrink(sources, ("main.py",), reserved)


@pytest.mark.parametrize("python", ["cpython", "micropython"])
def test_a_program_does_the_same_as_before(tmp_path, python):
    command = [sys.executable] if python == "cpython" else toolchain.micropython()
    write(tmp_path / "before", PROGRAM)
    write(tmp_path / "after", shrunk(PROGRAM))
    assert output(command, tmp_path / "after") == output(command, tmp_path / "before") != ""


def test_a_module_that_was_read_before_becomes_the_same_again():
    first, consts = shrunk(PROGRAM), "pack/consts.py"
    other = shrunk(PROGRAM | {consts: PROGRAM[consts].replace("12, 1 << 3", "13, 1 << 3")})
    assert {path for path in PROGRAM if other[path] != first[path]} >= {consts, "pack/second.py"}
    assert shrunk(PROGRAM) == first


def test_names_are_short_and_constants_gone():
    after = shrunk(PROGRAM)
    everything = "\n".join(after[name] for name in after if name != "main.py")
    for gone in ("_STEP", "LIMIT_WIDE", "_OWN", "CHANGED", "consumer", "described", "adder", "_label", "shadowed"):
        assert gone not in everything, gone
    for stays in ("class Trouble(", "def run(", "def show(", '"other"', "extra="):
        assert stays in everything, stays


def test_what_the_chip_knows_keeps_its_name():
    source = {"pack/part.py": "def duty_u16(self, wide):\n    self.update(wide=wide)\n    return self.duty_u16\n"}
    assert "def duty_u16(a, wide)" in shrunk(source, ("duty_u16",))["pack/part.py"]
    assert "duty_u16" not in shrunk(source)["pack/part.py"]


def test_what_is_imported_from_elsewhere_keeps_its_name():
    part = "import chip\nfrom lib import reach\nclass {0}:\n    def reach({1}): chip.go()\n    def go({1}): 1\n"
    source = {"pack/part.py": part.format("Mine", "self")}
    assert shrunk(source)["pack/part.py"] == part.format("aa", "a")


def test_an_attribute_set_from_outside_hits_no_other(tmp_path):
    sources = {
        "main.py": "from pack import a, b\nb.work(a.Holder())\n",
        "pack/__init__.py": "",
        "pack/a.py": "class Holder:\n    def __init__(self):\n        self.mine = 1\n"
        "    def told(self):\n        return self.mine\n",
        "pack/b.py": "def work(holder):\n    holder.yours = 5\n    print(holder.told(), holder.yours)\n",
    }
    write(tmp_path, shrunk(sources))
    assert output([sys.executable], tmp_path) == "1 5\n"


def test_a_class_may_inherit_from_another_module(tmp_path):
    sources = {
        "main.py": "from pack import b\nprint(b.Upper().told())\n",
        "pack/__init__.py": "",
        "pack/a.py": "class Lower:\n    def __init__(self):\n        self.first = 1\n"
        "    def inner(self):\n        return self.first\n",
        "pack/b.py": "from pack.a import Lower\nclass Upper(Lower):\n    def told(self):\n        self.last = 2\n"
        "        return self.inner(), self.last\n",
    }
    write(tmp_path, shrunk(sources))
    assert output([sys.executable], tmp_path) == "(1, 2)\n"


@pytest.mark.parametrize(
    "source",
    [
        "import os as system\n",
        "from . import x\n",
        "from pack.b import *\n",
        "def f(x):\n    return f'{x}'\n",
        "def f():\n    x = 1\n    def g():\n        nonlocal x\n    return g\n",
        "def f(y):\n    return (x := y)\n",
        "def f(e):\n    try:\n        pass\n    except ValueError as e:\n        pass\n",
        "try:\n    pass\nexcept ValueError as e:\n    pass\n",
        "def f():\n    global a, \\\n        b\n",
        "def f(x):\n    match x:\n        case 1:\n            pass\n",
    ],
)
def test_what_it_does_not_know_is_refused_with_its_place(source):
    with pytest.raises(UnknownSource, match=r"^pack/a\.py, line [1-6]: "):
        shrunk({"pack/a.py": source})


def test_a_module_that_stays_as_it_is_may_hold_anything():
    assert shrunk({"main.py": "def f(x):\n    return f'{x}'\n"})["main.py"]


# The firmware itself.


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {file.relative_to(FIRMWARE).as_posix(): file.read_text() for file in mpy.modules(FIRMWARE)}


@pytest.fixture(scope="module")
def after(sources) -> dict[str, str]:
    return shrink.shrink(sources, mpy.SOURCES, shrink.defined(mpy.SHIMS))


def nodes(tree: ast.AST, blank: set[int]) -> Iterator[ast.AST]:
    """Every node, in order, but what is inside a name, an attribute or a negative number, and statements of the module
    whose lines are `blank`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(tree, ast.Module) and isinstance(node, ast.stmt) and node.lineno in blank:
            continue
        yield node
        if not isinstance(node, (ast.Name, ast.Attribute, ast.UnaryOp)):
            yield from nodes(node, blank)


def test_only_names_and_constants_of_the_firmware_differ(sources, after):
    assert set(after) == set(sources) - set(mpy.SOURCES)
    for name, text in after.items():
        lines = text.split("\n")
        assert len(lines) == len(sources[name].split("\n"))
        blank = {number for number, line in enumerate(lines, 1) if not line}
        pairs = zip(nodes(ast.parse(sources[name]), blank), nodes(ast.parse(text), set()), strict=True)
        for before, now in pairs:
            where = (name, getattr(before, "lineno", 0))
            assert where[1] == getattr(now, "lineno", 0), where
            if isinstance(before, ast.Constant):
                assert isinstance(now, ast.Constant) and before.value == now.value, where
            elif isinstance(before, (ast.Name, ast.Attribute)):  # or a constant in its place
                assert type(now) is type(before) or isinstance(now, (ast.Constant, ast.UnaryOp)), where
            else:
                assert type(before) is type(now), where


def test_no_name_of_the_chip_is_changed(sources):
    """As the stubs of MicroPython on an ESP32 have them: methods and constants of the classes of each module in use.
    What is a module's own is reserved wherever the firmware imports the module."""
    used = {dotted for text in sources.values() for dotted in imports(ast.parse(text))}
    known: set[str] = set()
    for file in importlib.metadata.files("micropython-esp32-stubs") or []:
        if file.suffix == ".pyi" and used & {*file.parts, file.stem}:
            known |= of_classes(ast.parse(Path(str(file.locate())).read_text()))
    assert {"duty_u16", "ifconfig", "memory", "readblocks"} <= known
    modules = {name: Module(name, text) for name, text in sources.items()}
    reserved = shrink.defined(mpy.SHIMS) | shrink.interpreter_names()
    names = shrink.Shrinker(modules, frozenset(mpy.SOURCES), reserved).names
    changed = set().union(*names.values())
    assert len(changed) > 500
    assert changed & known <= {"block"}  # of machine.ADC, and a function of ours


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("tocsin"):
            yield node.module


def of_classes(tree: ast.AST) -> set[str]:
    found = set()
    for outer in ast.walk(tree):
        for node in outer.body if isinstance(outer, ast.ClassDef) else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def test_private_names_of_one_module_get_short_ones_and_lines_stay_lines():
    sources = {
        "_one.py": "import _two\n_long = 1\n\n\nclass A:\n    def _method(self):\n"
        "        self._shared = self._word = _long\n",
        "_two.py": "import core\n\n\ndef _other(_thing):\n    _thing._shared = core._theirs\n    return '_word'\n",
    }
    short = shrink.private(sources)
    assert {file: len(text.splitlines()) for file, text in short.items()} == {"_one.py": 7, "_two.py": 6}
    for name in ("_long", "_method", "_other"):
        assert all(name not in text for text in short.values())
    for name in ("_two", "_shared", "_word"):  # a module's, of two modules, a string
        assert name in short["_one.py"]
    assert "core._theirs" in short["_two.py"]
    scope: dict[str, object] = {}
    exec(short["_one.py"].replace("import _two\n", ""), scope)
