"""Actions on what a GNSS receiver says and how it words it: the habits and lapses of published receivers, by their
numbers in `hwsim.world.gnss_talk`. The sky and a spoofer are in `actions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwsim.scenario.vocabulary import ActionError, Parameter, action, seconds
from hwsim.world.gnss_talk import FIRST_DATES, RATES_HZ, SENTENCES, TALKERS

if TYPE_CHECKING:
    from hwsim.rig import Rig

_ON = Parameter(bool, "true: begins, false: ends", True)


def _talk(rig: Rig, **change: Any) -> None:
    rig.bracelet.gnss.talk = replace(rig.bracelet.gnss.talk, **change)


@action("gnss", number=Parameter(int, "1 GP and GA, 2 GP and GL, 3 GN ... 12; 0: GP alone", 1, 0, len(TALKERS) - 1))
def gnss_talkers(rig: Rig, number: int) -> None:
    """the receiver speaks as these talkers: two say everything twice for one second"""
    _talk(rig, talkers=TALKERS[number])


@action("gnss", number=Parameter(int, "2 GGA, 3 GNS, 4 RMC alone ... 6; 0: RMC and GGA", 2, 0, len(SENTENCES) - 1))
def gnss_sentences(rig: Rig, number: int) -> None:
    """the place is in these sentences, in this order"""
    _talk(rig, kinds=SENTENCES[number])


@action("gnss", hz=Parameter(int, "1, 2, 5 or 10", 1, 1, 10, "Hz"))
def gnss_rate(rig: Rig, hz: int) -> None:
    """the receiver says where it is so often a second"""
    if hz not in RATES_HZ:
        raise ActionError(f"gnss_rate: hz is {', '.join(map(str, RATES_HZ))}, not {hz}")
    _talk(rig, hz=hz)


@action("gnss", for_s=seconds("how long", 30.0, 3600, 1))
def gnss_zeros(rig: Rig, for_s: float) -> None:
    """the receiver says that it has found itself at 0 degrees, 0 degrees; it ends by itself"""
    rig.bracelet.gnss.nowhere(for_s)


@action("gnss", year=Parameter(int, "1980, 2007 or 2013; 0: ends", 1980, 0, 2013))
def gnss_first_date(rig: Rig, year: int) -> None:
    """each time the receiver has found itself, its date is wrong for some seconds, and then right"""
    if year and year not in FIRST_DATES:
        raise ActionError(f"gnss_first_date: year is {', '.join(map(str, FIRST_DATES))} or 0, not {year}")
    _talk(rig, first_date=year)


@action("gnss", on=_ON)
def gnss_uncounted(rig: Rig, on: bool) -> None:
    """the receiver never counts the satellites that it uses: 00, with a good fix"""
    _talk(rig, uncounted=on)


@action("gnss", without=Parameter(int, "which GGA says that it has no fix: the first or the second; 0: ends", 1, 0, 2))
def gnss_shared(rig: Rig, without: int) -> None:
    """GGA is told for each constellation, and one of them has too few satellites"""
    _talk(rig, shared=without)


@action("gnss", on=_ON)
def gnss_extra_cr(rig: Rig, on: bool) -> None:
    """the receiver's lines end in CR CR LF"""
    _talk(rig, extra_cr=on)
