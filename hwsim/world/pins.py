"""Models of the parts that hang on single pins: button, LED, haptic motor, battery.

Not modelled: contact bounce of the button (see `Button.bounce_us`: off by default), the motor's spin-up. The battery
discharges and sags when a test gives it a capacity and a sag. Each part tells the trace what happened, under the
bracelet's name for the part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.currents import UAS_PER_MAH
from hwsim.world.pads import Outside

if TYPE_CHECKING:
    from hwsim.world.device import Device


class _Pin:
    """A peripheral on one pin; the base answers nothing."""

    def __init__(self, device: Device, who: str) -> None:
        self._device = device
        self.who = who

    def _note(self, what: str, **detail: Any) -> None:
        self._device.world.note(self.who, what, **detail)

    def reset(self) -> None:
        pass

    def output(self, device: str, args: list[Any]) -> None:
        pass

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        return 0


class Button(_Pin):
    def __init__(self, device: Device, who: str, pin: int, active_low: bool) -> None:
        super().__init__(device, who)
        self._pin = pin
        self._active_low = active_low
        self.pressed = False
        self.bounce_us = 0  # the contact opens and closes for so long before it rests
        device.pads.attach(pin, self._outside)

    def press(self, for_s: float | None = None) -> None:
        """Push it down and, with `for_s`, let it go after so many seconds, without waiting for that."""
        self._set(True)
        if for_s is not None:
            self._device.world.after(round(for_s * 1e6), self.release)

    def release(self) -> None:
        self._set(False)

    def hold(self, seconds: float) -> None:
        """Push it down, let the world run for so long, let go."""
        world = self._device.world
        world.call(self.press)
        world.run(seconds)
        world.call(self.release)

    @property
    def level(self) -> int:
        return self._device.pads.level(self._pin)

    def _outside(self) -> Outside:
        """Return the contact to ground or to the supply; an open button leaves only the chip's pull."""
        return Outside(contact=int(not self._active_low) if self.pressed else None)

    def _set(self, pressed: bool) -> None:
        if pressed == self.pressed:
            return
        self.pressed = pressed
        self._note("pressed" if pressed else "released")
        level = self.level
        self._device.pin_changed(self._pin, level)
        for us in range(0, self.bounce_us, 500):
            back = level if us % 1000 else 1 - level
            self._device.world.after(us + 250, functools.partial(self._device.pin_changed, self._pin, back))
        if self.bounce_us:
            self._device.world.after(self.bounce_us, lambda: self._device.pin_changed(self._pin, self.level))


class Strap(_Pin):
    """The conductor through the strap: closed on a wrist, open when it is unfastened or cut. At first it lies open. A
    resistor of 1 megohm beside it pulls an open one to the other level, unless the chip pulls more strongly."""

    def __init__(self, device: Device, who: str, pin: int, closed_low: bool) -> None:
        super().__init__(device, who)
        self._pin = pin
        self._closed_low = closed_low
        self.closed = False
        self._touching = False  # the contact, which may chatter while it is closed
        self._random = device.world.random(f"{device.name} strap")
        device.pads.attach(pin, self._outside)

    def close(self) -> None:
        """Fasten it."""
        self._set(True)

    def open(self) -> None:
        """Unfasten, cut or tear it: its contact can't tell."""
        self._set(False)

    def chatter(self, seconds: float, longest_ms: int = 200) -> None:
        """Open the contact now and then for so long, each time for `longest_ms` at most."""
        world, at = self._device.world, 0
        while at < seconds * 1e6:
            at += self._random.randint(20_000, 800_000)
            world.after(at, functools.partial(self._contact, False))
            at += self._random.randint(500, longest_ms * 1000)
            world.after(at, functools.partial(self._contact, True))

    @property
    def level(self) -> int:
        return self._device.pads.level(self._pin)

    def _outside(self) -> Outside:
        closed = int(not self._closed_low)
        return Outside(closed if self._touching else None, 1 - closed)

    def _set(self, closed: bool) -> None:
        if closed != self.closed:
            self.closed = closed
            self._note("closed" if closed else "open")
            self._contact(closed)

    def _contact(self, touching: bool) -> None:
        touching = touching and self.closed
        if touching != self._touching:
            self._touching = touching
            self._device.pin_changed(self._pin, self.level)


class Led(_Pin):
    def __init__(self, device: Device, who: str, pin: int, active_low: bool) -> None:
        super().__init__(device, who)
        self._active_low = active_low
        self.on = False
        self.changes: list[tuple[int, bool]] = []
        device.wire(f"pin{pin}", self)
        device.wire(f"pwm{pin}", self)

    def reset(self) -> None:
        self._set(False)

    def output(self, device: str, args: list[Any]) -> None:
        level = bool(args[1]) if device.startswith("pwm") else bool(args[1] if args[0] == "output" else 0)
        self._set(level != self._active_low)

    def _set(self, on: bool) -> None:
        if on != self.on:
            self.on = on
            self._device.meter.set("led", "on" if on else "off")
            self.changes.append((self._device.world.now_us, on))
            self._note("on" if on else "off")


@dataclass
class Pulse:
    """A vibration. Its length is 0 while it lasts."""

    at_us: int
    duty: int  # of 65535, the strongest during the pulse
    length_us: int = 0


class Haptic(_Pin):
    """The motor on the wrist. The wearer feels the list of its pulses."""

    def __init__(self, device: Device, who: str, pin: int) -> None:
        super().__init__(device, who)
        self.pulses: list[Pulse] = []
        self._running: Pulse | None = None
        device.wire(f"pin{pin}", self)
        device.wire(f"pwm{pin}", self)

    def reset(self) -> None:
        self._drive(0)

    def output(self, device: str, args: list[Any]) -> None:
        if device.startswith("pwm"):
            self._drive(args[1] if args[0] else 0)
        elif args[0] == "output":
            self._drive(65535 if args[1] else 0)

    def _drive(self, duty: int) -> None:
        now = self._device.world.now_us
        self._device.meter.set("haptic", "on" if duty else "off")
        if duty and self._running:
            self._running.duty = max(self._running.duty, duty)
        elif duty:
            self._running = Pulse(now, duty)
            self.pulses.append(self._running)
        elif self._running:
            pulse, self._running = self._running, None
            pulse.length_us = now - pulse.at_us
            self._note("pulse", ms=pulse.length_us // 1000, strength=pulse.duty * 100 // 65535)

    def felt_since(self, at_us: int) -> list[int]:
        """Return the lengths in milliseconds of the pulses that began since then."""
        return [pulse.length_us // 1000 for pulse in self.pulses if pulse.at_us >= at_us]


class Battery(_Pin):
    """A lithium cell behind a divider on an ADC pin, with some millivolt of noise.

    `calibrated` False: the chip's fuses hold no calibration, so that `read_uv` fails (ports/esp32/adc.c; ESP-IDF,
    esp_adc/esp32/adc_cali_line_fitting.c, "default vref didn't set": ESP_ERR_INVALID_ARG, 258), and raw readings are by
    a reference of 1000 to 1200 mV (there, LUT_VREF_LOW and LUT_VREF_HIGH).
    `divider`: thousandths of the pin's voltage that get through; 0 and 2000 stand for one of its resistors broken."""

    def __init__(self, device: Device, who: str, board: Any) -> None:
        super().__init__(device, who)
        self._board = board
        self._percent = 80
        self._since_uas = 0  # the meter's charge when the cell had so much
        self.capacity_mah: int | None = None  # when set, the parts' currents empty the cell
        self.calibrated = True
        self.divider = 1000
        self.cut_off = False  # another supply feeds the board, and its cell is off the divider
        self.sag_mv = 0  # fall of the voltage while the modem transmits
        self.brownout_mv = 3000  # of the cell, below which the processor's supply fails
        self.noise_uv = 2000
        device.meter.on_change = self._loaded
        self._random = device.world.random(f"{device.name} battery")
        device.wire(f"adc{board['battery']['pin']}", self)

    @property
    def percent(self) -> int:
        if self.capacity_mah is None:
            return self._percent
        used = self._device.meter.charge_uas(self._board.currents) - self._since_uas
        return max(0, self._percent - used * 100 // (self.capacity_mah * UAS_PER_MAH))

    @percent.setter
    def percent(self, percent: int) -> None:
        self._percent = percent
        self._since_uas = self._device.meter.charge_uas(self._board.currents)
        self._note("charge", percent=percent)

    @property
    def millivolt(self) -> int:
        """The voltage of the cell, by its charge, under its load."""
        sag = self.sag_mv if self._device.meter.state("modem") == "transmit" else 0
        return int(self._board.to_millivolt(self.percent)) - sag

    def _loaded(self, part: str, state: str) -> None:
        if part == "modem" and state == "transmit" and self.millivolt < self.brownout_mv:
            self._device.world.after(0, self._brownout)

    def _brownout(self) -> None:
        if self._device.state != "off":
            self._device.reset(by="brownout")

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        section = self._board["battery"]
        millivolt = 0 if self.cut_off else self.millivolt
        if function == "uv" and not self.calibrated:
            return {"oserror": -258}
        at_pin = millivolt * self.divider * section["divider_den"] // section["divider_num"]
        if not self.calibrated:
            at_pin = at_pin * 1000 // 1100
        return at_pin + self._random.randint(-self.noise_uv, self.noise_uv)


class PowerSwitch:
    """An output that switches the supply of another part, or pulls its key: it calls back with on and off. It sees the
    pad's level, whether this comes from the firmware or from a pull of the chip in a reset or asleep (world/pads.py).
    A resistor on the board keeps it off where the pad floats."""

    def __init__(self, device: Device, pin: int, active_low: bool, changed: Callable[[bool], object]) -> None:
        self._active_level = int(not active_low)
        self._changed = changed
        self.active = False
        self.driven = False  # by the chip, and not only pulled
        device.pads.watch(pin, self._seen)

    def _seen(self, level: int | None, driven: bool) -> None:
        active = level == self._active_level
        if active != self.active:
            self.active = active
            if active:
                self.driven = driven
            self._changed(active)


class Level(_Pin):
    """An input that shows a state of another part, such as a modem's status line."""

    def __init__(self, device: Device, who: str, pin: int, level: Any) -> None:
        super().__init__(device, who)
        self._pin = pin
        self._level = level
        device.pads.attach(pin, lambda: Outside(contact=int(self._level())))

    def changed(self) -> None:
        self._device.pin_changed(self._pin, int(self._level()))
