"""Find what each name in a module of the firmware is: the module's own, an attribute, an argument, a local variable.

shrink.py uses it to shorten names. It knows the plain Python that the firmware is written in. A module with more than
that is read too, but must not be changed: `unknown` says why. MicroPython's scopes are Python's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class UnknownSource(Exception):
    """A source that is not understood well enough to be changed; the message says where and why."""


class Use(NamedTuple):
    """A name at its place: line from 1, column in octets. `function`: that of the argument, if the name is one."""

    line: int
    column: int
    name: str
    function: ast.AST | None


class Module:
    """The names of one source. "Members" are those of the module and of its classes, and attributes of anything."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = text.encode().split(b"\n")
        self.tree = ast.parse(text, path)
        self.bound = bound(self.tree.body)  # names of the module
        self.uses: list[Use] = []  # of members and arguments
        self.members: set[str] = set()
        self.made: set[str] = set()  # members that are defined here
        self.foreign: set[str] = set()  # attributes that are set on other objects than self
        self.words: set[str] = set()  # strings, and the names of modules
        self.derived: set[str] = set()  # classes with bases
        self.bases: set[str] = set()
        self.imported: dict[str, str] = {}  # from ... import: name here -> "module.name"
        self.modules: set[str] = set()  # import ...
        self.of_imported: list[tuple[str, str, ast.Attribute]] = []  # "module.name", attribute of it, place
        self.of_modules: set[str] = set()  # attributes of self.modules
        self.of_others: set[str] = set()  # attributes of anything else
        self.loads: list[ast.Name] = []  # where a name of the module is read
        self.calls: list[tuple[str, str]] = []  # last part of what is called, name of a keyword argument
        self.arguments: dict[str, list[ast.arguments]] = {}  # of functions, and of classes those of __init__
        self.inside: dict[ast.AST, set[str]] = {}  # every name that is used in a function
        self.around: dict[ast.AST, ast.AST] = {}  # function -> the one that it is in
        self.unknown: UnknownSource | None = None
        _Reader(self).visit(self.tree)

    def cannot(self, node: ast.AST, what: str) -> None:
        """Note that this module can't be changed, because of `what` at this node."""
        line = getattr(node, "lineno", 0)
        self.unknown = self.unknown or UnknownSource(f"{self.path}, line {line}: {what} isn't supported here")


def arguments(found: ast.arguments) -> list[str]:
    """List the names of all arguments."""
    ends = [end for end in (found.vararg, found.kwarg) if end]
    return [each.arg for each in (*found.posonlyargs, *found.args, *found.kwonlyargs, *ends)]


def bound(body: Iterable[ast.AST]) -> set[str]:
    """Return the names that statements bind in their scope; not those of the scopes inside it."""
    names: set[str] = set()
    left: list[ast.AST] = list(body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        left += ast.iter_child_nodes(node)
    return names


class _Reader(ast.NodeVisitor):
    """A visitor that fills a Module. `scopes`: from outside to inside, each (node, names bound in it), without the
    module's."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.scopes: list[tuple[ast.AST, set[str]]] = []
        self.imports: dict[ast.AST, set[str]] = {}  # function -> what is imported in it, under its own name

    def _owner(self, name: str) -> ast.AST | None:
        """Return the scope that a name belongs to; None for the module's and the interpreter's."""
        for index in range(len(self.scopes) - 1, -1, -1):
            node, names = self.scopes[index]
            if isinstance(node, ast.ClassDef) and index != len(self.scopes) - 1:
                continue  # methods don't see the names of their class
            if name in names:
                return node
        return None

    def _member(self, line: int, column: int, name: str) -> None:
        self.module.uses.append(Use(line, column, name, None))
        self.module.members.add(name)

    def _use(self, line: int, column: int, name: str) -> None:
        owner = self._owner(name)
        for node, _ in self.scopes:
            self.module.inside.setdefault(node, set()).add(name)
        ours = name in (self.module.bound if owner is None else self.imports.get(owner, ()))
        if isinstance(owner, ast.ClassDef) or ours:
            self._member(line, column, name)
        elif isinstance(owner, FUNCTIONS) and name in arguments(owner.args):
            self.module.uses.append(Use(line, column, name, owner))

    def _makes(self, name: str) -> None:
        owner = self._owner(name)
        if owner is None or isinstance(owner, ast.ClassDef):
            self.module.made.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._makes(node.id)
        elif self._owner(node.id) is None:
            self.module.loads.append(node)
        self._use(node.lineno, node.col_offset, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if isinstance(node.ctx, ast.Store):
            self.module.made.add(node.attr)
            if base != "self":
                self.module.foreign.add(node.attr)
        if base in self.module.modules:
            self.module.of_modules.add(node.attr)
        elif base in self.module.imported and self._owner(base) is None:
            self.module.of_imported.append((self.module.imported[base], node.attr, node))
        else:
            self.module.of_others.add(node.attr)
        assert node.end_lineno is not None and node.end_col_offset is not None
        self._member(node.end_lineno, node.end_col_offset - len(node.attr.encode()), node.attr)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for each in node.keywords:
            if each.arg:
                self.module.calls.append((called, each.arg))
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self._member(node.lineno, node.col_offset, node.arg)
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.module.words.add(node.value)

    def visit_Global(self, node: ast.Global) -> None:
        if node.lineno != node.end_lineno:
            return self.module.cannot(node, "a global statement over several lines")
        start = node.col_offset + len("global")
        for found in re.finditer(rb"\w+", self.module.lines[node.lineno - 1][start : node.end_col_offset]):
            self._member(node.lineno, start + found.start(), found[0].decode())

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            if each.asname:
                self.module.cannot(node, "import ... as")
            self.module.words |= set(each.name.split("."))
            self.module.modules.add(each.name.split(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module or node.names[0].name == "*":
            return self.module.cannot(node, "an import relative to the package, or of *")
        self.module.words |= set(node.module.split("."))
        for each in node.names:
            self._member(each.lineno, each.col_offset, each.name)
            self.module.imported[each.asname or each.name] = f"{node.module}.{each.name}"
            if each.asname:
                assert each.end_col_offset is not None
                self._makes(each.asname)
                self._use(each.lineno, each.end_col_offset - len(each.asname.encode()), each.asname)
            elif self.scopes:
                self.imports.setdefault(self.scopes[-1][0], set()).add(each.name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        owner = self._owner(node.name) if node.name else node
        if owner is None or (isinstance(owner, FUNCTIONS) and node.name in arguments(owner.args)):
            self.module.cannot(node, "an exception with the name of a global or an argument")
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node)
        if node.bases:
            self.module.derived.add(node.name)
            self.module.bases |= {getattr(each, "id", getattr(each, "attr", "")) for each in node.bases}
        for each in (*node.bases, *node.decorator_list):
            self.visit(each)
        starts = [each.args for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        self.module.arguments.setdefault(node.name, []).extend(starts)
        self.scopes.append((node, bound(node.body)))
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in node.decorator_list:
            self.visit(each)
        self._define(node)
        self.module.arguments.setdefault(node.name, []).append(node.args)
        self._function(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        pattern = re.compile(rb"(?:(?:async\s+)?def|class)\s+(\w+)")
        found = pattern.match(self.module.lines[node.lineno - 1], node.col_offset)
        if not found:
            return self.module.cannot(node, "a name that isn't on the line of its def or class")
        self._makes(node.name)
        self._use(node.lineno, found.start(1), node.name)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, body: list[Any]) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer = [each for each, _ in self.scopes if isinstance(each, FUNCTIONS)]
        if outer:
            self.module.around[node] = outer[-1]
        globals_ = {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
        self.scopes.append((node, (bound(body) | set(arguments(node.args))) - globals_))
        self.module.inside.setdefault(node, set())
        for each in ast.walk(node.args):
            if isinstance(each, ast.arg):
                self._use(each.lineno, each.col_offset, each.arg)  # viper's types follow it
        for statement in body:
            self.visit(statement)
        self.scopes.pop()

    def _comprehension(self, node: Any) -> None:
        self.visit(node.generators[0].iter)
        self.scopes.append((node, bound([each.target for each in node.generators])))
        for index, each in enumerate(node.generators):
            self.visit(each.target)
            if index:
                self.visit(each.iter)
            for condition in each.ifs:
                self.visit(condition)
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                self.visit(getattr(node, part))
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _beyond(self, node: ast.AST) -> None:
        self.module.cannot(node, type(node).__name__)
        self.generic_visit(node)

    # f"": before Python 3.12 the parser doesn't tell the places of names in it. The others: nonlocal, :=, match.
    visit_JoinedStr = visit_Nonlocal = visit_NamedExpr = visit_Match = _beyond
