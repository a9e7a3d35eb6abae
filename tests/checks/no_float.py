"""Finds what would make a float in Python modules that say `# hwsim: no-float`.

The ESP32 has 32-bit floats: beyond 128 degrees a position jumps by 1.7 m, and seconds since 1970 don't fit at all. The
simulator's interpreter has 64-bit floats and would hide that, so floats are forbidden where positions and times are.
What a value is can't always be read from the text: a float that comes in as an argument is not seen here.

    python -m tests.checks.no_float FILE...
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MARK = "# hwsim: no-float"
CALLS = {
    "time.time",  # a float in the interpreter on a desktop
    "random.random",
    "random.uniform",
}
MODULES = {"math", "cmath"}
STRUCT = {"pack", "unpack", "pack_into", "unpack_from", "calcsize"}
PERCENT = re.compile(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[eEfFgG]")
BRACES = re.compile(r"\{[^{}:]*:[^{}]*[eEfFgG%]\}")
FLOAT_SPEC = re.compile(r"[eEfFgG%]$")


def marked(source: str) -> bool:
    """Whether the mark stands on a line of its own."""
    return any(line.strip() == MARK for line in source.splitlines())


def check(source: str) -> list[tuple[int, str]]:
    """(line, what) of everything that makes a float, whether the source is marked or not."""
    return sorted({(node.lineno, what) for node in ast.walk(ast.parse(source)) for what in _floats(node)})


def _floats(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=float() | complex()):
            yield f"the literal {node.value!r}"
        case ast.Name(id="float" | "complex" as name):
            yield name
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            yield "true division; use // or a shift"
        case ast.BinOp(op=ast.Pow(), right=exponent) | ast.AugAssign(op=ast.Pow(), value=exponent):
            if not _is_natural(exponent):
                yield "a power whose exponent may be negative"
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str() | bytes() as template)):
            text = template if isinstance(template, str) else template.decode("latin-1")
            if PERCENT.search(text.replace("%%", "")):
                yield "a float in a format"
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=[*_, ast.Constant(value=str() as spec)])):
            if FLOAT_SPEC.search(spec):
                yield "a float in a format"
        case ast.Import(names=names):
            if any(alias.name in MODULES for alias in names):
                yield "the module math"
        case ast.ImportFrom(module=module, names=names):
            if module in MODULES:
                yield "the module math"
            elif any(f"{module}.{alias.name}" in CALLS for alias in names):
                yield "a function that returns a float"
        case ast.Call():
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if name in CALLS:
        yield f"{name}()"
    elif name == "pow" and len(node.args) == 2 and not _is_natural(node.args[1]):
        yield "a power whose exponent may be negative"
    elif last in STRUCT and isinstance(first, str) and set(first) & set("efd"):
        yield "a float in a structure"
    elif last == "array" and first in ("f", "d"):
        yield "an array of floats"
    elif last in ("format", "format_map") and isinstance(node.func, ast.Attribute):
        template = node.func.value
        if isinstance(template, ast.Constant) and isinstance(template.value, str) and BRACES.search(template.value):
            yield "a float in a format"


def _is_natural(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 0


def main(arguments: list[str]) -> int:
    status = 0
    for name in arguments:
        source = Path(name).read_text()
        for line, what in check(source) if marked(source) else ():
            print(f"{name}:{line}: {what}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
