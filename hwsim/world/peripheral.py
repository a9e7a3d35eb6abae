"""What a model must have to be wired to a device, and how it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Later:
    """The answer to a blocking call that takes time: `value()` is taken after `us`."""

    us: int
    value: Callable[[], Any]


class Halted(Exception):
    """The processor that asked has stopped meanwhile: it gets no answer."""


class Peripheral(Protocol):
    """What a model implements to be wired to a device. Only plain JSON values pass."""

    def reset(self) -> None:
        """The processor was reset or lost its supply: whatever it had set up is gone."""

    def output(self, device: str, args: list[Any]) -> None:
        """The firmware did something to it."""

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        """The firmware asks and waits for the answer, a plain value, {"oserror": name} or Later."""
