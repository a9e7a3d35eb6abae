# sans-I/O
"""The grammar of bracelets' messages (firmware/wire.cddl): alarm and heartbeat, checked item by item.

`cbor2` gives Python values; a float that equals an integer, `True` for 1, or a tag that decodes to a number would pass
a comparison. So every item's exact type is checked, and the whole is encoded again and must give the same octets.
"""

from typing import Any, NamedTuple

import cbor2

from relay.verify.reasons import Reason, Refused

VERSION = 1
UINT16 = 65535
UINT32 = 4294967295

DRILL, CANCEL, DURESS, LAST, DOUBTFUL = 1, 2, 4, 128, 256
USED = 1  # of a heartbeat: a down message came under a counter that was used before
FLAGS = 511
TIME_QUALITIES = ("unknown", "saved", "network", "gnss")
STRAPS = ("none", "closed", "open", "reserved")

Ranges = tuple[tuple[int, int], ...]

UNKNOWN_BATTERY = 101
HEAD: Ranges = ((VERSION, VERSION), (0, FLAGS), (0, 23), (0, UINT16), (0, UINT32), (0, UNKNOWN_BATTERY))
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
HEARTBEAT: Ranges = ((VERSION, VERSION), (0, FLAGS), (0, UINT32), (0, UNKNOWN_BATTERY), (0, UINT16))
REGISTRATIONS = ("none", "home", "searching", "denied", "unknown", "roaming")  # 3GPP TS 27.007, 7.2
UNKNOWN_DBM = 255
NETWORK: Ranges = ((0, 5), (0, UNKNOWN_DBM), (0, 999999), (0, 2))
HEALTH: Ranges = ((0, 5), (0, 255), (0, UINT32), (0, 1))
DOWN: Ranges = ((0, UINT32),)
PROGRAM: Ranges = ((1, 2147483647),)
MORE_BEAT = (DOWN, NETWORK, HEALTH, PROGRAM)
FIX_LENGTHS = (0, 4, 5, 6, 7)  # altitude, speed and heading are left out from the end


def known(battery: int) -> int | None:
    """Return the charge in %, None when the bracelet could not measure it."""
    return None if battery == UNKNOWN_BATTERY else battery


class Fix(NamedTuple):
    """A position as the receiver gave it, `age_s` seconds before the message's time."""

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
    """An alarm message: the Alert (`seq` 0) or an Update of it."""

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

    @property
    def last(self) -> bool:
        """True when the battery is about to end: perhaps no other message comes."""
        return bool(self.flags & LAST)

    @property
    def doubtful(self) -> bool:
        """True when the position follows an implausible jump."""
        return bool(self.flags & DOUBTFUL)

    def encode(self) -> bytes:
        """Return the payload's octets."""
        items: list[Any] = [VERSION, *self[:5]]
        if self.fix is not None:
            items += [item for item in self.fix if item is not None]
        if self.cell is not None:
            items.append(list(self.cell))
        return cbor2.dumps(items)


class Network(NamedTuple):
    """The networks as the bracelet sees them. `registration` is <stat> of 3GPP TS 27.007, 7.2; `signal` is in -dBm,
    255 unknown; `operator` is mcc * 1000 + mnc, 0 unknown; `link` is 0 none, 1 Wi-Fi, 2 PPP."""

    registration: int
    signal: int
    operator: int
    link: int


class Health(NamedTuple):
    """The bracelet's health. `cause` of its last reset, `resets` since the last heartbeat (255: or more), `crash`: the
    number of its last error (`hwsim crash` finds the place), `mode` 1: safe."""

    cause: int
    resets: int
    crash: int
    mode: int


class Heartbeat(NamedTuple):
    """A sign of life. It has no position, on purpose. `down` is the lowest counter of the down chain that has not come
    and still can, `program` the version of the running program. Each of the last four fields requires the previous one;
    older firmware sends none of them."""

    flags: int
    time: int
    battery: int
    pending: int
    down: int | None = None
    network: Network | None = None
    health: Health | None = None
    program: int | None = None

    @property
    def will(self) -> bool:
        """True when this is no sign of life but the last will: sealed when a connection began, sent by the broker when
        that connection ended without a goodbye."""
        return self.network is not None and self.network.link == 0

    def fields(self) -> list[Any]:
        """List the items after the version, as they are on the wire."""
        return [list(item) if isinstance(item, tuple) else item for item in self if item is not None]

    def encode(self) -> bytes:
        """Return the heartbeat's octets."""
        return cbor2.dumps([VERSION, *self.fields()])


def decode(octets: bytes) -> Any:
    """Decode CBOR of this wire format or raise ValueError. Determinism is not checked here: see `decode_exactly`."""
    try:
        return cbor2.loads(
            octets, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False, semantic_decoders=_NO_TAGS
        )
    except Exception as error:  # a decoder may raise anything on hostile octets; to the caller they are just not CBOR
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
    """Read the alarm in `octets`, or raise Refused. `counter` is the message's own: an Update can't be older than its
    chain."""
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
    """Read the heartbeat in `octets`, or raise Refused."""
    items = _list(octets)
    more = items[len(HEARTBEAT) :]
    if not len(HEARTBEAT) <= len(items) <= len(HEARTBEAT) + len(MORE_BEAT) or not _within(items[:5], HEARTBEAT):
        raise Refused(Reason.BAD_PAYLOAD)
    for item, ranges in zip(more, MORE_BEAT, strict=False):
        parts = [item] if len(ranges) == 1 else item
        if type(parts) is not list or len(parts) != len(ranges) or not _within(parts, ranges):
            raise Refused(Reason.BAD_PAYLOAD)
    flags, time, battery, pending = items[1:5]
    down = more[0] if more else None
    network = Network(*more[1]) if len(more) > 1 else None
    health = Health(*more[2]) if len(more) > 2 else None
    program = more[3] if len(more) > 3 else None
    return Heartbeat(flags, time, battery, pending, down, network, health, program)


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


# cbor2 has decoders of its own for these (dates, big numbers, regular expressions, shared references ...). The input is
# unauthenticated, so none of them may run: a decimal exponent of 2**31 costs milliseconds to expand, and this wire
# format needs no tag.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_NO_TAGS = dict.fromkeys(_TAGS, _no_tag)
