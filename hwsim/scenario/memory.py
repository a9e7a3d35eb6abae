"""Actions on the memory of the chip's libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.scenario.vocabulary import Parameter, action

if TYPE_CHECKING:
    from hwsim.rig import Rig


@action("memory", "memory_ample", free_kb=Parameter(int, "what is left for Wi-Fi, PPP and TLS", 20, 0, 200, "KB"))
def memory_tight(rig: Rig, free_kb: int) -> None:
    """the memory beside MicroPython's heap is taken, but for so much, as by a leak or by packets"""
    rig.bracelet.memory.tighten(free_kb * 1024)


@action("memory")
def memory_ample(rig: Rig) -> None:
    """the memory beside MicroPython's heap is free again"""
    rig.bracelet.memory.tighten(None)
