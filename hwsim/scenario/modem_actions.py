"""Actions on points that manuals leave open: how the bracelet's modem starts, stops, answers, stores and refuses.

Forms are numbered, in the order of the tables that name them. An action that only holds after a start restarts the
modem, too, so that it happens. `modem_as_made` ends all of them except those with an end of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hwsim.modems import MEMORIES
from hwsim.scenario.vocabulary import Parameter, action, seconds
from hwsim.world.modem_data import CONTEXT_TYPES, NAME_SERVER, NO_NAME_SERVER
from hwsim.world.modem_messages import CMTI_FORMS, REPORTS
from hwsim.world.modem_network import CLOCK_FORMS, PLACEHOLDERS, REGISTRATION_FORMS
from hwsim.world.pdu import Sms, encode_deliver
from hwsim.world.sms import CENTRE_NUMBER

if TYPE_CHECKING:
    from hwsim.rig import Rig
    from hwsim.world.modem import Modem

PROMPTS = ("\r\n> ", "\r\n>\r\n", ">")
COMMANDS = ("CREG", "CGREG", "CEREG", "CGATT")
# Words said when it answers AT, and when it can send: SIM7000, SIM7600, A76XX, SIM800, GM02SP, a Quectel, nothing.
START_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "RDY, SMS Ready": (("RDY", "+CFUN: 1", "+CPIN"), ("SMS Ready",)),
    "RDY, SMS DONE, PB DONE": (("RDY", "+CPIN"), ("SMS DONE", "PB DONE")),
    "*ATREADY: 1": (("*ATREADY: 1",), ("+CPIN", "SMS DONE", "PB DONE")),
    "Call Ready, SMS Ready": ((), ("Call Ready", "SMS Ready")),
    "+SYSSTART": (("+SYSSTART",), ()),
    "APP RDY": (("APP RDY", "+CPIN"), ()),
    "nothing": ((), ()),
}
BAUDS = (9600, 19200, 57600, 115200)
ADVERT_NUMBER = "+10000000077"
CUTS_IN = '+CIEV: 10,"00101","Test","Test", 0, 0'  # a SIM800 says it unasked: TinyGSM#496


def _form(forms: Iterable[object], first: int = 0) -> Parameter:
    names = list(forms)
    shown = ", ".join(f"{n} {ascii(name)[1:-1]}" for n, name in enumerate(names))
    return Parameter(int, f"which: {shown}", first, 0, len(names) - 1)


def _modem(rig: Rig) -> Modem:
    return rig.bracelet.modem


# -- starting and stopping


@action("modem", silent=Parameter(bool, "without a word?", False))
def modem_restart(rig: Rig, silent: bool) -> None:
    """the modem restarts by itself, in the middle of whatever it does, and forgets how it was set up"""
    _modem(rig).restart(silent=silent)


@action("modem")
def modem_as_made(rig: Rig) -> None:
    """the modem is again as its maker made it"""
    _modem(rig).as_made()


@action("modem", "modem_as_made", s=seconds("from its start", 12.0, 15, 1))
def silent_boot(rig: Rig, s: float) -> None:
    """from its next start on the modem answers nothing for so long, and then says nothing of itself"""
    modem = _modem(rig)
    modem.announces = False
    modem.habits.boot_s, modem.habits.sms_s = s, max(s, modem.habits.sms_s)


@action(
    "modem",
    "modem_as_made",
    s=seconds("from its start", 15.0, 60, 1),
    plain=Parameter(bool, "ERROR only?", False),
    settings=Parameter(bool, "every setting, too?", False),
)
def modem_not_ready(rig: Rig, s: float, plain: bool, settings: bool) -> None:
    """from its next start on the modem refuses commands for messages for so long, although it answers AT"""
    modem = _modem(rig)
    modem.habits.sms_s = max(s, modem.habits.boot_s)
    modem.habits.not_ready = None if plain else 314
    modem.habits.settings_late = settings


@action("modem", "modem_as_made", s=seconds("until it is off", 7.0, 7, 0))
def slow_off(rig: Rig, s: float) -> None:
    """the modem takes so long to switch off, and its key switches nothing on meanwhile"""
    _modem(rig).habits.off_s = s


@action(
    "modem",
    "modem_as_made",
    text=Parameter(bool, "text mode?", True),
    told=Parameter(bool, "is a message told of (+CNMI 2,1)?", True),
    silent=Parameter(bool, "without a word?", False),
)
def modem_defaults(rig: Rig, text: bool, told: bool, silent: bool) -> None:
    """the modem restarts by itself with other defaults, now and at every start"""
    modem = _modem(rig)
    modem.habits.text_mode, modem.habits.cnmi = text, (2, 1) if told else (0, 0)
    modem.restart(silent=silent)


@action("modem", "modem_as_made", words=_form(START_WORDS, 2))
def start_words(rig: Rig, words: int) -> None:
    """the modem restarts by itself, and says this when it does, now and at every start"""
    modem = _modem(rig)
    modem.habits.words, modem.habits.sms_words = list(START_WORDS.values())[words]
    modem.restart()


@action("modem", "modem_as_made", rate=_form(BAUDS))
def baud_fallback(rig: Rig, rate: int) -> None:
    """the modem restarts by itself, now and later with this rate on its serial line"""
    modem = _modem(rig)
    modem.baud_at_start = BAUDS[rate]
    modem.restart()


@action("modem", "cts_on")
def cts_off(rig: Rig) -> None:
    """the modem hangs and holds CTS off, so that nothing can be sent to it, until its supply or its key is cycled"""
    _modem(rig).stall(True)


@action("modem")
def cts_on(rig: Rig) -> None:
    """the modem takes octets again"""
    _modem(rig).stall(False)


# -- messages


@action(
    "sms",
    "sms_allowed",
    code=Parameter(int, "+CMS error; 0: a plain ERROR", 500, 0, 999),
    commands=Parameter(bool, "every command for messages, not only what is sent?", False),
)
def sms_refused(rig: Rig, code: int, commands: bool) -> None:
    """no message can be sent, although the modem is registered; data and the rest work"""
    messages = _modem(rig).messages
    if commands:
        messages.refused = code
    else:
        messages.submit_refused = code or 500


@action("sms")
def sms_allowed(rig: Rig) -> None:
    """messages can be sent again"""
    messages = _modem(rig).messages
    messages.refused = messages.submit_refused = None
    _modem(rig).deleted()


@action("modem", "sim_unlocked")
def sim_locked(rig: Rig) -> None:
    """the SIM asks for its PIN, as after a start with another card; the bracelet has none"""
    modem = _modem(rig)
    modem.lock(True)


@action("modem")
def sim_unlocked(rig: Rig) -> None:
    """the SIM asks for no PIN"""
    _modem(rig).lock(False)


@action("sms", "modem_as_made", memory=_form(MEMORIES, 1), first=Parameter(int, "the first index", 0, 0, 1))
def sms_memory(rig: Rig, memory: int, first: int) -> None:
    """the modem restarts by itself; from now on it keeps messages in this memory and lets commands read another"""
    modem = _modem(rig)
    name = MEMORIES[memory] if MEMORIES[memory] != "SR" else "ME"
    modem.habits.memories = MEMORIES
    modem.habits.cpms = ("ME" if name == "SM" else "SM", "SM", name)
    modem.habits.first_index = first
    modem.restart()


@action("sms")
def sms_memory_full(rig: Rig) -> None:
    """advertising fills the memory for received messages: what comes now waits at the centre"""
    modem = _modem(rig)
    messages = modem.messages
    pdu = encode_deliver(Sms(ADVERT_NUMBER, modem.number, b"buy"), modem.unix_time(), CENTRE_NUMBER)
    while messages.put(pdu):
        pass


@action("sms", "modem_as_made", form=_form(CMTI_FORMS))
def cmti_form(rig: Rig, form: int) -> None:
    """the modem tells of a message in this form"""
    _modem(rig).habits.cmti = list(CMTI_FORMS)[form]


@action("sms", "modem_as_made", form=_form(PROMPTS, 1))
def prompt_form(rig: Rig, form: int) -> None:
    """the modem asks for the octets of a message in this form"""
    _modem(rig).habits.prompt = PROMPTS[form]


@action(
    "sms",
    "modem_as_made",
    header=Parameter(bool, '"part 1 of 1" before the octets?', True),
    behind=Parameter(int, "behind them", 0, 0, 20, "octets"),
    report=_form(REPORTS),
    centre=Parameter(bool, "does what comes name its service centre?", True),
    bare=Parameter(bool, "does what comes begin behind the service centre?", False),
    cuts_in=Parameter(bool, "does the modem speak between a listing and its PDU?", False),
)
def sms_form(rig: Rig, header: bool, behind: int, report: int, centre: bool, bare: bool, cuts_in: bool) -> None:
    """the network passes messages on in this form, and reports deliveries unasked, or doesn't"""
    messages = _modem(rig).messages
    messages.adds_header, messages.behind, messages.reports = header, b"\xff" * behind, REPORTS[report]
    messages.hides_centre, messages.drops_centre = not centre, bare
    messages.cuts_in = CUTS_IN if cuts_in else ""


# -- registration, time, data


@action("modem", "modem_as_made", form=_form(REGISTRATION_FORMS, 1))
def registration_form(rig: Rig, form: int) -> None:
    """the modem's lines of registration have this form"""
    _modem(rig).registration_form = REGISTRATION_FORMS[form]


@action("modem", "modem_as_made", command=_form(COMMANDS), denies=Parameter(bool, "says no instead of ERROR?", False))
def registration_missing(rig: Rig, command: int, denies: bool) -> None:
    """a command of the four has no registration to tell of (nothing where no other one tells of that for messages)"""
    modem = _modem(rig)
    name = COMMANDS[command]
    if name in ("CREG", "CEREG") and not {"CREG", "CEREG"} <= set(modem.habits.registration):
        return
    if modem.missing | set(modem.tells_instead) | {name} >= {"CREG", "CEREG"} or modem.tells == name:
        return
    if denies:
        modem.tells_instead[name] = 0
    else:
        modem.missing.add(name)


@action("modem", "modem_as_made", cell=_form([" ".join(each) for each in PLACEHOLDERS]))
def placeholder_cell(rig: Rig, cell: int) -> None:
    """the modem shows a placeholder instead of its cell"""
    _modem(rig).placeholder = PLACEHOLDERS[cell]


@action("clock", "modem_as_made", form=_form(CLOCK_FORMS, 1))
def time_form(rig: Rig, form: int) -> None:
    """the modem shows the time in this form"""
    _modem(rig).clock_form = CLOCK_FORMS[form]


@action("data", "modem_as_made", only=_form(CONTEXT_TYPES))
def context_type(rig: Rig, only: int) -> None:
    """the mobile network lets only one type of context in; over IPV6 alone there is no way to the broker"""
    _modem(rig).packet.admits = {CONTEXT_TYPES[only]}


@action("data", "name_server")
def no_name_server(rig: Rig) -> None:
    """the mobile network tells of no name server in the sessions that begin now"""
    _modem(rig).packet.name_server = NO_NAME_SERVER


@action("data")
def name_server(rig: Rig) -> None:
    """the mobile network tells of its name server"""
    _modem(rig).packet.name_server = NAME_SERVER
