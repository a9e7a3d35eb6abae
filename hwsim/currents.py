"""Default currents of a bracelet's parts, in microamperes, for where a board's [power] section doesn't say.

They are averages over a state, typical values at room temperature. The parts are taken to hang on the cell through
linear regulators, so that their currents are the cell's; regulators, dividers and leakage are not counted.
`processor` is the chip without its radio, `wifi` what the radio adds to that.

Each figure was read in the document named beside it; those in `ESTIMATES` stand in none.
"""

from __future__ import annotations

from collections.abc import Mapping

Currents = Mapping[str, Mapping[str, int]]  # part -> state -> uA

DEFAULT: Currents = {
    # ESP32 Series Datasheet v4.5, Table 3-2, Power Consumption by Power Modes.
    "processor": {
        "off": 0,
        # Modem-sleep, CPU powered up, two cores: at 160 MHz, the port's default, 27 to 44 mA; at 80 MHz 20 to 31. The
        # lower end: MicroPython waits nearly all the time, and the simulator doesn't know how long it computes.
        "active": 27_000,
        "light_sleep": 800,  # an engineer of theirs found 1100 (micropython-esp32 issue 32)
        # RTC timer and RTC memory; no figure is given for what a wake source in the RTC peripherals (ext0) adds.
        "deep_sleep": 10,
    },
    "wifi": {
        "off": 0,
        # The same data sheet, Table 4-4: receiving 95 to 100 mA. The upper end, less the processor's 27.
        "searching": 73_000,
        # ESP-IDF Programming Guide v5.5, Introduction to Low Power Mode in Wi-Fi Scenarios (ESP32), first table: modem
        # sleep at DTIM 1, which is the port's default, takes 31.12 mA with the processor, less the processor's 27.
        "associated": 4_120,
        # Table 4-4: 802.11b at 1 Mbit/s and 19.5 dBm, half of the time on air, 240 mA, less the processor's 27.
        "transmit": 213_000,
    },
    # SIMCom SIM7000 Series Hardware Design V1.07. Without sleep mode, which the firmware doesn't ask for (it takes the
    # serial port away): with it, registered is 1.2 mA on LTE and 1.7 on GSM, and PSM 9 uA (Table 34).
    "modem": {
        "off": 7,  # 3.1, IVBAT(power-off): the maximum, no typical value is given
        "idle": 11_000,  # no SIM, or told to be silent: as registered, since Table 34 has nothing for it
        "searching": 66_000,  # Table 34's one figure of a radio that mostly receives: NB-IoT downlink, 66.42 mA
        "registered": 11_000,  # Table 34, LTE idle; GSM 11.4
        "transmit": 167_000,  # Table 34, LTE Cat-M at 23 dBm, bands 12 and 20; 150 to 195 on the others, GPRS to 422
    },
    # u-blox NEO-6 Data Sheet GPS.G6-HW-09005-E, Table 11: acquisition (average of 30 s after a cold start); tracking of
    # a NEO-6M in maximum performance mode. Off: no supply, no backup battery (which would take 22 uA, Table 10).
    "gnss": {"off": 0, "acquisition": 47_000, "tracking": 39_000},
    "led": {"off": 0, "on": 2_000},  # a red LED of 1.9 V behind 680 ohm at 3.3 V
    "haptic": {"off": 0, "on": 70_000},  # a coin motor at 3 V, without the surge when it starts
}

# Figures that stand in no document: a table of results has to mark them.
ESTIMATES = frozenset({("modem", "idle"), ("modem", "searching"), ("led", "on"), ("haptic", "on")})

UAS_PER_MAH = 3_600_000  # microampere-seconds


def current(currents: Currents, part: str, state: str) -> int:
    """Return the microamperes of a part in a state. Raises KeyError, with both names, where the table doesn't say."""
    try:
        return currents[part][state]
    except KeyError:
        raise KeyError(f"no current is known for {part} in state {state}") from None


def estimated(currents: Currents, part: str, state: str) -> bool:
    """Tell whether a current is only an estimate of this table, which the board didn't replace by another figure."""
    return (part, state) in ESTIMATES and currents[part][state] == DEFAULT[part][state]
