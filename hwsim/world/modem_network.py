"""A modem's knowledge of the network, and the forms in which it tells it: registration, cell, time (3GPP TS 27.007).

The modem itself is in modem.py. The commands' answers about the same network may disagree, be missing or look otherwise
from maker to maker; each form is named and can be chosen. Not here: packet data (modem_data.py) and messages.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hwsim.modems import Habits
from hwsim.world.sms import SmsCentre

if TYPE_CHECKING:
    from hwsim.world.modem_data import PacketData

NOT_REGISTERED, HOME, SEARCHING, DENIED, ROAMING = 0, 1, 2, 3, 5

UNLOCK_US = 50_000  # from the PIN to the word that the SIM is ready: an estimate

# Forms of +CREG, +CGREG and +CEREG lines. "standard" is 27.007; "padded" shows <n> and <stat> with three digits and the
# area in small letters (u-blox); "rac" has the routing area between (10.1.22, +CEREG of some LTE-M modems) and blanks;
# "more" and "blank" have the fields of 27.007 from release 13 on (nRF, sdk-nrf#12927: cause and timers, most empty).
# "lte": +CREG has no area of its own, as in 4IceG/luci-app-3ginfo-lite#37: +CREG: 2,1,"FFFE","23E3E34",7
REGISTRATION_FORMS = ("standard", "padded", "rac", "more", "blank", "lte")
# Area and cell that modems show until they know their own.
PLACEHOLDERS = (("FFFE", "FFFFFFF"), ("FFFF", "FFFFFFFF"), ("0000", "00000000"), ("0", "0"))
# Forms of the answer to +CCLK?: 27.007, 8.15 has quotes and a zone; makers leave out either.
CLOCK_FORMS = ("standard", "no quotes", "no zone", "neither")


class Registration:
    """The part of a modem that deals with the network. The modem itself says, notes and waits."""

    who: str
    number: str
    habits: Habits
    packet: PacketData
    unix_time: Callable[[], int]
    ready: bool
    functional: int
    say: Callable[[str], None]
    later: Callable[[int, Callable[[], None]], None]
    note: Callable[..., None]
    starting: bool
    failed: bool
    look_at_sms_path: Callable[[], None]
    _centre: SmsCentre

    def __init__(self) -> None:
        self.register_us = 4_000_000  # from the first cell heard to the registration
        self.roaming = False  # the network it finds next is a foreign one
        self.denied = False  # the network it finds next does not take this SIM
        self.tells = "CREG"  # the command that tells of its registration; CEREG: CREG has nothing to tell
        self.nitz = True  # the network tells the time
        self.nitz_offset_s = 0  # the error of the time that the network tells
        self.zone_quarters = 4  # the zone of that time, in quarters of an hour
        self.clock_at_registration = False  # True: follow_time takes effect only at the next registration
        self.signal = 20  # +CSQ
        self.cell = (1, 1, 0x1A2B, 0x01C3D4)  # country, network, area, cell: the test network 001 01
        self._service = True
        self._data = True
        self._sim = True
        self.locked = False  # the SIM asks for its PIN
        self.pin: str | None = None  # the PIN that it asks for at every start; None: it asks for none
        self.pin_tries = 3
        self.usual_forms()
        self.forget_network()

    def usual_forms(self) -> None:
        """Drop all oddities of form."""
        self.tells_instead: dict[str, int] = {}  # command: the state that it tells, whatever is true
        self.missing: set[str] = set()  # of CREG, CGREG, CEREG, CGATT: answered with ERROR
        self.registration_form = "standard"
        self.placeholder: tuple[str, str] | None = None  # area and cell that it shows instead of its own
        self.clock_form = "standard"

    def forget_network(self) -> None:
        """Forget what the modem doesn't keep without its supply."""
        self.reporting = {"CREG": 0, "CGREG": 0, "CEREG": 0}
        self.follows_time = False  # its clock follows the network
        self.clock_known = False
        self._registration = NOT_REGISTERED
        self.locked = self.locked or self.pin is not None

    # -- the SIM

    @property
    def sim(self) -> bool:
        """Tell whether there is a SIM card in the modem, which notices a card taken out or put in at any time (hot
        swap)."""
        return self._sim

    @sim.setter
    def sim(self, sim: bool) -> None:
        if sim == self._sim:
            return
        self._sim = sim
        self.note("sim in" if sim else "sim out")
        if self.ready:
            self.starting = False
            self.say(self.sim_line())
            self._search()

    def sim_line(self) -> str:
        return "+CPIN: " + ("NOT INSERTED" if not self.sim else "READY" if not self.locked else self.asked_for)

    @property
    def asked_for(self) -> str:
        return "SIM PIN" if self.pin_tries else "SIM PUK"

    def enter_pin(self, pin: str) -> bool:
        """Try a PIN (27.007, 8.3). After three wrong ones the SIM asks for its PUK."""
        if not self.locked or not self.pin_tries:
            return False
        if pin != self.pin:
            self.pin_tries -= 1
            return False
        self.pin_tries = 3
        self.locked = False
        self.note("pin entered")
        self.later(UNLOCK_US, self._unlocked)
        return True

    def _unlocked(self) -> None:
        self.say(self.sim_line())
        self._search()

    def lock(self, on: bool) -> None:
        """Make the SIM ask for a PIN from now on, or no longer."""
        if on == self.locked:
            return
        self.locked = on
        self.note("sim locked" if on else "sim unlocked")
        if self.ready:
            self.starting = False
            self.say(self.sim_line())
            self._search()

    # -- registration

    @property
    def service(self) -> bool:
        """Tell whether there is a cell for the modem."""
        return self._service

    @service.setter
    def service(self, service: bool) -> None:
        if service == self._service:
            return
        self._service = service
        self.note("service" if service else "no service")
        if self.ready:
            self.starting = False
            self._search()

    @property
    def data(self) -> bool:
        """Tell whether the network lets the modem attach to packet data (+CGATT, +CGREG)."""
        return self._data

    @data.setter
    def data(self, data: bool) -> None:
        if data != self._data:
            self._data = data
            self.note("data" if data else "no data")
            self._report("CGREG")
            self._report("CEREG")
            self.packet.refresh()

    @property
    def registered(self) -> bool:
        return self._registration in (HOME, ROAMING)

    def registration(self, name: str) -> int:
        if name in self.tells_instead:
            return self.tells_instead[name]
        if name != self.tells and self.registered and (name == "CREG" or not self._data):
            return NOT_REGISTERED
        return self._registration

    @property
    def attached(self) -> bool:
        return bool(self.tells_instead.get("CGATT", self.registered and self.data))

    def has(self, name: str) -> bool:
        """Tell whether the modem knows this one of +CREG, +CGREG, +CEREG, +CGATT."""
        return name in self.habits.registration and name not in self.missing

    def _search(self) -> None:
        if not self.sim or self.locked or not self.functional:
            self._register(NOT_REGISTERED)
            return
        self._register(SEARCHING)
        if self._service:
            self.later(self.register_us, self._found)

    def _found(self) -> None:
        if self._service and self._sim and self.functional and not self.locked and not self.registered:
            if self.denied:
                self._register(DENIED)
                return
            if self.follows_time or not self.habits.network_time:
                self.clock_known = self.clock_known or self.nitz
            self._register(ROAMING if self.roaming else HOME)
            self._centre.reachable(self.number)

    def _register(self, state: int) -> None:
        if state == self._registration:
            return
        was = self.registered
        self._registration = state
        self._spend()
        if self.registered != was:
            self.note("registered" if self.registered else "not registered")
        if self.registered:
            self.starting = self.failed = False
        self.look_at_sms_path()
        for name in self.reporting:
            self._report(name)
        self.packet.refresh()

    def _spend(self) -> None:
        """Tell the meter that the modem's state has changed."""

    def _report(self, name: str) -> None:
        if self.ready and self.reporting[name] and self.has(name):
            self.say(f"+{name}: {self.registration_text(name)}")

    def registration_answer(self, name: str) -> str:
        """Format the line that answers +CREG? and its kind."""
        if self.registration_form == "padded":
            return f"+{name}:{self.reporting[name]:03},{self.registration_text(name)}"
        return f"+{name}: {self.reporting[name]},{self.registration_text(name)}"

    def registration_text(self, name: str) -> str:
        """Format what follows <n>; an unsolicited line has nothing else."""
        state, form = self.registration(name), self.registration_form
        shown = f"{state:03}" if form == "padded" else str(state)
        if self.reporting[name] < 2:
            return shown
        if state not in (HOME, ROAMING):
            return shown + {"more": ",,,,0,15", "blank": ',,,,,,"11100000","11100000"'}.get(form, "")
        area, cell = self.placeholder or (f"{self.cell[2]:04X}", f"{self.cell[3]:08X}")
        if form == "padded":
            return f'{shown},"{area.lower()}","{cell.lower().lstrip("0") or "0"}"'
        if form == "rac" and name == "CEREG":
            return f"{shown}, {area}, 20 ,{cell} ,7"
        if form == "lte" and name == "CREG":
            return f'{shown},"FFFE","{cell}",7'
        access = ",7" if name == "CEREG" else ""
        if form == "more":
            access = ',7,,,"11100000","11100000"'
        if form == "blank" and not self.placeholder:
            area = cell = ""
        return f'{shown},"{area}","{cell}"{access}'

    # -- time

    def follow_time(self, command: str, on: bool) -> None:
        """Switch by `command` whether the clock follows the network. Nothing happens when this model has another
        command."""
        if command != self.habits.network_time:
            return
        self.follows_time = on
        if on and self.registered and self.nitz and not self.clock_at_registration:
            self.clock_known = True

    def clock_text(self) -> str:
        if not self.clock_known:
            return self.habits.clock_unset
        local = datetime.fromtimestamp(self.unix_time() + self.nitz_offset_s + self.zone_quarters * 900, UTC)
        return local.strftime("%y/%m/%d,%H:%M:%S") + f"{self.zone_quarters:+03}"

    def clock_line(self) -> str:
        text = self.clock_text()
        if self.clock_form in ("no zone", "neither"):
            text = text[:17]
        return f"+CCLK: {text}" if self.clock_form in ("no quotes", "neither") else f'+CCLK: "{text}"'
