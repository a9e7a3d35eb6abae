"""The part of an ESP32 that stays awake when the rest sleeps: its clock, 2 KB of memory, and the chip's wake sources.

Sources: MicroPython's ports/esp32 (modmachine.c, modesp32.c, machine_rtc.c) and the ESP32 Technical Reference Manual,
Low-Power Management. Not modelled: the ULP, touch pins and GPIO as wake sources, the RTC's 32 kHz crystal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXT0_WAKE, EXT1_WAKE, TIMER_WAKE = 2, 3, 4  # ESP-IDF, esp_sleep_wakeup_cause_t
EPOCH_2000 = 946_684_800


class Rtc:
    """Clock, memory and wake sources of a chip.

    In deep sleep the clock runs from the internal 150 kHz oscillator, whose frequency follows the temperature; ESP-IDF
    calibrates it when the chip starts, and neither its guide nor the data sheet says what error is left. Four ESP32s
    gained 33 to 38 s in every hour of sleep (moonlight-systems.co.uk, code_example6), one woke 3.3 % too early after a
    day (stackoverflow 73270284), one that woke, and so calibrated, every 2 min was 0.07 % off (esp32.com, topic 4941).
    `sleep_ppm` is how much too fast the clock runs in sleep, by default as in the first of these reports. Awake, the
    clock follows the 40 MHz crystal, to 10 ppm (ESP-IDF Programming Guide, System Time): `crystal_ppm` is its error, 0
    unless a test sets it, so that a trace shows no error that nobody asked for.
    """

    def __init__(self, first_unix: int | None) -> None:
        self.memory = ""  # hexadecimal
        self.offset_us = 0  # its time in us since 2000, minus the world's time
        self.sleep_ppm = 10_000
        self.crystal_ppm = 0
        self._first = first_unix  # its time when it first gets its supply
        self._since_us = 0  # the world's time when its oscillator last changed
        self._ext0: tuple[int, int] | None = None  # pin, level
        self._ext1: tuple[list[int], int] | None = None  # pins; 0: all of them low, 1: any of them high

    def power_on(self, now_us: int) -> None:
        """Get the supply back: memory is lost, and the clock begins at 2000-01-01, the first time at the time that the
        test wants."""
        shown = 0 if self._first is None else self._first - EPOCH_2000
        self._first = None
        self.memory = ""
        self.offset_us = shown * 1_000_000 - now_us

    def started(self, now_us: int, slept: bool) -> None:
        """Forget the wake sources as the processor starts, and add the clock's error since its oscillator last
        changed."""
        self.offset_us += (now_us - self._since_us) * (self.sleep_ppm if slept else self.crystal_ppm) // 1_000_000
        self._since_us = now_us
        self._ext0 = self._ext1 = None

    def asleep(self, now_us: int) -> None:
        """Run the clock from the oscillator from now on, as the processor stops."""
        self.offset_us += (now_us - self._since_us) * self.crystal_ppm // 1_000_000
        self._since_us = now_us

    def sleep_us(self, ms: int) -> int:
        """Return how long a timer of so many milliseconds really takes. The timer runs from the same oscillator as the
        clock."""
        return ms * 1_000_000_000 // (1_000_000 + self.sleep_ppm)

    def output(self, device: str, args: list[Any], now_us: int) -> None:
        """Set the clock, the memory or a wake source, as the firmware did."""
        if device == "rtc" and args[0] == "set":
            self.offset_us, self._since_us = args[1], now_us
        elif device == "rtc":
            self.memory = args[1]
        elif args[0] == "ext0":
            self._ext0 = None if args[1] is None else (args[1], args[2])
        elif args[1] is not None:  # None leaves the pins as they are (modesp32.c); () disarms
            self._ext1 = (args[1], args[2]) if args[1] else None

    @property
    def ext1_pins(self) -> list[int]:
        """The pins that it watches by ext1."""
        return self._ext1[0] if self._ext1 else []

    def wakes(self, level: Callable[[int], int]) -> int:
        """Return the source that wakes the chip with the pins at these levels; 0 when none does. A level that is there
        already wakes the chip at once (esp-idf issue 2043)."""
        if self._ext0 and level(self._ext0[0]) == self._ext0[1]:
            return EXT0_WAKE
        if self._ext1:
            pins, wanted = self._ext1
            levels = [level(pin) for pin in pins]
            if any(levels) if wanted else not any(levels):
                return EXT1_WAKE
        return 0
