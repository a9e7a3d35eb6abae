# hwsim: no-float
"""The battery's charge, from its voltage by the board's table."""

import asyncio

from machine import ADC, Pin

PERIOD_MS = 60000
SAMPLES = 8


def percent(millivolts, table):
    """By straight lines between the table's points [[mV, %], ...], which rise."""
    if millivolts <= table[0][0]:
        return table[0][1]
    for n in range(1, len(table)):
        low_mv, low = table[n - 1]
        high_mv, high = table[n]
        if millivolts <= high_mv:
            return low + (high - low) * (millivolts - low_mv) // (high_mv - low_mv)
    return table[-1][1]


class Battery:
    def __init__(self, board):
        self._adc = ADC(Pin(board["pin"]), atten=ADC.ATTN_11DB)
        self._num = board.get("divider_num", 1)
        self._den = board.get("divider_den", 1)
        self._table = board["table"]
        self.percent = self._measure()

    def _measure(self):
        total = 0
        for _ in range(SAMPLES):
            total += self._adc.read_uv() // 1000
        return percent(total * self._num // self._den // SAMPLES, self._table)

    async def run(self):
        while True:
            self.percent = self._measure()
            await asyncio.sleep_ms(PERIOD_MS)
