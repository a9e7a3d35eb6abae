"""The level at each pad of the chip: awake, in a reset, in deep sleep, and held.

These decide, the strongest first: the chip's output, a contact, the chip's own pull (45 kohm), a resistor beside the
pad (1 megohm). A pad with none of these floats, and every look at it may show another level.

A reset takes the firmware's outputs and pulls away. In deep sleep the pads that reach the RTC have the RTC's pulls,
the others those of a reset. A held pad keeps output and pulls through both (ESP-IDF, driver/gpio.h, gpio_hold_en): a
pad of the RTC always, another one through deep sleep only with gpio_deep_sleep_hold_en; all until they are released,
the supply is lost or the reset pin is pulled. A held input still shows what hangs on it. The pads of ext1 are
released when the chip wakes (components/esp_hw_support/sleep_gpio.c, esp_deep_sleep_wakeup_io_reset).

Not modelled: drive strengths, leakage, RTC_PERIPH without supply (ext0 keeps it; for ext1 alone ESP-IDF holds the pads
as the RTC has set them), pads that a peripheral has taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hwsim.chips import Family

OFF, RESET, RUNNING, ASLEEP = "off", "reset", "running", "asleep"
KEEP, NO_PULL, PULL_DOWN, PULL_UP = -1, 0, 1, 2  # as Pin() takes them; KEEP: as it was


@dataclass(frozen=True)
class Outside:
    """The parts that hang on a pad: a contact that is closed to a level, and a resistor to one."""

    contact: int | None = None
    resistor: int | None = None


@dataclass(frozen=True)
class _Setting:
    drives: int | None  # the level, of an output
    pull: int | None  # the level that it pulls to


class Pads:
    def __init__(self, family: Family, random: Random) -> None:
        self.family = family
        self.state = OFF
        self.hold_asleep = False  # gpio_deep_sleep_hold_en
        self._random = random
        self._set: dict[int, _Setting] = {}  # by the firmware, since the chip's start
        self._held: dict[int, _Setting] = {}
        self._outside: dict[int, Callable[[], Outside]] = {}
        self._watchers: list[tuple[int, Callable[[int | None, bool], None]]] = []

    def attach(self, pin: int, outside: Callable[[], Outside]) -> None:
        """Hang something on this pad."""
        self._outside[pin] = outside

    def watch(self, pin: int, changed: Callable[[int | None, bool], None]) -> None:
        """Register a call with the pad's level (None: it floats) and whether the chip drives it, whenever these may be
        new."""
        self._watchers.append((pin, changed))

    # -- the chip

    def enter(self, state: str, *, lost: bool = False) -> None:
        """Enter a state: off, in reset, running or asleep. `lost`: the holds go, too."""
        if lost or state == OFF:
            self._held.clear()
            self.hold_asleep = False
        if state == ASLEEP and not self.hold_asleep:
            self._held = {pin: held for pin, held in self._held.items() if pin in self.family.wake}
        if state in (OFF, RESET):
            self._set.clear()
        self.state = state
        self._changed()

    def told(self, device: str, args: list[Any]) -> None:
        """Take what the firmware did to a pin (an output, another level, a hold or its end) or to the hold of all pads
        asleep."""
        if device == "hold":
            self.hold_asleep = args[0]
        elif device.startswith("pin") and args[0] == "output":
            self.output(int(device.removeprefix("pin")), *args[1:])
        elif device.startswith("pin") and args[0] == "hold":
            self.hold(int(device.removeprefix("pin")), args[1])

    def asked(self, device: str, pull: int, hold: bool | None) -> int:
        """Make a pin an input and return its level."""
        pin = int(device.removeprefix("pin"))
        self.input(pin, pull, hold)
        return self.level(pin)

    def input(self, pin: int, pull: int, hold: bool | None) -> None:
        """Do Pin(pin, Pin.IN, pull, hold=hold)."""
        self._configure(pin, None, pull, hold)

    def output(self, pin: int, level: int, pull: int = KEEP, hold: bool | None = None) -> None:
        """Do Pin(pin, Pin.OUT, pull, value=level, hold=hold)."""
        self._configure(pin, level, pull, hold)

    def hold(self, pin: int, on: bool) -> None:
        """Latch the pad as it is set, or release it. An input-only pad can't be held, and no error says so."""
        if pin not in self.family.input_only:
            self._held.pop(pin, None)
            if on:
                self._held[pin] = self._now(pin)
            self._changed()

    def release(self, pins: list[int]) -> None:
        for pin in pins:
            self._held.pop(pin, None)
        self._changed()

    def _configure(self, pin: int, drives: int | None, pull: int, hold: bool | None) -> None:
        before = self._set.get(pin, self._at_reset(pin)).pull
        if pin in self.family.input_only:
            before, pull = None, NO_PULL
        self._set[pin] = _Setting(drives, {KEEP: before, PULL_DOWN: 0, PULL_UP: 1}.get(pull))
        if hold is not None:
            self.hold(pin, hold)
        else:
            self._changed()

    # -- its levels

    def level(self, pin: int) -> int:
        """Return the level that an input reads there."""
        level = self.seen(pin)
        return self._random.getrandbits(1) if level is None else level

    def seen(self, pin: int) -> int | None:
        """Return the level that a part on the pad sees; None when the pad floats."""
        setting = self._now(pin)
        outside = self._outside[pin]() if pin in self._outside else Outside()
        levels = (setting.drives, outside.contact, setting.pull, outside.resistor)
        return next((level for level in levels if level is not None), None)

    def _now(self, pin: int) -> _Setting:
        if self.state == OFF:
            return _Setting(None, None)
        if pin in self._held:
            return self._held[pin]
        if self.state == RUNNING:
            return self._set.get(pin, self._at_reset(pin))
        if self.state == ASLEEP and pin in self.family.wake:
            if not self.family.own_rtc_pulls:
                return _Setting(None, self._set.get(pin, self._at_reset(pin)).pull)
            return _pulled(pin, self.family.sleep_up, self.family.sleep_down)
        return self._at_reset(pin)

    def _at_reset(self, pin: int) -> _Setting:
        return _pulled(pin, self.family.reset_up, self.family.reset_down)

    def _changed(self) -> None:
        for pin, changed in self._watchers:
            changed(self.seen(pin), self._now(pin).drives is not None)


def _pulled(pin: int, up: frozenset[int], down: frozenset[int]) -> _Setting:
    return _Setting(None, 1 if pin in up else 0 if pin in down else None)
