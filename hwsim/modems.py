"""What modems say about themselves in their AT command manuals, by model: what the firmware is told of its modem.

`gnss_on` and `gnss_off` switch a receiver in the modem, so that it reports NMEA sentences on the port that takes the
commands. The last of them decides whether it worked: the others may fail because it is so already, or not ready yet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    source: str  # document and section of the commands
    gnss_on: tuple[str, ...] = ()  # empty: no receiver, or none that reports beside the radio on this port
    gnss_off: tuple[str, ...] = ()
    init: tuple[str, ...] = ()  # what it needs beyond 3GPP TS 27.005 and 27.007, each time it has started
    registration: str = "+CREG"  # what tells of it: 3GPP TS 27.007, 7.2; +CEREG (10.1.22) where there is only LTE
    ready_s: int = 0  # so long after its supply the receiver takes commands
    missing: str = ""  # what the firmware can't do with it yet


_A76 = ("AT+CGNSSPWR=1", "AT+CGNSSPORTSWITCH=0,1", "AT+CGNSSTST=1"), ("AT+CGNSSTST=0", "AT+CGNSSPWR=0")

MODELS = {
    "SIM800L": Model("SIM800 Series AT Command Manual V1.09; the module has no receiver"),
    "SIM7000G": Model(
        "SIM7000 Series AT Command Manual V1.06, 14.2.1 AT+CGNSPWR, 14.2.10 AT+CGNSTST",
        ("AT+CGNSPWR=1", "AT+CGNSTST=1"),
        ("AT+CGNSTST=0", "AT+CGNSPWR=0"),
    ),
    "SIM7600": Model(
        "SIM7500_SIM7600 Series AT Command Manual V3.00, 17.2.1 AT+CGPS, 17.2.16 AT+CGPSINFOCFG (bit 0 GGA, bit 1 RMC)",
        ("AT+CGPS=1", "AT+CGPSINFOCFG=1,3"),
        ("AT+CGPSINFOCFG=0", "AT+CGPS=0"),
    ),
    # "In ASR1603, GNSS will take about 9 seconds": then it says +CGNSSPWR: READY!
    "A7670": Model(
        "A76XX Series AT Command Manual V1.05, 24.2.1 AT+CGNSSPWR, 24.2.2 AT+CGNSSTST, 24.2.14 AT+CGNSSPORTSWITCH",
        *_A76,
        ready_s=9,
    ),
    "SIM7670G": Model(
        "SIM767XX Series AT Command Manual V1.06, 21.2.1 AT+CGNSSPWR, 21.2.2 AT+CGNSSTST, 21.2.10 AT+CGNSSPORTSWITCH",
        *_A76,
        ready_s=9,
    ),
    "SIM7080G": Model(
        "SIM7070_SIM7080_SIM7090 Series AT Command Manual V1.05, 8.2; LilyGo-Modem-Series, GPS_BuiltIn.ino",
        missing="its receiver works only while the radio is off, and reports no NMEA on the port of the commands",
    ),
    "GM02SP": Model(
        "github.com/QuickSpot/walter-arduino 5875e1b, src/proto/WalterGNSS.cpp, src/WalterModem.cpp (setOpState)",
        init=("AT+CFUN=1",),
        registration="+CEREG",
        missing="its receiver, which works only while the radio is idle (AT+LPGNSSFIXPROG); its sleep: it has no key",
    ),
}
