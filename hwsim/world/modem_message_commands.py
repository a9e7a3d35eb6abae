"""The simulated modem's commands for messages: 3GPP TS 27.005 by clause. They act on modem_messages.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from hwsim.world.modem_at import COMMANDS, INVALID, AtError, Handler, numbers

if TYPE_CHECKING:
    from hwsim.world.modem import Modem

_NOT_ALLOWED = 302  # +CMS
_NO_TEXT = 305  # +CMS


def _add(name: str) -> Callable[[Handler], Handler]:
    """Add a command that a modem takes only when it is ready for messages."""

    def register(handler: Handler) -> Handler:
        def guarded(modem: Modem, rest: str) -> list[str]:
            modem.messages.need()
            return handler(modem, rest)

        COMMANDS.add(name)(guarded)
        return handler

    return register


@_add("+CSMS")
def _service(modem: Modem, rest: str) -> list[str]:
    return ["+CSMS: 0,1,1,1"] if rest == "?" else ["+CSMS: 1,1,1"]


@_add("+CNMA")
def _acknowledge(modem: Modem, rest: str) -> list[str]:
    return []


@_add("+CSCA")
def _centre(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        number = modem.messages.centre_number
        return [f'+CSCA: "{number}",{145 if number.startswith("+") else 129}']
    match = re.fullmatch(r'="(\+?\d{0,20})"(,\d+)?', rest)
    if match is None:
        raise AtError(INVALID)
    modem.messages.centre_number = match.group(1)
    return []


@_add("+CMGF")
def _format(modem: Modem, rest: str) -> list[str]:
    if rest == "?":
        return [f"+CMGF: {int(modem.messages.text_mode)}"]
    if rest == "=?":
        return ["+CMGF: (0,1)"]
    mode = numbers(rest)[0]
    if mode not in (0, 1):
        raise AtError(INVALID)
    modem.messages.text_mode = bool(mode)
    return []


@_add("+CPMS")
def _storage(modem: Modem, rest: str) -> list[str]:
    messages = modem.messages
    if rest == "=?":
        names = ",".join(f'"{name}"' for name in modem.habits.memories)
        return [f"+CPMS: ({names}),({names}),({names})"]
    if rest == "?":
        return ["+CPMS: " + ",".join(f'"{n}",{messages.used(n)},{messages.room(n)}' for n in messages.chosen)]
    names_given = re.findall(r'"(\w\w)"', rest)
    pattern = r'="\w\w"(,"\w\w"){0,2}'
    if not re.fullmatch(pattern, rest) or not set(names_given) <= set(modem.habits.memories):
        raise AtError(INVALID)
    messages.chosen[: len(names_given)] = names_given
    return ["+CPMS: " + ",".join(f"{messages.used(n)},{messages.room(n)}" for n in messages.chosen)]


@_add("+CNMI")
def _indications(modem: Modem, rest: str) -> list[str]:
    messages = modem.messages
    if rest == "?":
        return [f"+CNMI: {messages.cnmi[0]},{messages.cnmi[1]},0,{messages.report_to},0"]
    if rest == "=?":
        return ["+CNMI: (0-2),(0-2),(0),(0-2),(0,1)"]
    values = [*numbers(rest), 0, 0, 0, 0]
    if values[0] > 2 or values[1] > 2 or values[3] > 2:
        raise AtError(INVALID)
    messages.cnmi = (values[0], values[1])
    messages.report_to = values[3]
    return []


@_add("+CMGS")
def _send(modem: Modem, rest: str) -> list[str]:
    if modem.messages.text_mode:
        raise AtError(_NO_TEXT, "CMS")
    modem.messages.submit_length = numbers(rest)[0]
    return []


@_add("+CMGR")
def _read(modem: Modem, rest: str) -> list[str]:
    store, place = modem.messages.find(numbers(rest)[0])
    read, pdu = store[place]
    store[place] = (True, pdu)
    return ["+CMGR: " + modem.messages.shown(pdu, read)]


@_add("+CMGL")
def _list(modem: Modem, rest: str) -> list[str]:
    messages = modem.messages
    if messages.text_mode:
        states = {"": (False,), '="REC UNREAD"': (False,), '="REC READ"': (True,), '="ALL"': (False, True)}
        if rest not in states:
            raise AtError(_NOT_ALLOWED, "CMS")  # AT+CMGL=4 is PDU mode's (27.005, 3.4.2)
        wanted = states[rest]
    else:
        number = numbers(rest)[0] if rest else 0
        wanted = (False, True) if number == 4 else (bool(number),) if number in (0, 1) else ()
    lines = []
    for index, store, place in messages.listed():
        read, pdu = store[place]
        if read in wanted:
            lines.append(f"+CMGL: {index}," + messages.shown(pdu, read))
            store[place] = (True, pdu)
    return lines


@_add("+CMGD")
def _delete(modem: Modem, rest: str) -> list[str]:
    messages = modem.messages
    index, *flag = numbers(rest)
    if flag and flag[0]:
        for _, store, place in messages.listed():
            if store[place][0] or flag[0] == 4:
                del store[place]
    else:
        store, place = messages.find(index)
        del store[place]
    modem.deleted()
    return []
