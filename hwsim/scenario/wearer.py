"""Actions of the wearer, and on the wearer: the patterns of the card (firmware/card.md), the strap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.scenario.vocabulary import ActionError, Parameter, action, seconds

if TYPE_CHECKING:
    from hwsim.rig import Rig
    from hwsim.world.pins import Strap

HOLD_S = 3.3  # a bit longer than the firmware's hold of 3 s
TAP_S, TAP_EVERY_S = 0.15, 0.45  # a tap, and from one to the next (firmware: at most 0.6 s long, 1 s apart)
HALF_S = 1.4  # a hold let go after the second tick (firmware: 1.2 s to 2.4 s)
PAUSE_S = 2.5  # after taps, until their answer was felt (firmware: 1 s of silence ends a pattern)


@action("wearer", for_s=seconds("how long the button is held", HOLD_S, 60, 0.02))
def press(rig: Rig, for_s: float) -> None:
    """hold the button; 3 s raise an alarm"""
    rig.bracelet.button.press(for_s)


@action("wearer", count=Parameter(int, "how many taps", 2, 1, 20))
def tap(rig: Rig, count: int) -> None:
    """tap the button, quickly"""
    for number in range(count):
        rig.world.after(round(number * TAP_EVERY_S * 1e6), lambda: rig.bracelet.button.press(TAP_S))


def _half_hold_and(rig: Rig, taps: int) -> float:
    """Do a half hold and so many taps; return the seconds that they take, with the answer."""
    rig.bracelet.button.press(HALF_S)
    begin_s = HALF_S + TAP_EVERY_S
    rig.world.after(round(begin_s * 1e6), lambda: tap(rig, taps))
    return begin_s + taps * TAP_EVERY_S + PAUSE_S


def _hold(rig: Rig, after_s: float) -> None:
    rig.world.after(round(after_s * 1e6), lambda: rig.bracelet.button.press(HOLD_S))


@action("wearer")
def call_back(rig: Rig) -> None:
    """two taps and a hold: call a false alarm back (within 30 s of raising it; later it raises)"""
    tap(rig, 2)
    _hold(rig, 2 * TAP_EVERY_S)


@action("wearer")
def duress_call_back(rig: Rig) -> None:
    """three taps and a hold: forced to call the alarm back; it goes on, and nothing on the wrist says so"""
    tap(rig, 3)
    _hold(rig, 3 * TAP_EVERY_S)


def announce_drill(rig: Rig) -> float:
    """Do a half hold and four taps; return the seconds that they take, with the answer."""
    return _half_hold_and(rig, 4)


@action("wearer")
def drill(rig: Rig) -> None:
    """a half hold, four taps, and when the double tick was felt, a hold: raise a drill"""
    _hold(rig, announce_drill(rig))


@action("wearer", "check_out")
def check_in(rig: Rig) -> None:
    """a half hold and two taps: start the check-in timer, or renew it"""
    _half_hold_and(rig, 2)


@action("wearer")
def check_out(rig: Rig) -> None:
    """a half hold and three taps: stop the check-in timer"""
    _half_hold_and(rig, 3)


@action("wearer")
def ask_to_take_off(rig: Rig) -> None:
    """a half hold and five taps: the strap may be opened for a minute"""
    _half_hold_and(rig, 5)


@action("wearer")
def strap_close(rig: Rig) -> None:
    """fasten the strap; after 5 s it is guarded"""
    _strap(rig).close()


@action("wearer", "strap_close")
def strap_cut(rig: Rig) -> None:
    """the strap is cut or torn open"""
    _strap(rig).open()


@action("wearer", "strap_close")
def take_off(rig: Rig) -> None:
    """a half hold, five taps, and when the answer was felt, the strap is opened: it raises nothing"""
    strap = _strap(rig)
    rig.world.after(round(_half_hold_and(rig, 5) * 1e6), strap.open)


@action("wearer", for_s=seconds("how long", 60.0, 86400, 0.1))
def strap_chatter(rig: Rig, for_s: float) -> None:
    """the strap's contact opens again and again, for a fifth of a second at most: blows, a rough road"""
    _strap(rig).chatter(for_s)


def _strap(rig: Rig) -> Strap:
    strap = rig.bracelet.strap
    if strap is None:
        raise ActionError("this board has no strap")
    return strap
