# sans-I/O
"""Find the accounts that send more than any bracelet does, with a token bucket for each, and decide what to tell the
operator. Pure.

A bracelet sends some messages a minute; one that comes back after a day may send some thousand at once, mostly
repetitions. So an account that exceeds its allowance is not an attacker yet: being over it only lets the intake refuse
to keep more for it than its share. An account is to be cut off at the broker in one of four cases: it stays over its
allowance; as many of its messages as the whole allowance were refused; as many were let go and were not repetitions; or
_LET_GO_MOST were let go, repetitions included. No bracelet does any of this, and until the account is cut off, its
messages stand before everybody's at the broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

TELL_EVERY_S = 60.0
_TELL_MOST = 20  # if many accounts flood, only the worst are named, this many in one answer
_JUNK = 100  # refused messages that make an account a sender of junk, if they are most of what it sent
# Repetitions included: more than a broker keeps of both topics of a bracelet that waited for the relay for days.
_LET_GO_MOST = 10_000
_SWEEP_S = 60.0


@dataclass(slots=True)
class _Account:
    tokens: float
    at: float
    since: float | None = None  # over its allowance since
    messages: int = 0  # since then, like the next four
    let_go: int = 0
    repeated: int = 0
    refused: int = 0
    taken: int = 0
    told_at: float | None = None
    cut_until: float = 0.0


class Flood(NamedTuple):
    """A flooding account, with its figures since it went over its allowance, and what is due now."""

    account: str
    messages: int
    let_go: int
    refused: int
    seconds: float
    tell: bool
    cut_off: bool


class FloodWatch:
    """A watch over accounts: each may send `per_s` messages a second for ever, and `burst` at once. `cut_s`: how long
    an account is cut off."""

    def __init__(self, per_s: float, burst: float, cut_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._cut_s = cut_s
        self._accounts: dict[str, _Account] = {}
        self._over: dict[str, _Account] = {}
        self._sweep_at = 0.0

    def arrived(self, account: str, now: float) -> bool:
        """Count a message, and tell whether its account is over its allowance."""
        known = self._accounts.get(account)
        if known is None:
            known = self._accounts[account] = _Account(self._burst, now)
        elif now > known.at:
            known.tokens = min(self._burst, known.tokens + (now - known.at) * self._per_s)
            known.at = now
        if known.since is not None:
            known.messages += 1
        if known.tokens >= 1:
            known.tokens -= 1
            return False
        if known.since is None:
            known.since = now
            known.messages, known.let_go, known.repeated, known.refused, known.taken = 1, 0, 0, 0, 0
            self._over[account] = known
        return True

    def let_go(self, account: str, *, repeated: bool) -> None:
        """Count a message of this account that was not kept; `repeated`: the same message had come before."""
        if (known := self._over.get(account)) is not None:
            known.let_go += 1
            known.repeated += repeated

    def judged(self, account: str, *, refused: bool) -> None:
        """Count a message of this account that was verified; `refused`: it did not pass."""
        if (known := self._over.get(account)) is not None:
            known.taken += 1
            known.refused += refused

    @property
    def goes_on(self) -> bool:
        """Tell whether any account is over its allowance."""
        return bool(self._over)

    def is_flooding(self, account: str) -> bool:
        return account in self._over

    def sends_junk(self, account: str) -> bool:
        """Tell whether at least `_JUNK` messages, and most of those verified, were refused since this account went over
        its allowance."""
        known = self._over.get(account)
        return known is not None and known.refused >= _JUNK and known.refused * 2 > known.taken

    def due(self, now: float) -> list[Flood]:
        """Return the accounts to tell of, each once a minute, and those to cut off. Call it about once a second."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            full = now - self._burst / self._per_s  # a bucket that was left alone since then is full
            self._accounts = {name: a for name, a in self._accounts.items() if a.at > full or a.cut_until > now}
        found = []
        for name, known in list(self._over.items()):
            assert known.since is not None
            if known.tokens + (now - known.at) * self._per_s >= self._burst / 2:
                known.since = None
                del self._over[name]
                continue
            lasts = now - known.since
            tell = known.told_at is None or now - known.told_at >= TELL_EVERY_S
            stays = lasts * self._per_s >= self._burst or known.refused >= self._burst
            far_over = known.let_go - known.repeated >= self._burst or known.let_go >= _LET_GO_MOST
            cut = (stays or far_over) and now >= known.cut_until
            if cut:
                known.cut_until = now + self._cut_s
            if cut or tell:
                found.append(Flood(name, known.messages, known.let_go, known.refused, lasts, tell, cut))
        return self._tell(found, now)

    def _tell(self, found: list[Flood], now: float) -> list[Flood]:
        """Keep the floods to be cut off, and the worst of those to be told of."""
        found.sort(key=lambda flood: flood.messages, reverse=True)
        worst = {flood.account for flood in found if flood.tell} & {f.account for f in found[:_TELL_MOST]}
        for name in worst:
            self._over[name].told_at = now
        return [f._replace(tell=f.account in worst) for f in found if f.cut_off or f.account in worst]
