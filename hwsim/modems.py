"""Describe modems by model: what their makers say about them, and what people saw of them.

A `Model` has the commands that the firmware gets; they are its maker's own. Its `Habits` say how such a modem starts,
stops and answers; the simulated modem has them. A habit that stands in no document we found is marked as an estimate.

`gnss_on` and `gnss_off` switch a receiver in the modem, so that it reports NMEA sentences on the port that takes the
commands. The last of them decides whether it worked: the others may fail because the receiver has that state already,
or isn't ready yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

MEMORIES = ("SM", "ME", "MT", "SR")  # of messages (27.005, 3.1): the SIM, the modem, both, status reports


@dataclass
class Habits:
    """The habits of a modem. Seconds count from the moment at which its key or its supply has switched it on."""

    source: str = "3GPP TS 27.005, 27.007, ITU-T V.250: their own defaults"
    estimates: tuple[str, ...] = ()  # habits that are estimates
    boot_s: float = 3.0  # until it answers AT; silent before
    sms_s: float = 3.0  # until it takes commands for messages and for the SIM
    off_s: float = 0.0  # from the end of the key's hold until it is off; nothing switches it on in that time
    words: tuple[str, ...] = ("RDY", "+CPIN")  # said as soon as it answers AT; "+CPIN" is the state of the SIM
    sms_words: tuple[str, ...] = ()  # said when messages are ready
    farewell: str = ""  # said when its key switches it off
    not_ready: int | None = 314  # +CMS error until messages are ready; None: a plain ERROR
    sim_not_ready: int = 14  # +CME error of +CPIN? until then
    settings_late: bool = False  # it refuses every setting until then, too, as "SIM busy"
    text_mode: bool = False  # +CMGF after a start
    cnmi: tuple[int, int] = (0, 0)  # +CNMI after a start: mode and mt
    memories: tuple[str, ...] = ("SM",)  # that it has
    cpms: tuple[str, str, str] = ("SM", "SM", "SM")  # +CPMS after a start
    first_index: int = 1  # of a message
    cmti: str = "named"  # the form of +CMTI: one of messages.CMTI_FORMS
    prompt: str = "\r\n> "  # of +CMGS (27.005, 3.5.1)
    registration: tuple[str, ...] = ("CREG", "CGREG", "CEREG", "CGATT")  # what it has of these
    network_time: str = ""  # the command that lets its clock follow the network; "": it does by itself
    clock_unset: str = "80/01/06,00:00:00+00"  # +CCLK? until then


@dataclass(frozen=True)
class Model:
    source: str  # document and section of the commands
    gnss_on: tuple[str, ...] = ()  # empty: no receiver, or none that reports beside the radio on this port
    gnss_off: tuple[str, ...] = ()
    init: tuple[str, ...] = ()  # what it needs beyond 3GPP TS 27.005 and 27.007, each time it has started
    registration: str = "+CREG"  # the command that tells: 3GPP TS 27.007, 7.2; +CEREG (10.1.22) where there is only LTE
    ready_s: int = 0  # so long after its supply the receiver takes commands
    missing: str = ""  # what the firmware can't do with it yet
    habits: Habits = field(default_factory=Habits)


_A76 = ("AT+CGNSSPWR=1", "AT+CGNSSPORTSWITCH=0,1", "AT+CGNSSTST=1"), ("AT+CGNSSTST=0", "AT+CGNSSPWR=0")
_TIME = "LilyGo-Modem-Series 7d8ce57, lib/TinyGSM/src"  # TinyGsmClient*.h: +CLTS=1 or +CTZU=1, by model
_SIM7000 = Habits(
    source="SIM7000 Hardware Design V1.07, table 8 (UART after 4.5 s), V1.04, table 9 (off in 1.8 to 6.9 s); "
    f"{_TIME} (+CLTS); T-SIM7600X#63 (a SIM7000G says +CMTI: ,-1 of what it can't store)",
    estimates=("sms_s", "cnmi"),
    boot_s=4.5,
    sms_s=8.0,
    off_s=4.0,
    sms_words=("SMS Ready",),
    farewell="NORMAL POWER DOWN",
    cnmi=(2, 1),
    network_time="+CLTS",
)

MODELS = {
    "SIM800L": Model(
        "SIM800 Series AT Command Manual V1.09; the module has no receiver",
        habits=Habits(
            source="SIM800 Hardware Design V1.09, figure 12 (no RDY while it detects the rate); SIM800C Hardware "
            "Design V1.02, figure 13 (off in 2 s); Seeed-Studio/GPRS_SIM900#39 (+CMGF is an "
            "error until SMS Ready); an AT&V of a SIM800 in the log files of sitch (+CNMI 2,1, +CLTS 0, +CREG 0); "
            "TinyGSM#289 (the year 2004 until +CLTS=1)",
            estimates=("sms_s",),
            boot_s=3.0,
            sms_s=10.0,
            off_s=2.0,
            words=(),
            sms_words=("Call Ready", "SMS Ready"),
            farewell="NORMAL POWER DOWN",
            not_ready=None,
            cnmi=(2, 1),
            registration=("CREG", "CGREG", "CGATT"),
            network_time="+CLTS",
            clock_unset="04/01/01,00:00:40+12",
        ),
    ),
    "SIM7000G": Model(
        "SIM7000 Series AT Command Manual V1.06, 14.2.1 AT+CGNSPWR, 14.2.10 AT+CGNSTST",
        ("AT+CGNSPWR=1", "AT+CGNSTST=1"),
        ("AT+CGNSTST=0", "AT+CGNSPWR=0"),
        habits=_SIM7000,
    ),
    "SIM7600": Model(
        "SIM7500_SIM7600 Series AT Command Manual V3.00, 17.2.1 AT+CGPS, 17.2.16 AT+CGPSINFOCFG (bit 0 GGA, bit 1 RMC)",
        ("AT+CGPS=1", "AT+CGPSINFOCFG=1,3"),
        ("AT+CGPSINFOCFG=0", "AT+CGPS=0"),
        habits=Habits(
            source="T-SIM7600X#41 (more than 10 s until AT; RDY, +CPIN: READY, SMS DONE, PB DONE); an AT&V after "
            "AT+CRESET in a published log of a SIM7600 (E 1, +CMGF 1, +CPMS SM, +CNMI 2,1, +CREG 0, +CTZU 0); "
            f"serialport-gsm#12 (messages go to ME until +CPMS names it); {_TIME} (+CTZU)",
            estimates=("sms_s", "off_s"),
            boot_s=11.0,
            sms_s=13.0,
            off_s=7.0,
            sms_words=("SMS DONE", "PB DONE"),
            text_mode=True,
            cnmi=(2, 1),
            memories=("ME", "SM", "MT", "SR"),
            cpms=("SM", "SM", "ME"),
            first_index=0,
            network_time="+CTZU",
        ),
    ),
    # "In ASR1603, GNSS will take about 9 seconds": then it says +CGNSSPWR: READY!
    "A7670": Model(
        "A76XX Series AT Command Manual V1.05, 24.2.1 AT+CGNSSPWR, 24.2.2 AT+CGNSSTST, 24.2.14 AT+CGNSSPORTSWITCH",
        *_A76,
        ready_s=9,
        habits=Habits(
            source="LilyGo-Modem-Series#79, #138, #247 (*ATREADY: 1, then +CPIN: SIM failure, then +CPIN: READY, "
            f"SMS DONE, PB DONE; +CMGF is an error); {_TIME} (+CTZU)",
            estimates=("boot_s", "sms_s", "off_s", "cnmi", "cpms"),
            boot_s=6.0,
            sms_s=9.0,
            off_s=3.0,
            words=("*ATREADY: 1",),
            sms_words=("+CPIN", "SMS DONE", "PB DONE"),
            not_ready=None,
            sim_not_ready=13,
            cnmi=(2, 1),
            memories=("ME", "SM", "SR"),
            cpms=("SM", "SM", "ME"),
            first_index=0,
            network_time="+CTZU",
        ),
    ),
    "SIM7670G": Model(
        "SIM767XX Series AT Command Manual V1.06, 21.2.1 AT+CGNSSPWR, 21.2.2 AT+CGNSSTST, 21.2.10 AT+CGNSSPORTSWITCH",
        *_A76,
        ready_s=9,
        habits=Habits(
            source="gammu#1176 and its pull request 1177 (the prompt is CR LF > CR LF); LilyGo-Modem-Series#106 "
            f"(another platform than the A7670: the SIM7600's); {_TIME} (+CTZU)",
            estimates=("boot_s", "sms_s", "off_s", "words", "cnmi", "memories", "cpms"),
            boot_s=8.0,
            sms_s=11.0,
            off_s=5.0,
            sms_words=("SMS DONE", "PB DONE"),
            cnmi=(2, 1),
            memories=("ME", "SM", "MT", "SR"),
            cpms=("ME", "ME", "ME"),
            first_index=0,
            prompt="\r\n>\r\n",
            network_time="+CTZU",
        ),
    ),
    "SIM7080G": Model(
        "SIM7070_SIM7080_SIM7090 Series AT Command Manual V1.05, 8.2; LilyGo-Modem-Series, GPS_BuiltIn.ino",
        missing="its receiver works only while the radio is off, and reports no NMEA on the port of the commands",
        habits=replace(
            _SIM7000,
            source=f"{_TIME} (+CLTS); else as the SIM7000",
            estimates=("boot_s", "sms_s", "off_s", "cnmi"),
        ),
    ),
    "GM02SP": Model(
        "github.com/QuickSpot/walter-arduino 5875e1b, src/proto/WalterGNSS.cpp, src/WalterModem.cpp (setOpState)",
        init=("AT+CFUN=1",),
        registration="+CEREG",
        missing="its receiver, which works only while the radio is idle (AT+LPGNSSFIXPROG); its sleep: it has no key",
        habits=Habits(
            source="walter-arduino, src/WalterModem.cpp (reset: it waits for +SYSSTART); docs.rs/monarch2, module sms "
            f"(it has +CMGF, +CNMI, +CPMS, +CMGS); {_TIME} (TinyGsmClientSequansMonarch.h: +CTZU)",
            estimates=("boot_s", "sms_s", "memories"),
            boot_s=2.0,
            sms_s=5.0,
            words=("+SYSSTART",),
            memories=("SM", "ME"),
            network_time="+CTZU",
        ),
    ),
}
