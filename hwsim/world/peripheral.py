"""The interface of a model that is wired to a device, and the forms of its answers."""

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
    """A call that gets no answer, as the processor that asked has stopped meanwhile."""


class Peripheral(Protocol):
    """The methods of a model that is wired to a device. Only plain JSON values pass."""

    def reset(self) -> None:
        """Drop whatever the processor had set up, as it was reset or lost its supply."""

    def output(self, device: str, args: list[Any]) -> None:
        """Take what the firmware did to the model."""

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        """Answer the firmware, which waits, with a plain value, {"oserror": name} or Later."""
