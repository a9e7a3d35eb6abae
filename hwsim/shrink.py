"""Make the firmware's modules small in the heap before they are compiled, without changing what they do.

Every name of a function, attribute or argument is a string in the heap of the chip, in a table that doubles when it is
full; with the names as people write them it took 32 KB. So each name becomes a short one, and names that no module uses
together become the same. Integer constants go to where they are used, in other modules too; the compiler itself does
that with `_NAME = const(...)` in one module only.

Names that the interpreter or a person must recognise stay: those that the chip's modules define (`reserved`), all that
occur as a string, exceptions, modules, and those that the modules of `kept` use. Lines stay lines, so that a traceback
names the right one; functions have their short names in it.

This is no optimiser: it moves, joins and drops nothing but definitions of constants.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import functools
import io
import itertools
import keyword
import operator
import re
import socket
import string
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hwsim.names import FUNCTIONS, Module, UnknownSource, arguments

SMALL_INT = 1 << 30  # a larger integer is an object of its own in each function that uses it
# Names that MicroPython calls in objects of a program, and names of its own modules that CPython's don't have
# (docs/library: asyncio, io, vfs, micropython, select, cryptolib, uctypes; viper's types).
INTERPRETER = (
    "addressof alloc_emergency_exception_buf bytearray_at bytes_at chdir const decrypt encrypt getcwd ilistdir ioctl "
    "ipoll mem_info mount native ptr ptr16 ptr32 ptr8 readblocks schedule sleep_ms stat ticks_add ticks_diff ticks_ms "
    "ticks_us uint umount viper writeblocks"
).split()
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}


@functools.cache
def interpreter_names() -> frozenset[str]:
    """Return the names that the language and its libraries define."""
    places: tuple[Any, ...] = (
        builtins, bytes, bytearray, str, list, dict, set, frozenset, tuple, int, memoryview, OSError, io.StringIO,
        io.FileIO, socket.socket, asyncio, asyncio.Event, asyncio.Lock, asyncio.Task, asyncio.StreamReader,
        asyncio.StreamWriter, (_ for _ in ()),
    )  # words, several a line # fmt: skip
    return frozenset(itertools.chain(INTERPRETER, keyword.kwlist, *(dir(each) for each in places)))


@functools.cache
def defined(folder: Path) -> frozenset[str]:
    """Return the names that the Python modules of a folder define for others: of functions, classes, variables,
    attributes, arguments."""
    names: set[str] = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return frozenset(name for name in names if not name.startswith("_"))


def private(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the sources, by file, with the private names of a single module (`_name`) shortened, from a pool that all
    modules share. It is for the simulator's own modules: the chip has none of these names in its heap, and the table
    that they would fill there doubles when it is full."""
    used = {file: _private_names(text) for file, text in sources.items()}
    words = {
        node.value
        for text in sources.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    shortened = {}
    for file, text in sources.items():
        others = set().union(*(names for other, names in used.items() if other != file))
        mine = sorted(used[file] & _made(text) - others - words - {Path(name).stem for name in sources})
        short = dict(zip(mine, (f"_{letters}" for letters in _letters()), strict=False))
        lines = text.split("\n")
        for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
            if token.type == tokenize.NAME and token.string in short:
                (row, begin), (_, end) = token.start, token.end
                lines[row - 1] = lines[row - 1][:begin] + short[token.string] + lines[row - 1][end:]
        shortened[file] = "\n".join(lines)
    return shortened


def _private_names(text: str) -> set[str]:
    """Return the names with one underscore before them, a module's own and those of others."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME and re.match("_[^_]", token.string)}


def _made(text: str) -> set[str]:
    """Return the names that a module defines: of functions, classes, variables and attributes."""
    made = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            made.add(node.attr)
    return made


def _letters() -> Iterator[str]:
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))


def shrink(sources: Mapping[str, str], kept: Iterable[str], reserved: Iterable[str]) -> dict[str, str]:
    """Rewrite the sources by path ("tocsin/app.py"), except those of `kept`. Raises names.UnknownSource."""
    modules = {path: _read(path, text) for path, text in sorted(sources.items())}
    return Shrinker(modules, frozenset(kept), frozenset(reserved) | interpreter_names()).run()


@functools.lru_cache(maxsize=256)
def _read(path: str, text: str) -> Module:
    """Read a source. It is kept: a soak that compiles one changed firmware after the other changes a few modules."""
    return Module(path, text)


class Shrinker:
    """All modules of a firmware together. `names`: the short names of the members of each module."""

    def __init__(self, modules: dict[str, Module], kept: frozenset[str], reserved: frozenset[str]) -> None:
        self.modules = {path: module for path, module in modules.items() if path not in kept}
        for module in self.modules.values():
            if module.unknown:
                raise module.unknown
        self.paths = {_dotted(path): path for path in modules}
        self.reserved = set(reserved).union(*(dotted.split(".") for dotted in self.paths))
        for path, module in modules.items():
            self.reserved |= module.words | module.derived | module.of_modules
            self.reserved |= {name for dotted in module.imported.values() for name in self._foreign(dotted)}
            if path in kept:
                self.reserved |= module.members
        self.keywords = {name for module in modules.values() for _, name in module.calls}
        self._reserve_keywords()
        self.constants = {path: self._constants(module) for path, module in self.modules.items()}
        self.inlined = self._inlined()
        self.names = self._short_names()

    def run(self) -> dict[str, str]:
        return {path: self._rewrite(module) for path, module in self.modules.items()}

    def _foreign(self, dotted: str) -> list[str]:
        """Return the name in "module.name", unless the module or the name is the firmware's."""
        module, _, name = dotted.rpartition(".")
        return [] if module in self.paths or dotted in self.paths else [name]

    def _reserve_keywords(self) -> None:
        """Reserve the keyword arguments of a call, unless it is surely a call of one of the firmware's functions, and
        that function doesn't take any keyword."""
        own: dict[str, list[ast.arguments]] = {}
        for module in self.modules.values():
            for name, found in module.arguments.items():
                own.setdefault(name, []).extend(found)
        for module in self.modules.values():
            for called, name in module.calls:
                if called in self.reserved or any(each.kwarg for each in own[called]) if called in own else True:
                    self.reserved.add(name)

    def _constants(self, module: Module) -> dict[str, int]:
        """Return the integers that a module gives a name to once, at its top level."""
        stores: dict[str, int] = {}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                stores[node.id] = stores.get(node.id, 0) + 1
            elif isinstance(node, ast.Global):
                stores.update((name, 2) for name in node.names)
        values: dict[str, int] = {}
        for statement in module.tree.body:
            for name, value in assigned(statement, values).items():
                if stores[name] == 1 and name not in self.reserved:
                    values[name] = value
        return values

    def _constant(self, dotted: str, name: str) -> int | None:
        """Return the value of a constant of the module "package.module", or None."""
        return self.constants.get(self.paths.get(dotted, ""), {}).get(name)

    def _inlined(self) -> dict[str, set[str]]:
        """Return the constants whose definition goes. A constant that is reached in a way not followed here stays."""
        stays: set[str] = set()
        for module in self.modules.values():
            stays |= module.of_others
            stays |= {dotted.rpartition(".")[2] for dotted in module.imported.values()}
            stays |= {name for dotted, name, _ in module.of_imported if self._constant(dotted, name) is None}
        return {path: set(found) - stays for path, found in self.constants.items()}

    def _short_names(self) -> dict[str, dict[str, str]]:
        """Choose the short names. Two names may have the same one when no module uses both: all members of an object, a
        module or a function are named in the module that defines it."""
        where: dict[str, set[str]] = {}
        for path, module in self.modules.items():
            for use in module.uses:
                if use.function is None or use.name in self.keywords:
                    where.setdefault(use.name, set()).add(path)
        made = self.keywords.union(*(module.made for module in self.modules.values()))
        alone = self._alone() | (made if any(module.bases & made for module in self.modules.values()) else set())
        taken = self.reserved.union(*where_used(self.modules.values()))
        words = (word for word in _words(2) if word not in taken)
        pool: list[tuple[str, set[str]]] = []  # short names, and the modules that use each
        names: dict[str, dict[str, str]] = {path: {} for path in self.modules}
        for name in sorted(where, key=lambda name: (-len(where[name]), name)):
            users = {path for path in where[name] if name not in self.inlined[path]}
            if not users or name not in made or name in self.reserved or re.fullmatch("__.*__", name):
                continue
            short, of = next(((short, of) for short, of in pool if not of & users), ("", set()))
            if name in alone or not short:
                short, of = next(words), set()
                if name not in alone:
                    pool.append((short, of))
            of |= users
            for path in users:
                names[path][name] = short
        return names

    def _alone(self) -> set[str]:
        """Return the names that share theirs with no other. An attribute that one module sets on another module's
        object mustn't hit one that the object has; and an object that answers to any name is asked for names that its
        module doesn't know."""
        names: set[str] = set()
        for module in self.modules.values():
            names |= module.foreign | (module.made if "__getattr__" in module.made else set())
        return names

    def _rewrite(self, module: Module) -> str:
        edits: dict[tuple[int, int], tuple[int, bytes]] = {}  # line and column -> octets to replace, by what
        of_functions = self._argument_names(module)
        for use in module.uses:
            short = self.names[module.path].get(use.name)
            if use.function is not None and use.name not in self.keywords:
                short = of_functions[use.function][use.name]
            if short:
                edits[use.line, use.column] = (len(use.name.encode()), short.encode())
        for load in module.loads:
            if load.id in self.constants[module.path]:
                edits[load.lineno, load.col_offset] = (
                    len(load.id.encode()),
                    b"(%d)" % self.constants[module.path][load.id],
                )
        for dotted, name, node in module.of_imported:
            value = self._constant(dotted, name)
            if value is None:
                continue
            assert node.end_col_offset is not None
            if node.lineno != node.end_lineno:
                raise UnknownSource(f"{module.path}, line {node.lineno}: a constant of another module over two lines")
            for line, column in list(edits):
                if line == node.lineno and node.col_offset <= column < node.end_col_offset:
                    del edits[line, column]
            edits[node.lineno, node.col_offset] = (node.end_col_offset - node.col_offset, b"(%d)" % value)
        lines = list(module.lines)
        for (line, column), (length, new) in sorted(edits.items(), reverse=True):
            text = lines[line - 1]
            lines[line - 1] = text[:column] + new + text[column + length :]
        self._drop_constants(module, lines)
        return b"\n".join(lines).decode()

    def _argument_names(self, module: Module) -> dict[ast.AST, dict[str, str]]:
        """Choose the names of arguments that nobody passes by name. Each function begins at the first letter; one
        inside another goes on from the outer one's."""
        found: dict[ast.AST, dict[str, str]] = {}
        for node in ast.walk(module.tree):  # outer ones come first
            if not isinstance(node, FUNCTIONS):
                continue
            taken = set(module.inside[node])
            outer = module.around.get(node)
            while outer is not None:
                taken |= module.inside[outer] | set(found[outer].values())
                outer = module.around.get(outer)
            free = (word for word in _words(1) if word not in taken and word not in self.reserved)
            found[node] = {name: next(free) for name in arguments(node.args) if name not in self.keywords}
        return found

    def _drop_constants(self, module: Module, lines: list[bytes]) -> None:
        known: dict[str, int] = {}
        for statement in module.tree.body:
            found = assigned(statement, known)
            known.update(found)
            if found and set(found) <= self.inlined[module.path]:
                assert statement.end_lineno is not None
                for index in range(statement.lineno - 1, statement.end_lineno):
                    lines[index] = b""


def where_used(modules: Iterable[Module]) -> Iterator[set[str]]:
    """Yield the sets of names that occur in the modules, local variables too."""
    for module in modules:
        yield module.members
        yield from module.inside.values()


def assigned(statement: ast.stmt, known: Mapping[str, int]) -> dict[str, int]:
    """Return the values that `NAME = 5` or `A, B = 1, 2` assigns, if they are all small integers, made of those
    `known`."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return {}
    target, value = statement.targets[0], statement.value
    both_tuples = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value.elts if isinstance(value, ast.Tuple) and both_tuples else [value]
    numbers = [_value(each, known) for each in values]
    names = [each.id for each in targets if isinstance(each, ast.Name)]
    if len(names) != len(targets) or len(numbers) != len(names):
        return {}
    small = {name: number for name, number in zip(names, numbers, strict=True) if number is not None}
    return small if len(small) == len(names) else {}


def _value(node: ast.expr, known: Mapping[str, int]) -> int | None:
    """Return the small integer that an expression stands for, or None."""
    if isinstance(node, ast.Constant):
        value = node.value if type(node.value) is int else None
    elif isinstance(node, ast.Name):
        value = known.get(node.id)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "const" and len(node.args) == 1:
        value = _value(node.args[0], known)
    elif isinstance(node, (ast.BinOp, ast.UnaryOp)) and type(node.op) in _OPERATORS:
        operands = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand]
        numbers = [_value(each, known) for each in operands]
        value = None if None in numbers else _OPERATORS[type(node.op)](*numbers)
    else:
        return None
    return value if type(value) is int and abs(value) < SMALL_INT else None


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _words(length: int) -> Iterator[str]:
    """Yield identifiers of at least so many letters, the shortest first."""
    for letters in itertools.count(length):
        for word in itertools.product(string.ascii_letters, repeat=letters):
            yield "".join(word)
