"""Short messages as a modem in PDU mode passes them: SMS-SUBMIT in, SMS-DELIVER out (3GPP TS 23.040, 9.2.2).

User data stays what it is, octets with their coding scheme: 7-bit text is neither packed nor unpacked. Status reports
(SMS-STATUS-REPORT) are made, too. Not here: alphanumeric senders, the division of long messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime


class PduError(ValueError):
    """A PDU that is no SMS-SUBMIT; the text says why."""


@dataclass(frozen=True)
class Sms:
    sender: str
    recipient: str
    data: bytes  # user data without its length
    coding: int = 0x04  # TP-DCS; 0x04 is 8-bit data
    protocol: int = 0
    length: int = 0  # TP-UDL: octets, or septets of 7-bit text; 0 stands for the number of octets
    header: bool = False  # the user data begins with a header

    @property
    def user_data_length(self) -> int:
        return self.length or len(self.data)


def _is_7bit(coding: int) -> bool:
    if coding & 0xC0 == 0x00:
        return coding & 0x0C == 0x00
    return coding & 0xF4 == 0xF0 or coding & 0xF0 in (0xC0, 0xD0)


def _number(address_type: int, digits: int, octets: bytes) -> str:
    text = "".join(f"{octet & 15:X}{octet >> 4:X}" for octet in octets)[:digits]
    return ("+" if address_type & 0x70 == 0x10 else "") + text


def _address(number: str) -> bytes:
    digits = number.lstrip("+")
    padded = digits + "F" * (len(digits) % 2)
    swapped = bytes(int(padded[i + 1] + padded[i], 16) for i in range(0, len(padded), 2))
    return bytes([len(digits), 0x91 if number.startswith("+") else 0x81]) + swapped


def _centre(number: str) -> bytes:
    """Encode the service centre's address, with which a PDU begins; without a number it is a single 0 (27.005, 3.1)."""
    if not number:
        return b"\0"
    address = _address(number)[1:]
    return bytes([len(address)]) + address


def _stamp(unix_time: int) -> bytes:
    digits = datetime.fromtimestamp(unix_time, UTC).strftime("%y%m%d%H%M%S") + "00"
    return bytes(int(digits[i + 1] + digits[i], 16) for i in range(0, 14, 2))


def decode_submit(pdu: bytes, sender: str) -> Sms:
    """Decode what follows AT+CMGS: the service centre's address, then the SMS-SUBMIT."""
    try:
        at = 1 + pdu[0]
        first = pdu[at]
        if first & 0x03 != 0x01:
            raise PduError("not an SMS-SUBMIT")
        at += 2  # and the message reference, which the modem assigns
        digits = pdu[at]
        size = (digits + 1) // 2
        recipient = _number(pdu[at + 1], digits, pdu[at + 2 : at + 2 + size])
        at += 2 + size
        protocol, coding = pdu[at], pdu[at + 1]
        at += 2 + {0x00: 0, 0x10: 1, 0x08: 7, 0x18: 7}[first & 0x18]
        length, data = pdu[at], pdu[at + 1 :]
    except IndexError:
        raise PduError("ends too early") from None
    if len(data) != ((length * 7 + 7) // 8 if _is_7bit(coding) else length):
        raise PduError("the user data has another length than it says")
    if len(data) > 140:
        raise PduError("more than 140 octets of user data")
    return Sms(sender, recipient, data, coding, protocol, length, bool(first & 0x40))


def encode_deliver(sms: Sms, unix_time: int, centre: str, behind: bytes = b"") -> bytes:
    """Encode what +CMGR, +CMGL and +CMT show: the service centre's address, then the SMS-DELIVER, then the octets that
    some modems leave `behind` it."""
    first = 0x04 | (0x40 if sms.header else 0)
    return (
        _centre(centre)
        + bytes([first])
        + _address(sms.sender)
        + bytes([sms.protocol, sms.coding])
        + _stamp(unix_time)
        + bytes([sms.user_data_length])
        + sms.data
        + behind
    )


def with_header(sms: Sms) -> Sms:
    """Return the same message as the only part of a long one: an 8-bit reference, 1 of 1 (9.2.3.24.1)."""
    header = bytes([5, 0, 3, 0x2A, 1, 1])
    if sms.header or _is_7bit(sms.coding) or len(sms.data) + len(header) > 140:
        return sms
    return replace(sms, data=header + sms.data, length=0, header=True)


def encode_status_report(recipient: str, reference: int, unix_time: int, centre: str) -> bytes:
    """Encode the report that a message was delivered (9.2.2.3)."""
    stamp = _stamp(unix_time)
    return _centre(centre) + bytes([0x06, reference]) + _address(recipient) + stamp + stamp + b"\0"


def is_status_report(pdu: bytes) -> bool:
    return pdu[1 + pdu[0]] & 0x03 == 0x02


def tpdu_length(pdu: bytes) -> int:
    """Return the length that +CMGR and +CMGS name: without the service centre's address."""
    return len(pdu) - 1 - pdu[0]
