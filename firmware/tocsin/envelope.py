# sans-I/O
# hwsim: no-float
"""Seal the messages of the wire format (firmware/wire.md, firmware/wire.cddl), and open those of the relay.

Sans-I/O. The caller stores the counter + 1 and the next chain key before it transmits what `seal_*` returned, and
resends those identical octets on every path. The relay's half is written separately, in relay/verify.
"""

from tocsin import cbor, cose, ratchet

LIMIT = 140  # octets: one 8-bit SMS
VERSION = 1
STALE = 3600  # s: a fix older than this gives way to the cell
MAX_ALARM_COUNTER = (1 << 24) - 1

KINDS = ("receipt", "accept", "close", "configure", "revoke", "update")  # of down messages, by their number
HEARTBEAT_S, HOLD_MS, CHECK_IN = 1, 2, 3
SETTINGS = {HEARTBEAT_S: (60, 86400), HOLD_MS: (1000, 10000), CHECK_IN: (0, 1440)}  # the last in minutes, 0: off

_SIGNATURE = 64
_TAG = 8
_CELL = (999, 999, 65535, 268435455)  # the largest mcc, mnc, lac, cid
_FLAGS = 511
_UNKNOWN = 65535  # of accuracy and age: that or worse
_NETWORK = (5, 255, 999999, 2)  # the largest registration, signal, operator, link
_HEALTH = (5, 255, 4294967295, 1)  # cause, resets, crash, mode


def _size(payload, counter):
    """Return the length of the sealed message. Only lengths matter for it, so zeros stand for unknown octets."""
    sign1 = cose.sign1(cbor.encode(payload), b"", _Blank)
    ciphertext = sign1 + bytes(_TAG)
    return len(cbor.encode([cose.outer_header(bytes(4), counter), {}, ciphertext]))


class _Blank:
    """A signer that signs with zeros, to measure."""

    @staticmethod
    def sign(msg):
        return bytes(_SIGNATURE)


def _in(value, low, high):
    # bool is an int to Python, but another type on the wire
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _at_most(value, high):
    """Return a measurement with an honest limit: a value beyond it, or one that makes no sense, becomes the limit."""
    return value if _in(value, 0, high) else high


def _time(value):
    """Return seconds since 1970; a value that can't be a time is sent as unknown."""
    return value if _in(value, 0, 4294967295) else 0


def _limited(items, limits):
    """Return the items; one out of its range becomes 0, "none" or "unknown", but 255 for signal and resets."""
    out = []
    for index, high in enumerate(limits):
        value = items[index]
        out.append(value if _in(value, 0, high) else 255 if high == 255 else 0)
    return out


def _position(fix):
    """Return [lat, lon, accuracy, age, altitude, speed, heading] up to the last known; [] when the fix is unusable."""
    if fix is None or not _in(fix[0], -900000000, 900000000) or not _in(fix[1], -1800000000, 1800000000):
        return []
    items = [fix[0], fix[1], _at_most(fix[2], _UNKNOWN), _at_most(fix[3], _UNKNOWN)]
    # Each of these requires the one before it.
    for value, low, high in ((fix[4], -32768, 32767), (fix[5], 0, 255), (fix[6], 0, 359)):
        if not _in(value, low, high):
            break
        items.append(value)
    return items


def _cell(cell):
    if cell is None or len(cell) != 4:
        return []
    for i in range(4):
        if not _in(cell[i], 0, _CELL[i]):
            return []
    return [list(cell)]


def alarm_payload(flags, cause, seq, time, battery, fix=None, cell=None, counter=MAX_ALARM_COUNTER):
    """Return the payload of alarm message `counter`, with as much of the position as one SMS holds.

    fix = (lat, lon, accuracy, age, altitude, speed, heading): integers in the units of the wire format; the last three
    may be None. cell = (mcc, mnc, lac, cid). A measurement out of its range is left out or limited, because a broken
    sensor must not keep an alarm from being raised; a wrong `flags`, `cause` or `seq` is a mistake of the caller.
    """
    if not (_in(flags, 0, _FLAGS) and _in(cause, 0, 23) and _in(seq, 0, 65535) and _in(counter, 0, MAX_ALARM_COUNTER)):
        raise ValueError("alarm: fields")
    head = [VERSION, flags, cause, seq, _time(time), _at_most(battery, 101)]
    position = _position(fix)
    where = _cell(cell)
    while _size(head + position + where, counter) > LIMIT:
        if len(position) > 4:
            position.pop()  # heading, speed, altitude
        elif position and where and position[3] > STALE:
            position = []
        else:
            where = []
    return head + position + where


def seal_alarm(kid, relay_id, counter, chain_key, payload, signer):
    """Return (octets, next chain key) of alarm message `counter`: signed for this relay, then encrypted."""
    if not 0 <= counter <= MAX_ALARM_COUNTER:
        raise ValueError("alarm: the chain has ended")
    external_aad = cbor.encode(["TCN1", relay_id, cose.outer_header(kid, counter)])
    signed = cose.sign1(cbor.encode(payload), external_aad, signer)
    return _seal(kid, counter, chain_key, signed)


def seal_heartbeat(kid, counter, chain_key, fields):
    """Return (octets, next chain key). fields = (flags, time, battery %, alarm messages without a receipt), and as many
    as are wanted of: next counter of the down chain, (registration, signal, operator, link), (cause, resets, crash,
    mode), version of the program."""
    flags, time, battery, pending = fields[:4]
    if not _in(flags, 0, _FLAGS):
        raise ValueError("heartbeat: flags")
    payload = [VERSION, flags, _time(time), _at_most(battery, 101), _at_most(pending, 65535)]
    if len(fields) > 4:
        payload.append(_time(fields[4]))  # the same range
    if len(fields) > 5:
        payload.append(_limited(fields[5], _NETWORK))
    if len(fields) > 6:
        payload.append(_limited(fields[6], _HEALTH))
    payload += fields[7:]
    return _seal(kid, counter, chain_key, cbor.encode(payload))


def _seal(kid, counter, chain_key, plaintext):
    message_key, next_key = ratchet.step(chain_key)
    octets = cose.encrypt0(kid, counter, message_key, plaintext)
    if len(octets) > LIMIT:
        raise ValueError("message too long")
    return octets, next_key


def peek(octets):
    """Return (kid, counter) of a message, unauthenticated: `ReceiveChain.scan` needs them."""
    if len(octets) > LIMIT:
        raise ValueError("message too long")
    return cose.split0(octets)[:2]


def open_down(octets, kid, chain):
    """Return (kind, value) of what the relay says, or raise ValueError.

    "receipt", counter: the relay has that alarm message on disk. "accept" or "close", counter: a person has accepted
    the alarm that began with that Alert, or it is over. "configure", {setting: value}: see SETTINGS. "revoke", None:
    every key is to be wiped. "update", [version, size, SHA-256]: there is such a bundle to be installed. `chain` is the
    down chain's `ratchet.ReceiveChain`; it has moved whenever the tag was good. Call its `scan` before, or a long gap
    is stepped through in one go.
    """
    if peek(octets)[0] != kid:
        raise ValueError("down: another bracelet's")
    body = cbor.decode(chain.open(octets))
    if not isinstance(body, list) or not 2 <= len(body) <= 3:
        raise ValueError("down: structure")
    if not _in(body[0], VERSION, VERSION) or not _in(body[1], 0, len(KINDS) - 1):
        raise ValueError("down: content")
    kind = KINDS[body[1]]
    if len(body) != (2 if kind == "revoke" else 3):
        raise ValueError("down: structure")
    if kind == "revoke":
        return kind, None
    value = body[2]
    if kind == "update":
        good = isinstance(value, list) and len(value) == 3 and isinstance(value[2], bytes) and len(value[2]) == 32
        good = good and _in(value[0], 1, 2147483647) and _in(value[1], 1025, 163840)
    elif kind != "configure":
        good = _in(value, 0, 4294967295)
    else:
        good = isinstance(value, dict) and all(_is_setting(name, value[name]) for name in value)
    if not good:
        raise ValueError("down: content")
    return kind, value


def _is_setting(name, value):
    return isinstance(name, int) and name in SETTINGS and _in(value, *SETTINGS[name])
