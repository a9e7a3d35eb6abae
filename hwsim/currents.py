"""What the parts of a bracelet draw from the cell, in microamperes, where a board's [power] section doesn't say.

Averages over a state, typical values at room temperature. The parts are taken to hang on the cell through linear
regulators, so that their currents are the cell's; what regulators, dividers and leakage take is not in here.
`processor` is the chip without its radio, `wifi` what the radio adds to that.
"""

from __future__ import annotations

from collections.abc import Mapping

Currents = Mapping[str, Mapping[str, int]]  # part -> state -> uA

DEFAULT: Currents = {
    "processor": {
        "off": 0,
        # ESP32 Series Datasheet, Power Consumption by Power Modes: modem-sleep at 160 MHz, two cores: 27 to 44 mA.
        # The lower end: MicroPython waits nearly all the time, and the simulator doesn't know how long it computes.
        "active": 27_000,
        "light_sleep": 800,  # same table
        "deep_sleep": 10,  # same table, RTC timer and RTC memory
    },
    "wifi": {
        "off": 0,
        # ESP32 Series Datasheet, RF Power Consumption: receiving 95 to 100 mA, less the processor's 27.
        "searching": 73_000,
        # ESP-IDF Programming Guide, Introduction to Low Power Mode in Wi-Fi Scenarios (ESP32): modem sleep, which is
        # the port's default, at DTIM 1: 31.12 mA, less the processor's 27.
        "associated": 4_120,
        # Same table: sending 802.11b, 1 Mbit/s, 19.5 dBm: 240 mA, less the processor's 27.
        "transmit": 213_000,
    },
    # SIMCom SIM7000 Hardware Design, Current Consumption: powered off, LTE idle, LTE data at 23 dBm on band 12. Without
    # sleep mode, which the firmware doesn't ask for (it takes the serial port away).
    "modem": {
        "off": 7,
        "idle": 11_000,  # no SIM, or told to be silent; the manual gives no other figure
        "searching": 60_000,  # an estimate: the manual is silent; a receiver that is on all the time
        "registered": 11_000,
        "transmit": 167_000,
    },
    # u-blox NEO-6 Data Sheet (GPS.G6-HW-09005), Indicative power requirements: acquisition; tracking of a NEO-6M in
    # maximum performance mode.
    "gnss": {"off": 0, "acquisition": 47_000, "tracking": 39_000},
    "led": {"off": 0, "on": 2_000},  # an estimate: a small LED behind 680 ohm
    "haptic": {"off": 0, "on": 70_000},  # an estimate: a coin motor of 10 mm at its rated voltage
}

UAS_PER_MAH = 3_600_000  # microampere-seconds


def current(currents: Currents, part: str, state: str) -> int:
    """Microamperes of a part in a state. KeyError, with both names, where the table doesn't say."""
    try:
        return currents[part][state]
    except KeyError:
        raise KeyError(f"no current is known for {part} in state {state}") from None
