"""The grammar of what bracelets say (firmware/wire.cddl): alarm and heartbeat, checked item by item.

`cbor2` gives Python values; a float that equals an integer, `True` for 1, or a tag that decodes to a number would pass
a comparison. So every item's exact type is checked, and the whole is encoded again and must give the same octets.
"""

from typing import Any, NamedTuple

import cbor2

from relay.verify.reasons import Reason, Refused

VERSION = 1
UINT16 = 65535
UINT32 = 4294967295

DRILL, CANCEL, DURESS = 1, 2, 4
TIME_QUALITIES = ("unknown", "saved", "network", "gnss")
STRAPS = ("none", "closed", "open", "reserved")

Ranges = tuple[tuple[int, int], ...]

HEAD: Ranges = ((VERSION, VERSION), (0, 127), (0, 23), (0, UINT16), (0, UINT32), (0, 100))
FIX: Ranges = (
    (-900000000, 900000000),
    (-1800000000, 1800000000),
    (0, UINT16),
    (0, UINT16),
    (-32768, 32767),
    (0, 255),
    (0, 359),
)
CELL: Ranges = ((0, 999), (0, 999), (0, UINT16), (0, 268435455))
HEARTBEAT: Ranges = ((VERSION, VERSION), (0, 127), (0, UINT32), (0, 100), (0, UINT16))
FIX_LENGTHS = (0, 4, 5, 6, 7)  # altitude, speed and heading are left out from the end


class Fix(NamedTuple):
    """A position as the receiver gave it, `age` seconds before the message's time."""

    lat_e7: int
    lon_e7: int
    accuracy_m: int
    age_s: int
    altitude_m: int | None = None
    speed_mps: int | None = None
    heading_deg: int | None = None

    def __repr__(self) -> str:
        return "Fix()"  # a position must not reach a log by way of a traceback


class Cell(NamedTuple):
    """The identity of the serving cell."""

    mcc: int
    mnc: int
    lac: int
    cid: int

    def __repr__(self) -> str:
        return "Cell()"


class Alarm(NamedTuple):
    """One alarm message: the Alert (`seq` 0) or an Update of it."""

    flags: int
    cause: int
    seq: int
    time: int
    battery: int
    fix: Fix | None = None
    cell: Cell | None = None

    @property
    def drill(self) -> bool:
        return bool(self.flags & DRILL)

    @property
    def cancel(self) -> bool:
        return bool(self.flags & CANCEL)

    @property
    def duress(self) -> bool:
        return bool(self.flags & DURESS)

    @property
    def time_quality(self) -> str:
        return TIME_QUALITIES[self.flags >> 3 & 3]

    @property
    def strap(self) -> str:
        return STRAPS[self.flags >> 5 & 3]

    def encode(self) -> bytes:
        """The payload's octets."""
        items: list[Any] = [VERSION, *self[:5]]
        if self.fix is not None:
            items += [item for item in self.fix if item is not None]
        if self.cell is not None:
            items.append(list(self.cell))
        return cbor2.dumps(items)


class Heartbeat(NamedTuple):
    """A sign of life. It has no position, on purpose."""

    flags: int
    time: int
    battery: int
    pending: int

    def encode(self) -> bytes:
        """The heartbeat's octets."""
        return cbor2.dumps([VERSION, *self])


def decode(octets: bytes) -> Any:
    """Decode CBOR of this wire format or raise ValueError. Determinism is not checked here: see `decode_exactly`."""
    try:
        return cbor2.loads(
            octets, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False, semantic_decoders=_NO_TAGS
        )
    except Exception as error:  # whatever a decoder makes of hostile octets, to the caller they are just not CBOR
        raise ValueError("not CBOR of this wire format") from error


def decode_exactly(octets: bytes) -> Any:
    """Decode deterministic CBOR with nothing behind it, or raise ValueError."""
    value = decode(octets)
    try:
        encoded = cbor2.dumps(value)
    except Exception as error:
        raise ValueError("not CBOR of this wire format") from error
    if encoded != octets:
        raise ValueError("not the deterministic encoding")
    return value


def parse_alarm(octets: bytes, counter: int) -> Alarm:
    """The alarm in `octets`, or Refused. `counter` is the message's own: an Update can't be older than its chain."""
    items = _list(octets)
    cell = items.pop() if items and type(items[-1]) is list else None
    extra = len(items) - len(HEAD)
    if extra not in FIX_LENGTHS or not _within(items, HEAD + FIX[:extra]):
        raise Refused(Reason.BAD_PAYLOAD)
    if cell is not None and not (len(cell) == len(CELL) and _within(cell, CELL)):
        raise Refused(Reason.BAD_PAYLOAD)
    flags, cause, seq, time, battery = items[1:6]
    fix = Fix(*items[6:]) if extra else None
    alarm = Alarm(flags, cause, seq, time, battery, fix, None if cell is None else Cell(*cell))
    if alarm.seq > counter:
        raise Refused(Reason.BAD_PAYLOAD)
    return alarm


def parse_heartbeat(octets: bytes) -> Heartbeat:
    """The heartbeat in `octets`, or Refused."""
    items = _list(octets)
    if len(items) != len(HEARTBEAT) or not _within(items, HEARTBEAT):
        raise Refused(Reason.BAD_PAYLOAD)
    return Heartbeat(*items[1:])


def _list(octets: bytes) -> list[Any]:
    try:
        items = decode_exactly(octets)
    except ValueError:
        raise Refused(Reason.BAD_PAYLOAD) from None
    if type(items) is not list:
        raise Refused(Reason.BAD_PAYLOAD)
    return items


def _within(items: list[Any], ranges: Ranges) -> bool:
    for item, (low, high) in zip(items, ranges, strict=True):
        if type(item) is not int or not low <= item <= high:
            return False
    return True


def _no_tag(_decoder: object) -> Any:
    raise ValueError("this wire format has no tags")


# cbor2 runs a decoder of its own for these (dates, big numbers, regular expressions, shared references ...). All of it
# is unauthenticated input, so none of it runs: a decimal exponent of 2**31 costs milliseconds to expand, and nothing
# here needs a tag.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_NO_TAGS = dict.fromkeys(_TAGS, _no_tag)
