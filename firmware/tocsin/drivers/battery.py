# hwsim: no-float
"""Measure the battery's charge, from its voltage by the board's table, and notice when it is about to end."""

import asyncio

from machine import ADC, Pin

PERIOD_MS = 60000
PERIOD_LOW_MS = 10000
SAMPLES = 8
LOW, VERY_LOW, ENDING = 15, 5, 2  # %: from here on an alarm's Updates are fewer, are few, and one says it is the last
RECOVERED = 5  # %: it is being charged
UNKNOWN = 101  # %, also on the wire: every decision takes it for full, since nothing says that it ends


def percent(millivolts, table):
    """Return the charge by straight lines between the table's points [[mV, %], ...], which rise. Less than three
    quarters of the lowest feeds no chip, and no cell has a tenth more than the highest: such a voltage is not the
    cell's (several boards cut it off while USB is in), or its divider is broken."""
    if millivolts < table[0][0] * 3 // 4 or millivolts > table[-1][0] * 11 // 10:
        return UNKNOWN
    if millivolts <= table[0][0]:
        return table[0][1]
    for n in range(1, len(table)):
        low_mv, low = table[n - 1]
        high_mv, high = table[n]
        if millivolts <= high_mv:
            return low + (high - low) * (millivolts - low_mv) // (high_mv - low_mv)
    return table[-1][1]


class Battery:
    """The battery. `on_ending()` is called once when it begins to end."""

    def __init__(self, board, on_ending):
        self._adc = ADC(Pin(board["pin"]), atten=ADC.ATTN_11DB)
        self._num = board.get("divider_num", 1)
        self._den = board.get("divider_den", 1)
        self._table = board["table"]
        self._on_ending = on_ending
        self.percent = self._measure()
        self.ending = self.percent <= ENDING  # a start like this has told it before, or tells it in its messages

    @property
    def stretch(self):
        """The factor by which the pauses between an alarm's Updates grow, so that the battery lasts."""
        return 1 if self.percent > LOW else 2 if self.percent > VERY_LOW else 4

    def _measure(self):
        total = 0
        try:
            for _ in range(SAMPLES):
                total += self._adc.read_uv() // 1000
        except OSError:  # no calibration in the chip's fuses: a raw reading is 10 % off, more than from full to empty
            return UNKNOWN
        return percent(total * self._num // self._den // SAMPLES, self._table)

    def look(self):
        """Measure, and report if it is about to end."""
        before, self.percent = self.percent, self._measure()
        # Twice in a row: a modem that transmits pulls the voltage down for a moment.
        if not self.ending and self.percent <= ENDING and before <= ENDING:
            self.ending = True
            self._on_ending()
        elif self.ending and self.percent > RECOVERED and before > RECOVERED:  # once may be a bad contact
            self.ending = False

    async def run(self):
        while True:
            self.look()
            await asyncio.sleep_ms(PERIOD_MS if self.percent > VERY_LOW else PERIOD_LOW_MS)
