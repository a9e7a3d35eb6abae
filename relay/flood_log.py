"""Tells the operator of floods, and cuts flooding accounts off. `relay.ingest.flood` decides which accounts flood."""

from __future__ import annotations

import re
from collections.abc import Callable

from relay.ingest.flood import Flood
from relay.ingest.intake import SMS
from relay.log import Logger

_KID = re.compile(r"[0-9a-f]{8}")
_BRACELET = (
    "this bracelet's account sends far more than a bracelet does; the others are served first. If the bracelet is not "
    "in its wearer's hands: relay bracelet revoke KID"
)
_NOBODY = "on no bracelet's topics: the broker's rules must let nobody write there; see relay/README.md"
_SENDER = "one sender; others are served first, and its messages deleted. Its network can find and block the number"


def tell_of_flood(log: Logger, path: str, flood: Flood, cut_off: Callable[[str, float], bool], seconds: float) -> None:
    """Log a flood, and have its account cut off if that is due. The log names no sender of SMS: that is a number."""
    figures = {
        "path": path,
        "messages": flood.messages,
        "refused": flood.refused,
        "let_go": flood.let_go,
        "lasts_s": round(flood.seconds, 1),
    }
    kid = flood.account if path != SMS and _KID.fullmatch(flood.account) else None
    if flood.tell:
        log.error("flood", kid=kid, hint=_SENDER if path == SMS else _BRACELET if kid else _NOBODY, **figures)
    if flood.cut_off and kid:
        done = cut_off(kid, float(seconds))
        hint = "others are served meanwhile" if done else "this broker can't be told to: close its account there"
        log.error("flood.cut_off", kid=kid, done=done, for_s=float(seconds), hint=hint)
