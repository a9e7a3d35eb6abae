"""An output pin that another part hangs on, held through resets and deep sleep where the board wants that."""

import esp32
from machine import Pin


class Output:
    """A pin of a board's section, at first at this level. A pin in the section's `hold` keeps its level while the chip
    sleeps or is reset. A pad that is not held has the pulls of a reset then, or none, and the part on it takes those
    for orders."""

    def __init__(self, section, pin, level):
        self._held = pin in section.get("hold", ())
        if self._held:
            esp32.gpio_deep_sleep_hold(True)  # else only the pads of the RTC are held while it sleeps
        self._pin = Pin(pin, Pin.OUT, value=level, hold=self._held)

    def value(self, level):
        if self._held:
            self._pin.init(value=level, hold=True)  # init() lets go, and holds the new level
        else:
            self._pin.value(level)
