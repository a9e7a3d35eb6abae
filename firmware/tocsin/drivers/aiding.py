# hwsim: no-float
"""Tell a u-blox 6, 7 or 8 that has lost its backup supply the last fix and the time: UBX-AID-INI. Imported only for a
board that says so.

A receiver that believes a wrong time or place finds itself later than one that knows nothing (u-blox says so of the
message's successor, MGA-INI-TIME_UTC). So the message gets more uncertain with age, and after two hours there is none.
"""

_GPS_EPOCH = 315964782  # 1980-01-06 in s since 1970, less the 18 leap seconds since; another one is allowed for below
_WEEK_S = 604800
_OLD_S = 7200
_METRES_A_S = 40  # how fast she may have been carried off: 144 km/h
_DRIFT_MS_A_S = 40  # of the chip's clock asleep: 1 % as a rule, 3.3 % seen


def ini(fix, seconds):
    """Return the message (u-blox 6 Receiver Description, GPS.G6-SW-10018-F), or None when there is nothing good to
    tell. `fix` as Gnss.fix() returns it, `seconds` since 1970."""
    if not fix or not seconds or fix[3] > _OLD_S:
        return None
    lat, lon, accuracy, age, altitude = fix[:5]
    since = seconds - _GPS_EPOCH
    out = b"\x0b\x01\x30\x00"  # class, number, 48 octets
    for value, size in (
        (lat, 4),
        (lon, 4),
        ((altitude or 0) * 100, 4),
        ((min(accuracy, 1000) + age * _METRES_A_S) * 100, 4),
        (0, 2),
        (since // _WEEK_S, 2),
        (since % _WEEK_S * 1000, 4),
        (0, 4),
        (2000 + age * _DRIFT_MS_A_S, 4),
        (0, 4),
        (0, 4),
        (0, 4),
        (0x63 if altitude is None else 0x23, 4),  # place and time, by latitude; altitude unknown
    ):
        out += (value & 0xFFFFFFFF).to_bytes(size, "little")
    first = second = 0
    for octet in out:
        first = first + octet & 255
        second = second + first & 255
    return b"\xb5\x62" + out + bytes((first, second))
