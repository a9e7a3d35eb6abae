"""Describe, check and do actions; the actions themselves are in `actions` and the modules that it imports.

Actions are plain data, so that a scenario file, a generator of random lives and a shrinker read the table alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.rig import Rig

Value = float | int | bool


class ActionError(ValueError):
    """An unknown action, or an argument that an action can't take; the text says which and what would do."""


@dataclass(frozen=True)
class Parameter:
    """An argument of an action: its kind, unit and range (both ends included)."""

    kind: type[float] | type[int] | type[bool]
    help: str
    default: Value | None = None  # None: must be given
    low: float = 0
    high: float = 1
    unit: str = ""


@dataclass(frozen=True)
class Action:
    """An action. `family`: its subject. `undo`: the action that ends it (else it ends by itself or never)."""

    help: str
    apply: Callable[..., None] = field(repr=False)
    parameters: Mapping[str, Parameter]
    family: str
    undo: str | None


ACTIONS: dict[str, Action] = {}


def do(rig: Rig, name: str, **arguments: Any) -> None:
    """Let an action happen now. Raises ActionError when there is no such action or an argument does not fit it."""
    values = check(name, arguments)
    rig.world.note("scene", name, **values)
    ACTIONS[name].apply(rig, **values)


def check(name: str, arguments: Mapping[str, Any]) -> dict[str, Value]:
    """Return all arguments with their defaults, each of the right kind. Raises ActionError."""
    if name not in ACTIONS:
        raise ActionError(f'no action "{name}"; there are {", ".join(ACTIONS)}')
    parameters = ACTIONS[name].parameters
    for key in arguments:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ActionError(f'{name} has no argument "{key}" (arguments: {known})')
    return {key: _value(name, key, parameter, arguments) for key, parameter in parameters.items()}


def _value(name: str, key: str, parameter: Parameter, arguments: Mapping[str, Any]) -> Value:
    value = arguments.get(key, parameter.default)
    if value is None:
        raise ActionError(f'{name} needs "{key}": {parameter.help}')
    if parameter.kind is bool:
        if not isinstance(value, bool):
            raise ActionError(f"{name}: {key} is true or false, not {value!r}")
        return value
    fits = (int,) if parameter.kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, fits):
        raise ActionError(f"{name}: {key} is {'a whole' if parameter.kind is int else 'a'} number, not {value!r}")
    if not parameter.low <= value <= parameter.high:
        unit = f" {parameter.unit}" if parameter.unit else ""
        raise ActionError(f"{name}: {key} is {parameter.low:g} to {parameter.high:g}{unit}, not {value!r}")
    return value


# -- how the table is made

Apply = Callable[..., None]


def action(family: str, undo: str | None = None, **parameters: Parameter) -> Callable[[Apply], Apply]:
    """Enter a function as the action of its name; its docstring is the help."""

    def enter(apply: Apply) -> Apply:
        assert apply.__doc__
        ACTIONS[apply.__name__] = Action(apply.__doc__, apply, parameters, family, undo)
        return apply

    return enter


def seconds(help: str, default: float | None, high: float, low: float = 0) -> Parameter:
    return Parameter(float, help, default, low, high, "s")
