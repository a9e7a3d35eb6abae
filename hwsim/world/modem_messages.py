"""A modem's messages: where they lie, how it tells of them, when it refuses them (3GPP TS 27.005, PDU mode; 23.040).

The model gives the memories and the state after a start (hwsim/modems.py); faults are switched here. The commands are
in modem_message_commands.py. Coarse: text mode, in which a message is shown with its octets as hexadecimal digits and
none can be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hwsim.world.modem_at import LINE_US, AtError
from hwsim.world.pdu import (
    PduError,
    Sms,
    decode_submit,
    encode_deliver,
    encode_status_report,
    is_status_report,
    tpdu_length,
    with_header,
)
from hwsim.world.sms import CENTRE_NUMBER, SmsCentre

if TYPE_CHECKING:
    from hwsim.world.modem import Modem

SUBMIT_US = 1_800_000  # until the network has confirmed a message
NO_SERVICE_US = 5_000_000
REPORT_US = 3_000_000  # from a message to the report of its delivery
CAPACITY = 20
# +CMTI: "SM",3 (27.005, 3.4.1); without its index; with the index alone; ,-1 (T-SIM7600X#63, a SIM7000G)
CMTI_FORMS = {"named": '"{memory}",{place}', "no index": '"{memory}"', "bare": ",{place}", "minus": ",-1"}
# Ways of the network with the report of a delivery that nobody asked for.
REPORTS = ("none", "told", "stored")
NO_SIM, SIM_PIN, SIM_BUSY, INVALID_INDEX, MEMORY_FULL, NO_CENTRE, NO_SERVICE = 310, 311, 314, 321, 322, 330, 331

Store = dict[int, tuple[bool, bytes]]  # place: (read, PDU)


_SMS_PATH = frozenset(("refused", "submit_refused", "centre_number"))


class Messages:
    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _SMS_PATH:
            self._modem.look_at_sms_path()

    def __init__(self, modem: Modem, centre: SmsCentre) -> None:
        self._modem = modem
        self._centre = centre
        self._stores: dict[str, Store] = {}  # of SM, ME and SR; kept without supply
        self.capacity = CAPACITY
        self.refused: int | None = None  # the +CMS error of every command for messages; 0: a plain ERROR
        self.submit_refused: int | None = None  # the network's +CMS error for every message, though registered
        self.centre_number = CENTRE_NUMBER  # that of +CSCA; "": none is known, and none in messages that come
        self.full_line = ""  # said when a message finds no room
        self.as_made()
        self.forget()

    def as_made(self) -> None:
        """Drop all oddities of form."""
        self.hides_centre = False  # messages that come name no service centre
        self.drops_centre = False  # not even by the octet that says so: the PDU begins behind it
        self.cuts_in = ""  # a line that it says by itself between +CMGL or +CMGR and the PDU
        self.adds_header = False  # messages that come have a header, "part 1 of 1"
        self.behind = b""  # octets behind messages that come
        self.reports = "none"
        self.told_memory: str | None = None  # the memory that +CMTI names, wherever a message is

    def forget(self) -> None:
        """Forget what the modem doesn't keep without its supply."""
        habits = self._modem.habits
        self.up = False  # the modem takes commands for messages
        self.text_mode = habits.text_mode
        self.cnmi = habits.cnmi
        self.report_to = 0  # +CNMI's <ds>
        self.chosen = list(habits.cpms)  # mem1: read, list, delete; mem2: write, send; mem3: received
        self.submit_length: int | None = None
        self._reference = 0

    # -- memories

    def store(self, memory: str) -> Store:
        return self._stores.setdefault(memory, {})

    def parts(self, memory: str) -> list[tuple[str, int]]:
        """List the memories that a name stands for, each with its offset: MT is ME, and SM behind it."""
        return [("ME", 0), ("SM", self.capacity)] if memory == "MT" else [(memory, 0)]

    def room(self, memory: str) -> int:
        return self.capacity * len(self.parts(memory))

    def used(self, memory: str) -> int:
        return sum(len(self.store(name)) for name, _ in self.parts(memory))

    def find(self, index: int) -> tuple[Store, int]:
        """Return the store and the place in it of an index of mem1."""
        for name, offset in self.parts(self.chosen[0]):
            if index - offset in self.store(name):
                return self.store(name), index - offset
        raise AtError(INVALID_INDEX, "CMS")

    def listed(self) -> list[tuple[int, Store, int]]:
        """List (index, store, place) of everything in mem1."""
        return [
            (place + offset, self.store(name), place)
            for name, offset in self.parts(self.chosen[0])
            for place in sorted(self.store(name))
        ]

    @property
    def storage(self) -> Store:
        """The store of mem1; of MT, that of the modem's own part of it."""
        return self.store(self.parts(self.chosen[0])[0][0])

    @storage.setter
    def storage(self, store: Store) -> None:
        self._stores[self.parts(self.chosen[0])[0][0]] = store

    def put(self, pdu: bytes) -> tuple[str, int] | None:
        """Put a message into mem3. Return the name and the index under which it is told, or None when mem3 is full."""
        memory = self.chosen[2]
        first = self._modem.habits.first_index
        for name, offset in self.parts(memory):
            store = self.store(name)
            free = (place for place in range(first, first + self.capacity) if place not in store)
            if (place := next(free, None)) is not None:
                store[place] = (False, pdu)
                return memory, place + offset
        return None

    # -- refusals

    def need(self) -> None:
        """Raise AtError when commands for messages are refused; each of them asks this first."""
        modem = self._modem
        if self.refused is not None:
            raise AtError(self.refused or None, "CMS")
        if not self.up:
            raise AtError(modem.habits.not_ready, "CMS")
        if not modem.sim:
            raise AtError(NO_SIM, "CMS")
        if modem.locked:
            raise AtError(SIM_PIN, "CMS")

    # -- from the network

    def take(self, sms: Sms) -> bool:
        modem = self._modem
        if not self.up or not modem.registered or modem.mute or self.refused is not None or modem.leaving:
            return False
        centre = "" if self.hides_centre else self.centre_number
        pdu = encode_deliver(with_header(sms) if self.adds_header else sms, modem.unix_time(), centre, self.behind)
        if self.cnmi[1] == 2 and not modem.packet.online:
            modem.say("+CMT: " + self.shown(pdu, None))
            return True
        return self._keep(pdu)

    def _keep(self, pdu: bytes) -> bool:
        kept = self.put(pdu)
        if kept is None:
            if self.full_line:
                self._modem.say(self.full_line)
            return False
        if self.cnmi[1] == 1:
            form = CMTI_FORMS[self._modem.habits.cmti]
            self._modem.say("+CMTI: " + form.format(memory=self.told_memory or kept[0], place=kept[1]))
        return True

    def _report(self, recipient: str, reference: int) -> None:
        modem = self._modem
        if not modem.registered:
            return
        pdu = encode_status_report(recipient, reference, modem.unix_time(), self.centre_number)
        if self.reports == "stored" and self.report_to == 2:
            place = len(self.store("SR")) + modem.habits.first_index
            self.store("SR")[place] = (False, pdu)
            modem.say(f'+CDSI: "SR",{place}')
        elif self.reports == "stored":
            self._keep(pdu)  # among the messages, as some modems do whatever +CNMI says
        elif not modem.packet.online:
            modem.say(f"+CDS: {tpdu_length(pdu)}\r\n{pdu.hex().upper()}")

    def shown(self, pdu: bytes, read: bool | None) -> str:
        """Format a message as +CMGR, +CMGL and, without a state, +CMT show it, behind their own beginning."""
        if not self.text_mode:
            state = "" if read is None else f"{int(read)}"
            between = "" if read is None or not self.cuts_in else f"\r\n{self.cuts_in}\r\n"
            shown = pdu[1 + pdu[0] :] if self.drops_centre else pdu
            return f"{state},{'' if read is None else ','}{tpdu_length(pdu)}\r\n{between}{shown.hex().upper()}"
        stamp = datetime.fromtimestamp(self._modem.unix_time(), UTC).strftime("%y/%m/%d,%H:%M:%S+00")
        status = "" if read is None else '"REC READ",' if read else '"REC UNREAD",'
        data = pdu[1 + pdu[0] :]
        digits = data[2] if is_status_report(pdu) else data[1]
        at = (3 if is_status_report(pdu) else 2) + 1
        number = "".join(f"{octet & 15:X}{octet >> 4:X}" for octet in data[at : at + (digits + 1) // 2])[:digits]
        text = data[at + (digits + 1) // 2 + 10 :]  # behind protocol, coding, time and length
        return f'{status}"+{number}","","{stamp}"\r\n{text.hex().upper()}'

    # -- to the network

    def submit(self, text: str, finish: Callable[[list[str], str], None]) -> None:
        """Send the message typed at the prompt. `finish` takes the lines of the answer and the final one."""
        modem = self._modem
        length, self.submit_length = self.submit_length, None

        def fail(code: int) -> None:
            finish([], AtError(code, "CMS").text(modem.verbose_errors))

        try:
            pdu = bytes.fromhex(text)
            if not pdu or tpdu_length(pdu) != length:
                raise PduError("another length than announced")
            sms = decode_submit(pdu, modem.number)
        except ValueError:
            modem.later(LINE_US, lambda: fail(304))
            return
        if not pdu[0] and not self.centre_number:
            modem.later(LINE_US, lambda: fail(NO_CENTRE))
            return
        if not modem.registered:
            modem.later(NO_SERVICE_US, lambda: fail(NO_SERVICE))
            return
        modem.sending(True)
        modem.later(SUBMIT_US, lambda: self._submitted(sms, finish, fail))

    def _submitted(self, sms: Sms, finish: Callable[[list[str], str], None], fail: Callable[[int], None]) -> None:
        modem = self._modem
        modem.sending(False)
        if not modem.registered:
            fail(NO_SERVICE)
            return
        if self.submit_refused is not None:
            fail(self.submit_refused)
            return
        self._reference = (self._reference + 1) % 256
        reference = self._reference
        self._centre.submit(sms)
        finish([f"+CMGS: {reference}"], "OK")
        if self.reports != "none":
            modem.later(REPORT_US, lambda: self._report(sms.recipient, reference))
