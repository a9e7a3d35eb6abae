"""Parts that end a start: a driver's call that never returns, or at which the supply gives way (world/driver_calls.py).

There is one action for each part and each way to end, made from a table, because an argument of an action is a number:
`step` is the number of the call among the part's calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.scenario.vocabulary import ACTIONS, Action, Parameter, seconds

if TYPE_CHECKING:
    from hwsim.rig import Rig

# The calls of each part, in the order of a start.
PARTS = {
    "wifi": ("wifi", "wifi_on", "wifi_join"),
    "modem": ("modem", "modem_key"),
    "receiver": ("gnss", "gnss_on"),
    "ppp": ("ppp", "ppp_dial"),
    "net": ("socket", "tls"),
    "feel": ("haptic", "led"),
    "sensor": ("battery", "strap"),
}
_STARTS = Parameter(int, "in how many starts, 0: in every one until it is sound again", 0, 0, 1000)


def _step(part: str) -> Parameter:
    calls = PARTS[part]
    return Parameter(int, "at which call: " + ", ".join(f"{n} {name}" for n, name in enumerate(calls)), 0, 0, 2)


def _call(rig: Rig, part: str, step: int) -> str | None:
    """Return the name of the part's call at this step; None when this board has none of them."""
    calls = [name for name in PARTS[part] if name in rig.bracelet.driver_calls.names]
    return calls[min(step, len(calls) - 1)] if calls else None


def _enter(part: str) -> None:
    def blocks(rig: Rig, step: int, starts: int) -> None:
        if name := _call(rig, part, step):
            rig.bracelet.driver_calls.block(name, starts or None)

    def kills(rig: Rig, step: int, off_s: float, starts: int) -> None:
        if name := _call(rig, part, step):
            rig.bracelet.driver_calls.kill(name, off_s or None, starts or None)

    def sound(rig: Rig) -> None:
        for name in PARTS[part]:
            if name in rig.bracelet.driver_calls.names:
                rig.bracelet.driver_calls.heal(name)

    step, undo = _step(part), f"{part}_sound"
    off = seconds("how long the supply is gone, 0: a brownout, which keeps the clock's memory", 0.0, 3600)
    ACTIONS[f"{part}_blocks"] = Action(
        f"a driver's call that starts the part {part} never returns",
        blocks,
        {"step": step, "starts": _STARTS},
        "start",
        undo,
    )
    ACTIONS[f"{part}_kills"] = Action(
        f"the supply gives way at a driver's call that starts the part {part}",
        kills,
        {"step": step, "off_s": off, "starts": _STARTS},
        "start",
        undo,
    )
    ACTIONS[undo] = Action(f"the part {part} starts as it should", sound, {}, "start", None)


for _part in PARTS:
    _enter(_part)
