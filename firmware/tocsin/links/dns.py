# sans-I/O
# hwsim: no-float
"""Questions to a name server and their answers, octet by octet (RFC 1035): IPv4 addresses only. Pure."""

NAME_MAX = 253


def query(name, number):
    """Return the question for the address of `name`."""
    return number.to_bytes(2, "big") + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + _question(name)


def _question(name):
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError
    out = b""
    for label in name.split("."):
        if not 0 < len(label) < 64:
            raise ValueError
        out += bytes((len(label),)) + label.encode()
    return out + b"\x00\x00\x01\x00\x01"


def answer(data, name, number):
    """Return the first address in the answer to query(name, number); None when there is none; ValueError when it isn't
    that answer."""
    question = _question(name)
    at = 12 + len(question)
    if len(data) < at or data[:2] != number.to_bytes(2, "big") or not data[2] & 0x80:
        raise ValueError
    if data[12:at].lower() != question.lower():
        raise ValueError
    if data[3] & 15:
        return None  # no such name
    try:
        for _ in range(data[6] << 8 | data[7]):
            at = _skip_name(data, at)
            kind, length = data[at : at + 4], data[at + 8] << 8 | data[at + 9]
            at += 10
            if kind == b"\x00\x01\x00\x01" and length == 4:
                return "%d.%d.%d.%d" % (data[at], data[at + 1], data[at + 2], data[at + 3])
            at += length  # an alias, whose address follows
    except IndexError:
        raise ValueError
    return None


def _skip_name(data, at):
    while True:
        length = data[at]
        if length >= 0xC0:  # a pointer ends a name
            return at + 2
        at += 1 + length
        if not length:
            return at


def is_address(host):
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) < 4 for part in parts)
