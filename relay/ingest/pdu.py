# sans-I/O
"""Encode and decode SMS in PDU mode (3GPP TS 23.040), just as much as an alarm needs.

The module encodes SMS-SUBMIT with 8-bit data, and decodes SMS-DELIVER of any alphabet down to its user data; for tests
and tools it also works in the other direction. It does not reassemble long messages (an alarm is one message) and does
not translate alphabets: text from strangers is handed on as octets, and the verifier refuses it. Decoding is strict
about lengths, tolerant about everything a network may put into a header.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_OCTETS = 140
DCS_8BIT = 0x04
_TON_INTERNATIONAL = 0x91
_TON_UNKNOWN = 0x81
_DIGITS = "0123456789*#abc"


class PduError(ValueError):
    """An SMS that can't be decoded or encoded."""


@dataclass(frozen=True)
class Deliver:
    """A message that came in. `octets` are without a user data header, unless the alphabet has 7 bits. `sender` is
    empty when it can't be answered (a name instead of a number)."""

    sender: str
    octets: bytes
    dcs: int
    has_header: bool
    scts: bytes = bytes(7)


@dataclass(frozen=True)
class Submit:
    """A message to send."""

    recipient: str
    octets: bytes
    reference: int = 0


def encode_submit(message: Submit) -> tuple[str, int]:
    """Return the PDU in hexadecimal with an empty service centre (the SIM's is used), and the length that AT+CMGS wants
    (without the centre)."""
    _check(message.octets)
    tpdu = (
        bytes((0x01, message.reference & 0xFF))
        + _address(message.recipient)
        + bytes((0x00, DCS_8BIT, len(message.octets)))
        + message.octets
    )
    return ("00" + tpdu.hex()).upper(), len(tpdu)


def encode_deliver(sender: str, octets: bytes, *, scts: bytes = bytes(7)) -> tuple[str, int]:
    """Return the PDU that a modem shows for a message from `sender`, and its length: the counterpart of
    `decode_deliver`."""
    _check(octets)
    if len(scts) != 7:
        raise PduError("time stamp of 7 octets")
    tpdu = bytes((0x04,)) + _address(sender) + bytes((0x00, DCS_8BIT)) + scts + bytes((len(octets),)) + octets
    return ("00" + tpdu.hex()).upper(), len(tpdu)


def decode_deliver(text: str, length: int | None = None) -> Deliver:
    """Decode a PDU in hexadecimal as +CMGR and +CMGL show it, service centre first. `length` is the length of the TPDU
    that they tell. Some modems leave the service centre out altogether: the length shows it, or the PDU makes no sense
    with one."""
    octets = _unhex(text)
    if not octets or octets[0] & 0x03 != 0x00 or octets[0] == 0x00:  # no SMS-DELIVER begins so
        return _deliver(octets, has_centre=True)
    likely = length != len(octets)
    try:
        return _deliver(octets, has_centre=likely)
    except PduError:
        return _deliver(octets, has_centre=not likely)


def _deliver(octets: bytes, *, has_centre: bool) -> Deliver:
    reader = _Reader(octets)
    if has_centre:
        reader.take(reader.octet())  # its length counts octets
    first = reader.octet()
    if first & 0x03 != 0x00:
        raise PduError(f"message type {first & 3}: not an SMS-DELIVER")
    sender = reader.address()
    reader.octet()  # protocol identifier: networks differ, nothing depends on it
    dcs = reader.octet()
    scts = reader.take(7)
    data = reader.user_data(dcs)
    has_header = bool(first & 0x40)
    if has_header and not _is_seven_bit(dcs):
        data = _without_header(data)
    return Deliver(sender, data, dcs, has_header, scts)


def decode_submit(text: str) -> Submit:
    """Decode an SMS-SUBMIT in hexadecimal, service centre first."""
    reader = _Reader(_unhex(text))
    reader.take(reader.octet())
    first = reader.octet()
    if first & 0x03 != 0x01:
        raise PduError(f"message type {first & 3}: not an SMS-SUBMIT")
    reference = reader.octet()
    recipient = reader.address()
    reader.octet()
    dcs = reader.octet()
    reader.take((0, 7, 1, 7)[first >> 3 & 3])  # validity period: none, enhanced, relative, absolute
    return Submit(recipient, reader.user_data(dcs), reference)


def _without_header(data: bytes) -> bytes:
    """Drop the user data header (23.040, 9.2.3.24), which some networks put before a message that needs none, as of
    part one of one. A header that is longer than the data is no header: then all of it is handed on."""
    return data[1 + data[0] :] if data and data[0] < len(data) else data


def _check(octets: bytes) -> None:
    if len(octets) > MAX_OCTETS:
        raise PduError(f"{len(octets)} octets: one SMS holds {MAX_OCTETS}")


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise PduError("not hexadecimal") from None


def _address(number: str) -> bytes:
    digits = number[1:] if number.startswith("+") else number
    if not 1 <= len(digits) <= 20 or any(d not in _DIGITS[:12] for d in digits):
        raise PduError("a number has 1 to 20 digits")
    padded = digits + "f" * (len(digits) % 2)
    nibbles = ["f" if d == "f" else f"{_DIGITS.index(d):x}" for d in padded]
    swapped = "".join(nibbles[i + 1] + nibbles[i] for i in range(0, len(nibbles), 2))
    return bytes((len(digits), _TON_INTERNATIONAL if number.startswith("+") else _TON_UNKNOWN)) + bytes.fromhex(swapped)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise PduError("cut short")
        self._at += count
        return part

    def octet(self) -> int:
        return self.take(1)[0]

    def address(self) -> str:
        digits = self.octet()
        if digits > 20:
            raise PduError("address longer than 20 digits")
        kind = self.octet()
        packed = self.take((digits + 1) // 2)
        if kind >> 4 & 7 == 5:  # a name in the 7-bit alphabet: a shop or an operator, nobody to answer
            return ""
        nibbles = [n for octet in packed for n in (octet & 15, octet >> 4)][:digits]
        if any(n >= len(_DIGITS) for n in nibbles):
            raise PduError("address is not made of digits")
        number = "".join(_DIGITS[n] for n in nibbles)
        return "+" + number if number and kind >> 4 & 7 == 1 else number

    def user_data(self, dcs: int) -> bytes:
        length = self.octet()
        if _is_seven_bit(dcs):
            length = (length * 7 + 7) // 8  # counted in septets
        if length > MAX_OCTETS:
            raise PduError("user data longer than 140 octets")
        return self.take(length)  # what follows is padding that some modems add


def _is_seven_bit(dcs: int) -> bool:
    """Tell whether a data coding scheme has 7 bits (TS 23.038, clause 4). Reserved codings count as the default
    alphabet, which has 7 bits."""
    if dcs & 0xC0 == 0x00 or dcs & 0xC0 == 0x40:  # general, and marked for automatic deletion
        return dcs & 0x20 == 0 and dcs & 0x0C not in (0x04, 0x08)  # bit 5: compressed, then the length counts octets
    if dcs & 0xF0 == 0xF0:
        return dcs & 0x04 == 0
    return dcs & 0xF0 != 0xE0  # 0xE0: message waiting with UCS-2
