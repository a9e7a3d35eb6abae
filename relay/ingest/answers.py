# sans-I/O
"""Read what modems say, tolerantly: lines in, values out, no state.

The forms are those of 3GPP TS 27.005 and 27.007 and of what makers made of them. Nothing here raises, whatever a line
holds: a line that can't be read says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

INDEX_MOST = 65_535  # no memory has more places, and no number more digits
LOCATIONS = ("SM", "ME", "MT")  # memories that hold messages; SR holds status reports, BM broadcasts (27.005, 3.1)
_NO_MESSAGES = ("SR", "BM")
# Lines by which modems say that they, or their SIMs, have started: SIMCom (RDY, SMS Ready, Call Ready, SMS DONE, PB
# DONE, *ATREADY), Quectel (RDY, APP RDY, +QIND: SMS DONE, +QUSIM: 1), Cinterion (^SYSSTART, +PBREADY), Telit (#QSS),
# Fibocom and Neoway (MODEM:STARTUP, START), Huawei (^SIMST), SIM7000 (+CFUN: 1), nRF91 serial modem (Ready). +CPIN
# unasked means that the SIM was locked, taken out, put in, or started anew.
_STARTED = re.compile(
    r"(RDY|READY|START|STARTUP|POWER ON|NORMAL POWER ON.*|MODEM ?: ?STARTUP|APP RDY|SMS (READY|DONE)|PB (READY|DONE)"
    r"|CALL READY|SIM READY|\*?ATREADY\b.*|\^SYSSTART\b.*|\+PBREADY|\+QIND: *\"?(SMS|PB) (DONE|READY)\"?"
    r"|\+QUSIM: *1|#QSS: *[0-3]|\^SIMST:.*|\^STIN:.*|\+CFUN: *[01]|\+CPIN:.*)\Z",
    re.IGNORECASE,
)
_FULL = re.compile(r"(\^SMMEMFULL|\+SMSFULL|SMS FULL|\+CIEV: *\"?SMSFULL|\+QIND: *\"?SMSFULL).*", re.IGNORECASE)
_TOLD = re.compile(r"\+C(?:MTI|DSI)\b:?(.*)", re.IGNORECASE | re.DOTALL)
_TOLD_PLACE = re.compile(r' *"?([A-Z]{2})"? *, *(\d{1,5})(?:\D.*)?\Z', re.IGNORECASE)
_MEMORY = re.compile(r"\b(SM|ME|MT|SR|BM|TA)\b", re.IGNORECASE)
_ENTRY = re.compile(r"\+CMG[LR]:(.*)", re.DOTALL)
_ENTRY_INDEX = re.compile(r" *(\d{1,5}) *(?:,|\Z)")
_LAST_NUMBER = re.compile(r", *(\d{1,3}) *\Z")
_TEXT_MODE = re.compile(r'\+CMT: *"(\+?[0-9*#]{1,20})" *,[^,]*,')
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_NUMBER = re.compile(r"(?<![\w.])\d{1,6}(?!\w)")


def has_started(line: str) -> bool:
    """Tell whether the modem, or the SIM in it, says that it has started."""
    return _STARTED.match(line.strip()) is not None


def is_full(line: str) -> bool:
    """Tell whether the modem says, unasked, that it has no room for messages."""
    return _FULL.match(line) is not None


class Told(NamedTuple):
    """A notification that a message has come. A field is None when the notification does not state it plainly."""

    memory: str | None
    place: int | None


def told(line: str) -> Told | None:
    """Read a notification in any form: another memory, no quotes, no index, -1, too many digits. One that names a
    memory without messages may still mean a message. Return None when the line is none, or tells of a status report."""
    found = _TOLD.match(line)
    if found is None:
        return None
    place = _TOLD_PLACE.match(found[1])
    if place is not None and int(place[2]) <= INDEX_MOST:
        memory: str | None = place[1].upper()
        index: int | None = int(place[2])
    else:
        named = _MEMORY.search(found[1])
        memory, index = named[1].upper() if named else None, None
    if memory in _NO_MESSAGES:
        return None if line.upper().startswith("+CDSI") else Told(None, None)
    return Told(memory, index)


class Entry(NamedTuple):
    """A message of a listing. `place` is None when the line names no possible place. `text` is the PDU, None when its
    line did not come through. `length` is the number of octets of the TPDU as told, None when it was not told."""

    place: int | None
    text: str | None
    length: int | None


def listing(lines: Sequence[str]) -> list[Entry]:
    """Return the messages in the answer to +CMGL or +CMGR."""
    found: list[Entry] = []
    open_ = False
    for line in lines:
        if header := _ENTRY.match(line):
            index, length = _ENTRY_INDEX.match(header[1]), _LAST_NUMBER.search(header[1])
            place = int(index[1]) if index and int(index[1]) <= INDEX_MOST else None
            found.append(Entry(place, None, int(length[1]) if length else None))
            open_ = True
        elif open_ and is_hex(line):
            found[-1] = found[-1]._replace(text=line)
            open_ = False
    return found


def is_text_mode(lines: Iterable[str]) -> bool:
    """Tell whether a listing is in text mode: its lines say in words which messages were read."""
    return any('"REC ' in line or '"STO ' in line for line in lines)


def is_hex(line: str) -> bool:
    """Tell whether a line is octets in hexadecimal, as a PDU is."""
    return _HEX.match(line) is not None


class Storage(NamedTuple):
    """An answer of +CPMS. `reading` is the memory that is read and `receiving` the one that new messages go to, both
    None when the answer has no names. `used` and `total` are of the latter, None when the answer has no numbers.
    `apart`: the two have different sizes, so they are not the same memory."""

    reading: str | None
    receiving: str | None
    used: int | None
    total: int | None
    apart: bool = False

    @property
    def full(self) -> bool:
        return self.used is not None and self.total is not None and self.used >= self.total


def storage(lines: Sequence[str]) -> Storage:
    """Read the answer to AT+CPMS=… or AT+CPMS?: two or three memories, with their names or without."""
    text = lines[-1].partition(":")[2] if lines else ""
    names = [name.upper() for name in _MEMORY.findall(text)]
    numbers = [int(number) for number in _NUMBER.findall(text)]
    used, total = (numbers[-2], numbers[-1]) if len(numbers) >= 2 else (None, None)
    apart = len(numbers) == 6 and numbers[1] != numbers[5]
    return Storage(names[0] if names else None, names[-1] if names else None, used, total, apart)


def numbers(lines: Sequence[str]) -> list[int]:
    """Return the numbers of an answer's last line."""
    text = lines[-1].rpartition(":")[2] if lines else ""
    return [int(number) for number in _NUMBER.findall(text)]


def text_mode_sender(line: str) -> str | None:
    """Return the sender of the message after a +CMT line in text mode: the number in the first field. Return None in
    PDU mode, where the first field is a name or empty and there is one field fewer (27.005, 3.4.1)."""
    found = _TEXT_MODE.match(line)
    return found[1] if found else None


def sim_state(lines: Sequence[str]) -> str:
    """Return the SIM's state from the answer to AT+CPIN? (27.007, 8.3): "READY" also when the SIM asks only for the
    second PIN, which messages don't need; empty when the answer does not say."""
    state = lines[-1].partition(":")[2].strip(' "').upper() if lines else ""
    return "READY" if state in ("SIM PIN2", "SIM PUK2") else state


def is_registered(lines: Sequence[str]) -> bool | None:
    """Tell from the answer to AT+CREG? or AT+CEREG? whether the modem is registered, None when it does not say. A
    single field, or one before a quoted area, is the state; otherwise the second field is (27.007, 7.2)."""
    fields = [field.strip() for field in lines[-1].partition(":")[2].split(",")] if lines else []
    if not fields:
        return None
    state = fields[1] if len(fields) > 1 and not fields[1].startswith('"') else fields[0]
    # 6, 7: registered for SMS only; 9, 10: the network prefers that no calls are made here. All carry SMS.
    return state.lstrip("0") in ("1", "5", "6", "7", "9", "10") if state.isdecimal() else None
