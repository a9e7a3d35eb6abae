"""A modem with the habits of real ones, for the tests of the relay's driver: every memory, default, restart, prompt and
unsolicited line that was seen in published logs, in any combination. It keeps 27.005 where the driver depends on it:
a message stays where it is until +CMGD names its place in the memory that is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

WORDS = (
    ("RDY", "+CPIN: {pin}", "SMS Ready"),
    ("\x00RDY", "+CFUN: 1", "+CPIN: {pin}", "Call Ready", "SMS Ready"),  # SIM800
    ("*ATREADY: 1", "+CPIN: {pin}", "SMS DONE", "PB DONE"),  # A7670
    ("APP RDY", "+QIND: SMS DONE", "+QIND: PB DONE"),  # Quectel
    ("^SYSSTART",),  # Cinterion
    ("+PBREADY",),
    ("PB DONE",),
    (),
)
PROMPTS = (b"\r\n> ", b"\r\n>\r\n", b">")
CAPACITY = 8


@dataclass
class Habits:
    """What differs from one model to the next."""

    memories: tuple[str, ...] = ("SM", "ME")
    default_memory: str = "ME"
    arrives_in: str | None = None  # whatever +CPMS says
    default_cnmi: str = "0,0,0,0,0"
    default_text_mode: bool = True
    echoes: bool = True
    words: tuple[str, ...] = ()
    prompt: bytes = PROMPTS[0]
    boot_s: float = 4.0
    sms_ready_s: float = 9.0
    pin: str | None = None
    tells: str = '+CMTI: "{memory}",{place}'
    has_sentinels: bool = True
    has_cfun: bool = True
    chatter: tuple[str, ...] = ()
    reads_back: bool = True
    names_in_answer: bool = False


def draw(random: Random) -> Habits:
    """A model that nobody has built yet."""
    memories = random.choice((("SM",), ("SM", "ME"), ("SM", "ME", "MT"), ("ME", "SM", "SR")))
    boot = random.uniform(0.5, 12)
    return Habits(
        memories=memories,
        default_memory=random.choice([m for m in memories if m != "SR"]),
        arrives_in=random.choice((None, None, *(m for m in memories if m in ("SM", "ME")))),
        default_cnmi=random.choice(("0,0,0,0,0", "2,1,0,0,0", "2,0,0,0,0")),
        default_text_mode=random.random() < 0.5,
        echoes=random.random() < 0.7,
        words=random.choice(WORDS),
        prompt=random.choice(PROMPTS),
        boot_s=boot,
        sms_ready_s=boot + random.choice((0.0, 4.0, 15.0)),
        pin=random.choice((None, None, "4711")),
        tells=random.choice(
            (
                '+CMTI: "{memory}",{place}',
                "+CMTI: {memory},{place}",
                '+CMTI:"{memory}", {place}',
                "+CMTI: {place}",
                '+CMTI: "{memory}"',
                '+CMTI: "{memory}",-1',
                "+CMTI: 1" + "0" * 5000,
                "+CMTI",
            )
        ),
        has_sentinels=random.random() < 0.7,
        has_cfun=random.random() < 0.7,
        chatter=random.choice(((), ("RING",), ("+CREG: 1", "+CSQ: 20,99"), ("+CMGL", '+CMTI: "SR",1', "\xff\xfe"))),
        reads_back=random.random() < 0.7,
        names_in_answer=random.random() < 0.3,
    )


@dataclass
class Strange:
    """One such modem. `run` is called with the time; `say` gives octets to the driver."""

    habits: Habits
    random: Random
    say: Callable[[bytes], None]
    stored: dict[str, dict[int, tuple[bool, str]]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stored = {memory: {} for memory in ("SM", "ME")}
        self.now = 0.0
        self._defaults()
        self.up_at = self.ready_at = 0.0

    def _defaults(self) -> None:
        h = self.habits
        self.reading = self.receiving = h.default_memory
        self.cnmi, self.text_mode, self.echo = h.default_cnmi, h.default_text_mode, h.echoes
        self.locked = h.pin is not None
        self.sentinels = {"+CSMP": "17,167,0,0", "S10": "015"}
        self.line = ""
        self.data = False
        self.words_due: list[str] = []

    # ---- what happens to it ----

    def restart(self, *, silent: bool = False, quick: bool = False) -> None:
        self._defaults()
        factor = 0.05 if quick else 1.0
        self.up_at = self.now + self.habits.boot_s * factor
        self.ready_at = self.now + self.habits.sms_ready_s * factor
        if not silent:
            pin = "SIM PIN" if self.locked else "READY"
            self.words_due = [word.format(pin=pin) for word in self.habits.words]

    def taken_over(self) -> None:
        """Another program sets it up its own way."""
        self.text_mode = True
        self.cnmi = "1,2,0,0,0" if self.random.random() < 0.3 else "0,0,0,0,0"
        self.reading = self.random.choice([m for m in self.habits.memories if m != "SR"])
        self.sentinels["+CSMP"] = "17,167,0,0"
        self.echo = True

    def takes(self, pdu: str) -> bool:
        """A message comes from the network."""
        if self.now < self.ready_at or self.locked:
            return False
        receiving = self.habits.arrives_in or self.receiving
        memory = "SM" if receiving == "MT" else receiving
        place = next((n for n in range(1, CAPACITY + 1) if n not in self.stored[memory]), None)
        if place is None or self.cnmi.split(",")[1] == "2":
            return False
        self.stored[memory][place] = (False, pdu)
        if self.cnmi.split(",")[1] == "1":
            self._line(self.habits.tells.format(memory=memory, place=place))
        return True

    @property
    def everything(self) -> list[str]:
        return [pdu for places in self.stored.values() for _, pdu in places.values()]

    def run(self, now: float) -> None:
        self.now = now
        if self.words_due and now >= self.up_at:
            self._line(self.words_due.pop(0))
        if self.habits.chatter and now >= self.up_at and self.random.random() < 0.02:
            self._line(self.random.choice(self.habits.chatter))

    # ---- what it is told ----

    def hears(self, octets: bytes) -> None:
        if self.now < self.up_at:
            return
        for octet in octets.decode("latin-1"):
            if self.data:
                if octet in "\x1a\x1b":
                    self.data = False
                    if octet == "\x1a" and not self.text_mode:
                        self.sent.append(self.line)
                    self.line = ""
                    self._answer(["+CMGS: 1"] if octet == "\x1a" else [], "OK")
                else:
                    self.line += octet
            elif octet == "\r":
                line, self.line = self.line, ""
                if self.echo:
                    self.say(line.encode() + b"\r")
                self._command(line)
            elif octet not in "\x1a\x1b\n":
                self.line += octet

    def _line(self, line: str) -> None:
        self.say(b"\r\n" + line.encode("latin-1") + b"\r\n")

    def _answer(self, lines: list[str], final: str) -> None:
        for line in [*lines, final]:
            if self.habits.chatter and self.random.random() < 0.1:
                self._line(self.random.choice(self.habits.chatter))
            self._line(line)

    def _command(self, line: str) -> None:
        lines, final = self._obey(line[2:])
        if final == ">":
            self.data = True
            self.say(self.habits.prompt)
        else:
            self._answer(lines, final)

    def _obey(self, command: str) -> tuple[list[str], str]:
        h = self.habits
        if command in ("", "+CMEE=1"):
            return [], "OK"
        if command == "E0":
            self.echo = False
            return [], "OK"
        if command == "+CPIN?":
            return ["+CPIN: SIM PIN" if self.locked else "+CPIN: READY"], "OK"
        if found := re.match(r"\+CPIN=(.*)", command):
            self.pins.append(found[1])
            if found[1] != h.pin:
                return [], "+CME ERROR: 16"
            self.locked = False
            return [], "OK"
        if found := re.match(r"(S10|\+CSMP)(=|\?)(.*)", command):
            if not h.has_sentinels:
                return [], "ERROR"
            if found[2] == "=":
                self.sentinels[found[1]] = found[3].rjust(3, "0")
                return [], "OK"
            value = self.sentinels[found[1]]
            return [f"{found[1]}: {value}" if found[1] == "+CSMP" else value], "OK"
        if command == "+CREG?":
            return ["+CREG: 0,1"], "OK"
        if command == "+CFUN?":
            return ["+CFUN: 1"], "OK"
        if command == "+CMGF?":
            return [f"+CMGF: {int(self.text_mode)}"], "OK"
        if self.locked or self.now < self.ready_at:
            return [], "+CMS ERROR: 310" if self.locked else "ERROR"
        if command == "+CMGF=0":
            self.text_mode = False
            return [], "OK"
        return self._messages(command)

    def _messages(self, command: str) -> tuple[list[str], str]:
        h = self.habits
        if command == "+CPMS?" and h.reads_back:
            each = [f'"{m}",{len(self._places(m))},{CAPACITY}' for m in (self.reading, self.reading, self.receiving)]
            return ["+CPMS: " + ",".join(each)], "OK"
        if command == "+CNMI?" and h.reads_back:
            return [f"+CNMI: {self.cnmi}"], "OK"
        if found := re.match(r'\+CPMS="(\w\w)"(?:,"(\w\w)","(\w\w)")?\Z', command):
            if found[1] not in h.memories or (found[3] or found[1]) not in h.memories:
                return [], "+CMS ERROR: 302"
            self.reading = found[1]
            self.receiving = found[3] or self.receiving
            numbers = [f"{len(self._places(m))},{CAPACITY}" for m in (self.reading, self.reading, self.receiving)]
            return ["+CPMS: " + ",".join(numbers)], "OK"
        if found := re.match(r"\+CNMI=([\d,]+)", command):
            self.cnmi = found[1]
            return [], "OK"
        if command == "+CMGL=4":
            if self.text_mode:
                return [], "+CMS ERROR: 302"
            found_lines = []
            for (_, place), (read, pdu) in self._places(self.reading).items():
                found_lines += [f"+CMGL: {place},{int(read)},,{len(pdu) // 2 - 1}", pdu]
            return found_lines, "OK"
        if found := re.match(r"\+CMGR=(\d+)", command):
            if self.text_mode:
                return ['+CMGR: "REC UNREAD","+1",,"26/11/29,00:00:00+00"', "text"], "OK"
            for (_, place), (read, pdu) in self._places(self.reading).items():
                if place == int(found[1]):
                    return [f"+CMGR: {int(read)},,{len(pdu) // 2 - 1}", pdu], "OK"
            return [], "OK"
        if found := re.match(r"\+CMGD=(\d+)", command):
            for memory, place in self._places(self.reading):
                if place == int(found[1]):
                    number = place - (100 if self.reading == "MT" and memory == "ME" else 0)
                    del self.stored[memory][number]
                    return [], "OK"
            return [], "+CMS ERROR: 321"
        if re.match(r"\+CMGS=\d+", command):
            return [], ">"
        return [], "ERROR"

    def _places(self, memory: str) -> dict[tuple[str, int], tuple[bool, str]]:
        """What a memory shows: MT all of SM and then of ME, SR nothing that is a message."""
        if memory == "SR":
            return {}
        if memory != "MT":
            return {(memory, place): what for place, what in sorted(self.stored[memory].items())}
        sim = {("SM", place): what for place, what in sorted(self.stored["SM"].items())}
        return sim | {("ME", place + 100): what for place, what in sorted(self.stored["ME"].items())}
