# sans-I/O
# hwsim: no-float
"""SMS in PDU mode, 8-bit data (3GPP TS 23.040): the user data is exactly one envelope, both ways.

Pure. It has only what a bracelet needs: SUBMIT out, DELIVER in. Some gateways put the header of a one-part message
before the data: it is skipped. Anything else (7-bit text, parts of a longer message, status reports) is refused with
ValueError, for no message of ours looks like that.
"""

from binascii import hexlify, unhexlify

DATA_MAX = 140


def _swap(digits):
    if len(digits) & 1:
        digits += "F"
    return "".join([digits[i + 1] + digits[i] for i in range(0, len(digits), 2)])


def submit(number, data):
    """Return (length for AT+CMGS, hexadecimal PDU) of an SMS-SUBMIT to `number` (international with +, or national)."""
    kind = "91" if number.startswith("+") else "81"
    digits = number[1:] if kind == "91" else number
    if not digits.isdigit() or len(digits) > 20 or not 0 < len(data) <= DATA_MAX:
        raise ValueError
    # 01: SUBMIT, no validity period; 00: reference; 00: protocol; 04: 8-bit data, no class
    head = "0100%02X%s%s0004%02X" % (len(digits), kind, _swap(digits), len(data))
    body = head + hexlify(data).decode().upper()
    return len(body) // 2, "00" + body  # 00: the service centre stored on the SIM


def deliver(text, told=""):
    """Return (number, data) of a hexadecimal SMS-DELIVER as the modem shows it, the service centre first. Some modems
    leave that out altogether: then `told`, the length of the rest in octets as +CMGL tells it, is that of all."""
    if len(text) > 400:
        raise ValueError
    octets = unhexlify(text)
    bare = told == str(len(octets))
    try:
        return _deliver(octets, bare)
    except ValueError:
        return _deliver(octets, not bare)


def _deliver(octets, bare):
    try:
        at = 0 if bare else 1 + octets[0]  # behind the service centre
        first = octets[at]
        if first & 0x03:  # not a DELIVER
            raise ValueError
        length, kind = octets[at + 1], octets[at + 2]
        if length > 20:
            raise ValueError
        at += 3
        end = at + (length + 1) // 2
        coding = octets[end + 1]
        count = octets[end + 9]
        data = octets[end + 10 : end + 10 + count]  # octets that modems show behind it don't belong to it
        number = _number(octets[at:end], length, kind)
    except IndexError:
        raise ValueError
    if not _eight_bit(coding) or len(data) != count or count > DATA_MAX:
        raise ValueError
    return number, _without_header(data) if first & 0x40 else data


def _without_header(data):
    """Return user data behind its header (3GPP TS 23.040, 9.2.3.24). ValueError for one part among others."""
    if not data or data[0] >= len(data):
        raise ValueError
    at, end = 1, 1 + data[0]
    while at + 1 < end:
        kind, length = data[at], data[at + 1]
        if kind in (0x00, 0x08) and bytes(data[at + 2 + length - 2 : at + 2 + length]) != b"\x01\x01":
            raise ValueError
        at += 2 + length
    if at != end:
        raise ValueError
    return data[end:]


def _eight_bit(coding):
    """Tell whether this is general data coding, uncompressed, 8-bit; or the class group with 8-bit data (3GPP TS
    23.038, 4)."""
    return coding & 0xEC == 0x04 or coding & 0xF4 == 0xF4


def _number(octets, length, kind):
    digits = ""
    for octet in octets:
        digits += "0123456789*#abc"[octet & 15] if octet & 15 < 15 else ""
        digits += "0123456789*#abc"[octet >> 4] if octet >> 4 < 15 else ""
    if kind & 0x70 == 0x50:
        return "?"  # an alphanumeric sender: nothing one could answer to
    return ("+" if kind & 0x70 == 0x10 else "") + digits[:length]
