"""Delta debugging: the shortest life that still fails in the same way.

This module works on the data alone and knows nothing of bracelets: a function tells whether a life fails. Nothing is
drawn at random, so the same life and the same function give the same result. The method is that of A. Zeller and
R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software Engineering 28(2),
2002 (ddmin). Passes of our own then pull steps together and make their arguments plain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from hwsim.soak.life import Argument, Life, Step

Fails = Callable[[Life], bool]
Plainer = Callable[[str, str, Argument], list[Argument]]
TRIALS = 200
_GAPS = (0.5, 5.0, 30.0, 120.0, 600.0)


class Shrinker:
    """A search for the shortest life that fails. It calls `fails(life)` at most `trials` times;
    `plainer(action, argument, value)` gives simpler values, the simplest first."""

    def __init__(self, fails: Fails, plainer: Plainer, trials: int = TRIALS) -> None:
        self._fails = fails
        self._plainer = plainer
        self._left = trials
        self._known: dict[str, bool] = {}

    def shrink(self, life: Life) -> Life:
        """Return the shortest life found that fails; `life` itself must fail. The search ends when the trials are spent
        or nothing gets shorter."""
        while self._left > 0:
            before = life
            life = self._fewer_steps(life)
            life = self._pass(life, _simpler_worlds)
            life = self._pass(life, _closer_steps)
            life = self._pass(life, self._plainer_arguments)
            if life == before:
                break
        return life

    def _try(self, life: Life) -> bool:
        text = life.to_toml()
        if text not in self._known:
            if self._left <= 0:
                return False
            self._left -= 1
            self._known[text] = self._fails(life)
        return self._known[text]

    def _fewer_steps(self, life: Life) -> Life:
        """Leave out steps by ddmin."""
        parts = 2
        while life.steps:
            steps = list(life.steps)
            size = -(-len(steps) // parts)
            for start in range(0, len(steps), size):
                fewer = life.with_steps(steps[:start] + steps[start + size :])
                if self._try(fewer):
                    life, parts = fewer, max(parts - 1, 2)
                    break
            else:
                if size == 1:
                    return life
                parts = min(parts * 2, len(steps))
        return life

    def _pass(self, life: Life, candidates: Callable[[Life], Iterator[Life]]) -> Life:
        """Take the first candidate that fails, and start over with it, until none does."""
        while True:
            for candidate in candidates(life):
                if candidate != life and self._try(candidate):
                    life = candidate
                    break
            else:
                return life

    def _plainer_arguments(self, life: Life) -> Iterator[Life]:
        for place, step in enumerate(life.steps):
            for name, value in step.arguments.items():
                for plain in self._plainer(step.do, name, value):
                    yield _replaced(life, place, step, {**step.arguments, name: plain})


def _replaced(life: Life, place: int, step: Step, arguments: Mapping[str, Argument]) -> Life:
    steps = list(life.steps)
    steps[place] = replace(step, arguments=arguments)
    return replace(life, steps=tuple(steps))


def _simpler_worlds(life: Life) -> Iterator[Life]:
    if len(life.track) > 1:
        yield replace(life, track=life.track[:1])
    if not life.wifi:
        yield replace(life, wifi=True)


def _closer_steps(life: Life) -> Iterator[Life]:
    """Yield lives with a shorter wait before a step, the shortest first."""
    for place, step in enumerate(life.steps):
        before = life.steps[place - 1].at if place else 0.0
        for gap in _GAPS:
            if step.at - before <= gap:
                break
            earlier = step.at - before - gap
            later = [replace(other, at=round(other.at - earlier, 3)) for other in life.steps[place:]]
            yield life.with_steps([*life.steps[:place], *later])
